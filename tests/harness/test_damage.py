"""What was written is what is read: a damaged folder is refused in one line that names the file and the remedy."""

from __future__ import annotations

import os
import random
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from safetensors.numpy import save_file

from analysis.change.read import read_change
from analysis.effects.outcomes import read_experiment
from analysis.evaluation import saved
from analysis.report.report import write_report
from harness import load_run
from harness.check.check import check_run
from harness.check.files import damage_of
from harness.check.repair import repair_run
from harness.cli import main
from harness.errors import RunDamaged, StorageError
from harness.experiment.folder import read_parts, write_part
from harness.features.dictionary import Card, Dictionary
from harness.features.saved import load_dictionary, save_dictionary
from harness.play.tournament import starts_of
from harness.run.derived import OF_NO_RUN, read_table, write_table
from harness.run.held import RunFolder
from harness.run.journal import JournalWriter
from harness.run.manifest import read_manifest
from harness.run.sound import DamagedJournal
from harness.run.tables import TABLES
from harness.schedule.tournament import Schedule
from harness.seals import read_state, seal, write_state
from tests.fixtures.edits import edit_manifest, forget_digests
from tests.fixtures.local_runs import play_run, scripted
from tests.fixtures.made_experiments import made_experiment
from tests.fixtures.planted_runs import planted_run

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return play_run(scripted(games=3), tmp_path_factory.mktemp("played") / "run")


