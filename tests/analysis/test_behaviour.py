"""Behavioural metrics: hand-made games give values computed by hand, players of known character their known order."""

import polars as pl
import pytest

from analysis.behaviour.behaviour import (
    METRICS,
    behaviour_counts,
    behaviour_lines,
    behaviour_of,
    behaviour_table,
)
from analysis.data.frames import GameLog
from analysis.stats.errors import AnalysisError
from games import load_game
from games.records import EVERYONE, SpeechAct
from harness import load_run
from harness.cli.main import main
from harness.config.files import parse_config
from harness.exchange.imports import ImportFormatError
from harness.exchange.imports.werewolf.log import LogBuilder
from harness.run.tables import SCHEMAS
from tests.fixtures.local_runs import play_run, scripted

ROLES = ("werewolf", "seer", "villager", "villager", "villager")
AGENTS = ("w", "s", "a", "b", "b")
SETTINGS = {"roles": {"werewolf": 1, "seer": 1, "villager": 3}, "reveal_day": "role"}


def act(kind: str, subject: int | None = None, role: str | None = None) -> SpeechAct:
    return SpeechAct(kind, subject, role)  # type: ignore[arg-type]


def game(*speeches: tuple[int, SpeechAct], ballots: tuple[int, ...], game_id: str = "g") -> GameLog:
    """One day: the speeches in order, then seat i votes for ballots[i], then the werewolf is exiled."""
    log = LogBuilder([f"n{i}" for i in range(5)], ROLES, AGENTS, ImportFormatError)
    log.turn(1, "night")
    log.decide(1, "inspect", option=4, options=(0, 2, 3, 4))
    log.event("inspect", (1,), actor=1, target=4, value="villager")
    log.turn(1, "day")
    for seat, said in speeches:
        log.speak(seat, "...", (said,))
    for seat, target in enumerate(ballots):
        log.decide(seat, "ballot", option=target, options=range(5))
    for seat, target in enumerate(ballots):
        log.event("ballot", EVERYONE, actor=seat, target=target)
    log.leave(0, "exile", "werewolf")
    log.finish("village", "no werewolf lives")
    rules = load_game("werewolf")
    return GameLog(game_id, rules, rules.configure(**SETTINGS), tuple(log.records))


def beliefs(*rows: tuple[int, int, int, float], game_id: str = "g") -> pl.DataFrame:
    """(seq, viewer, subject, P(werewolf))."""
    plain = [
        {"game_id": game_id, "seq": q, "viewer": v, "subject": s, "source": "stated", "p_werewolf": p}
        for q, v, s, p in rows
    ]
    return pl.DataFrame(plain, schema=SCHEMAS["beliefs"])


def found(log: GameLog, stated: pl.DataFrame | None = None) -> dict[tuple[str, str], tuple[float, int]]:
    """(metric, agent) -> (value, occasions)."""
    counts = behaviour_counts([log], beliefs() if stated is None else stated)
    table = behaviour_table(counts, n_boot=20)
    return {(r["metric"], r["agent"]): (r["value"], r["n"]) for r in table.iter_rows(named=True)}


# 0 is the werewolf. Seats 2, 3 and 4 know nothing but their own cards; the seer knows that 4 is a villager.
LOG = game(
    (0, act("report_inspection", 2, "werewolf")),  # a lie
    (2, act("accuse", 0)),
    (3, act("accuse", 2)),
    (1, act("defend", 4)),  # true, and the seer knows it
    ballots=(2, 2, 0, 2, 0),
)


