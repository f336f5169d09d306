"""Journals: what was written is there, whatever happens to the process or the disk."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from games.records import Action, Decision, Event, SpeechAct, Trace
from harness.errors import RunFolderError, StorageError
from harness.run.journal import End, Journal, JournalWriter, Start, repair

ROOT = Path(__file__).resolve().parents[2]
START = Start(index=0, seed=2**62, cell=0, agents=("a", "b"))
EVENT = Event(seq=0, kind="deal", audience=(), data={"roles": ["x", "y"]})
DECISION = Decision(
    seq=1,
    seat=1,
    kind="speech",
    action=Action(text='"Ada"\nis…', acts=(SpeechAct("accuse", 0),)),
    trace=Trace(model="m@1", prompt_ids=(1, 2), output_ids=(3,), logprobs=(-0.1,)),
)


def write(path: Path) -> Path:
    writer = JournalWriter(path)
    writer.add("one", start=START)
    writer.add("one", (EVENT, DECISION))
    writer.add("two", (EVENT,))
    writer.add("one", end=End("finished", "village", (0,), "no werewolf lives", seconds=1.5))
    writer.close()
    return path


def test_journal_gives_back_what_was_written(tmp_path):
    journal = Journal([write(tmp_path / "a.jsonl")])
    assert journal.records("one") == [EVENT, DECISION]
    assert journal.starts["one"] == START
    assert journal.ends["one"].winner == "village"
    assert journal.unfinished == ["two"]


def test_game_that_goes_on_in_a_second_journal_is_one_game(tmp_path):
    first = write(tmp_path / "a.jsonl")
    writer = JournalWriter(tmp_path / "b.jsonl")
    writer.add("two", (DECISION,))
    writer.close()
    assert Journal([first, tmp_path / "b.jsonl"]).records("two") == [EVENT, DECISION]


@pytest.mark.parametrize("cut", [1, 7, 40])
def test_torn_last_line_is_cut_off_and_the_rest_is_kept(tmp_path, cut):
    path = write(tmp_path / "a.jsonl")
    whole = path.read_bytes()
    path.write_bytes(whole[:-cut])
    assert Journal([path]).unfinished == ["one", "two"]  # a reader passes over it
    (note,) = repair([path])
    assert "torn last line" in note
    assert path.read_bytes() == b"".join(whole.splitlines(keepends=True)[:-1])
    assert repair([path]) == []


def test_journal_that_is_all_torn_becomes_empty(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_bytes(b'{"game":"on')
    repair([path])
    assert path.read_bytes() == b""


def test_damaged_line_in_the_middle_is_named_by_file_and_byte(tmp_path):
    path = write(tmp_path / "a.jsonl")
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(lines[0] + b"garbage\n" + lines[2])
    with pytest.raises(RunFolderError, match=rf"a\.jsonl, byte {len(lines[0])}"):
        Journal([path])


def test_missing_record_is_noticed(tmp_path):
    writer = JournalWriter(tmp_path / "a.jsonl")
    writer.add("one", (DECISION,))
    writer.close()
    with pytest.raises(RunFolderError, match="game one has record 0 not, but goes on with 1"):
        Journal([tmp_path / "a.jsonl"]).records("one")


def test_double_record_is_noticed(tmp_path):
    writer = JournalWriter(tmp_path / "a.jsonl")
    writer.add("one", (EVENT,))
    writer.add("one", (EVENT,))
    writer.close()
    with pytest.raises(RunFolderError, match="game one has record 0 twice"):
        Journal([tmp_path / "a.jsonl"]).records("one")


def test_journal_is_never_written_over(tmp_path):
    path = write(tmp_path / "a.jsonl")
    with pytest.raises(StorageError, match="File exists"):
        JournalWriter(path)


def test_journal_of_a_living_writer_is_not_repaired(tmp_path):
    writer = JournalWriter(tmp_path / "a.jsonl")
    with pytest.raises(RunFolderError, match="still being written"):
        repair([tmp_path / "a.jsonl"], patience=0.2)
    writer.close()
    assert repair([tmp_path / "a.jsonl"], patience=0.2) == []


FULL = """
import resource, sys
from pathlib import Path
sys.path.insert(0, {root!r})
from games.records import Event
from harness.errors import StorageError
from harness.run.journal import JournalWriter
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
writer = JournalWriter(Path({path!r}))
for i in range(100):
    try:
        writer.add("one", (Event(seq=i, kind="phase", text="x" * 50),))
    except StorageError as error:
        print(i, error)
        break
try:
    writer.add("one", ())
except StorageError as error:
    print("refused", error)
"""


def test_full_disk_loses_nothing_that_was_written(tmp_path):
    path = tmp_path / "a.jsonl"
    code = FULL.format(root=str(ROOT), path=str(path))
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    first, second = done.stdout.splitlines()
    n = int(first.split()[0])
    assert "no room to write" in first
    assert "run the same command again" in first
    assert second == f"refused {first.partition(' ')[2]}"  # the same reason, whoever of many writers hears it
    assert [r.seq for r in Journal([path]).records("one")] == list(range(n))
    assert path.read_bytes().endswith(b"\n")
    assert n > 3


def test_killed_writer_leaves_all_its_whole_lines(tmp_path):
    path = tmp_path / "a.jsonl"
    code = (
        f"import sys, os, signal; sys.path.insert(0, {str(ROOT)!r})\n"
        "from pathlib import Path\nfrom games.records import Event\nfrom harness.run.journal import JournalWriter\n"
        f"w = JournalWriter(Path({str(path)!r}))\n"
        "for i in range(50): w.add('one', (Event(seq=i, kind='phase'),))\n"
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    done = subprocess.run([sys.executable, "-c", code], check=False)
    assert done.returncode == -9
    assert repair([path]) == []
    assert len(Journal([path]).records("one")) == 50


def test_journal_holds_text_of_any_script(tmp_path):
    text = "狼は誰？ \u2028 \x00 🐺 <|im_end|> [Moderator]"
    writer = JournalWriter(tmp_path / "a.jsonl")
    writer.add("one", (Event(seq=0, kind="speech", text=text),))
    writer.close()
    (record,) = Journal([tmp_path / "a.jsonl"]).records("one")
    assert isinstance(record, Event)
    assert record.text == text
    assert os.path.getsize(tmp_path / "a.jsonl") > 0