@pytest.fixture(scope="module")
def captured(tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = planted_run(tmp_path_factory.mktemp("captured") / "run", 2, 1.0, d_model=4)
    for kind, place in (("experiment", "experiment-made"), ("dictionary", "features/mention-0/made")):
        KINDS[kind][0](run / place)
    return run


@pytest.fixture
def run(played: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(played, tmp_path / "run"))


def flip(file: Path, bit: int) -> None:
    data = bytearray(file.read_bytes())
    data[bit // 8] ^= 1 << bit % 8
    file.write_bytes(data)


def files_of(run: Path) -> list[Path]:
    return sorted(p for p in run.rglob("*") if p.is_file() and p.stat().st_size and p.name != "lock")


READ_FIRST = ("manifest.json", "store.json", "digests", "index", "digests.json")
"""Files and folders behind whose damage other damage is not looked for."""


def test_check_finds_each_of_a_thousand_flipped_bits_and_names_the_file(
    played: Path, captured: Path, tmp_path: Path
) -> None:
    rng, flips = random.Random(30), 0
    for whole in (played, captured):
        copy = Path(shutil.copytree(whole, tmp_path / whole.parent.name))
        files = files_of(copy)
        first = [file for file in files if {file.name, file.parent.name} & set(READ_FIRST)]
        together = [file for file in files if file not in first]
        for turn in range(
            65
        ):  # all that can be told of together each time, the others one by one now and then
            for some in (([file] for file in first) if turn % 7 == 0 else ()), (together,):
                for group in some:
                    before = {file: file.read_bytes() for file in group}
                    bits = {file: rng.randrange(8 * len(data)) for file, data in before.items()}
                    for file, bit in bits.items():
                        flip(file, bit)
                    said = [f.where + f.what for f in damage_of(copy)]
                    for file, data in before.items():
                        assert any(file.stem in one for one in said), (file, bits[file], said)
                        file.write_bytes(data)
                    flips += len(group)
        assert damage_of(copy) == []
    assert flips >= 1000


@pytest.mark.parametrize("table", ["games", "seats", "events", "decisions", "beliefs"])
def test_a_reader_refuses_a_changed_table_by_name_and_with_the_remedy(run: Path, table: str) -> None:
    flip(run / f"{table}.parquet", 8 * 100)
    with pytest.raises(
        RunDamaged, match=rf"{table}\.parquet is damaged: .*`wolfscope repair .*run` writes it anew"
    ):
        load_run(run).games.collect()


def test_a_change_after_the_first_look_is_seen_by_the_next_reader(run: Path) -> None:
    load_run(run).games.collect()
    flip(run / "games.parquet", 8 * 100)
    with pytest.raises(RunDamaged, match=r"games\.parquet"):
        load_run(run).games.collect()


def test_a_changed_manifest_is_refused(run: Path) -> None:
    text = (run / "manifest.json").read_text()
    (run / "manifest.json").write_text(text.replace('"n_games": 3', '"n_games": 2'))
    with pytest.raises(RunDamaged, match=r"manifest\.json is damaged"):
        load_run(run)


def verb(*words: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "harness", *map(str, words)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_verb_says_in_its_first_line_that_a_folder_is_damaged(run: Path) -> None:
    flip(run / "seats.parquet", 8 * 100)
    done = verb("ratings", run)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(f"error: {run}/seats.parquet is damaged: ")
    assert len(done.stderr.splitlines()) == 1


READING = {
    "ratings": (), "behaviour": (), "replay": ("0", "--mode", "all"), "view": ("--posterior", "no"), "check": (),
    "watch": ("--once",), "export": ("OUT",), "competence": (), "repair": (), "merge": ("OTHER", "OUT"),
    "report": ("--out", "OUT"),
}  # fmt: skip
"""Verb that reads a run -> more words."""


@pytest.mark.parametrize("verb", READING)
def test_verbs_that_read_say_in_their_first_line_that_the_journal_is_damaged(
    run: Path, played: Path, tmp_path: Path, verb: str, capsys: pytest.CaptureFixture[str]
) -> None:
    flip(run / "journal" / "s0001-r000.jsonl", 8 * 300)
    places = {"OUT": str(tmp_path / "out"), "OTHER": str(played)}
    with pytest.raises(SystemExit):
        main([verb, str(run), *(places.get(word, word) for word in READING[verb])])
    first = capsys.readouterr().err.splitlines()[0]
    assert first.startswith(("note: ", "error: ")) and "s0001-r000.jsonl is damaged: " in first


def test_what_remarks_on_a_run_says_that_its_journal_is_damaged(run: Path) -> None:
    (run / "journal" / "s0001-r000.jsonl").unlink()
    with pytest.warns(DamagedJournal, match=r"s0001-r000\.jsonl is damaged: the file is missing"):
        remarks = load_run(run).remarks()
    assert any("the file is missing" in one for one in remarks)


def an_experiment(folder: Path) -> None:
    made_experiment(folder, n_games=3, n_random=2)
    seal(folder, folder / "manifest.json", folder / "outcomes.parquet", verb="experiment")
    write_part(folder, 0, [{"moment": 0, "arm": "unchanged", "options": [1], "logprobs": [0.0]}])


def a_dictionary(folder: Path) -> None:
    rng = np.random.default_rng(0)
    card = Card(
        kind="topk", model="m@0", site="mention", layer="embed", d_model=2, width=3, activation="topk", k=1,
        normalisation="none",
    )  # fmt: skip
    shapes = {"w_enc": (2, 3), "b_enc": 3, "w_dec": (3, 2), "b_dec": 2, "threshold": 3}
    made = {name: rng.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}
    save_dictionary(Dictionary(card, **made), folder)


def a_comparison(folder: Path) -> None:
    folder.mkdir()
    (folder / "diff.json").write_text('{"schema_version": 2, "a": "m@0", "b": "m@1"}')
    pl.DataFrame({"game_id": ["g"]}).write_parquet(folder / "tokens.parquet")
    seal(folder, folder / "diff.json", folder / "tokens.parquet", verb="diff")


def a_probe(folder: Path) -> None:
    card = saved.Card("t", "q", "mention", "embed", 2, ("m@0",), (), 4, 2, 1.0, 0.0, {}, "real")
    saved.save(saved.SavedProbe(card, *np.ones((4, 2), dtype=np.float32)), folder, "probe")


def a_state(folder: Path) -> None:
    folder.mkdir()
    save_file({"model.w": np.ones(4, dtype=np.float32)}, folder / "state-3.safetensors")
    write_state(folder / "state.json", {"step": 3, "settings": {"rate": 0.1}}, folder / "state-3.safetensors")


def a_table(folder: Path) -> None:
    write_table(folder / "table.parquet", pl.DataFrame({"won": [True, False] * 20}), OF_NO_RUN)


def read_an_experiment(folder: Path) -> None:
    read_experiment(folder)
    read_parts(folder)


KINDS = {
    "experiment": (an_experiment, read_an_experiment),
    "dictionary": (a_dictionary, load_dictionary),
    "comparison": (a_comparison, read_change),
    "probe": (a_probe, lambda folder: saved.load(folder / "probe")),
    "state of a training": (a_state, lambda folder: read_state(folder / "state.json")),
    "table of no run": (a_table, lambda folder: read_table(folder / "table.parquet")),
}
"""What is no run: (its writer, its reader), of a folder."""


@pytest.mark.parametrize("kind", KINDS)
def test_a_reader_of_what_is_no_run_refuses_what_was_not_written_by_name(kind: str, tmp_path: Path) -> None:
    write, read = KINDS[kind]
    folder = tmp_path / "made"
    write(folder)
    rng, files = random.Random(30), files_of(folder)
    assert len(files) > (kind != "table of no run")
    for file in files:
        whole = file.read_bytes()
        bits = {"flipped": [rng.randrange(8 * len(whole)) for _ in range(12)], "cut": [len(whole) // 2, 0]}
        damages = [(how, n) for how, some in bits.items() for n in some]
        for how, n in damages:
            if how == "flipped":
                flip(file, n)
            else:
                file.write_bytes(whole[:n])
            with pytest.raises(RunDamaged, match=re.escape(file.name)):
                read(folder)
            file.write_bytes(whole)
    if kind != "comparison":  # which holds more than this one
        read(folder)


def test_check_holds_any_folder_with_digests_to_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    a_dictionary(tmp_path / "made")
    for bit, status, says in (
        (None, 0, "sound"),
        (900, 1, "dictionary.safetensors: it is not what was written"),
    ):
        if bit is not None:
            flip(tmp_path / "made" / "dictionary.safetensors", bit)
        with pytest.raises(SystemExit) as ended:
            main(["check", str(tmp_path / "made")])
        assert (ended.value.code or 0) == status
        assert says in "".join(capsys.readouterr())


class TestFoldersWithoutDigests:
    def test_they_are_read_and_marked(self, run: Path) -> None:
        forget_digests(run)
        said: list[str] = []
        assert load_run(run).games.collect().height == 3
        assert check_run(run, said.append) == []
        assert any("before there were digests" in line for line in said)

    @pytest.mark.parametrize(
        ("damage", "says"),
        [
            (lambda t: t.slice(1), "rows of game"),
            (lambda t: t.drop("role"), "column 'role' is None"),
            (lambda t: t.with_columns(seat=pl.col("seat").cast(pl.Int64)), "column 'seat' is Int64"),
            (lambda t: t.with_columns(game_id=pl.lit("x")), "rows of x, which is no game of this run"),
        ],
    )
    def test_tables_that_do_not_fit_are_refused(self, run: Path, damage, says: str) -> None:
        forget_digests(run)
        damage(pl.read_parquet(run / "seats.parquet")).write_parquet(run / "seats.parquet")
        with pytest.raises(RunDamaged, match=rf"seats\.parquet is damaged: .*{says}"):
            load_run(run).seats.collect()

    @pytest.mark.parametrize("keep", [0, 4, 900])
    def test_a_table_that_is_cut_is_refused(self, run: Path, keep: int) -> None:
        forget_digests(run)
        path = run / "events.parquet"
        path.write_bytes(path.read_bytes()[:keep])
        with pytest.raises(RunDamaged, match=r"events\.parquet is damaged: the file cannot be read"):
            load_run(run).games.collect()

    def test_a_flipped_bit_in_a_table_that_the_journal_contradicts_is_found(self, run: Path) -> None:
        forget_digests(run)
        edited = pl.read_parquet(run / "decisions.parquet").with_columns(attempts=pl.lit(3, pl.Int16))
        edited.with_columns(model=pl.lit("m@0")).write_parquet(run / "decisions.parquet")
        assert any("decisions.parquet" in f.where for f in check_run(run))


class TestStores:
    def test_a_reader_refuses_a_changed_layer_and_reads_the_others(
        self, captured: Path, tmp_path: Path
    ) -> None:
        copy = Path(shutil.copytree(captured, tmp_path / "copy"))
        shard = next((copy / "activations" / "shards").glob("*.safetensors"))
        flip(shard, 8 * (shard.stat().st_size - 1))  # of the last layer
        store = load_run(copy).activations()
        lines = store.index()
        assert len(store.read(lines, 0)) == len(lines)
        with pytest.raises(RuntimeError, match=r"layer resid_post\.2 has changed"):
            store.read(lines, 2)

    def test_another_store_in_its_place_is_refused_by_the_report_and_found_by_check(
        self, captured: Path, tmp_path: Path
    ) -> None:
        other = planted_run(tmp_path / "other", 2, 1.0, d_model=4, seed=7)
        shutil.rmtree(other / "activations")
        shutil.copytree(captured / "activations", other / "activations")
        with pytest.raises(RuntimeError, match="activations is damaged: its files are not those"):
            write_report([other], out=tmp_path / "r.html")
        assert any(f.where.startswith("activations") for f in damage_of(other))

    def test_a_store_of_a_model_that_did_not_play_is_refused(self, captured: Path, tmp_path: Path) -> None:
        copy = Path(shutil.copytree(captured, tmp_path / "copy"))
        edit_manifest(copy, models={"b": "someone@1"}, stores={})
        with pytest.raises(
            RuntimeError, match="it holds rows of planted@0000, the run was played by someone@1"
        ):
            load_run(copy).activations()


def test_a_folder_that_is_removed_while_it_is_played_is_noticed_at_the_next_line(tmp_path: Path) -> None:
    (tmp_path / "journal").mkdir()
    writer = JournalWriter(tmp_path / "journal" / "a.jsonl")
    writer.add("g", [])
    shutil.rmtree(tmp_path / "journal")
    with pytest.raises(StorageError, match="removed while the run was being played"):
        writer.add("g", [])


class TestJournals:
    """A run that was stopped, whose journal was changed before it goes on."""

    @pytest.fixture
    def stopped(self, tmp_path: Path) -> Path:
        return play_run(scripted(games=3), tmp_path / "stopped", finish=False)

    def change(self, run: Path, old: str, new: str) -> None:
        journal = run / "journal" / "s0001-r000.jsonl"
        text = journal.read_text()
        assert old in text
        journal.write_text(text.replace(old, new, 1))

    def finish(self, run: Path) -> list[str]:
        with RunFolder.claim(run, read_manifest(run)) as folder:
            folder.finish(starts_of(Schedule(scripted(games=3))))
            return folder.notes

    def test_a_game_that_ends_by_the_rules_has_not_failed(self, stopped: Path) -> None:
        self.change(stopped, '"status":"finished"', '"status":"failed"')
        (said,) = self.finish(stopped)
        assert "its log ends by the rules" in said
        assert load_run(stopped).games.collect()["status"].to_list() == ["finished"] * 3
        assert check_run(stopped) == []

    @pytest.mark.parametrize(
        ("old", "new", "says"),
        [
            ('"index":1', '"index":7', "begins with"),
            ('"winner":"', '"winner":"x', "has won, by the rules it is"),
            (
                '"kind":"ballot","action":{"option":',
                '"kind":"ballot","action":{"option":9',
                "rules do not give its log",
            ),
        ],
    )
    def test_what_the_rules_or_the_schedule_contradict_is_refused_with_the_file(
        self, stopped: Path, old: str, new: str, says: str
    ) -> None:
        self.change(stopped, old, new)
        with pytest.raises(RunDamaged, match=rf"s0001-r000\.jsonl is damaged: .*{says}"):
            self.finish(stopped)
        assert read_manifest(stopped).status == "playing"

    def test_a_lost_journal_is_said_with_the_number_of_its_games(self, stopped: Path) -> None:
        with RunFolder.claim(stopped, read_manifest(stopped)) as folder:
            folder.keep(3)
        (stopped / "journal" / "s0001-r000.jsonl").unlink()
        with RunFolder.claim(stopped, read_manifest(stopped)) as folder:
            assert folder.notes == [
                "journal s0001-r000.jsonl is missing: 3 games that had ended are played again"
            ]

    def test_a_journal_that_is_no_text_is_refused_with_the_file(self, stopped: Path) -> None:
        journal = stopped / "journal" / "s0001-r000.jsonl"
        data = bytearray(journal.read_bytes())
        data[data.index(b'"game":"') + 9] = 0xFF
        journal.write_bytes(data)
        with pytest.raises(RunDamaged, match=r"s0001-r000\.jsonl, byte 0: "):
            load_run(stopped).games.collect()


class TestRepair:
    def test_damaged_tables_are_written_as_they_were_and_the_journal_is_not_touched(self, run: Path) -> None:
        before = {path: path.read_bytes() for path in files_of(run)}
        flip(run / "seats.parquet", 8 * 100)
        (run / "beliefs.parquet").unlink()
        (run / "events.parquet").write_bytes(b"")
        assert repair_run(run) == []
        assert check_run(run) == []
        journal = run / "journal" / "s0001-r000.jsonl"
        assert journal.read_bytes() == before[journal]
        for table in TABLES:
            now, then = pl.read_parquet(run / f"{table}.parquet"), before[run / f"{table}.parquet"]
            assert now.equals(pl.read_parquet(then))

    def test_a_damaged_journal_is_said_and_left_as_it_is(self, run: Path) -> None:
        journal = run / "journal" / "s0001-r000.jsonl"
        flip(journal, 8 * 300)
        flip(run / "seats.parquet", 8 * 100)
        changed = journal.read_bytes()
        lost = repair_run(run)
        assert any(one.startswith("journal/s0001-r000.jsonl: the file has changed") for one in lost)
        assert any(one.startswith("seats.parquet cannot be written anew") for one in lost)
        assert journal.read_bytes() == changed

    def test_an_edited_manifest_is_taken_where_the_journal_agrees_and_refused_where_not(
        self, run: Path
    ) -> None:
        path = run / "manifest.json"
        text = path.read_text()
        path.write_text(text.replace('"name": "run"', '"name": "mine"'))
        assert repair_run(run) == []
        assert load_run(run).manifest.name == "mine"
        path.write_text(path.read_text().replace('"seed": 5', '"seed": 6'))
        with pytest.raises(RunDamaged, match="restore it from a copy"):
            repair_run(run)

    def test_a_folder_without_digests_gets_them(self, run: Path) -> None:
        forget_digests(run)
        assert repair_run(run) == []
        assert read_manifest(run).sealed and check_run(run) == []

    def test_what_cannot_be_written_anew_is_said(self, captured: Path, tmp_path: Path) -> None:
        copy = Path(shutil.copytree(captured, tmp_path / "copy"))
        shard = next((copy / "activations" / "shards").glob("*.safetensors"))
        flip(shard, 8 * (shard.stat().st_size - 1))
        found = repair_run(copy)
        assert found and all("activations" in one for one in found)
