"""Where a reader's belief stands between observers that use evidence only up to a rung."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from agents.werewolf.observer import RUNGS, Observer
from analysis.beliefs.observers import rung_rows
from analysis.beliefs.tables import SCHEMA
from analysis.beliefs.werewolf import follower
from analysis.data.captures import checkpoints_of
from analysis.data.frames import Logs
from analysis.evaluation.evaluate import Settings, evaluate
from analysis.evaluation.prepare import prepare
from analysis.models.ladder import ladder
from analysis.report.report import write_report
from analysis.stats.metrics import auroc
from games.records import Decision
from harness.run.folder import load_run
from tests.fixtures.planted_runs import planted_run, scripted_game

FAST = Settings(n_permutations=19, n_boot=200, trees=2, audits=False, character=False)


@pytest.fixture(scope="module")
def games():
    return [scripted_game(seed) for seed in range(30)]


@pytest.fixture(scope="module")
def beliefs(games):
    """Of every rung at the ballots of all who are no werewolves."""
    rows = []
    for log in games:
        roles = [fact.role for fact in log.game.seats(log.config, log.records)]
        asked = {
            r.seq
            for r in log.records
            if isinstance(r, Decision) and r.kind == "ballot" and roles[r.seat] != "werewolf"
        }
        rows += [row for name in RUNGS for row in rung_rows(follower, log, name, asked, models=False)]
    return pl.DataFrame(rows, schema=SCHEMA, orient="row")


def test_the_deeper_the_evidence_the_better_the_observer_tells_werewolves(games, beliefs):
    roles = {log.game_id: [f.role for f in log.game.seats(log.config, log.records)] for log in games}
    truth = np.array([roles[g][s] == "werewolf" for g, s in beliefs.select("game_id", "subject").iter_rows()])
    of = beliefs["source"].to_numpy()
    p = beliefs["p_werewolf"].to_numpy()
    values = [auroc(truth[of == name], p[of == name]) for name in RUNGS]
    assert values[0] < values[1] < values[2] < values[3]
    assert values[4] > values[0] + 0.2


def test_the_highest_rung_is_the_exact_observer_and_the_lowest_the_rules(games, beliefs):
    log = games[0]
    for name, kind in ((RUNGS[-1], "exact"), (RUNGS[0], "rules")):
        mine = beliefs.filter(pl.col("game_id") == log.game_id, pl.col("source") == name)
        observer, found = Observer(kind, log.config), []
        for record in log.records:
            if record.seq in set(mine["seq"]):
                rows = mine.filter(pl.col("seq") == record.seq)
                found += [observer.p_werewolf(record.seat)[s] for s in rows["subject"]]
            observer.update(record)
        assert mine["p_werewolf"].to_list() == pytest.approx(found)


def test_every_rung_has_every_row(beliefs):
    assert beliefs.group_by("source").len()["len"].n_unique() == 1


def test_runs_of_checkpoints_make_a_course_between_the_rungs(tmp_path):
    runs = [
        planted_run(tmp_path / f"run-{n}", 16, strength, seed=n, model=f"tokens-{n}000@0", beliefs=True)
        for n, strength in ((1, 0.0), (9000, 2.0))
    ]
    page = write_report(runs, out=tmp_path / "page.html", settings=FAST)
    found = pl.read_parquet(tmp_path / "page" / "F12_ladder.parquet")
    assert found["tokens"].unique(maintain_order=True).to_list() == [1000, 9_000_000]
    assert set(found["source"]) == {*RUNGS, "stated", "represented"}
    first, last = found.filter(pl.col("source") == "represented").to_dicts()
    assert first["auroc"] < 0.65
    assert RUNGS[3] in first["below"]
    assert last["auroc"] > 0.85
    assert RUNGS[0] in last["above"]
    assert (found["low"] <= found["auroc"]).all()
    assert (found["high"] <= 1).all()
    assert "1k" in page.read_text()
    assert '<figure id="F12">' in page.read_text()


def test_checkpoints_captured_on_one_runs_contexts_stand_on_the_same_rungs(tmp_path):
    path = planted_run(tmp_path / "run", 16, 2.0, checkpoints={"tokens-1000": 0.0, "tokens-2000": 1.0})
    runs = [("", load_run(path))]
    prepared = prepare(Logs(runs), FAST)
    e = evaluate(prepared.targets[0], FAST)
    found, absent = ladder(e, prepared.watched.rungs, checkpoints_of(e.target, runs), RUNGS, FAST)
    assert absent == []
    assert found["tokens"].unique(maintain_order=True).to_list() == [1000, 2000, None]
    rungs = found.filter(pl.col("source").is_in(list(RUNGS)))
    assert rungs.group_by("source").agg(pl.col("auroc").n_unique())["auroc"].to_list() == [1] * len(RUNGS)
    early, late, _ = found.filter(pl.col("source") == "represented")["auroc"]
    assert late > early + 0.2
