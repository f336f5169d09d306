"""Transfer, geometry, courses, contrasts, recipes, effects and the judge, each on data whose answer is known."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from analysis.beliefs import event_alignment as courses
from analysis.beliefs import geometry
from analysis.data.frames import Logs
from analysis.evaluation import judge
from analysis.evaluation.evaluate import Evaluation, Settings, evaluate
from analysis.evaluation.prepare import prepare
from analysis.evaluation.recipes import lat, recipes
from analysis.evaluation.transfer import transfer
from analysis.planted.planted import plant
from analysis.planted.rungs import target_of
from analysis.probes.mlp import mlp
from analysis.report.report import write_report
from analysis.stats.errors import AnalysisError
from analysis.stats.splits import game_folds
from harness.run.folder import load_run
from harness.run.manifest import read_manifest
from tests.fixtures.planted_runs import planted_run

FAST = Settings(n_permutations=19, n_boot=100, trees=2, rung_games=0, character=False)


@pytest.fixture(scope="module")
def signal():
    return target_of(plant("signal", 60, 3.0, seed=5))


@pytest.fixture(scope="module")
def two_runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("two")
    return [planted_run(folder / f"run-{i}", 25, 1.5, seed=i, beliefs=i == 0) for i in range(2)]


@pytest.fixture(scope="module")
def page(two_runs):
    return write_report(two_runs, out=two_runs[0].parent / "page.html", settings=replace(FAST, audits=False))


def test_a_read_out_transfers_between_halves_of_one_run_and_not_between_planted_directions(signal, page):
    half = np.array(["even" if game[-1] in "02468" else "odd" for game in signal.games])
    found, small = transfer(signal, "run", half, n_boot=50)
    assert small == []
    assert found["auroc"].min() > 0.7
    across = pl.read_parquet(page.with_suffix("") / "F6_transfer.parquet").filter(
        pl.col("target") == "subject_is_werewolf", pl.col("by") == "run"
    )
    own = across.filter(pl.col("train") == pl.col("test"))["auroc"].to_list()
    away = across.filter(pl.col("train") != pl.col("test"))["auroc"].to_list()
    assert min(own) > 0.7
    assert max(away) < min(own) - 0.1  # each run's direction was drawn anew
    assert "does the probe hold for another run?" in page.read_text()


def test_groups_too_small_to_train_on_are_named(signal):
    labels = np.where(signal.games == signal.games[0], "tiny", "rest")
    found, small = transfer(signal, "run", labels, n_boot=20)
    assert found["train"].to_list() == ["rest"]
    assert small[0].startswith("tiny: 1 games")


def test_a_linear_map_recovers_a_planted_posterior_out_of_fold():
    rng = np.random.default_rng(0)
    games = np.repeat(np.arange(40), 20)
    x = rng.normal(size=(800, 10)).astype(np.float32)
    y = np.stack([x[:, 0] * 2, rng.normal(size=800)], axis=1)
    predicted = geometry.ridge_map(x, y, game_folds(games))
    assert 1 - ((predicted - y) ** 2).mean(axis=0)[0] / y[:, 0].var() > 0.95
    assert 1 - ((predicted - y) ** 2).mean(axis=0)[1] / y[:, 1].var() < 0.05


def test_second_order_beliefs_are_paired_with_what_the_other_states():
    row = {
        "game_id": "g",
        "seq": 5,
        "viewer": 0,
        "subject": 1,
        "about": 2,
        "source": "stated",
        "p_werewolf": 0.7,
    }
    theirs = {
        "game_id": "g",
        "seq": 4,
        "viewer": 1,
        "subject": 2,
        "about": None,
        "source": "stated",
        "p_werewolf": 0.6,
    }
    later = theirs | {"seq": 6, "p_werewolf": 0.1}
    beliefs = pl.DataFrame([row, theirs, later])
    exact = pl.DataFrame([{k: row[k] for k in ("game_id", "seq", "viewer", "subject", "about")}
                          | {"expected": 0.5, "actual": 0.4}])  # fmt: skip
    rows = {
        r["source"]: (r["expected"], r["actual"]) for r in geometry.second_order(beliefs, exact).to_dicts()
    }
    assert rows == {"observer": (0.5, 0.4), "stated against observer": (0.7, 0.4), "stated": (0.7, 0.6)}


def test_beliefs_are_aligned_to_the_first_decision_after_the_event(signal):
    frame = signal.frame.with_columns(
        was_accused=pl.when(pl.col("turn") >= 1).then(1).otherwise(0).cast(pl.Int16)
    )
    found = courses.aligned(frame, {"clock": frame["turn"].to_numpy().astype(float)}, least=1)
    accused = found.filter(pl.col("event") == courses.EVENTS["was_accused"])
    assert {(r["offset"], r["belief"]) for r in accused.to_dicts()} == {(-1, 0.0), (0, 1.0), (1, 2.0)}


def test_persuasion_compares_listeners_before_and_after():
    said = pl.DataFrame([{
        "game_id": "g", "seq": 10, "speaker": 0, "speaker_role": "werewolf", "kind": "accuse", "subject": 1,
        "suspicion_before": 0.3, "suspicion_after": 0.25, "subject_before": 0.3, "subject_after": 0.4,
    }])  # fmt: skip
    asked = [(8, 2, 0.3), (12, 2, 0.5), (8, 0, 0.1), (12, 0, 0.9), (8, 1, 0.0), (12, 1, 1.0)]
    beliefs = pl.DataFrame([
        {"game_id": "g", "seq": s, "viewer": v, "subject": 1, "about": None, "source": "stated", "p_werewolf": p}
        for s, v, p in asked
    ], schema_overrides={"about": pl.Int16})  # fmt: skip
    row = courses.persuasion(said, beliefs).row(0, named=True)
    assert row["stated_shift"] == pytest.approx(0.2)  # neither the speaker nor the accused is a listener
    assert row["subject_shift"] == pytest.approx(0.1)
    assert row["speaker_shift"] == pytest.approx(-0.05)


@pytest.mark.parametrize("recipe", [mlp, lat])
def test_recipes_read_a_strong_signal_out_of_fold(recipe):
    rng = np.random.default_rng(1)
    games, y = np.repeat(np.arange(40), 20), rng.integers(0, 2, 800).astype(float)
    x = rng.normal(size=(800, 8)).astype(np.float32)
    x[:, 3] += 4 * y
    x[:, 3] *= 2
    scores = recipe(x, y, game_folds(games))
    assert scores[y > 0].mean() > scores[y < 1].mean()


def test_a_judge_is_compared_and_never_a_target(two_runs, tmp_path):
    speeches = pl.DataFrame({"game_id": ["g"] * 4, "seq": [1, 2, 3, 4], "n_statements": [1, 1, 1, 0],
                             "any_known_false": [True, False, False, False]},
                            schema_overrides={"seq": pl.Int32})  # fmt: skip
    judged = pl.DataFrame({"game_id": ["g"] * 4, "seq": [1, 2, 3, 4], "judge": ["j"] * 4,
                           "p_lie": [0.9, 0.2, 0.6, 0.9]}, schema=judge.COLUMNS)  # fmt: skip
    row = judge.agreement(judged, speeches).row(0, named=True)
    assert row["n"] == 3  # a speech without a statement has no label
    assert row["agreement"] == pytest.approx(2 / 3)
    assert row["auroc"] == 1.0
    assert "wolfscope judge RUN" in judge.in_words(judge.agreement(judged.clear(), speeches))


def test_a_branch_shows_its_effects_and_is_no_sample(two_runs, tmp_path):
    run = planted_run(tmp_path / "run", 4, 0.0, capture=False)
    branch = planted_run(tmp_path / "branch", 2, 0.0, seed=9, capture=False)
    manifest = read_manifest(branch)
    manifest.parent = {"change": {"type": "steer", "vector": "v.npy", "layer": 1, "scale": 2.0}}
    manifest.write(branch)
    effect = {"kind": "outcome", "what": "village wins", "n": 40, "unchanged": 0.5, "changed": 0.75,
              "difference": 0.25, "low": 0.05, "high": 0.43}  # fmt: skip
    (branch / "branch.json").write_text(json.dumps({"what": "a push along v", "effects": [effect]}))
    text = write_report([run, branch], settings=FAST).read_text()
    assert "a push along v" in text
    assert "+0.25 [+0.05, +0.43]" in text
    assert "4 games of Werewolf" in text
    with pytest.raises(AnalysisError, match="branches only"):
        write_report([branch], settings=FAST)


def test_the_page_names_what_it_lacks(page):
    text = page.read_text()
    assert "No experiment was carried out on these games" in text
    assert "judgement stands beside the labels" in text
    assert "Not compared: the instructed-pair honesty probe" in text


def evaluated(run, name):
    """One question of a run, evaluated."""
    target = next(t for t in prepare(Logs([("", load_run(run))]), FAST).targets if t.name == name)
    found = evaluate(target, FAST)
    assert isinstance(found, Evaluation)
    return found


def test_changed_contexts_are_scored_by_the_fit_on_the_unchanged_ones(tmp_path):
    run = planted_run(tmp_path / "run", 28, 1.5, variants=("no_role_line", "random_span"))
    table = evaluated(run, "subject_is_werewolf").leakage
    by_split = dict(table.select("split", "auroc").iter_rows())
    assert by_split["whole games"] > 0.75
    assert (
        abs(by_split["context changed: no_role_line"] - 0.5) < 0.1
    )  # the variant's rows were captured as noise
    assert abs(by_split["context changed: random_span"] - 0.5) < 0.1
    notes = dict(table.select("split", "note").iter_rows())
    assert notes["context changed: no_role_line"] == "trained on the unchanged contexts; 100% of the rows"


def test_the_direction_between_instructions_reads_lies_where_it_is_the_direction_of_lies(tmp_path):
    run = planted_run(tmp_path / "run", 50, 0.0, instructions=0.4, model_seats=7)
    rows = recipes(evaluated(run, "own_lie_within_werewolves"), n_boot=100)
    (found,) = rows.filter(pl.col("recipe") == "instructed pairs").to_dicts()
    assert found["auroc"] > 0.7
    assert found["low"] < found["auroc"] < found["high"]
    assert "tells" in found["what"]


def test_the_page_shows_geometry_courses_and_second_order(page):
    text, folder = page.read_text(), page.with_suffix("")
    for name in ("F4", "F5", "F3-events"):
        assert f'<figure id="{name}">' in text
    r2 = pl.read_parquet(folder / "F4_r2.parquet")
    assert (
        r2.filter(pl.col("kind") == "public events")["r2"][0] > 0.1
    )  # the posterior rests on what is public
    assert len(pl.read_parquet(folder / "T4_windows.parquet").columns) == 22
