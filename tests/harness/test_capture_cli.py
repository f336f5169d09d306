"""What a user of `wolfscope capture` and `wolfscope check` meets when something is wrong: words, and nothing lost."""

from __future__ import annotations

import json
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from agents.models.small import SMALL_MODEL
from harness.activations.store import KEY, open_activations
from harness.cli.main import main
from harness.run.held import RunFolder
from tests.fixtures.edits import reseal
from tests.fixtures.tiny_models import save_tiny_model
from tests.harness.test_capture_playing import config_of, played

ROOT = Path(__file__).resolve().parents[2]
LAST = json.loads((SMALL_MODEL / "config.json").read_text())["num_hidden_layers"] - 1
"""Number of the small model's last layer."""


@pytest.fixture(scope="module")
def captured(tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = played(tmp_path_factory.mktemp("cli") / "run", config_of(games=2))
    assert status_of("capture", run, "--device", "cpu", "--quiet") == 0
    return run


@pytest.fixture
def run(captured: Path, tmp_path: Path) -> Path:
    return shutil.copytree(captured, tmp_path / "run")


def status_of(*words: object) -> object:
    handler = signal.getsignal(signal.SIGTERM)
    try:
        with pytest.raises(SystemExit) as ended:
            main([str(word) for word in words])
    finally:
        signal.signal(signal.SIGTERM, handler)
    return ended.value.code


def findings(run: Path, capsys: pytest.CaptureFixture[str], *flags: str) -> list[str]:
    """What the check prints about a damaged run."""
    capsys.readouterr()
    assert status_of("check", run, *flags, "--quiet") == 1
    return capsys.readouterr().out.splitlines()


def test_sound_activations_pass_the_check(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    assert status_of("check", run, "--activations") == 0
    *_, agreement, last = capsys.readouterr().out.splitlines()
    assert re.match(r"(\d+) of \1 rows of a sample agree with a plain forward pass", agreement)
    assert last == "sound: nothing is wrong"


def test_a_flipped_byte_is_named_with_its_row(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store = open_activations(run / "activations")
    line = store.index().row(-1, named=True)
    shard = store.path / "shards" / line["shard"]
    damaged = bytearray(shard.read_bytes())
    end = len(damaged) - 4 * store.d_model * (store.index(variant=None).height - 1 - line["row"])
    damaged[end - 1] ^= 0x01  # in the row's last value at the last layer
    shard.write_bytes(damaged)
    (finding,) = findings(run, capsys)
    assert finding.startswith(f"activations/{line['shard']} row {line['row']}: ")
    assert f"game_id={line['game_id']}, seq={line['seq']}, site={line['site']}" in finding
    assert len(findings(run, capsys, "--activations")) >= 1


def test_a_cut_shard_is_named(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (shard,) = (run / "activations" / "shards").iterdir()
    shard.write_bytes(shard.read_bytes()[:-1])
    (finding,) = findings(run, capsys)
    assert finding.startswith(f"activations/{shard.name}: ") and "is truncated" in finding


def test_a_changed_token_id_is_named_with_its_decision(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    decisions = pl.read_parquet(run / "decisions.parquet")
    # The last one: none goes on from its context, so no other decision's rows are found damaged as well.
    number = max(i for i, ids in enumerate(decisions["prompt_ids"].to_list()) if ids)
    ids = decisions["prompt_ids"].to_list()
    ids[number] = [ids[number][0] + 1, *ids[number][1:]]
    column = pl.Series("prompt_ids", ids, decisions.schema["prompt_ids"])
    decisions.with_columns(column).write_parquet(run / "decisions.parquet")
    reseal(run)
    game, seq = decisions.row(number, named=True)["game_id"], decisions["seq"][number]
    named = findings(run, capsys, "--activations")
    assert any(re.match(rf"{game}/{seq}: the prompt .* part at token", line) for line in named)
    assert any(
        line.startswith("activations/")
        and f"game_id={game}, seq={seq}," in line
        and "other token ids" in line
        for line in named
    )


@pytest.mark.parametrize("name", ["activations-untrained", "activations-other"])
def test_every_store_of_a_run_is_checked(run: Path, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    (run / "activations").rename(run / name)
    (part,) = (run / name / "index").iterdir()
    damaged = bytearray(part.read_bytes())
    damaged[len(damaged) // 3] ^= 0x10
    part.write_bytes(damaged)
    found = findings(run, capsys)
    assert any(
        line.startswith(f"{name}/{part.name}: index part ") and "has changed" in line for line in found
    )


def test_damage_is_a_finding_of_the_sample_too_and_stops_a_capture_that_would_build_on_it(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (shard,), (part,) = (run / "activations" / "shards").iterdir(), (run / "activations" / "index").iterdir()
    shard.write_bytes(shard.read_bytes()[:-100])
    named = findings(run, capsys, "--activations")
    assert named and all(f"shard {shard} is truncated" in line for line in named)
    assert status_of("capture", run, "--device", "cpu", "--quiet") == 1
    assert f"delete {shard} and {part}, then capture again" in capsys.readouterr().err
    shard.unlink(), part.unlink()
    assert status_of("capture", run, "--device", "cpu", "--quiet") == 0
    assert status_of("check", run, "--activations", "--quiet") == 0


def test_a_lost_index_part_is_named_and_its_rows_are_read_again(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = contents(run)
    (part,) = (run / "activations" / "index").iterdir()
    part.unlink()
    (finding,) = findings(run, capsys)
    assert f"{part.stem}.safetensors has no index part" in finding
    assert status_of("capture", run, "--device", "cpu") == 0
    assert f"removed the shard {part.stem}.safetensors" in capsys.readouterr().out
    assert status_of("check", run, "--quiet") == 0
    assert contents(run).keys() == before.keys()


def test_the_number_format_may_be_given_for_a_store_of_its_own(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    capture = ("capture", run, "--device", "cpu", "--quiet", "--site", "prompt_last", "--dtype", "bfloat16")
    assert status_of(*capture) == 2
    assert "holds activations with dtype = float32, this capture has bfloat16" in capsys.readouterr().err
    shutil.rmtree(run / "activations")
    assert status_of(*capture) == 0
    assert open_activations(run / "activations").info.dtype == "bfloat16"


def contents(run: Path) -> dict[tuple[object, ...], np.ndarray]:
    """Key -> (n_layers, d_model) of every row."""
    store = open_activations(run / "activations")
    lines = store.index(variant=None)
    found = dict(zip(lines.select(KEY).iter_rows(), store.read_rows(lines), strict=True))
    assert len(found) == lines.height  # no key twice
    return found


KILLED = """
import os, signal, sys
import harness.activations.writer as writer
import harness.capture.passes as capture, agents.hooks.model  # before the forks: once for all

capture.capture_pass.__kwdefaults__["batch_tokens"] = 600  # so that there are several shards

original = writer.ActivationWriter.__init__
def small(self, *args, **settings):
    original(self, *args, **settings | {"shard_bytes": 200_000})
writer.ActivationWriter.__init__ = small

def dying(after):
    # kills the process instead of the write of that number; shards and index parts take turns
    left = [after]
    def wrap(name, half):
        write = getattr(writer, name)
        def wrapped(path, *rest):
            if path.name != "store.json" and not left[0]:
                if half:
                    path.with_name("." + path.name + ".x.part").write_bytes(b"half")
                os.kill(os.getpid(), signal.SIGKILL)
            left[0] -= 1
            return write(path, *rest)
        setattr(writer, name, wrapped)
    wrap("write_shard", True)
    wrap("write_whole", False)

from harness.cli.main import main
for after, run in enumerate(sys.argv[1:], 2):
    child = os.fork()
    if not child:
        dying(after)
        main(["capture", run, "--device", "cpu", "--quiet"])
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
"""


def test_a_capture_killed_at_any_write_goes_on_by_the_same_command(
    captured: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = contents(captured)
    runs = [
        shutil.copytree(captured, tmp_path / f"run{i}") for i in range(2)
    ]  # killed in a shard, in its part
    for run in runs:
        shutil.rmtree(run / "activations")
    subprocess.run([sys.executable, "-c", KILLED, *map(str, runs)], cwd=ROOT, check=True, timeout=300)
    for run, n_shards in zip(runs, (1, 2), strict=True):
        assert 0 < open_activations(run / "activations").index().height < len(whole)
        assert len(list((run / "activations" / "shards").glob("[!.]*"))) == n_shards
        assert status_of("capture", run, "--device", "cpu", "--quiet") == 0
        found = contents(run)
        assert found.keys() == whole.keys()
        for key, row in found.items():
            np.testing.assert_allclose(row, whole[key], rtol=1e-4, atol=1e-4)
        assert not list((run / "activations").rglob(".*"))
    assert status_of("check", runs[-1], "--activations", "--quiet") == 0
    capsys.readouterr()


def test_a_second_capture_at_once_is_told_to_wait(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    with RunFolder.hold(run):
        assert status_of("capture", run, "--quiet") == 2
    said = capsys.readouterr().err
    assert f"in use by process {os.getpid()}" in said and "wait until it is done, or stop it" in said
    assert "--out" not in said


def test_a_full_disk_stops_a_capture_and_the_same_command_goes_on(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.rmtree(run / "activations")
    before, handler = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(
            resource.RLIMIT_FSIZE, (50_000, before[1])
        )  # the kernel's EFBIG stands for a full disk
        assert status_of("capture", run, "--device", "cpu", "--quiet") == 2
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
    assert re.search(
        r"error: no room to write .*safetensors.*run the same command again", capsys.readouterr().err
    )
    assert status_of("capture", run, "--device", "cpu", "--quiet") == 0
    assert status_of("check", run, "--quiet") == 0
    assert not list((run / "activations").rglob(".*"))


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--layer=9"], f"layer 9 does not exist; the model has layers 0 to {LAST}"),
        (["--layer=-1"], f"layer -1 does not exist; the model has layers 0 to {LAST}"),
        (["--layer=1.5"], "layer 1.5 is a fraction of the depth and must lie in 0.0 to 1.0"),
        (["--layer=foo"], f"layer 'foo' is not known; give all, a number from 0 to {LAST}, a fraction"),
        (["--site=foo"], "no site is called 'foo'; there are: prompt_last,"),
        (["--site=mention:9"], "site mention:9 names seat 9; the games of {run} have seats 0 to 6"),
        (["--site=reasoning_mean"], "none by that of backend small has reasoning_mean as original"),
        (["--variant=foo"], "no variant is called 'foo'; there are: original, no_role_line"),
        (["--role=dragon"], "no seat of {run} has the role 'dragon'; there are: doctor, "),
        (["--device=tpu"], "no device is called 'tpu'; give auto, cpu, cuda"),
        (["--backend=big"], "the run's models are small; 'big' is not one of them"),
        (["--model=TINY"], "has other words than "),
    ],
)
def test_what_cannot_be_captured_is_refused_and_makes_no_store(
    captured: Path, tmp_path: Path, words: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    run = shutil.copytree(captured, tmp_path / "run", ignore=shutil.ignore_patterns("activations"))
    if words == ["--model=TINY"]:
        words = ["--model", str(save_tiny_model(tmp_path / "tiny"))]
    capsys.readouterr()
    assert status_of("capture", run, *words, "--quiet") == 2
    said = capsys.readouterr()
    assert says.format(run=run) in said.err and said.out == ""
    assert not list(run.glob("activations*"))


def test_the_device_that_this_machine_lacks_is_named(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import torch

    number = torch.cuda.device_count()
    capsys.readouterr()
    assert status_of("capture", run, "--device", f"cuda:{number}", "--quiet") == 2
    assert f"--device cuda:{number} is not there" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("lines", "says"),
    [
        ("layer = 9", f"names layer 9, the model has layers 0 to {LAST}"),
        ("layer = 1\nscale = nan", "scale: Input should be a finite number"),
        ("layer = 1\nseats = [9]", "names seat 9; the games of"),
        (
            "layer = 1\npositions = [100000]",
            r"names positions (100000,), the context has distinct indices 0 to",
        ),
        ("layer = 1\nvector = 'short.npy'", "has shape (100,), the stream of this model takes (128,)"),
    ],
)
def test_steering_that_cannot_be_is_refused_and_stores_nothing(
    run: Path, tmp_path: Path, lines: str, says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    np.save(tmp_path / "v.npy", np.ones(128, np.float32))
    np.save(tmp_path / "short.npy", np.ones(100, np.float32))
    steer = tmp_path / "steer.toml"
    steer.write_text(lines if "vector" in lines else f"{lines}\nvector = 'v.npy'")
    before = contents(run)
    capsys.readouterr()
    assert status_of("capture", run, "--steer", steer, "--device", "cpu", "--quiet") == 2
    assert says in capsys.readouterr().err
    assert contents(run).keys() == before.keys()
