"""An experiment on a chat model: its prompts are made again from the log, with other settings where an arm says so."""

from __future__ import annotations

import asyncio
from pathlib import Path

import polars as pl
import pytest

from agents.backends.hooked.backend import load_hooked_backend
from analysis.report.experiment import write_effects
from games.records import Decision
from harness.config.files import parse_config
from harness.config.models import model_names
from harness.experiment.arms import expand
from harness.experiment.design import ExperimentError, load_design
from harness.experiment.moments import draw_moments
from harness.experiment.run import run_experiment
from harness.experiment.scenes import Scenes
from harness.play.runner import Runner
from harness.run.folder import Run, load_run
from harness.run.held import RunFolder, new_manifest
from harness.schedule.tournament import Schedule
from tests.fixtures.player_fixtures import chat_tokenizer
from tests.fixtures.tiny_models import tiny_model


def played(folder: Path, scratchpad: bool = False) -> Run:
    """One game of a random model in chat style on two seats."""
    tokenizer = chat_tokenizer("chatml")
    model = folder / "model"
    tiny_model(vocab_size=len(tokenizer), max_position_embeddings=8192).save_pretrained(str(model))
    tokenizer.save_pretrained(str(model))
    config = parse_config(
        {
            "run": {"games": 1, "seed": 4},
            "agents": {
                "chat": {
                    "kind": "llm", "backend": "tiny", "prompt": "chat", "sampling": {"max_tokens": 4}, "retries": 0,
                    "settings": {"factors": {"scratchpad": scratchpad}},
                },
                "loud": {"kind": "scripted", "policy": "loud"},
            },
            "backends": {"tiny": {"kind": "transformers", "model": str(model), "device": "cpu"}},
            "roster": {"seats": ["chat", "loud", "loud", "loud", "chat", "loud", "loud"]},
        }
    )  # fmt: skip
    schedule = Schedule(config)
    wanted = new_manifest("chat", config.plain(), config.hash(), len(schedule), schedule.cells)
    wanted.models = model_names(config.backends)

    async def play(runner: Runner) -> None:
        await asyncio.gather(*(runner.play(planned) for planned in schedule))
        await runner.close()

    with RunFolder.claim(folder / "run", wanted) as claimed:
        backend = load_hooked_backend(model, device="cpu")
        journal = claimed.journal_folder / "s0001-r000.jsonl"
        asyncio.run(play(Runner(journal, schedule.cells, schedule.configs, {"tiny": backend})))
        asyncio.run(backend.close())
        claimed.finish()
    return load_run(folder / "run")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return played(tmp_path_factory.mktemp("chat"))


SMALL = ("moments.n=3", "moments.per_game=9", "moments.subject=any")


def test_advice_is_put_into_the_prompt_and_its_sham_has_its_place(run: Run, tmp_path: Path) -> None:
    design = load_design("advice", SMALL)
    moments = draw_moments(design, [run], False)
    arms = {arm.id: arm for arm in expand(design, {}, 3, 128)[0]}
    scene = Scenes(run).scene(moments[0])
    texts = {}
    for name in ("unchanged", "advice", "advice-sham", "monitored"):
        asked = scene.options(arms[name])
        assert asked is not None
        texts[name] = scene.encoder.decode(asked.ids)
    assert tuple(scene.options(arms["unchanged"]).ids) == tuple(  # type: ignore[union-attr]
        run.prompt_ids(moments[0].game_id, moments[0].seq)
    )
    assert "rattles the shutters" in texts["advice-sham"]
    assert len({len(text) for text in texts.values()}) == 4
    assert arms["advice-sham"].of == "advice"
    assert design.family == ("advice", "monitored")
    folder = run_experiment(design, [run.path], tmp_path / "e", force=True)
    table = pl.read_parquet(folder / "outcomes.parquet")
    assert set(table["arm"]) == set(arms)
    assert "sham of equal size, misleading" in write_effects(folder)[0].read_text()
    # an answer is its name, of one token or several, and what ends the turn
    row = table.filter(pl.col("arm") == "unchanged").row(0, named=True)
    decision = next(
        r for r in run.records(moments[0].game_id) if isinstance(r, Decision) and r.seq == moments[0].seq
    )
    said = dict(zip(row["options"], row["logprobs"], strict=True))[decision.action.option]
    assert decision.trace is not None and len(decision.trace.output_ids) > 1
    assert said == pytest.approx(sum(decision.trace.logprobs), abs=1e-3)


def test_a_ballot_after_notes_has_no_distribution_and_is_refused(tmp_path: Path) -> None:
    run = played(tmp_path, scratchpad=True)
    with pytest.raises(ExperimentError, match=r"no bare choice among options.*and no notes"):
        run_experiment(load_design("advice", SMALL), [run.path], tmp_path / "e", force=True)
