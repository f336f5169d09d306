"""The report's questions of a game that is not Werewolf: its own targets, counts and labels, through `Game` alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

import analysis
from agents.avalon.observer import RUNGS
from analysis.beliefs.observe import Asked, Following
from analysis.data.frames import Logs, counts_in, subject_rows
from analysis.data.labels import label
from analysis.data.targets import Target, targets_of
from analysis.evaluation.evaluate import Settings
from analysis.report.report import write_report
from analysis.stats.errors import AnalysisError
from games import load_game, register
from games.avalon.reading import FEATURES
from games.records import Decision, Event
from harness.run.folder import Run, load_run
from tests.fixtures.planted_runs import planted_run

GAME = load_game("avalon")
PRESET = "avalon-5"


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return planted_run(
        tmp_path_factory.mktemp("avalon") / "run", 16, 2.0, d_model=4, model_seats=3, game="avalon", preset=PRESET,
        beliefs=True, sites=("mention",),
    )  # fmt: skip


@pytest.fixture(scope="module")
def run(path: Path) -> Run:
    return load_run(path)


@pytest.fixture(scope="module")
def targets(run: Run) -> dict[str, Target]:
    logs = Logs([("", run)])
    labels = label(logs)
    found = targets_of(
        GAME, subject_rows(logs), subject_rows(logs, about="self"), labels["speeches"], labels["ballots"]
    )
    return {target.name: target for target in found}


def test_the_questions_are_those_of_the_game(targets: dict[str, Target]) -> None:
    assert list(targets) == [
        "subject_is_evil", "subject_is_merlin", "own_lie_within_evil_players", "own_next_team_fails"
    ]  # fmt: skip
    assert targets["subject_is_evil"].question.startswith("Is this other player evil?")
    assert all(target.frame.height == len(target.y) > 0 for target in targets.values())
    assert counts_in(targets["subject_is_evil"].frame) == list(FEATURES)


def test_nobody_is_asked_what_the_rules_have_told_it(targets: dict[str, Target]) -> None:
    evil, merlin = targets["subject_is_evil"], targets["subject_is_merlin"]
    for target in (evil, merlin):
        assert ((target.p_rules > 0) & (target.p_rules < 1)).all()
    informed = {"merlin", "assassin", "minion"}
    assert not informed & set(evil.frame["viewer_role"])  # they know who is evil
    assert set(merlin.frame["viewer_role"]) == {"assassin", "minion", "servant"}  # but not who Merlin is


def test_what_the_rules_say_is_right_on_average() -> None:
    config, expected, truth = GAME.configure(preset="avalon-7"), [], []
    for seed in range(300):
        _, events = GAME.start(config, seed)
        reading = GAME.reading(config)
        for event in events:
            reading.see(event)
        roles = [fact.role for fact in GAME.seats(config, events)]
        viewer = seed % 7
        for subject, told in enumerate(reading.posterior(viewer)):
            if subject != viewer and 0 < told.get("merlin", 0.0) < 1:
                expected.append(told["merlin"])
                truth.append(roles[subject] == "merlin")
                assert sum(told.values()) == pytest.approx(1)
    assert len(truth) > 500
    assert np.mean(truth) == pytest.approx(np.mean(expected), abs=0.03)


def test_a_missions_end_is_foretold_at_the_votes_for_its_team(run: Run, targets: dict[str, Target]) -> None:
    asked = targets["own_next_team_fails"]
    assert set(asked.frame["kind"]) == {"vote"} and set(asked.y) == {0.0, 1.0}
    answers = {(g, s): y for g, s, y in zip(asked.frame["game_id"], asked.frame["seq"], asked.y, strict=True)}
    for game_id in run.game_ids:
        votes: list[int] = []
        for record in run.records(game_id):
            if isinstance(record, Decision):
                votes += [record.seq] if record.kind == "vote" and record.trace is not None else []
            elif isinstance(record, Event) and record.kind == "mission":
                failed = float(record.value == "failure")
                assert {answers.pop((game_id, seq)) for seq in votes} <= {failed}
                votes = []
            elif isinstance(record, Event) and record.kind == "leader":
                votes = []
    assert not answers


def test_places_in_teams_are_held_against_a_choice_at_random_among_those_left(run: Run) -> None:
    ballots = label(Logs([("", run)]))["ballots"]
    assert set(ballots["kind"]) == {"pick"}
    assert ballots.select((pl.col("voter") != pl.col("target")).all()).item()
    assert ballots.select(pl.col("candidates").list.contains(pl.col("target")).all()).item()
    sizes = ballots["candidates"].list.len()
    assert sizes.min() < sizes.max() == 4  # of five, whoever is on the team already is no candidate
    assert (ballots["right"] != ballots["target_is_werewolf"]).all()
    merlin = ballots.filter(voter_role="merlin")
    assert set(merlin["p_voter"]) <= {0.0, 1.0}
    assert (merlin["against_knowledge"] == ~merlin["right"]).all()


def test_choices_that_rung_four_explains_are_among_those_left(run: Run, targets: dict[str, Target]) -> None:
    asked = targets["subject_is_evil"]
    assert asked.chose is not None
    marked = asked.frame.select("game_id", "seq", "viewer", "kind").with_columns(chose=pl.Series(asked.chose))
    chosen = marked.filter(pl.col("chose").is_not_nan())
    assert set(chosen["kind"]) == {"pick"}
    per = chosen.group_by("game_id", "seq", maintain_order=True).agg(pl.col("chose").sum(), n=pl.len())
    assert per["chose"].to_list() == [1.0] * len(per)
    assert per["n"].min() > 1


def test_observers_of_both_orders_and_every_rung_follow_its_games(run: Run) -> None:
    logs = Logs([("", run)])
    votes = [
        (log.game_id, r.seq)
        for log in logs.some(run.game_ids[:2])
        for r in log.records
        if isinstance(r, Decision) and r.kind == "vote"
    ]
    watched = Following(
        logs.some(run.game_ids[:2]), Asked(tuple(votes), True, tuple(run.game_ids[:2]))
    ).result()
    assert not watched.why
    assert set(watched.rungs["source"]) == set(RUNGS)
    counts = watched.rungs.group_by("source", maintain_order=True).len()["len"]
    assert counts.n_unique() == 1
    own = watched.second.filter(pl.col("about") == pl.col("viewer"))
    assert len(own) and own["expected"].is_between(0, 1).all()


def test_labels_are_the_engines(run: Run) -> None:
    statements = label(Logs([("", run)]))["statements"]
    for log in Logs([("", run)]).some(run.game_ids[:4]):
        told = {(s.seq, s.act): s for s in GAME.statements(log.config, log.records)}
        mine = statements.filter(game_id=log.game_id)
        assert len(mine) == len(told)
        for row in mine.iter_rows(named=True):
            engine = told[row["seq"], row["act"]]
            assert row["statement_is_false"] == engine.is_false
            assert row["speaker_knows_false"] == engine.knows_false


def test_the_report_is_written_and_finds_what_was_planted(path: Path, tmp_path: Path) -> None:
    settings = Settings(n_boot=50, n_permutations=20, max_rows=500, trees=5, audits=False)
    page = write_report([path], out=tmp_path / "report.html", settings=settings)
    scores = pl.read_parquet(page.with_suffix("") / "T2_scores.parquet")
    assert {"subject_is_evil", "subject_is_merlin"} <= set(scores["target"])
    probe = scores.filter(target="subject_is_evil", kind="probe")
    assert probe["auroc"].max() > 0.8
    text = page.read_text()
    assert "Another player is evil" in text and "Another player is Merlin" in text
    assert "won as good [95%]" in text and "places in teams" in text
    agents = pl.read_parquet(page.with_suffix("") / "T1_agents.parquet")
    assert agents["ballots"].sum() > 0 and {"wins_good", "wins_evil"} <= set(agents.columns)
    assert "who is evil" in (page.with_suffix("") / "answer.txt").read_text()


def test_games_are_not_mixed_and_a_game_without_a_reading_is_refused(run: Run, tmp_path: Path) -> None:
    other = load_run(planted_run(tmp_path / "other", 1, 0.0, d_model=4))
    with pytest.raises(AnalysisError, match="the runs are of avalon and of werewolf"):
        _ = Logs([("a:", run), ("b:", other)]).game
    register("coin", "tests.fixtures.extending.coin:GAME")
    from tests.fixtures.local_runs import play_run, scripted

    coin = play_run(scripted(games=1, mix={"accuser": 4}, game={"name": "coin"}), tmp_path / "coin")
    with pytest.raises(AnalysisError, match="the game coin does not say what its logs make known"):
        analysis.labels(load_run(coin))
