"""How much more often one contender wins than another against the same held-out opponents, in the same deals.

A game in which an opponent's reply could not be used, so that a legal fallback act replaced it, says little about who
plays better. `gain` covers all deals; `clean` covers those in which no opponent of either contender fell back.
"""

from __future__ import annotations

import numpy as np
import polars as pl

from analysis.stats.bootstrap import game_weights, interval

GAINS = {
    "opponents": pl.String,
    "deals": pl.Int64,
    "won": pl.Float64,
    "won_before": pl.Float64,
    "gain": pl.Float64,
    "low": pl.Float64,
    "high": pl.Float64,
    "p": pl.Float64,
    "clean_deals": pl.Int64,
    "clean_gain": pl.Float64,
    "opponent_fallbacks": pl.Float64,
}
"""One row for each opponent and one, `all`, for their mean with equal weights."""


def gains(games: pl.DataFrame, before: pl.DataFrame, n_boot: int = 4000, seed: int = 0) -> pl.DataFrame:
    """Wins of a contender and of its predecessor, and their difference with its interval over deals (95%).

    games, before: one row a game, `harness.training.selfplay.held_out.GAMES`. Deals that only one of them played are
    left out. The interval of `all` resamples the deals of each opponent by themselves.
    """
    pairs = games.join(before, on=["opponents", "deal"], how="inner", suffix="_before", maintain_order="left")
    rows, drawn = [], []
    for number, name in enumerate(dict.fromkeys(pairs["opponents"].to_list())):
        mine = pairs.filter(pl.col("opponents") == name)
        apart = mine["won"].cast(pl.Float64).to_numpy() - mine["won_before"].cast(pl.Float64).to_numpy()
        samples = game_weights(len(mine), n_boot, seed + number) @ apart / len(mine)
        found = interval(samples, float(apart.mean()), n_games=len(mine))
        lost = (mine["opponent_fallbacks"] + mine["opponent_fallbacks_before"]).to_numpy()
        made = (mine["opponent_decisions"] + mine["opponent_decisions_before"]).to_numpy()
        clean = apart[lost == 0]
        rows.append(
            {
                "opponents": name, "deals": len(mine), "won": _mean(mine["won"]),
                "won_before": _mean(mine["won_before"]), "gain": found.value, "low": found.low,
                "high": found.high, "p": found.p, "clean_deals": len(clean),
                "clean_gain": float(clean.mean()) if len(clean) else None,
                "opponent_fallbacks": float(lost.sum() / max(1, made.sum())),
            }
        )  # fmt: skip
        drawn.append(samples)
    if rows:
        rows.append(_all(rows, np.stack(drawn)))
    return pl.DataFrame(rows, schema=GAINS)


def _all(rows: list[dict], drawn: np.ndarray) -> dict:
    """The row of all opponents, each weighing the same. drawn: `(n_opponents, n_boot)` gains."""
    gain = float(np.mean([row["gain"] for row in rows]))
    fewest = min(row["deals"] for row in rows)
    found = interval(drawn.mean(axis=0), gain, n_games=fewest * len(rows))
    clean = [row["clean_gain"] for row in rows if row["clean_gain"] is not None]
    return {
        "opponents": "all", "deals": sum(row["deals"] for row in rows),
        "won": float(np.mean([row["won"] for row in rows])),
        "won_before": float(np.mean([row["won_before"] for row in rows])),
        "gain": gain, "low": found.low, "high": found.high, "p": found.p,
        "clean_deals": sum(row["clean_deals"] for row in rows),
        "clean_gain": float(np.mean(clean)) if clean else None,
        "opponent_fallbacks": float(np.mean([row["opponent_fallbacks"] for row in rows])),
    }  # fmt: skip


def _mean(values: pl.Series) -> float:
    return float(values.cast(pl.Float64).to_numpy().mean())


def in_words(table: pl.DataFrame) -> list[str]:
    """A line for each row of `gains`."""
    return [
        f"{row['opponents']:10} {row['won']:6.1%} against {row['won_before']:6.1%} before: {100 * row['gain']:+5.1f} "
        f"points [{100 * row['low']:+.1f}, {100 * row['high']:+.1f}] in {row['deals']} deals; without opponents' "
        f"fallbacks {_points(row['clean_gain'])} in {row['clean_deals']}"
        for row in table.iter_rows(named=True)
    ]


def _points(gain: float | None) -> str:
    return "unknown" if gain is None else f"{100 * gain:+.1f}"
