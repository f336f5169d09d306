"""Dictionaries side by side: seeds agree in what they both found, and chance is told beside it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from analysis.features.compare import agreement, compare_lines, write_compared
from harness.features.train import Training, train_dictionaries
from harness.run.folder import load_run
from tests.fixtures.planted_runs import planted_run


def test_shared_directions_are_counted_whatever_their_order_length_and_company() -> None:
    rng = np.random.default_rng(0)
    shared, mine, theirs = (rng.normal(size=(n, 64)) for n in (30, 20, 40))
    a = np.concatenate([shared, mine])
    b = rng.permutation(np.concatenate([3 * shared + 0.1 * rng.normal(size=shared.shape), theirs]))
    share, chance = agreement(a, b)
    assert share == pytest.approx(30 / 50)
    assert chance < 0.05
    # a direction and its opposite are two latents, not one
    assert agreement(shared, -shared)[0] < 0.05
    # one direction of the other is nobody's partner twice
    assert agreement(np.repeat(shared[:1], 10, axis=0), b)[0] == pytest.approx(0.1)


def test_dictionaries_of_a_run_stand_side_by_side_and_seeds_beside_their_like(tmp_path: Path) -> None:
    run = planted_run(tmp_path / "run", 12, 1.5)
    training = Training(
        site="mention",
        layer="resid_post.1",
        widths=(24,),
        l0=(4, 6),
        seeds=(0, 1),
        rows=4_000,
        batch=128,
        lr=5e-3,
    )
    folders = train_dictionaries(run, training)
    alone = Training(
        site="mention", layer="resid_post.1", widths=(16,), l0=(4,), rows=2_000, batch=128, lr=5e-3
    )
    folders += train_dictionaries(run, alone)
    table = write_compared(load_run(run), folders)
    assert table["dictionary"].to_list() == [folder.name for folder in folders]
    assert table["n_seeds"].to_list() == [2, 2, 2, 2, 1]
    assert table["agreement"].is_null().to_list() == [False] * 4 + [True]
    assert table["recovered"].null_count() == len(table)  # nothing was spliced
    assert pl.read_parquet(run / "features" / "compare.parquet").equals(table)
    assert len(compare_lines(table)) == 6
