"""nnsight and TransformerLens read the same decision and find the stored row.

They want other versions than this project, so they run in an environment of their own (docs/activations.md, Speed):
WOLFSCOPE_PEERS names its Python; without it this is skipped.
"""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import numpy as np
import pytest

from agents.models.small import SMALL_MODEL
from harness.capture.run import capture_run
from harness.run.folder import load_run
from tests.harness.test_capture_playing import config_of, played

PEERS = os.environ.get("WOLFSCOPE_PEERS")
RIVAL = Path(__file__).parents[2] / "benchmarks" / "rival_capture.py"


@pytest.mark.slow
@pytest.mark.skipif(PEERS is None, reason="WOLFSCOPE_PEERS names no Python with nnsight and transformer-lens")
@pytest.mark.parametrize("tool", ["nnsight", "transformer_lens"])
def test_others_read_the_stored_rows(tool: str, tmp_path: Path) -> None:
    run = played(tmp_path / "run", config_of(activations={"sites": ["prompt_last"]}))
    capture_run(run, device="cpu")
    opened = load_run(run)
    store = opened.activations()
    lines = store.index(site="prompt_last")[:4]
    keys = lines.select("game_id", "seq", "token_index").iter_rows()
    ids, at = zip(*((opened.context_ids(game, seq), [token]) for game, seq, token in keys), strict=True)
    width = min(map(len, ids))  # batches of equal length need no padding
    job = {
        "ids": [one[: max(width, where[0] + 1)] for one, where in zip(ids, at, strict=True)],
        "positions": at,
    }
    (tmp_path / "job.json").write_text(json.dumps(job | {"batch_tokens": 1}))
    command = [
        str(PEERS),
        str(RIVAL),
        tool,
        str(SMALL_MODEL),
        str(tmp_path / "job.json"),
        str(tmp_path / "rows.npy"),
        "1",
    ]
    done = subprocess.run(command, input="\n", text=True, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    theirs = np.load(tmp_path / "rows.npy").reshape(len(lines), -1, store.d_model)
    layers = [name for name in store.layers if name.startswith("resid_post.")]
    ours = store.read_rows(lines, layers)
    error = np.linalg.norm(theirs - ours, axis=-1) / np.linalg.norm(ours, axis=-1)
    assert error.max() < 1e-4
