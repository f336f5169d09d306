"""Real pretrained models play, are captured, changed and read like any other. `make real-models` builds their folders;
without them these tests are skipped.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import polars as pl
import pytest

from games.records import Decision
from harness.activations.sites import views
from harness.activations.store import open_activations
from harness.activations.verify import verify
from harness.branch.branch import Prefix, Steer, branch
from harness.capture.contexts import Players
from harness.capture.run import capture_run
from harness.capture.variants import INSTRUCTIONS, GameVariants
from harness.check.check import check_activations, check_run
from harness.config.files import parse_config
from harness.run.folder import Run, load_run
from harness.schedule.branched import schedule_of
from tests.fixtures.local_runs import branch_here, play_run
from tests.fixtures.player_fixtures import GEMMA, SMOL

ROOT = Path(__file__).resolve().parents[2]
PLACE = Path(os.environ.get("WOLFSCOPE_REAL_MODELS") or ROOT / ".cache" / "real-models")
SITES = [
    "prompt_last",
    "output_last",
    "speech_last",
    "mention",
    "mention_told",
    "role_line",
    "belief_mention",
]
PLAIN = {"scratchpad": False}


class Case(msgspec.Struct, frozen=True):
    """How a real model is played: a seat for each of its agents."""

    model: str
    agents: Mapping[str, Mapping[str, Any]]
    """Agent -> its prompt style and settings."""
    template: str | None = None
    """Another chat template than the folder's."""


TRANSCRIPT = {"prompt": "transcript", "settings": {"choice": "repair"}}
CHAT = {"prompt": "chat", "settings": {"choice": "constrained", "factors": PLAIN}}
THINKING = {
    "prompt": "chat",
    "settings": {
        "choice": "constrained",
        "factors": PLAIN | {"version": "short"},
        "thinking": {"given": "I weigh what was said."},
    },
}
CASES = {
    "SmolLM2": Case("SmolLM2-135M-Instruct", {"transcript": TRANSCRIPT, "chat": CHAT}),
    "SmolLM2-thinking": Case("SmolLM2-135M-Instruct", {"thinking": THINKING}, SMOL),
    "Gemma": Case("gemma-3-270m", {"transcript": TRANSCRIPT, "chat": CHAT}, GEMMA),
}

pytestmark = pytest.mark.slow


class Played(msgspec.Struct, frozen=True):
    """A run of one game, and the backend that played it."""

    case: str
    run: Run
    folder: Path
    backend: Any

    def own(self) -> list[Decision]:
        """The model's decisions."""
        found = [
            r for r in self.run.records(0) if isinstance(r, Decision) and r.agent in CASES[self.case].agents
        ]
        assert found
        return found

    def tokenizer(self) -> Any:
        from agents.models.folder import load_tokenizer

        return load_tokenizer(self.folder)


def model_of(case: Case, scratch: Path) -> Path:
    """The model's folder: with another template, one whose weights are the same file."""
    folder = PLACE / case.model
    if not folder.is_dir():
        pytest.skip(f"{case.model} is not there; make real-models builds it")
    if case.template is None:
        return folder
    other = scratch / f"{case.model}-other-template"
    shutil.copytree(folder, other, copy_function=os.symlink)
    (other / "chat_template.jinja").unlink(missing_ok=True)
    (other / "chat_template.jinja").write_text(case.template)
    return other


