"""Probes read across games: planted directions are found to be one or two, and hidden kinds score as planted."""

from __future__ import annotations

import numpy as np
import pytest

from analysis.across.table import Group, across, lines

D, GAMES, ROWS = 12, 40, 10


def group(
    game: str,
    direction: int,
    hider: float = 0.0,
    strength: float = 2.0,
    seed: int = 0,
    source: str = "activations",
) -> Group:
    """Rows of evil, plain and hiding seats: evil is one step along an axis, a hider `hider` of that."""
    rng = np.random.default_rng([seed, len(game)])
    kinds = rng.choice(["evil", "plain", "hider"], GAMES * ROWS)
    x = rng.normal(size=(GAMES * ROWS, D)).astype(np.float32)
    x[:, direction] += strength * np.where(kinds == "evil", 1.0, np.where(kinds == "hider", hider, 0.0))
    noise = rng.normal(size=x.shape).astype(np.float32)
    games = np.repeat([f"{game}-{i}" for i in range(GAMES)], ROWS)
    return Group(
        "side", source, game, (noise, x), ("0", "1"), kinds, games, ("evil", "plain"), (("hider", "plain"),)
    )


def cell(table, train: str, test: str, positive: str = "evil"):  # type: ignore[no-untyped-def]
    rows = [
        r
        for r in table.iter_rows(named=True)
        if (r["train"], r["test"], r["positive"]) == (train, test, positive)
    ]
    assert len(rows) == 1
    return rows[0]


def test_a_shared_direction_reads_in_the_other_game_as_in_its_own() -> None:
    table, small = across([group("a", 3), group("bb", 3)], n_boot=200)
    assert small == []
    for train, test in (("a", "a"), ("a", "bb"), ("bb", "a"), ("bb", "bb")):
        found = cell(table, train, test)
        assert found["low"] > 0.85 and found["layer"] == "1"
        assert (found["cosine"] is None) == (train == test)
    assert cell(table, "a", "bb")["cosine"] > 0.9
    assert any("read in bb" in line for line in lines(table))


def test_two_directions_do_not_read_in_each_other() -> None:
    table, _ = across([group("a", 3), group("bb", 7)], n_boot=200)
    assert cell(table, "a", "a")["low"] > 0.85
    crossed = cell(table, "a", "bb")
    assert crossed["low"] < 0.5 < crossed["high"] and abs(crossed["cosine"]) < 0.3


@pytest.mark.parametrize(("hider", "low", "high"), [(0.0, 0.4, 0.6), (1.0, 0.85, 1.0)])
def test_a_hiding_kind_scores_as_planted_in_both_games(hider: float, low: float, high: float) -> None:
    table, _ = across([group("a", 3, hider), group("bb", 3, hider)], n_boot=200)
    for train, test in (("a", "a"), ("a", "bb"), ("bb", "bb")):
        assert low < cell(table, train, test, "hider")["auroc"] < high


def test_groups_of_one_source_alone_meet_and_small_ones_are_named() -> None:
    few = group("bb", 3)
    few = Group(*(few.question, few.source, few.game), tuple(x[:20] for x in few.layers), few.names, few.kinds[:20],
                few.games[:20], few.learned)  # fmt: skip
    table, small = across([group("a", 3), group("a", 3, source="counts"), few], n_boot=50)
    assert set(zip(table["source"], table["test"], strict=True)) == {("activations", "a"), ("counts", "a")}
    assert len(small) == 1 and small[0].startswith("bb, side (activations): 2 games")


def test_layers_that_differ_are_refused_with_both() -> None:
    wide = group("bb", 3)
    wide = Group(
        *(wide.question, wide.source, wide.game),
        wide.layers[:1],
        wide.names[:1],
        wide.kinds,
        wide.games,
        wide.learned,
    )
    with pytest.raises(ValueError, match=r"layers differ.*'0', 12"):
        across([group("a", 3), wide])
