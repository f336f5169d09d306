"""Other tools read what is stored and exported here, and find the same.

They want other versions than this project, so each has an environment of its own: `make peers` builds them under
`.cache/peers` (or $WOLFSCOPE_PEERS). Without them these tests are skipped.
"""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import analysis
from agents.models.small import SMALL_MODEL
from harness.capture.run import capture_run
from harness.exchange.transcripts import FORMATS, write_transcripts
from harness.run.folder import load_run
from tests.fixtures.planted_runs import planted_run
from tests.harness.test_capture_playing import config_of, played

ROOT = Path(__file__).resolve().parents[3]
PLACE = Path(os.environ.get("WOLFSCOPE_PEERS") or ROOT / ".cache" / "peers")
RIVAL = ROOT / "tests" / "benchmarks" / "rival_capture.py"
OPENED = Path(__file__).with_name("opened_by_inspect.py")

pytestmark = pytest.mark.slow


def run_with(peers: str, *words: object, **more: Any) -> subprocess.CompletedProcess[str]:
    """A script run by the Python of an environment; skips where it was not built."""
    python = PLACE / peers / "bin" / "python"
    if not python.is_file():
        pytest.skip(f"no environment with {peers} at {PLACE / peers}; make peers builds it")
    done = subprocess.run(
        [str(python), *map(str, words)], text=True, capture_output=True, check=False, cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1"}, **more,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:] + done.stdout[-3000:]
    return done


@pytest.fixture(scope="module")
def captured(tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = played(tmp_path_factory.mktemp("peers") / "run", config_of(activations={"sites": ["prompt_last"]}))
    capture_run(run, device="cpu")
    return run


@pytest.mark.parametrize("tool", ["nnsight", "transformer_lens"])
def test_others_read_the_stored_rows_of_the_same_decision(tool: str, captured: Path, tmp_path: Path) -> None:
    opened = load_run(captured)
    store = opened.activations()
    lines = store.index(site="prompt_last")[:4]
    keys = list(lines.select("game_id", "seq", "token_index").iter_rows())
    ids = [list(opened.context_ids(game, seq)) for game, seq, _ in keys]
    job = {"ids": ids, "positions": [[token] for *_, token in keys], "batch_tokens": 1}
    (tmp_path / "job.json").write_text(json.dumps(job))
    run_with("readers", RIVAL, tool, SMALL_MODEL, tmp_path / "job.json", tmp_path / "rows.npy", 1, input="\n")
    theirs = np.load(tmp_path / "rows.npy").reshape(len(lines), -1, store.d_model)
    layers = [name for name in store.layers if name.startswith("resid_post.")]
    ours = store.read_rows(lines, layers)
    assert theirs.shape == ours.shape
    error = np.linalg.norm(theirs - ours, axis=-1) / np.linalg.norm(ours, axis=-1)
    assert error.max() < 1e-4


def test_inspect_and_scout_open_transcripts_and_read_the_same(tmp_path: Path) -> None:
    run = planted_run(tmp_path / "run", 2, 1.0)
    labels = analysis.labels(load_run(run))["speeches"]
    folders = [write_transcripts(run, tmp_path / form, form, labels) for form in FORMATS]
    found = json.loads(run_with("inspect", OPENED, *folders).stdout.strip().splitlines()[-1])
    written = json.loads((folders[0] / "log.json").read_text())["samples"]
    log, database = found["log"], found["database"]
    assert log["status"] == "success"
    assert set(log["samples"]) == set(database) == {sample["id"] for sample in written}
    for sample in written:
        here, there = log["samples"][sample["id"]], database[sample["id"]]
        assert here["texts"] == there["texts"] == [m["content"] for m in sample["messages"]]
        assert here["roles"] == there["roles"] == [m["role"] for m in sample["messages"]]
        assert there["metadata"]["role"] == here["metadata"]["role"] == sample["metadata"]["role"]
        assert there["success"] == (here["scores"]["won"] == "C")
    lied = {name: s["scores"]["lied"] for name, s in log["samples"].items()}
    assert found["validation"] == {name: lie == "C" for name, lie in lied.items() if lie != "N"}


def test_a_tournament_runs_as_a_task_of_inspect() -> None:
    test = Path(__file__).with_name("test_inspect_task.py")
    done = run_with("inspect", "-m", "pytest", test, "-q", "-p", "no:cacheprovider", "-k", "winner")
    assert "1 passed" in done.stdout
