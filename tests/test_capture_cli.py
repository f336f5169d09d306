"""Damage to a run's activations is named by `wolfscope check` and ends it with a status that a script can see."""

from __future__ import annotations

import re
import shutil
import signal
from pathlib import Path

import polars as pl
import pytest

from harness.activations import open_activations
from harness.cli import main
from tests.test_capture_playing import config_of, played


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
    number = decisions["prompt_ids"].list.len().arg_max()
    assert number is not None
    ids = decisions["prompt_ids"].to_list()
    ids[number] = [ids[number][0] + 1, *ids[number][1:]]
    column = pl.Series("prompt_ids", ids, decisions.schema["prompt_ids"])
    decisions.with_columns(column).write_parquet(run / "decisions.parquet")
    game, seq = decisions.row(number, named=True)["game_id"], decisions["seq"][number]
    named = findings(run, capsys, "--activations")
    assert any(re.match(rf"{game}/{seq}: the prompt .* part at token", line) for line in named)
    assert any(
        line.startswith("activations/")
        and f"game_id={game}, seq={seq}," in line
        and "other token ids" in line
        for line in named
    )
