"""A player whose acts follow what they gain is called strategic, one of habit is not, however the two are entangled."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from analysis.behaviour.strategic import advantages, strategic_lines, strategic_table

KINDS = ("silent", "accuse:other", "accuse:partner", "claim_role:seer", "defend:partner")


def made_acts(
    beta: float, seed: int = 0, n_games: int = 60, n: int = 24, worth: float = 0.15
) -> pl.DataFrame:
    """Menus whose acts win more or less by game; the player's utility is its habit and `beta` times the true gain.

    The habit favours some acts, more so the more accusations have been heard, and what wins does so too: whoever
    looks at choices and gains alone sees them go together.
    """
    rng = np.random.default_rng(seed)
    favour = np.array([0.0, 1.0, -1.0, 0.5, 0.3])
    rows = []
    for moment in range(2 * n_games):
        accused = rng.integers(0, 4, size=len(KINDS)).astype(float)
        gain = np.clip(
            0.45 + 0.06 * favour + worth * rng.normal(size=len(KINDS)) + 0.03 * accused, 0.02, 0.98
        )
        utility = favour + 0.4 * accused + beta * gain
        p = np.exp(utility - utility.max())
        said = rng.choice(len(KINDS), p=p / p.sum())
        luck = rng.random(n)
        for j, kind in enumerate(KINDS):
            rows.append(
                {
                    "moment": moment, "game": f"g{moment // 2}", "role": "werewolf", "faction": "werewolf",
                    "day": 1 + moment % 2, "agent": "player", "act": kind, "kind": kind.partition(":")[0],
                    "lie": j in (1, 3), "truthful": j in (0, 2, 4), "chosen": float(j == said),
                    "won": (luck < gain[j]).astype(int).tolist(), "accused": accused[j], "defended": 0.0, "claims": 0.0,
                    "votes": 0.0, "spoken": float(moment % 3),
                }
            )  # fmt: skip
    return pl.DataFrame(rows)


def test_acts_that_follow_their_advantage_are_strategic():
    row = strategic_table(made_acts(8.0), 200).row(0, named=True)
    assert row["verdict"] == "strategic"
    assert row["low"] > 0
    assert row["n_continuations"] == 120 * 5 * 24


def test_habits_are_not_strategic_though_they_favour_what_wins():
    found = [strategic_table(made_acts(0.0, seed), 100).row(0, named=True) for seed in range(8)]
    assert sum(row["verdict"] == "strategic" for row in found) <= 1
    assert abs(np.mean([row["slope"] for row in found])) < 1.0


def test_acts_against_what_they_gain_are_told_apart():
    assert strategic_table(made_acts(-8.0), 200)["verdict"].to_list() == ["against its interest"]


def test_no_slope_of_interest_is_excluded_by_noise_in_what_acts_gain():
    """A slope of twice what is of interest, gains known from four continuations: what is measured is nearly flat."""
    noisy = [
        strategic_table(made_acts(4.0, seed, n=4, worth=0.05), 100).row(0, named=True) for seed in range(6)
    ]
    assert all(row["verdict"] != "not beyond habit" for row in noisy)
    assert max(row["reliability"] for row in noisy) < 0.6
    clear = strategic_table(made_acts(0.0, n_games=200, n=60, worth=0.2), 100).row(0, named=True)
    assert clear["reliability"] > 0.8
    assert clear["verdict"] == "not beyond habit"
    assert clear["findable"] < 2 < min(row["findable"] for row in noisy)


def test_few_games_are_underpowered():
    row = strategic_table(made_acts(0.0, n_games=4), 50).row(0, named=True)
    assert (row["verdict"], row["slope"]) == ("underpowered", None)


def test_an_act_without_any_effect_has_no_advantage_by_luck():
    """The best of many equal alternatives looks better than it is; the advantage is not taken in by it."""
    rng = np.random.default_rng(0)
    truthful = np.array([False] + [True] * 8)
    found = [advantages((rng.random((9, 20)) < 0.5).astype(float), truthful)[0][0] for _ in range(300)]
    assert abs(np.mean(found)) < 3 * np.std(found) / np.sqrt(300)


def test_an_act_is_compared_with_truthful_ones_alone():
    won = np.array([[1.0] * 10, [0.0] * 10, [1.0] * 10])
    value, error = advantages(won, np.array([False, True, False]))
    assert value[[0, 2]].tolist() == [1.0, 1.0]
    assert np.isnan(value[1])
    assert error[0] == 0


def test_lies_are_shared_out_into_those_that_help_do_nothing_and_hurt():
    acts = made_acts(0.0).with_columns(
        won=pl.when(pl.col("lie")).then(pl.lit([1] * 24)).otherwise(pl.lit([0] * 24)),
        chosen=pl.when(pl.col("act") == "accuse:other").then(1.0).otherwise(0.0),
    )
    row = strategic_table(acts, 50).row(0, named=True)
    assert (row["helped"], row["nothing"], row["hurt"]) == (1.0, 0.0, 0.0)
    assert row["lie_advantage"] == pytest.approx(1.0)
    assert "120 lies: 100% helped" in strategic_lines(strategic_table(acts, 50))[0]
