"""A run folder of an earlier version stays good: it is opened, checked, reported, branched, and its probes are applied.

`tests/fixtures/before_the_move.tar.xz` was played, captured and reported by commit b5056d5: 26 games of classic-7, the
shipped small model of that time in one seat and scripted players in the others.
"""

from __future__ import annotations

import asyncio
import tarfile
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from agents.werewolf.vocabulary import make_tokenizer
from analysis.evaluation.evaluate import Settings
from analysis.evaluation.saved import apply, load
from analysis.report.report import write_report
from games.records import NOBODY, Decision
from harness.branch.branch import Choose, locate
from harness.branch.plan import Plan
from harness.check.check import check_run
from harness.play.runner import Runner
from harness.replay.posteriors import posteriors_of
from harness.replay.replay import open_replay
from harness.run.folder import load_run
from tests.fixtures.player_fixtures import FakeBackend, transcript_line

FIXTURE = Path(__file__).parents[1] / "fixtures" / "before_the_move.tar.xz"
QUICK = Settings(n_permutations=19, n_boot=100, trees=2, rung_games=0, character=False)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("old")
    with tarfile.open(FIXTURE) as archive:
        archive.extractall(folder, filter="data")
    return folder / "before_the_move"


def test_it_is_opened_with_all_its_tables(run: Path) -> None:
    opened = load_run(run)
    assert opened.finished
    assert len(opened.game_ids) == 26
    assert opened.games.collect()["lexicon"].unique().to_list() == ["classic"]
    beliefs = opened.beliefs.collect()
    assert beliefs["p_werewolf"].is_not_null().all()
    assert opened.activations().scan().collect().height == 672


def test_it_is_sound_by_todays_rules_prompts_and_tokens(run: Path) -> None:
    assert [f"{f.where}: {f.what}" for f in check_run(run)] == []


def test_its_games_are_read_again_and_observed(run: Path) -> None:
    replay = open_replay(run, "0")
    assert replay.lines()[0].startswith("Players: ")
    points = posteriors_of(replay.run)["rules"](replay)
    assert {seat for _, viewer, subject, _ in points for seat in (viewer, subject)} == set(range(7))


def test_its_saved_probe_scores_its_activations(run: Path) -> None:
    probe = load(run / "report" / "probes" / "subject_is_werewolf.json")
    scores = apply(probe, load_run(run))
    assert scores["same_model"].all()
    assert len(scores) > 200
    assert np.isfinite(scores["p"].to_numpy()).all()


def test_a_game_of_it_is_branched(run: Path, tmp_path: Path) -> None:
    replay = open_replay(run, "0")
    ballot = next(r for r in replay.records if isinstance(r, Decision) and r.kind == "ballot")
    other = next(o for o in ballot.options if o not in (ballot.action.option, NOBODY))
    plan = Plan(replay, locate(replay, ballot.seq), Choose(other), 1)
    backends = {"small": FakeBackend(make_tokenizer(), transcript_line)}
    runner = Runner(tmp_path / "s0001-r000.jsonl", plan.schedule.cells, plan.schedule.configs, backends)
    planned = next(iter(plan.schedule))
    beginning = plan.prefix(next(arm for arm in plan.arms if arm.name == "changed"))
    assert beginning[ballot.seq].action.option == other
    end = asyncio.run(runner.play(planned, beginning))
    assert end.status == "finished", end.error


@pytest.mark.slow
def test_it_is_reported_with_the_same_rows(run: Path, tmp_path: Path) -> None:
    page = write_report([run], out=tmp_path / "report.html", settings=QUICK)
    rungs = pl.read_parquet(page.with_suffix("") / "S1_rungs.parquet")
    row = rungs.filter(target="subject_is_werewolf").row(0, named=True)
    assert (row["n_rows"], row["n_games"]) == (290, 16)
