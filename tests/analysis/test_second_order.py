"""Rung 3 of the second order: what the other can be expected to believe is found where it is held, and there alone."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import polars as pl
import pytest

from analysis.data.targets import SiteActivations
from analysis.evaluation.evaluate import Settings
from analysis.evaluation.second_order import FEWEST_ROWS, second_order
from analysis.report.verdicts import second_words
from analysis.rungs.rungs import R2_MARGIN
from analysis.stats.splits import game_folds

GAMES, ROWS = 60, 6


def planted(held: str):
    """An evaluation whose activations hold the viewer's own belief, and with `second` what the other is to believe."""
    rng = np.random.default_rng(3)
    n = GAMES * ROWS
    games = np.repeat([f"g{i}" for i in range(GAMES)], ROWS)
    own, other, surface = rng.normal(size=(3, n))
    x = rng.normal(size=(n, 1, 8)).astype(np.float32)
    x[:, 0, 0] += 3 * own
    if held == "second":
        x[:, 0, 1] += 3 * other
    keys = {"game_id": games, "seq": np.tile(np.arange(ROWS), GAMES), "viewer": 0, "subject": 1}
    frame = pl.DataFrame(keys)
    expected = frame.with_columns(about=pl.col("viewer"), expected=1 / (1 + np.exp(-(own + other + surface))))
    target = SimpleNamespace(
        frame=frame, games=games, stated={"exact": 1 / (1 + np.exp(-own))},
        activations=[SiteActivations("mention", ("0",), x, np.arange(n))],
    )  # fmt: skip
    e = SimpleNamespace(
        target=target, folds=game_folds(games), probe=SimpleNamespace(place=0), features=surface[:, None]
    )  # fmt: skip
    return e, expected


@pytest.mark.parametrize("held", ["first", "second"])
def test_the_second_order_is_read_beyond_the_surface_and_the_viewers_own_belief(held):
    e, expected = planted(held)
    found = second_order(e, expected, Settings(n_boot=400))
    assert (found.n_rows, found.n_games) == (GAMES * ROWS, GAMES)
    assert (found.r2.low > 0.3) is (held == "second")
    assert (found.r2.high < R2_MARGIN) is (held == "first")
    words = second_words(found)
    assert ("it holds what the other" in words) is (held == "second")
    assert ("nothing that matters of the second order" in words) is (held == "first")


def test_few_rows_of_the_second_order_give_no_number():
    e, expected = planted("second")
    found = second_order(e, expected.head(FEWEST_ROWS - 1), Settings(n_boot=100))
    assert np.isnan(found.r2.value)
    assert second_words(found).startswith(f"Second order: not looked for ({FEWEST_ROWS - 1} rows of")