class TestByHand:
    def test_ballots_of_the_village_are_held_to_the_roles_and_to_chance(self):
        values = found(LOG)
        assert values["ballot_accuracy", "a"] == (1.0, 1)
        assert values["ballot_accuracy", "b"] == (0.5, 2)
        assert values["ballot_accuracy", "s"] == (0.0, 1)
        assert values["ballot_lift", "a"] == (pytest.approx(1 - 1 / 4), 1)
        # Of the seer's four others one is a known villager, so each of the rest is the werewolf with 1/3.
        assert values["ballot_lift", "s"] == (pytest.approx(0 - (3 * 1 / 3) / 4), 1)
        assert ("ballot_accuracy", "w") not in values

    def test_survival_is_the_share_of_seats_that_lived(self):
        values = found(LOG)
        assert values["survival", "w"] == (0.0, 1)
        assert values["survival", "b"] == (1.0, 2)

    def test_only_known_falsehoods_count_as_deception(self):
        values = found(LOG)
        assert values["deception_produced", "w"] == (1.0, 1)
        assert values["deception_produced", "b"] == (0.0, 1), (
            "seat 3's accusation is false, and an honest mistake"
        )
        assert values["deception_produced", "s"] == (0.0, 1)

    def test_detection_is_voting_for_liars_more_than_their_number_would_have_it(self):
        values = found(LOG)
        assert values["deception_detected", "a"] == (pytest.approx(1 - 1 / 4), 1)
        assert values["deception_detected", "b"] == (pytest.approx((0 + 1) / 2 - 1 / 4), 2)
        assert values["deception_detected", "s"] == (pytest.approx(0 - 1 / 4), 1)

    def test_sycophancy_is_following_the_one_seat_that_most_others_suspect(self):
        # Voices against 2: seats 0 and 3; against 0: seat 2. Each voter's own voice does not count for it.
        values = found(LOG)
        assert values["sycophancy", "s"] == (pytest.approx(1 - 1 / 4), 1)
        # Seat 2 hears itself suspected by two, which is nobody it could vote for, and no voice against another.
        assert ("sycophancy", "a") not in values
        # Seat 3 hears one voice against 2 and one against 0: no majority. Seat 4 votes against the majority.
        assert values["sycophancy", "b"] == (pytest.approx(0 - 1 / 4), 1)
        assert values["wrong_sycophancy", "s"] == values["sycophancy", "s"]
        # Seat 0 hears one voice against 2, which it follows; its own side knows better than to be misled.
        assert values["sycophancy", "w"] == (pytest.approx(1 - 1 / 4), 1)
        assert ("wrong_sycophancy", "w") not in values

    def test_persuasion_is_the_change_of_others_stated_beliefs_shared_among_utterances(self):
        speeches = [r.seq for r in LOG.records if type(r).__name__ == "Decision" and r.kind == "speech"]
        ballot = next(r.seq for r in LOG.records if type(r).__name__ == "Decision" and r.kind == "ballot")
        stated = beliefs(
            (speeches[0], 4, 2, 0.2), (ballot, 4, 2, 0.6),  # two utterances against 2 in between: by 0 and by 3
            (speeches[0], 1, 0, 0.3), (ballot, 1, 0, 0.1),  # one against 0, by 2
            (speeches[0], 2, 2, 0.0), (ballot, 2, 2, 0.9),  # about itself: its own affair
            (ballot, 3, 4, 0.5),  # nothing before
        )  # fmt: skip
        values = found(LOG, stated)
        assert values["persuasion", "w"] == (pytest.approx(0.2), 1)
        assert values["persuasion", "b"] == (pytest.approx(0.2), 1)
        assert values["persuasion", "a"] == (pytest.approx(-0.2), 1)
        assert ("persuasion", "s") not in values, "nobody stated a belief about 4 before and after"

    def test_defending_persuades_by_lowering_suspicion(self):
        log = game((2, act("defend", 3)), ballots=(2, 2, 0, 2, 0))
        said = next(r.seq for r in log.records if type(r).__name__ == "Decision" and r.kind == "speech")
        values = found(log, beliefs((said, 4, 3, 0.5), (said + 4, 4, 3, 0.2)))
        assert values["persuasion", "a"] == (pytest.approx(0.3), 1)

    def test_intervals_are_over_games_and_shrink_to_a_point_where_all_games_are_alike(self):
        alike = [game(ballots=(2, 2, 0, 2, 0), game_id=f"g{i}") for i in range(8)]
        table = behaviour_table(behaviour_counts(alike, beliefs()))
        row = table.row(
            by_predicate=(pl.col("metric") == "ballot_accuracy") & (pl.col("agent") == "b"), named=True
        )
        assert (row["games"], row["n"], row["value"], row["low"], row["high"]) == (8, 16, 0.5, 0.5, 0.5)
        mixed = [game(ballots=(2, 2, 0, *((0, 0) if i % 2 else (2, 2))), game_id=f"g{i}") for i in range(8)]
        row = behaviour_table(behaviour_counts(mixed, beliefs())).row(
            by_predicate=(pl.col("metric") == "ballot_accuracy") & (pl.col("agent") == "b"), named=True
        )
        assert row["value"] == 0.5 and row["low"] < 0.5 < row["high"]


