"""Wins against held-out opponents: pairs of deals, intervals over deals, opponents' fallbacks aside."""

from __future__ import annotations

import numpy as np
import polars as pl

from analysis.behaviour.held_out import gains, in_words
from harness.training.selfplay.held_out import GAMES


def games(won: dict[str, list[bool]], fallbacks: dict[str, list[int]] | None = None) -> pl.DataFrame:
    rows = [
        (deal, name, w, 3, 8, 0, 20, (fallbacks or {}).get(name, [0] * len(wins))[deal])
        for name, wins in won.items()
        for deal, w in enumerate(wins)
    ]
    return pl.DataFrame(rows, schema=GAMES, orient="row")


def test_a_planted_gain_is_found_and_none_where_there_is_none() -> None:
    rng = np.random.default_rng(0)
    same = rng.random((2, 300)) < 0.5
    better = same | (rng.random((2, 300)) < 0.4)  # 20 points
    before = games({"a": list(same[0]), "b": list(same[1])})
    table = gains(games({"a": list(better[0]), "b": list(better[1])}), before)
    row = table.filter(pl.col("opponents") == "all").row(0, named=True)
    assert row["low"] < 0.2 < row["high"]
    assert row["low"] > 0.1
    covered = 0
    for _ in range(20):
        other = rng.random((2, 100)) < 0.5
        none = gains(games({"a": list(other[0]), "b": list(other[1])}), before, n_boot=400)
        covered += none["low"][-1] < 0 < none["high"][-1]
    assert covered >= 17


def test_deals_that_only_one_has_played_and_the_order_of_rows_change_nothing() -> None:
    a, b = games({"a": [True, False, True, True]}), games({"a": [False, False, True]})
    table = gains(a, b)
    assert table["deals"].to_list() == [3, 3]
    assert gains(a.reverse(), b.reverse())["gain"].to_list() == table["gain"].to_list()


def test_wins_that_opponents_fallbacks_gave_are_told_apart() -> None:
    after = games({"a": [True, True, False, False]}, {"a": [1, 1, 0, 0]})
    row = gains(after, games({"a": [False] * 4})).row(0, named=True)
    assert (row["gain"], row["clean_gain"], row["clean_deals"]) == (0.5, 0.0, 2)
    assert row["opponent_fallbacks"] == 2 / 160
    assert "+50.0 points" in in_words(gains(after, games({"a": [False] * 4})))[0]
