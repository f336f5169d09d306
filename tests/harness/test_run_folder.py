"""Run folders: tables that give back the records, one owner, and no folder harmed."""

import json
import os
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from games.play import Answer, play
from games.records import Action, Decision, Event, Reply, Span, SpeechAct, Trace
from harness import load_run
from harness.check.check import check_run
from harness.config.files import parse_config
from harness.config.sections import Config
from harness.errors import RunFolderError, StorageError
from harness.run import tables
from harness.run.held import RunFolder, new_manifest
from harness.run.journal import End, JournalWriter, Start
from harness.run.manifest import Manifest
from harness.schedule.tournament import Schedule
from tests.fixtures.edits import edit_manifest, forget_digests

ROOT = Path(__file__).resolve().parents[2]


def config(**run: object) -> Config:
    return parse_config(
        {
            "run": {"games": 3, **run},
            "agents": {"a": {"kind": "scripted", "policy": "random"}},
            "roster": {"mix": {"a": 1}},
        }
    )


def manifest(wanted: Config | None = None) -> Manifest:
    made = Schedule(wanted or config())
    return new_manifest("test", made.config.plain(), made.config.hash(), len(made), made.cells)


def log_of(planned, cell):
    """A whole game in which everybody takes the fallback."""
    game, rules = cell.rules()
    steps = play(game, rules, planned.seed)
    step, log = next(steps), []
    while True:
        log += step.new
        try:
            step = steps.send([Answer(Reply(game.legal_fallback(r, 5)), "a") for r in step.requests])
        except StopIteration as stop:
            return log, stop.value


def finished_run(path: Path, wanted: Config | None = None) -> dict:
    made = Schedule(wanted or config())
    logs = {}
    with RunFolder.claim(path, manifest(wanted)) as folder:
        writer = JournalWriter(folder.journal_folder / "s0001-r000.jsonl")
        for planned in reversed(list(made)):
            log, outcome = log_of(planned, made.cells[planned.cell])
            writer.add(
                planned.game_id, start=Start(planned.index, planned.seed, planned.cell, planned.agents)
            )
            writer.add(planned.game_id, log)
            writer.add(planned.game_id, end=End("finished", outcome.winner, outcome.winners, outcome.reason))
            logs[planned.game_id] = log
        writer.close()
        folder.finish()
    return logs


def test_finished_run_gives_back_every_record(run_path):
    logs = finished_run(run_path)
    run = load_run(run_path)
    assert run.finished
    assert run.game_ids == list(reversed(logs))  # in the order of the schedule, not of the playing
    assert {game_id: run.records(game_id) for game_id in run.game_ids} == logs
    assert dict(run.logs(games_at_once=2)) == logs


def test_finished_run_is_read_without_its_journal(run_path):
    logs = finished_run(run_path)
    for path in (run_path / "journal").iterdir():
        path.unlink()
    assert dict(load_run(run_path).logs()) == logs


def test_unfinished_run_reads_the_same_from_its_journal(run_path):
    logs = finished_run(run_path)
    frames = {table: load_run(run_path).frame(table).collect() for table in tables.TABLES}
    edit_manifest(run_path, status="playing")
    run = load_run(run_path)
    assert dict(run.logs()) == logs
    for table, frame in frames.items():
        assert run.frame(table).collect().equals(frame)


def test_tables_have_exactly_the_declared_schemas(run_path):
    finished_run(run_path)
    for table, schema in tables.SCHEMAS.items():
        assert pl.read_parquet_schema(run_path / f"{table}.parquet") == pl.Schema(schema)


