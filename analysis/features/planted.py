"""The fight on planted truth: a known dictionary must gain where it should, and must not gain elsewhere.

    python -m analysis.features.planted --repeats 40

Rows are sums of few of many directions (superposition); the dictionary's latents are these directions. The label is

| kind | label | latents over simple methods |
| --- | --- | --- |
| superposed | one of the directions is on | gain with few games; a probe catches up with data |
| outside | a weak direction that no latent has | none: the probe and the error hold it |
| public | a word of the text | none |
| nothing | drawn anew for each player | none |

`planted_fight.json` beside this file holds how often each verdict was given.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from scipy import sparse

from analysis.features.fight import LATENTS, Question, fight
from analysis.features.questions import sources_of
from analysis.features.readers import Columns
from analysis.features.regimes import Plan
from analysis.stats.threads import one_thread

OUT = Path(__file__).with_name("planted_fight.json")
KINDS = ("superposed", "outside", "public", "nothing")
REGIMES = ("full", "few games")
D, WIDTH, ON = 24, 72, 3 / 72
"""Width of the stream, number of directions, how often each is on."""
SMALL = (1, 2, 4, 8, 16)
"""Numbers of best columns that are tried."""
MISSED, FALSE = 0.1, 0.005
"""How often a latent stays off where its direction is on, and how often it is on where it is not."""
ROWS = 24
"""Number of rows of a game."""


def planted_question(kind: str, n_games: int = 60, seed: int = 0) -> Question:
    """One data set. Raises ValueError for a kind that does not exist."""
    if kind not in KINDS:
        raise ValueError(f"nothing is planted as {kind!r}; there are {', '.join(KINDS)}")
    rng = np.random.default_rng([seed, KINDS.index(kind)])
    directions = rng.normal(size=(WIDTH, D))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    extra = rng.normal(size=D)
    extra /= np.linalg.norm(extra)
    n = n_games * ROWS
    game = np.repeat(np.arange(n_games), ROWS)
    player = rng.integers(0, 6, n)
    on = rng.random((n, WIDTH)) < ON
    codes = on * rng.uniform(2.0, 3.0, (n, WIDTH))
    coin = rng.random(n) < 0.4
    noise = 0.15 * rng.normal(size=(n, D)) + 0.3 * rng.normal(size=(n_games, D))[game]
    x = codes @ directions + noise
    y = {"superposed": on[:, 0], "outside": coin, "public": coin}.get(kind)
    if kind == "outside":
        x += 0.5 * (coin[:, None] - 0.4) * extra
    if y is None:
        y = (rng.random((n_games, 6)) < 0.4)[game, player]
    words = np.stack([coin if kind == "public" else rng.random(n) < 0.4, rng.random(n) < 0.3], axis=1)
    rows = x.astype(np.float32)
    # an encoder with errors
    read = np.where(rng.random((n, WIDTH)) < MISSED, 0.0, codes)
    read = np.where((rng.random((n, WIDTH)) < FALSE) & ~on, 2.0, read)
    made = (read @ directions).astype(np.float32)
    unlabelled = (rng.permuted(codes, axis=0) @ directions + rng.permuted(noise, axis=0)).astype(np.float32)
    inside = sources_of(rows, sparse.csr_matrix(read), made, unlabelled, seed, SMALL)
    outside = [Columns("bag of words", words.astype(np.float32)), Columns("length", rng.normal(size=(n, 1)))]
    decisions = np.arange(n) // 6
    return Question(kind, y.astype(np.float64), game, decisions, [*outside, *inside])


def outcome(kind: str, seed: int, n_games: int = 60, n_boot: int = 300) -> list[dict[str, Any]]:
    """The verdicts on one data set: latents over all simple methods, by regime."""
    plan = Plan(few=6, draws=4, seed=seed)
    with one_thread():
        found = fight([planted_question(kind, n_games, seed)], plan, REGIMES, n_boot)
    rows = found.verdicts.filter(pl.col("added") == LATENTS, pl.col("over") == "simple methods")
    return [
        {"planted": kind, "regime": regime, "gain": gain, "verdict": verdict}
        for regime, gain, verdict in rows.select("regime", "gain", "verdict").iter_rows()
    ]


def rates(found: list[dict[str, Any]]) -> pl.DataFrame:
    """By kind and regime: data sets, mean gain, share of each verdict."""
    frame = pl.DataFrame(found)
    return frame.group_by("planted", "regime", maintain_order=True).agg(
        pl.len().alias("repeats"), pl.col("gain").mean().alias("mean_gain"),
        *((pl.col("verdict") == word).mean().alias(word) for word in ("gain", "no gain", "loss", "unclear")),
    )  # fmt: skip


def main() -> None:
    """Computes the table and writes it, after every data set."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--repeats", type=int, default=40)
    parser.add_argument("--games", type=int, default=60)
    parser.add_argument("--out", type=Path, default=OUT)
    asked = parser.parse_args()
    found: list[dict[str, Any]] = []
    for repeat in range(asked.repeats):
        for kind in KINDS:
            found += outcome(kind, repeat, asked.games)
        rates(found).write_json(asked.out)
        sys.stdout.write(f"{repeat + 1} of {asked.repeats} data sets a kind\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
