"""Where two models diverge in what they say: by segment and role, by word, and by which words were read before.

The input is what `wolfscope diff` has written. Means are in nats a token, intervals are over games.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl

from analysis.stats.bootstrap import game_weights, holm, interval, ratio_interval, spread_p

LEAST = 30
"""Tokens that a word needs to be listed."""
FEWEST_GAMES = 8
"""A word is tested only with this many games that have it and this many that do not."""
SMALLEST = 0.02
"""Nats a token: the smallest further divergence after a word that is of interest."""
TRIGGERS: dict[str, Any] = {
    "word": pl.String,
    "segment": pl.String,
    "role": pl.String,
    "with_word": pl.Float64,  # mean KL(A || B) + KL(B || A) over 2 at emitted tokens where the word was read before
    "without": pl.Float64,
    "difference": pl.Float64,
    "low": pl.Float64,
    "high": pl.Float64,
    "p_adjusted": pl.Float64,  # Holm, over all words, segments and roles
    "n_with": pl.Int64,  # decisions
    "n_without": pl.Int64,
    "n_games": pl.Int64,
    "verdict": pl.String,  # parts after it, no
}


def by_segment(tokens: pl.DataFrame, n_boot: int = 500, seed: int = 0) -> pl.DataFrame:
    """Mean KL in both directions by segment, kind of span, and role; largest share first.

    Columns segment, kind, role, n, kl, low, high, kl_back, low_back, high_back, share (of all KL(A || B)), gain (mean
    log p of what stood there, B minus A).
    """
    named = tokens.with_columns(kind=pl.when("emitted").then(pl.lit("")).otherwise("kind"))
    whole = float(named["kl"].cast(pl.Float64).to_numpy().sum()) or 1.0
    rows = []
    keys = ["segment", "kind", "role"]
    read = named.filter(~pl.col("emitted")).with_columns(role=pl.lit(""))
    for key, part in pl.concat([named.filter("emitted"), read]).group_by(keys, maintain_order=True):
        sums = part.group_by("game_id", maintain_order=True).agg(
            kl=pl.col("kl").cast(pl.Float64).sum(), back=pl.col("kl_back").cast(pl.Float64).sum(), n=pl.len()
        )
        i = ratio_interval(sums["game_id"], sums["kl"], sums["n"], n_boot, seed)
        j = ratio_interval(sums["game_id"], sums["back"], sums["n"], n_boot, seed)
        rows.append(
            {
                **dict(zip(keys, key, strict=True)), "n": int(sums["n"].sum()), "kl": i.value, "low": i.low,
                "high": i.high, "kl_back": j.value, "low_back": j.low, "high_back": j.high,
                "share": float(sums["kl"].to_numpy().sum()) / whole,
                "gain": float((part["logp_b"] - part["logp_a"]).to_numpy().mean()),
            }
        )  # fmt: skip
    return pl.DataFrame(rows).sort("share", descending=True, maintain_order=True)


def by_word(tokens: pl.DataFrame) -> pl.DataFrame:
    """Words by their mean KL, those with `LEAST` tokens or more: text, n, kl, share, gain."""
    kl = pl.col("kl").cast(pl.Float64)
    return (
        tokens.group_by("text", maintain_order=True)
        .agg(n=pl.len(), kl=kl.mean(), total=kl.sum(), gain=(pl.col("logp_b") - pl.col("logp_a")).mean())
        .with_columns(share=pl.col("total") / pl.col("total").sum())
        .filter(pl.col("n") >= LEAST)
        .sort("kl", descending=True, maintain_order=True)
        .select("text", "n", "kl", "share", "gain")
    )


def triggers(decisions: pl.DataFrame, n_boot: int = 1000, seed: int = 0) -> pl.DataFrame:
    """After which words the models diverge more than without them (schema `TRIGGERS`), largest difference first.

    A word is tested in each segment and role in which at least `FEWEST_GAMES` games have decisions that follow it and
    as many have decisions that do not. The mean divergence at the decisions' own tokens is compared.
    """
    rows: list[dict[str, Any]] = []
    p_values: list[float] = []
    for (segment, role), part in decisions.group_by("segment", "role", maintain_order=True):
        games, codes = np.unique(part["game_id"].to_numpy(), return_inverse=True)
        if len(games) < 2 * FEWEST_GAMES:
            continue
        weights = np.vstack([np.ones((1, len(games))), game_weights(len(games), n_boot, seed)])
        sums = np.stack(
            [(part["kl"] + part["kl_back"]).to_numpy() / 2, part["n"].cast(pl.Float64).to_numpy()]
        )
        words = part.select("words").with_row_index("row").explode("words", empty_as_null=False)
        for (word,), at in words.group_by("words", maintain_order=True):
            has = np.zeros(len(part), dtype=bool)
            has[at["row"].to_numpy()] = True
            if min(len(set(codes[has])), len(set(codes[~has]))) < FEWEST_GAMES or not str(word).strip():
                continue
            means = []
            for side in (has, ~has):
                by_game = np.stack([np.bincount(codes[side], s[side], len(games)) for s in sums])
                drawn = np.einsum("bg,vg->vb", weights, by_game)
                means.append(drawn[0] / np.maximum(drawn[1], 1e-9))
            moved = means[0] - means[1]
            i = interval(moved[1:], float(moved[0]), n_games=len(games))
            p_values.append(spread_p(moved[1:], float(moved[0]), n_games=len(games)))
            rows.append(
                {
                    "word": word, "segment": segment, "role": role, "with_word": float(means[0][0]),
                    "without": float(means[1][0]), "difference": i.value, "low": i.low, "high": i.high,
                    "n_with": int(has.sum()), "n_without": int((~has).sum()), "n_games": len(games),
                }
            )  # fmt: skip
    adjusted = holm(p_values)
    frame = pl.DataFrame(
        rows, schema={k: v for k, v in TRIGGERS.items() if k not in ("p_adjusted", "verdict")}
    )
    sure = (pl.col("p_adjusted") < 0.05) & (pl.col("low") > SMALLEST)
    return (
        frame.with_columns(p_adjusted=pl.Series(adjusted, dtype=pl.Float64))
        .with_columns(verdict=pl.when(sure).then(pl.lit("parts after it")).otherwise(pl.lit("no")))
        .sort("difference", descending=True, maintain_order=True)
        .select(list(TRIGGERS))
    )