def test_games_and_seats_tell_who_was_who(run_path):
    logs = finished_run(run_path)
    run = load_run(run_path)
    games, seats = run.games.collect(), run.seats.collect()
    assert (games.height, seats.height) == (3, 21)
    assert games["status"].to_list() == ["finished"] * 3
    assert sorted(seats.filter(pl.col("game_id") == run.game_ids[0])["role"]) == sorted(
        ["werewolf"] * 2 + ["villager"] * 3 + ["seer", "doctor"]
    )
    assert seats.select((pl.col("won") == (pl.col("faction") == "werewolf")).all()).item() in (True, False)
    game, rules, seed = run.game(run.game_ids[0])
    assert game.start(rules, seed)[1] == tuple(logs[run.game_ids[0]][: len(game.start(rules, seed)[1])])


def test_unknown_game_is_a_key_error(run_path):
    finished_run(run_path)
    with pytest.raises(KeyError, match="no game 'nope'"):
        load_run(run_path).records("nope")


def test_a_folder_from_before_acts_had_teams_is_read_and_sound(run_path):
    finished_run(run_path)
    before = {game: load_run(run_path).records(game) for game in load_run(run_path).game_ids}
    for table in ("events", "decisions"):
        path = run_path / f"{table}.parquet"
        pl.read_parquet(path).with_columns(pl.col("acts").cast(tables.TEAMLESS)).write_parquet(path)
    manifest = json.loads((run_path / "manifest.json").read_text())  # and from before there were digests
    for key in ("manifest_digest", "digests", "stores"):
        manifest.pop(key, None)
    (run_path / "manifest.json").write_text(json.dumps(manifest))
    again = load_run(run_path)
    assert {game: again.records(game) for game in again.game_ids} == before
    assert dict(again.events.collect_schema())["acts"] == tables.ACTS
    found = check_run(run_path)
    assert not [f for f in found if "acts" in str(f)], found


seats = st.integers(-1, 19)
texts = st.text(st.characters(codec="utf-8"), max_size=20)
ids = st.lists(st.integers(0, 2**31 - 1), max_size=5).map(tuple)
acts = st.lists(
    st.builds(
        SpeechAct,
        st.sampled_from(["accuse", "claim_role", "suggest_team"]),
        st.none() | seats,
        st.none() | texts,
        st.lists(seats, max_size=3).map(tuple),
    ),
    max_size=2,
).map(tuple)
jsons = st.none() | st.dictionaries(
    texts, st.none() | st.integers(-9, 9) | st.lists(texts, max_size=2), max_size=3
)
events = st.builds(
    Event,
    seq=st.just(0),
    kind=texts,
    audience=st.none() | st.lists(seats, max_size=3).map(tuple),
    day=st.integers(0, 99),
    phase=texts,
    actor=st.none() | seats,
    target=st.none() | seats,
    value=st.none() | texts,
    text=st.none() | texts,
    acts=acts,
    data=jsons,
)
traces = st.builds(
    Trace,
    model=texts,
    prompt_ids=ids,
    output_ids=ids,
    output_text=texts,
    continues=st.none() | st.integers(0, 99),
    spans=st.lists(
        st.builds(Span, texts, st.integers(0, 9), st.integers(0, 9), st.none() | seats), max_size=2
    ).map(tuple),
    logprobs=st.lists(st.floats(-1e6, 0), max_size=3).map(tuple),
    n_cached=st.integers(0, 999),
    attempts=st.integers(1, 9),
    rejected=st.lists(texts, max_size=2).map(tuple),
    reasoning=st.none() | texts,
    sampling=jsons,
)
decisions = st.builds(
    Decision,
    seq=st.just(1),
    seat=seats,
    kind=texts,
    action=st.builds(Action, st.none() | seats, texts, acts),
    options=st.lists(seats, max_size=3).map(tuple),
    day=st.integers(0, 99),
    phase=texts,
    agent=texts,
    fallback=st.none() | texts,
    trace=st.none() | traces,
)


@settings(max_examples=60)
@given(events, decisions)
def test_any_record_survives_the_way_through_the_tables(event, decision):
    rows = tables.record_rows("g", [event, decision])
    frames = {table: tables.frame(table, rows[table]) for table in ("events", "decisions")}
    assert tables.records_of(frames["events"].to_dicts(), frames["decisions"].to_dicts()) == [event, decision]


