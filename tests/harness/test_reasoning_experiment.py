"""Importance is found at the step that decides and nowhere else; prefixes share their computation exactly; a design
with [reasoning] is carried out, goes on after a stop, and ends on a page."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import polars as pl
import pytest
import torch

from agents.backends.mock import MockBackend
from agents.hooks.model import hook_model
from analysis.effects.outcomes import read_experiment
from analysis.reasoning.commitment import commitment_table, commitments, mean_curve
from analysis.reasoning.determinism import determinism_table
from analysis.reasoning.faithfulness import acts, conflicts, writing
from analysis.reasoning.importance import NULL_ARM, against_halves, importance, importance_table
from analysis.reasoning.read import Reasonings, distance, judge_agreement, read_reasonings, shares_of
from analysis.report.experiment import write_effects
from games.records import Span
from harness.experiment.arms import Arm, expand
from harness.experiment.design import Design, load_design, parse_design
from harness.experiment.moments import draw_moments
from harness.experiment.reasoning.reads import Readout, forced_asks, inside
from harness.experiment.reasoning.run import read_with, resampled, with_reasoning
from harness.experiment.run import run_experiment
from harness.experiment.scenes import Prompted, Scenes
from harness.experiment.scoring.packed import PackedScorer
from harness.experiment.scoring.plain import PlainScorer
from harness.reasoning.categories import CATEGORIES
from harness.reasoning.played import Played
from harness.reasoning.steps import Step
from harness.run.folder import Run
from harness.view.pages import write_view
from tests.fixtures.player_fixtures import chat_tokenizer
from tests.fixtures.reasoned_runs import STYLE, Decided, reasoned_run, thought
from tests.fixtures.tiny_models import tiny_model


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return reasoned_run(tmp_path_factory.mktemp("reasoned"), games=4)


def design(**more: Any) -> Design:
    plain: dict[str, Any] = {
        "name": "reasons",
        "question": "Is the decision made in the reasoning?",
        "moments": {"n": 8, "per_game": 2, "subject": "any"},
        "reasoning": {"rollouts": 12, "max_tokens": 120},
        "test": {"smallest": 1.0, "outcome": "moved"},
    }
    return parse_design(plain | more)


def read(run: Run, folder: Path, obeys: bool, **more: Any) -> Reasonings:
    """What is read of a model whose answer is a known function of what was thought."""
    wanted = design(**more)
    scenes = [Scenes(run, reasons=True)]
    moments, left_out = with_reasoning(draw_moments(wanted, [run], False), scenes)
    assert len(moments) == 8 and not left_out
    arms = expand(wanted, {}, 2, 32)[0]
    backend = MockBackend(chat_tokenizer(STYLE), thought)
    folder.mkdir()
    read_with(folder, wanted, moments, arms, [run], scenes, Decided(obeys), backend)
    return read_reasonings(folder)


@pytest.fixture(scope="module")
def obeyed(run: Run, tmp_path_factory: pytest.TempPathFactory) -> Reasonings:
    """What is read of a model that does what it has written."""
    return read(run, tmp_path_factory.mktemp("read") / "obeys", True)


def flat(rows: list[list[float]]) -> list[float]:
    """The numbers of all moments, whose options may be of different number."""
    return [value for row in rows for value in row]


def test_importance_is_found_at_the_step_that_decides_and_nowhere_else(obeyed: Reasonings) -> None:
    r = obeyed
    steps = importance(r)
    decides = steps["text"].str.starts_with("I will vote")
    assert decides.sum() == 8 and set(steps.filter(decides)["step"]) == {2}
    assert (steps.filter(decides)["beyond"] > 0.3).all()
    assert (steps.filter(decides)["forced"] > 0.5).all()
    others = steps.filter(~decides, pl.col("beyond").is_not_null())
    assert len(others) > 15
    # a quiet step stands for nothing: within the null, whose own size is not zero before the decision is written
    assert abs(others["beyond"].mean()) < 0.05 < others.filter(pl.col("step") < 2)["null"].mean()
    assert (others.filter(pl.col("step") == 3)["beyond"].abs() < 1e-9).all()
    table = importance_table(r)
    assert table.filter(pl.col("measure") == "category: plan")["low"].item() > 0.3
    null_arm = table.filter(pl.col("measure") == NULL_ARM)
    assert null_arm["n"].item() > 10 and abs(null_arm["value"].item()) < 0.15
    found = commitments(r)
    assert (found["at"] == 3).all() and (found["after"] < 0.4).all() and not found["from_start"].all()
    curve = mean_curve(r)
    assert curve["value"][-1] == 0 and curve["value"][0] > 0.5


def test_an_arm_that_resamples_the_deciding_step_moves_the_decision_and_its_sham_does_not(
    run: Run, obeyed: Reasonings
) -> None:
    r, scenes = obeyed, Scenes(run, reasons=True)
    arm = Arm("again", "again", "", "reasoning", "resample")
    for moment in draw_moments(design(), [run], False):
        chosen = scenes.scene(moment).played.chosen  # the deciding step is the last that names it
        rows = r.rollouts.filter(pl.col("moment") == moment.id).to_dicts()
        found = resampled(scenes.scene(msgspec.structs.replace(moment, subject=chosen)), arm, rows)
        last = r.steps.filter(pl.col("moment") == moment.id, pl.col("k") == pl.col("n_steps"))
        played = shares_of(last["logprobs"][0].to_list())
        moved = {row["arm"]: distance(shares_of(row["logprobs"]), played) for row in found}
        assert moved["again"] > 0.3 and moved["again~sham"] < 1e-6


def test_a_model_that_ignores_its_reasoning_has_no_step_that_matters(run: Run, tmp_path: Path) -> None:
    r = read(run, tmp_path / "ignores", False)
    known = importance(r).filter(pl.col("beyond").is_not_null())
    assert len(known) > 20 and (known["beyond"].abs() < 1e-9).all()
    found = commitments(r)
    assert found["from_start"].all() and (found["largest"] < 1e-9).all()
    table = commitment_table(r)
    assert table.filter(pl.col("measure") == "after", pl.col("faction") == "all")["value"].item() == 1
    told = determinism_table(r)
    at_start = dict(told.filter(pl.col("written") == "0%").select("measure", "value").iter_rows())
    at_end = dict(told.filter(pl.col("written") == "75-100%").select("measure", "value").iter_rows())
    assert at_start["next_step"] > 1 and at_start["repetition"] < 0.2
    assert at_end["played"] > at_start["played"] and at_start["decision"] == pytest.approx(at_end["decision"])


def test_the_null_of_halves_is_not_zero_and_what_is_beyond_it_is_on_average() -> None:
    rng = np.random.default_rng(0)
    beyond, nulls = [], []
    for _ in range(60):
        a, b = (list(rng.dirichlet(np.ones(5), size=20)) for _ in range(2))
        value, null = against_halves(a, b, rng)
        assert value is not None and null is not None
        beyond.append(value - null)
        nulls.append(null)
    assert np.mean(nulls) > 0.01
    assert abs(np.mean(beyond)) < 3 * np.std(beyond) / np.sqrt(60) + 1e-3
    assert against_halves(a[:1], b, rng) == (None, None)


@pytest.mark.parametrize("family", ["llama", "gpt_neox"])
def test_all_prefixes_in_one_pass_answer_as_a_pass_each(run: Run, family: str) -> None:
    tokenizer = chat_tokenizer(STYLE)
    grouped = {"num_key_value_heads": 1} if family == "llama" else {}  # contexts are long: few heads
    model = tiny_model(
        family, vocab_size=len(tokenizer), max_position_embeddings=8192, num_hidden_layers=2, hidden_size=32,
        num_attention_heads=1, **grouped,
    )  # fmt: skip
    hooked = hook_model(model, tokenizer)
    packed, plain = PackedScorer(hooked), PlainScorer(hooked)
    wanted = design(moments={"n": 1, "per_game": 1, "subject": "any"})
    scenes = Scenes(run, reasons=True)
    for moment in draw_moments(wanted, [run], False):
        played = scenes.scene(moment).played
        asks = forced_asks(played, range(len(played.steps) + 1))
        before = packed.n_tokens
        found = packed.score(asks)
        for i in (0, 1, 3):
            assert np.abs(found[i] - plain.score([asks[i]])[0]).max() < 1e-4
        assert packed.n_tokens - before < 2 * len(asks[0].ids)  # one reading of what they share


ARMS = [
    {"name": do, "kind": "reasoning", "do": do}
    for do in ("edit", "drop", "resample", "shuffle", "filler", "other", "none")
]
AROUND = [
    {"name": "flip", "kind": "utterance", "do": "flip"},
    {"name": "swap", "kind": "role_line", "do": "swap"},
    {"name": "read", "kind": "player", "settings": {"settings.factors.monitored": True}},
]


def test_a_design_with_reasoning_is_carried_out_goes_on_and_ends_on_a_page(tmp_path: Path) -> None:
    run = reasoned_run(tmp_path, games=4, say=partial(thought, doubts=True))
    wanted = design(
        moments={"n": 2, "per_game": 1, "subject": "last_accused", "fit_share": 0.5},
        directions={"belief": {"fit": "belief"}},
        reasoning={
            "rollouts": 2,
            "max_tokens": 24,
            "belief": "belief",
            "repeats": 2,
            "judge": str(run.path.parent / "model"),
        },
        arms=[*ARMS, *AROUND],
    )
    folder = run_experiment(wanted, [run.path], force=True)
    manifest = json.loads((folder / "manifest.json").read_bytes())
    assert manifest["scorer"] == "packed" and manifest["off"] < 1e-3
    r = read_reasonings(folder)
    assert len(r.moments) == 2 and set(r.moments["repeated"]) == {1.0}
    assert float(r.moments["cold"].max()) < 1e-4  # type: ignore[arg-type]
    assert r.moments["posterior_source"][0] in ("exact", "rules")
    last = r.steps.filter(pl.col("k") == pl.col("n_steps"))
    outcomes = pl.read_parquet(folder / "outcomes.parquet")
    plain = outcomes.filter(pl.col("arm") == "unchanged")["logprobs"].to_list()
    assert np.allclose(flat(last["logprobs"].to_list()), flat(plain), atol=1e-4)
    nothing = r.steps.filter(pl.col("k") == 0)["logprobs"].to_list()
    none = outcomes.filter(pl.col("arm") == "none")["logprobs"].to_list()
    assert np.allclose(flat(nothing), flat(none), atol=1e-4)
    agreed = judge_agreement(r)
    assert agreed is not None and 0 <= agreed[0] <= 1 and set(last["judged"]) <= set(CATEGORIES)
    held = r.steps["beliefs"].explode().drop_nulls()
    assert len(held) and held.is_between(0, 1).all()
    assert set(r.rollouts["arm"]) == {"", "read"} and (r.rollouts["n_tokens"] <= 24).all()
    experiment = read_experiment(folder)
    told = acts(experiment)
    assert "sufficiency: edit" in set(told["measure"]) and "necessity: swap" in set(told["measure"])
    assert set(told.filter(pl.col("measure") == "sufficiency: drop")["against"]) == {"sham"}
    assert set(writing(r)["arm"]) == {"read"} and conflicts(r) is not None
    page, found = write_effects(folder)
    html = page.read_text()
    assert "decisions are fixed before the first word" in html and found[0].startswith(
        "Without its reasoning"
    )
    # stopped after the first moment, the rest is read by the same call
    for path in (folder / "reasoning").glob("00001-*"):
        path.unlink()
    for place in (folder, folder / "reasoning"):  # which a call that was stopped there would not have written
        (place / "digests.json").unlink()
    plainly = (folder / "manifest.json").read_text().replace('"finished"', '"asking"', 1)
    (folder / "manifest.json").write_text(plainly)
    run_experiment(wanted, [run.path], force=True)
    again = read_reasonings(folder).steps
    exact = pl.exclude("logprobs", "beliefs")
    assert again.select(exact).equals(r.steps.select(exact))
    assert np.allclose(flat(again["logprobs"].to_list()), flat(r.steps["logprobs"].to_list()), atol=1e-4)
    game = r.moments["game_id"][0]
    write_view(run.path, games=[game])
    shown = (run.path / "view" / "games" / f"{game}.html").read_text()
    assert '"reasoning":{"' in shown.replace(" ", "")


def test_a_design_that_ships_asks_behind_the_reasoning() -> None:
    assert load_design("thinking-steps").reasons
    with pytest.raises(Exception, match="no fitted direction or saved probe"):
        design(reasoning={"belief": "nothing"})


def test_a_direction_of_belief_questions_is_read_in_one_behind_the_cut_reasoning_and_not_on_the_ballot() -> (
    None
):
    # 1 Gus, 2 a line break, 3 thinks, 4 votes, 5 believes, 11 A, 12 B: `Gus thinks A 1 B 2`, then `Gus votes A B`
    ids = (9, 2, 1, 3, 11, 21, 12, 22, 2, 1, 4, 11, 12)
    steps = tuple(
        Step(index=i, start=4 + 2 * i, end=6 + 2 * i, text=text) for i, text in enumerate(("A 1", "B 2"))
    )
    mentions = [Span("mention", i, i + 1, token - 11) for i, token in enumerate(ids) if token in (11, 12)]
    spans = (Span("question", 2, 4, 0), Span("question", 9, 13, 0), *mentions)
    played = Played(ids, 4, 8, steps, ((31,),), (0,), 0, spans, 2, "items")
    questions = {
        seat: Prompted(
            (9, 2, 1, 5, 11 + seat), (Span("question", 2, 5, 0), Span("mention", 4, 5, seat)), (), ()
        )
        for seat in (0, 1)
    }
    read: list[tuple[tuple[int, ...], int]] = []

    class Scorer:
        def streams(self, ids: Any, places: Any, layers: Any) -> Any:
            (place,) = places
            read.append((tuple(ids), place))
            known = ids[-2] == 5 and place == len(ids) - 1
            return torch.tensor([[[float(ids[place]) if known else 0.0]]])

    readout = Readout(0, "option", [1.0], -11.5)
    held = inside(Scorer(), played, [0, 1, 2], [0, 1], readout, questions)
    assert [[p is not None and p > 0.5 for p in row] for row in held] == [[False, True]] * 3
    assert {asked for asked, _ in read} == {
        (*ids[: 4 + 2 * k], 2, 1, 5, name) for k in range(3) for name in (11, 12)
    }
    # another site's probe is read where it was: at the last mention in the decision's own context
    read.clear()
    inside(Scorer(), played, [2], [0, 1], Readout(0, "last_mention", [1.0], 0.0), questions)
    assert set(read) == {(ids, 11), (ids, 12)}