@pytest.fixture(scope="module", params=CASES)
def played(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Played:
    """One game of six with the model in a seat of each style, played in this process on the hooked backend."""
    case, scratch = CASES[request.param], tmp_path_factory.mktemp("real")
    folder = model_of(case, scratch)
    from agents.backends.hooked.backend import load_hooked_backend

    config = parse_config(
        {
            "run": {"games": 1, "seed": 3},
            "game": {"preset": "probe-6", "speech_rounds": 1, "max_days": 1},
            "agents": {
                **{
                    name: {
                        "kind": "llm",
                        "backend": "model",
                        "sampling": {"max_tokens": 16},
                        "retries": 1,
                        **agent,
                    }
                    for name, agent in case.agents.items()
                },
                "loud": {"kind": "scripted", "policy": "loud"},
            },
            "backends": {"model": {"kind": "transformers", "model": str(folder), "device": "cpu"}},
            "roster": {"seats": [*case.agents, *["loud"] * (6 - len(case.agents))]},
            "beliefs": {"enabled": True, "orders": 1},
            "activations": {"sites": SITES, "layers": [0, 0.5]},
        }
    )
    backend = load_hooked_backend(folder, device="cpu", dtype="float32")
    run = load_run(play_run(config, scratch / "run", {"model": backend}))
    return Played(request.param, run, folder, backend)


def test_it_plays_and_its_run_is_sound(played: Played) -> None:
    assert check_run(played.run.path) == []
    assert all(d.trace is not None for d in played.own())
    assert not any(d.fallback == "backend_error" for d in played.own())
    ballots = [d for d in played.own() if d.kind == "ballot"]
    assert ballots and all(d.fallback is None for d in ballots), "a choice among options never falls back"


def test_the_log_holds_the_very_tokens(played: Played) -> None:
    tokenizer = played.tokenizer()
    for d in played.own():
        assert d.trace is not None
        assert tokenizer.decode(list(d.trace.output_ids), skip_special_tokens=False).startswith(
            d.trace.output_text.rstrip("\N{REPLACEMENT CHARACTER}")[:8]
        )
        assert len(played.run.context_ids(played.run.game_ids[0], d.seq)) >= len(d.trace.prompt_ids)


def test_beliefs_are_probabilities_of_roles(played: Played) -> None:
    beliefs = played.run.beliefs.collect()
    assert len(beliefs)
    stated = beliefs["p_werewolf"].drop_nulls().to_numpy()
    assert len(stated) == len(beliefs)
    assert np.all((stated >= 0) & (stated <= 1))


def test_thinking_is_cut_closed_and_never_said(played: Played) -> None:
    if played.case != "SmolLM2-thinking":
        return
    tokenizer = played.tokenizer()
    for d in played.own():
        assert d.trace is not None
        ids = played.run.context_ids(0, d.seq)
        thought = [tokenizer.decode(ids[s.start : s.end]) for s in d.trace.spans if s.kind == "reasoning"]
        whole = tokenizer.decode(ids)
        assert whole.count("<think>") == whole.count("</think>") > 0, (
            "every thinking that was opened is closed"
        )
        assert "think>" not in d.action.text
        assert thought and not any(len(t.strip()) > 8 and t.strip() in d.action.text for t in thought)


def test_activations_are_those_of_a_plain_pass_and_name_their_tokens(played: Played) -> None:
    run = played.run
    capture_run(run.path)
    store = open_activations(run.path / "activations")
    assert verify(store) == []
    assert check_activations(run.path) == []
    assert set(store.index()["site"].unique()) >= set(SITES) - {"speech_last"}
    if played.case == "Gemma":  # longer than the sliding window of its local layers
        config = json.loads((played.folder / "config.json").read_text())
        assert max(len(view.ids) for view in views(run.records(0), None)) > config["sliding_window"]
        assert config.get("tie_word_embeddings", True)
        prompt = played.tokenizer().decode(
            run.prompt_ids(0, next(d.seq for d in played.own() if d.agent == "chat"))
        )
        assert prompt.startswith("<bos><start_of_turn>user\n") and "system\n" not in prompt
        assert not prompt.startswith("<bos><bos>")
    names = dict(run.seats.select("seat", "name").collect().iter_rows())
    rows = run.mention_tokens()
    assert rows.height == store.index().filter(pl.col("site").str.starts_with("mention")).height > 0
    for row in rows.iter_rows(named=True):
        name, text = names[row["subject"]], row["text"].strip()
        assert text and name.endswith(text)
        assert (text == name) == (row["name_tokens"] == 1)
    assert not rows.filter(pl.col("site") == "mention_told")["quoted"].any()
    assert rows.filter(pl.col("site") == "mention")["quoted"].any()


def test_a_changed_context_says_what_is_changed_in_the_models_own_tokens(played: Played) -> None:
    from agents.llm.encoder import Encoder

    run, tokenizer = played.run, played.tokenizer()
    game, config, seed = run.game(0)
    players = Players(schedule_of(run.manifest).configs)
    made = GameVariants(
        run.game_ids[0],
        game,
        config,
        seed,
        run.records(0),
        Encoder(tokenizer),
        lambda name: players.get(0, name),
    )
    for view in views(run.records(0), None):
        line = next(s for s in view.spans if s.kind == "role_line")
        front, role, rest = (
            tokenizer.decode(list(part), skip_special_tokens=False)
            for part in (view.ids[: line.start], view.ids[line.start : line.end], view.ids[line.end :])
        )
        lines = {}
        for name in ("no_role_line", "swapped_role", "reskinned-neutral", *INSTRUCTIONS):
            change = made.change(name)
            changed = None if change is None else change(view)
            assert changed is not None
            lines[name] = tokenizer.decode(list(changed.ids), skip_special_tokens=False)
        assert lines["no_role_line"] == front + rest
        for name in ("swapped_role", "reskinned-neutral"):
            assert lines[name].startswith(front) and lines[name].endswith(rest)
            other = lines[name][len(front) : len(lines[name]) - len(rest)]
            assert other != role and other.endswith("\n") and other.strip()
        for name, words in INSTRUCTIONS.items():
            assert words in lines[name] and lines[name].replace(words, "", 1) == front + role + rest


def test_changed_decisions_are_captured_beside_the_original(played: Played) -> None:
    if played.case != "SmolLM2":
        return
    kinds = ("no_role_line", "swapped_role", "reskinned", *INSTRUCTIONS)
    capture_run(played.run.path, variants=kinds, sites=("prompt_last",))
    rows = open_activations(played.run.path / "activations").index(site="prompt_last", variant=None)
    found = dict(rows.group_by("variant", maintain_order=True).len().iter_rows())
    assert set(found) >= {"original", "no_role_line", "swapped_role", "reskinned-neutral", *INSTRUCTIONS}
    assert len(set(found.values())) == 1
    assert check_activations(played.run.path) == []


def test_a_branch_puts_words_into_its_mouth_or_steers_it(
    played: Played, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if played.case != "SmolLM2":
        return
    ends = ("", "+steered", "+unsteered")  # a steered branch plays on backends of its own names
    branch_here(monkeypatch, {f"model{a}{b}": played.backend for a in ends for b in ends})
    speech = next(d for d in played.own() if d.kind == "speech")
    made = load_run(branch(played.run.path, "0", speech.seq, Prefix("I am"), 1, tmp_path / "prefix"))
    logs = {made.cell(g).factors["arm"]: made.records(g) for g in made.game_ids}
    put = logs["changed"][speech.seq]
    assert isinstance(put, Decision) and put.trace is not None
    whole = played.tokenizer().decode(made.context_ids(made.game_ids[0], speech.seq))
    assert "I am" in whole
    ballot = next(d for d in played.own() if d.kind == "ballot")
    vector = tmp_path / "v.npy"
    np.save(vector, np.random.default_rng(0).normal(size=576).astype(np.float32))
    steer = Steer(ballot.seat, str(vector), 12, scale=4.0)
    made = load_run(branch(played.run.path, "0", ballot.seq, steer, 1, tmp_path / "steer"))
    logs = {made.cell(g).factors["arm"]: made.records(g) for g in made.game_ids}
    changed = logs["changed"][ballot.seq]
    assert isinstance(changed, Decision) and changed.trace is not None
    assert changed.trace.sampling["steered"] > 0


def test_a_report_says_what_little_one_game_tells(played: Played, tmp_path: Path) -> None:
    if played.case != "SmolLM2":
        return
    from analysis.report.report import result_lines, write_report

    page = write_report([played.run.path], out=tmp_path / "report.html")
    assert "SmolLM2-135M-Instruct" in page.read_text(encoding="utf-8")
    assert result_lines(page)