def traced(seq: int, prompt: tuple[int, ...], output: tuple[int, ...], continues: int | None) -> Decision:
    trace = Trace("m@1", prompt_ids=prompt, output_ids=output, continues=continues)
    return Decision(seq=seq, seat=0, kind="speech", action=Action(), trace=trace)


def test_context_follows_the_chain_of_continued_decisions(run_path):
    finished_run(run_path)
    run = load_run(run_path)
    game_id = run.game_ids[0]
    chain = [traced(0, (1, 2), (3,), None), traced(1, (4,), (5, 6), 0), traced(2, (7,), (8,), 1)]
    run._last = (game_id, {d.seq: d for d in chain})
    assert run.prompt_ids(game_id, 2) == [1, 2, 3, 4, 5, 6, 7]
    assert run.context_ids(game_id, 2) == [1, 2, 3, 4, 5, 6, 7, 8]


def test_scripted_decision_has_no_tokens(run_path):
    finished_run(run_path)
    run = load_run(run_path)
    seq = run.decisions.select("seq").first().collect().item()
    with pytest.raises(ValueError, match="made without a model"):
        run.prompt_ids(run.game_ids[0], seq)


def test_folder_of_another_schema_version_is_refused_untouched(run_path):
    finished_run(run_path)
    path = run_path / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"schema_version": 99}))
    before = sorted((p.name, p.stat().st_mtime_ns) for p in run_path.rglob("*.parquet"))
    with pytest.raises(RunFolderError, match="schema version 99, this Wolfscope reads 1: use a newer"):
        load_run(run_path)
    with pytest.raises(RunFolderError, match="schema version 99"):
        RunFolder.claim(run_path, manifest())
    assert sorted((p.name, p.stat().st_mtime_ns) for p in run_path.rglob("*.parquet")) == before


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"schema_version": 1}'])
def test_broken_manifest_is_named(run_path, content):
    run_path.mkdir()
    (run_path / "manifest.json").write_text(content)
    with pytest.raises(RunFolderError, match=r"manifest\.json (cannot be read|does not follow)"):
        load_run(run_path)


def test_folder_that_is_no_run_is_refused_untouched(run_path):
    run_path.mkdir()
    (run_path / "thesis.tex").write_text("years of work")
    with pytest.raises(RunFolderError, match=r"not a run folder"):
        load_run(run_path)
    with pytest.raises(RunFolderError, match=r"exists and is not a run folder \(it holds thesis\.tex"):
        RunFolder.claim(run_path, manifest())
    assert [p.name for p in run_path.iterdir()] == ["thesis.tex"]


def test_file_in_the_place_of_the_folder_is_refused_untouched(run_path):
    run_path.write_text("a file")
    with pytest.raises(RunFolderError, match="is a file: choose another --out"):
        RunFolder.claim(run_path, manifest())
    assert run_path.read_text() == "a file"


def test_missing_folder_is_named(run_path):
    with pytest.raises(RunFolderError, match="there is no run folder"):
        load_run(run_path)


def test_empty_folder_and_one_whose_making_was_interrupted_are_taken(run_path):
    (run_path / "journal").mkdir(parents=True)
    (run_path / "lock").touch()
    (run_path / ".manifest.json.abc.part").touch()
    with RunFolder.claim(run_path, manifest()):
        pass
    assert load_run(run_path).manifest.status == "playing"


def test_other_configuration_is_refused_with_the_difference(run_path):
    finished_run(run_path)
    with pytest.raises(RunFolderError, match=r"run\.seed is 0 there and 9 here"):
        RunFolder.claim(run_path, manifest(config(seed=9)))


def test_fewer_games_than_the_run_has_are_refused(run_path):
    finished_run(run_path)
    with pytest.raises(RunFolderError, match="has 3 games scheduled, this command asks for 2"):
        RunFolder.claim(run_path, manifest(config(games=2)))