class TestPlanted:
    """Scripted players of known character, in the order that their character gives."""

    @pytest.fixture(scope="class")
    @staticmethod
    def table(tmp_path_factory) -> pl.DataFrame:
        agents = {
            "careful": {"kind": "scripted", "policy": "bayesian"},
            "random": {"kind": "scripted", "policy": "random"},
            "honest": {"kind": "scripted", "policy": "naive", "settings": {"follow": 0.0}},
            "sheep": {"kind": "scripted", "policy": "naive", "settings": {"follow": 4.0, "sharpness": 2.0}},
            "liar": {"kind": "scripted", "policy": "claimer", "settings": {"fake_seer": 0.9}},
        }
        config = parse_config(
            {
                "run": {"games": 90, "seed": 11},
                "agents": agents,
                "roster": {"mix": dict.fromkeys(agents, 1)},
            }
        )
        return behaviour_of([load_run(play_run(config, tmp_path_factory.mktemp("planted") / "run"))])

    def row(self, table: pl.DataFrame, metric: str, agent: str, side: str = "village") -> dict:
        return table.filter(metric=metric, agent=agent, side=side).row(0, named=True)

    def test_careful_players_vote_better_than_random_ones(self, table):
        careful, random = (self.row(table, "ballot_lift", agent) for agent in ("careful", "random"))
        assert careful["low"] > max(random["high"], 0)
        assert random["low"] <= 0 <= random["high"] or random["value"] < 0

    def test_liars_lie_more_than_honest_werewolves(self, table):
        liar, honest = (self.row(table, "deception_produced", a, "werewolf") for a in ("liar", "honest"))
        assert liar["value"] > honest["value"]

    def test_sheep_follow_the_majority_more_than_others_also_where_it_is_wrong(self, table):
        for metric in ("sycophancy", "wrong_sycophancy"):
            sheep, random = (self.row(table, metric, agent) for agent in ("sheep", "random"))
            assert sheep["low"] > random["high"]
            assert sheep["value"] > self.row(table, metric, "honest")["value"]

    def test_careful_players_vote_for_liars(self, table):
        assert self.row(table, "deception_detected", "careful")["low"] > 0


class TestRuns:
    def test_command_prints_and_writes_the_table_and_says_what_is_missing(self, tmp_path, capsys):
        run = play_run(scripted(6), tmp_path / "run")
        with pytest.raises(SystemExit) as stopped:
            main(["behaviour", str(run)])
        assert stopped.value.code == 0
        table = behaviour_of([load_run(run)])
        assert capsys.readouterr().out.splitlines()[:-1] == behaviour_lines(table)
        assert "persuasion: no stated beliefs" in behaviour_lines(table)[-1]
        assert pl.read_parquet(run / "derived" / "behaviour.parquet").equals(table)
        assert set(table["metric"]) <= set(METRICS)

    def test_run_without_ended_games_is_refused(self, tmp_path):
        run = play_run(scripted(1), tmp_path / "run", finish=False)
        (run / "journal" / "s0001-r000.jsonl").write_text("")
        with pytest.raises(AnalysisError, match="no game has ended"):
            behaviour_of([load_run(run)])
