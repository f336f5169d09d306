"""`wolfscope check` finds what was done to a run, and where."""

import asyncio
import json

import polars as pl
import pytest

from harness.check.check import check_run
from harness.config.files import parse_config
from harness.errors import RunFolderError
from harness.play.runner import Runner
from harness.replay.replay import open_replay
from harness.run.held import RunFolder, new_manifest
from harness.schedule.tournament import Schedule
from tests.fixtures.edits import edit_manifest, reseal


@pytest.fixture
def run(run_path):
    """A sound run of five games."""
    config = parse_config(
        {
            "run": {"games": 5, "seed": 8},
            "agents": {
                "a": {"kind": "scripted", "policy": "loud"},
                "b": {"kind": "scripted", "policy": "random"},
            },
            "roster": {"mix": {"a": 3, "b": 4}},
        }
    )
    made = Schedule(config)
    wanted = new_manifest("test", config.plain(), config.hash(), len(made), made.cells)
    with RunFolder.claim(run_path, wanted) as folder:
        runner = Runner(folder.journal_folder / "s0001-r000.jsonl", made.cells, made.configs, {})
        for planned in made:
            asyncio.run(runner.play(planned))
        asyncio.run(runner.close())
        folder.finish()
    return run_path


def change(path, edit):
    """An edit whose digest is made to fit, so that what the log says has to find it."""
    edit(pl.read_parquet(path)).write_parquet(path)
    reseal(path.parent)


def findings(run):
    return [f"{f.where}: {f.what}" for f in check_run(run)]


def test_sound_run_has_no_findings(run):
    assert findings(run) == []


def test_changed_vote_is_found(run):
    def edit(table):
        ballot = pl.col("kind") == "ballot"
        first = table.filter(ballot & (pl.col("option") >= 0)).row(0, named=True)
        here = (pl.col("game_id") == first["game_id"]) & (pl.col("seq") == first["seq"])
        other = next(o for o in first["options"] if o not in (first["option"], -1))
        return table.with_columns(option=pl.when(here).then(other).otherwise(pl.col("option")).cast(pl.Int16))

    change(run / "decisions.parquet", edit)
    (found,) = findings(run)
    assert "the rules do not give this log" in found


def test_event_shown_to_everybody_is_found(run):
    def edit(table):
        deal = pl.col("kind") == "role"
        return table.with_columns(audience=pl.when(deal).then(None).otherwise(pl.col("audience")))

    change(run / "events.parquet", edit)
    assert len(findings(run)) == 5


def test_missing_game_is_found(run):
    change(run / "games.parquet", lambda table: table.slice(1))
    assert any("the game is scheduled and missing (1 such games)" in f for f in findings(run))


def test_another_number_of_games_is_found(run):
    edit_manifest(run, n_games=10**15)
    assert any("its configuration has 5" in found for found in findings(run))


def test_record_of_a_seat_that_the_game_has_not_is_refused_by_readers(run):
    change(run / "decisions.parquet", lambda t: t.with_columns(seat=pl.lit(-5).cast(t.schema["seat"])))
    with pytest.raises(RunFolderError, match="seat -5, the game has seats 0 to 6"):
        open_replay(run, "0")


def test_double_game_is_found(run):
    change(run / "games.parquet", lambda table: pl.concat([table, table.slice(0, 1)]))
    assert any("the game is there twice" in f for f in findings(run))


def test_wrong_winner_is_found(run):
    change(run / "games.parquet", lambda table: table.with_columns(winner=pl.lit("jester")))
    assert len(findings(run)) == 5


def test_wrong_agent_is_found(run):
    change(run / "decisions.parquet", lambda table: table.with_columns(agent=pl.lit("a")))
    assert any("the schedule has 'b'" in f for f in findings(run))


def test_missing_record_is_found(run):
    change(run / "events.parquet", lambda table: table.filter(pl.col("kind") != "order"))
    assert all("has seq" in f for f in findings(run))


@pytest.mark.parametrize(
    ("table", "column", "value", "says"),
    [
        ("seats", "role", "jester", r"seat 0: role is 'jester', by the log it is"),
        ("seats", "won", None, r"seat 0: won is None, by the log it is"),
        ("seats", "agent", "c", r"seat 0: agent is 'c', by the log it is"),
        ("games", "n_decisions", 1, r"n_decisions is 1, by the log it is"),
        ("games", "reason", "boredom", r"reason is 'boredom', by the log it is"),
    ],
)
def test_row_that_the_log_contradicts_is_found(run, table, column, value, says):
    def edit(rows):
        first = pl.int_range(pl.len()) == 0
        made = pl.lit(value, dtype=rows.schema[column])
        return rows.with_columns(pl.when(first).then(made).otherwise(pl.col(column)).alias(column))

    change(run / f"{table}.parquet", edit)
    (found,) = findings(run)
    assert found.startswith(f"{table}.parquet, ")
    assert says in found


def test_missing_seat_is_found(run):
    change(run / "seats.parquet", lambda table: table.slice(1))
    (found,) = findings(run)
    assert "it has 6 rows, the game has 7 seats" in found


def test_belief_that_cannot_be_is_found(run):
    game_id = pl.read_parquet(run / "games.parquet")["game_id"][0]
    sound = {"game_id": game_id, "seq": 3, "viewer": 0, "subject": 1, "about": None, "source": "asked"}
    sound |= {
        "p_werewolf": 0.25,
        "probabilities": [{"role": "werewolf", "p": 0.25}, {"role": "villager", "p": 0.75}],
    }
    wrong = [{"subject": 9}, {"p_werewolf": 0.5}, {"seq": 999}, {"probabilities": None}, {"game_id": "x"}]
    rows = [sound, *(sound | other for other in wrong)]
    change(run / "beliefs.parquet", lambda table: pl.DataFrame(rows, schema=table.schema))
    found = findings(run)
    assert len(found) == len(wrong)
    for says in (
        "subject is 9",
        "p_werewolf is 0.5, probabilities say 0.25",
        "999: the log has",
        "cannot be read",
        "rows of x, which is no game of this run",
    ):
        assert sum(says in line for line in found) == 1


def test_other_schema_is_found(run):
    change(run / "seats.parquet", lambda table: table.with_columns(pl.col("seat").cast(pl.Int64)))
    (found,) = findings(run)
    assert found.startswith("seats.parquet: column 'seat' is Int64, expected Int16; `wolfscope repair ")


@pytest.mark.parametrize("keep", [0, 10, 500])
def test_truncated_table_is_found(run, keep):
    path = run / "events.parquet"
    path.write_bytes(path.read_bytes()[:keep])
    (found,) = findings(run)
    assert found.startswith("events.parquet: the file has changed")


def test_changed_seed_in_the_configuration_is_found(run):
    config = json.loads((run / "manifest.json").read_text())["config"]
    config["run"]["seed"] = 9
    edit_manifest(run, config=config)
    assert any("is not in the schedule" in f for f in findings(run))
