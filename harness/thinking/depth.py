"""Amortised against explicit: models of several depths, trained alike, with and without thinking.

Run it with `wolfscope train-thinking-model OUT --depths 1,2,4,8`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import polars as pl

from agents.hooks.model import load_hooked_model
from agents.models.folder import load_tokenizer
from agents.werewolf.vocabulary import lexicon_of
from harness.atomic import storage, write_whole
from harness.thinking.evaluate import measure
from harness.thinking.moments import moments
from harness.thinking.tables import Table, column
from harness.training.thinking.train import train

ARMS = ("none", "filler", "belief", "steps")


def depth_series(
    out: Path,
    layers: Sequence[int],
    *,
    start: Path | None,
    tokens: int,
    seed: int = 0,
    hidden: int = 128,
    preset: str | None = None,
    n_games: int = 40,
    say: Callable[[str], None] = print,
) -> pl.DataFrame:
    """Train one model of each depth on as many tokens (those that are there are taken up), and measure all on the same
    held-out games. Writes `depth.parquet` (one row a depth and arm) and `depth.md`, and returns the table.

    start: the model whose first layers each begins with; None: from scratch.
    """
    rows = []
    for n in layers:
        folder = out / f"layers-{n}"
        if not (folder / "model.safetensors").is_file():
            train(
                folder, start=start, tokens=tokens, seed=seed, layers=n, hidden=hidden, preset=preset, say=say
            )
        tokenizer = load_tokenizer(folder)
        found = list(moments(preset or "classic-7", n_games, lexicon_of(tokenizer)))
        m = measure(
            load_hooked_model(folder, dtype="float32", device="cpu"), tokenizer, found, arms=ARMS, deep=False
        )
        for arm in ARMS:
            of = {name: getattr(m, name).filter(pl.col("arm") == arm) for name in ("questions", "ballots")}
            bits, regret = column(of["questions"], "bits"), column(of["ballots"], "regret")
            rows.append({
                "layers": n, "tokens": tokens, "arm": arm, "n_tokens": of["ballots"]["n_tokens"].mean(),
                "read": of["ballots"]["read"].mean(), "bits": bits.value, "bits_low": bits.low, "bits_high": bits.high,
                "regret": regret.value, "regret_low": regret.low, "regret_high": regret.high,
            })  # fmt: skip
    table = pl.DataFrame(rows)
    with storage(out):
        table.write_parquet(out / "depth.parquet")
    made = depth_table(table)
    write_whole(out / "depth.md", made.markdown().encode())
    say(made.plain())
    return table


def depth_table(table: pl.DataFrame) -> Table:
    """Bits a question by depth and arm."""
    rows = []
    for n in table["layers"].unique(maintain_order=True).to_list():
        at = {row["arm"]: row for row in table.filter(pl.col("layers") == n).iter_rows(named=True)}
        cells = [f"{at[a]['bits']:.3f} ({at[a]['bits_low']:.3f} to {at[a]['bits_high']:.3f})" for a in ARMS]
        rows.append((str(n), *cells, f"{at['steps']['n_tokens']:.0f}", f"{at['steps']['read']:.0%}"))
    return Table("bits a question by depth", ("layers", *ARMS, "tokens of steps", "steps read"), tuple(rows))
