"""A run whose models' backends failed says so wherever it is read, and does not end as if all were well."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from agents.backends.base import BackendError, Generation, Prompt
from agents.werewolf.vocabulary import make_tokenizer
from harness import load_run
from harness.check.check import check_run
from harness.cli import main
from harness.cli.app import FAILING, status_of
from harness.config.files import parse_config
from harness.config.sections import Config
from harness.play.runner import Runner
from harness.play.watch import remark, state
from harness.schedule.tournament import Schedule
from tests.fixtures.local_runs import play_run
from tests.fixtures.player_fixtures import FakeBackend, decisions, transcript_line


class Broken(FakeBackend):
    """Fails on every n-th prompt for good."""

    def __init__(self, every: int) -> None:
        super().__init__(make_tokenizer(), transcript_line)
        self.every, self.n = every, 0

    async def generate(self, prompts: Sequence[Prompt]) -> list[Generation]:
        self.n += 1
        if self.n % self.every == 0:
            raise BackendError("no credit is left", retryable=False)
        return await super().generate(prompts)


def config(games: int = 2, **run: object) -> Config:
    return parse_config(
        {
            "run": {"games": games, "seed": 5, **run},
            "game": {"preset": "probe-6"},
            "agents": {
                "small": {"kind": "llm", "backend": "small", "retries": 3},
                "loud": {"kind": "scripted", "policy": "loud"},
            },
            "backends": {"small": {"kind": "transformers", "model": "small"}},
            "roster": {"mix": {"small": 2, "loud": 4}},
        }
    )


@pytest.fixture(scope="module")
def failed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return play_run(config(), tmp_path_factory.mktemp("failed") / "run", {"small": Broken(1)})


def test_status_check_watch_and_report_say_that_a_backend_failed(failed):
    said: list[str] = []
    assert status_of(failed, said.append) == FAILING == 3
    assert "of small (mock@000000000000) are fallbacks because its backend failed: 100%" in said[0]
    assert [f.what for f in check_run(failed)] == said
    assert said[0] in (remark(state(failed)) or "")
    assert load_run(failed).remarks() == said


def test_check_ends_with_status_1(failed, capsys):
    with pytest.raises(SystemExit) as ended:
        main(["check", str(failed)])
    assert ended.value.code == 1
    assert "its backend failed: 100%" in capsys.readouterr().out


def test_share_below_the_limit_is_no_failure_and_the_limit_is_the_configurations(tmp_path):
    path = play_run(config(max_backend_errors=0.5), tmp_path / "run", {"small": Broken(4)})
    assert load_run(path).decisions.collect()["fallback"].to_list().count("backend_error") > 0
    assert status_of(path, lambda text: None) == 0
    assert check_run(path) == []


def test_demo_ends_with_status_3_where_its_backend_failed(failed, tmp_path, monkeypatch, capsys):
    from harness.cli import demo

    nothing = lambda *given, **named: tmp_path  # noqa: E731
    monkeypatch.setattr(demo, "_demo_folder", lambda out: failed)
    monkeypatch.setattr(demo, "report_of", nothing)
    monkeypatch.setattr(demo, "ProcessPoolExecutor", lambda n, *_: ThreadPoolExecutor(n))
    monkeypatch.setattr("harness.play.tournament.run_tournament", nothing)
    monkeypatch.setattr("harness.capture.run.capture_run", nothing)
    monkeypatch.setattr("harness.experiment.run.run_experiment", nothing)
    monkeypatch.setattr("analysis.report.experiment.write_effects", nothing)
    with pytest.raises(SystemExit) as ended:
        main(["demo", "--out", str(tmp_path)])
    assert ended.value.code == FAILING
    assert "because its backend failed" in capsys.readouterr().out


def test_share_of_cached_tokens_is_a_share_also_where_a_game_was_interrupted(tmp_path):
    class Cached(FakeBackend):
        async def generate(self, prompts: Sequence[Prompt]) -> list[Generation]:
            from msgspec.structs import replace

            found = await super().generate(prompts)
            return [replace(g, n_cached=len(p.ids) + 7) for g, p in zip(found, prompts, strict=True)]

    made = config(1)
    schedule = Schedule(made)
    backend = Cached(make_tokenizer(), transcript_line)
    path = play_run(made, tmp_path / "run", {"small": backend})
    (planned,) = list(schedule)
    records = load_run(path).records(planned.game_id)
    model = [d for d in decisions(records) if d.trace is not None]
    begun = records[: model[len(model) // 2].seq + 1]

    async def go_on() -> dict[str, float]:
        runner = Runner(tmp_path / "j.jsonl", schedule.cells, schedule.configs, {"small": backend})
        await runner.play(planned, begun)
        counts = await runner.counts()
        await runner.close()
        return {"cached": counts.cached_tokens, "prompt": counts.prompt_tokens}

    found = asyncio.run(go_on())
    assert 0 < found["cached"] <= found["prompt"], json.dumps(found)