def test_finished_run_takes_more_games(run_path):
    finished_run(run_path)
    with RunFolder.claim(run_path, manifest(config(games=5))) as folder:
        assert folder.manifest.status == "playing"
        assert len(folder.manifest.sessions) == 2
    assert len(load_run(run_path).game_ids) == 3


def test_finished_run_without_journal_takes_no_more_games(run_path):
    finished_run(run_path)
    (run_path / "journal" / "s0001-r000.jsonl").unlink()
    with pytest.raises(RunFolderError, match="its journal holds 0 of its 3 games"):
        RunFolder.claim(run_path, manifest(config(games=5)))
    assert load_run(run_path).finished


HOLD = """
import sys, time
sys.path.insert(0, {root!r})
from pathlib import Path
from harness.lock import RunLock
with RunLock(Path({path!r})):
    print("held", flush=True)
    time.sleep(60)
"""


def test_second_process_is_refused_and_a_dead_owner_is_not_in_the_way(run_path):
    with RunFolder.claim(run_path, manifest()):
        pass
    code = HOLD.format(root=str(ROOT), path=str(run_path))
    owner = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    try:
        assert owner.stdout is not None
        assert owner.stdout.readline() == "held\n"
        with pytest.raises(RunFolderError, match=rf"is in use by process {owner.pid} on "):
            RunFolder.claim(run_path, manifest())
    finally:
        owner.kill()
        owner.wait()
        owner.stdout.close()
    with RunFolder.claim(run_path, manifest()):
        pass


def test_tables_are_all_or_nothing_on_a_full_disk(run_path, monkeypatch):
    finished_run(run_path)
    before = {p.name: p.read_bytes() for p in run_path.glob("*.parquet")}

    def full(*args: object, **kwargs: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(pl.DataFrame, "write_parquet", full)
    with pytest.raises(StorageError, match="run the same command again"):
        tables.write_tables(run_path, [])
    assert {p.name: p.read_bytes() for p in run_path.glob("*.parquet")} == before
    assert not list(run_path.glob(".tables*"))


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_read_only_folder_is_a_clear_error(run_path):
    run_path.mkdir()
    run_path.chmod(0o555)
    with pytest.raises(StorageError, match="make the folder writable or choose another --out"):
        RunFolder.claim(run_path, manifest())


def test_read_only_file_system_is_a_clear_error():
    with pytest.raises(StorageError, match="cannot write /proc/wolfscope"):
        RunFolder.claim(Path("/proc/wolfscope"), manifest())


FIRST = {
    "games": "game_id index seed cell factors preset lexicon n_players winner reason n_days n_decisions n_fallbacks "
    "status error seconds",
    "seats": "game_id seat name role faction agent model exit_day exit_cause won",
    "events": "game_id seq kind audience day phase actor target value text acts data",
    "decisions": "game_id seq day phase seat kind options option text acts agent fallback model continues prompt_ids "
    "output_ids output_text logprobs n_cached attempts rejected reasoning sampling spans",
    "beliefs": "game_id seq viewer subject about source p_werewolf probabilities",
}
"""The columns that schema version 1 began with. One that came later is in `tables.LATER`, or old folders are lost."""


def test_folders_of_the_first_version_are_read_and_sound(run_path):
    for table, schema in tables.SCHEMAS.items():
        assert set(schema) - set(tables.LATER.get(table, ())) == set(FIRST[table].split())
    logs = finished_run(run_path)
    frames = {table: load_run(run_path).frame(table).collect() for table in tables.TABLES}
    for table, columns in FIRST.items():
        old = frames[table].select(columns.split())
        for name in {"factors", "probabilities"} & set(old.columns):
            old = old.with_columns(pl.lit("{}").alias(name))
        old.write_parquet(run_path / f"{table}.parquet")
    forget_digests(run_path)
    run = load_run(run_path)
    assert dict(run.logs()) == logs
    for table, frame in frames.items():
        later = list(tables.LATER.get(table, ()))
        assert run.frame(table).collect().drop(later).equals(frame.drop(later))
