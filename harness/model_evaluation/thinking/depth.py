"""Amortised against explicit inference: models of several depths, trained alike, with and without thinking.

Run it with `wolfscope train-thinking-model OUT --depths 1,2,4,8`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from agents.exam import lexicon_of
from agents.hooks.model import load_hooked_model
from agents.models.folder import load_tokenizer
from agents.werewolf import GAME
from analysis.stats.bootstrap import game_weights
from harness.atomic import replacing, write_whole
from harness.model_evaluation.thinking.cells import N_BOOT, Cell, Floats, game_sums
from harness.model_evaluation.thinking.evaluate import measure
from harness.model_evaluation.thinking.moments import moments
from harness.model_evaluation.thinking.tables import Table, column
from harness.training.thinking.train import train

ARMS = ("none", "filler", "belief", "steps")
SERIES: dict[str, Any] = {
    "layers": pl.Int64, "tokens": pl.Int64, "arm": pl.String, "n_tokens": pl.Float64, "n_steps": pl.Float64,
    "read": pl.Float64, "bits": pl.Float64, "bits_low": pl.Float64, "bits_high": pl.Float64, "regret": pl.Float64,
    "regret_low": pl.Float64, "regret_high": pl.Float64,
}  # fmt: skip
"""One row a depth and arm. tokens: of training. n_tokens: of thinking before a ballot. n_steps: steps of a line, of
those that can be read. read: their share."""


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
    """Train one model of each depth on as many tokens (existing ones are reused), and measure all on the same
    held-out games. Writes `depth.parquet` (`SERIES`), `depth-questions.parquet` (the questions behind it) and
    `depth.md`, and returns the first.

    start: the model whose first layers each begins with; None: from scratch. Raises StorageError.
    """
    rows, asked = [], []
    for n in layers:
        folder = out / f"layers-{n}"
        if not (folder / "model.safetensors").is_file():
            train(
                folder, start=start, tokens=tokens, seed=seed, layers=n, hidden=hidden, preset=preset, say=say
            )
        tokenizer = load_tokenizer(folder)
        found = list(moments(preset or "classic-7", n_games, lexicon_of(GAME, tokenizer)))
        m = measure(
            load_hooked_model(folder, dtype="float32", device="cpu"), tokenizer, found, arms=ARMS, deep=False
        )
        asked.append(m.questions.select(layers=pl.lit(n, pl.Int64), game="game", arm="arm", bits="bits"))
        for arm in ARMS:
            questions, ballots = (x.filter(pl.col("arm") == arm) for x in (m.questions, m.ballots))
            bits, regret = column(questions, "bits"), column(ballots, "regret")
            steps = [text.count(".") - 1 for text in ballots.filter(pl.col("read"))["text"]]
            rows.append({
                "layers": n, "tokens": tokens, "arm": arm, "n_tokens": ballots["n_tokens"].mean(),
                "n_steps": float(np.mean(steps)) if steps and arm == "steps" else 0.0, "read": ballots["read"].mean(),
                "bits": bits.value, "bits_low": bits.low, "bits_high": bits.high, "regret": regret.value,
                "regret_low": regret.low, "regret_high": regret.high,
            })  # fmt: skip
    table, questions = pl.DataFrame(rows, schema=SERIES), pl.concat(asked)
    for name, frame in (("depth", table), ("depth-questions", questions)):
        with replacing(out / f"{name}.parquet") as part:
            frame.write_parquet(part)
    made = [depth_table(table), bought_table(table, questions)]
    write_whole(out / "depth.md", "\n".join(one.markdown() for one in made).encode())
    for one in made:
        say(one.plain())
    return table


def depth_table(table: pl.DataFrame) -> Table:
    """Bits a question by depth and arm."""
    rows = []
    for n in table["layers"].unique(maintain_order=True).to_list():
        at = {row["arm"]: row for row in table.filter(pl.col("layers") == n).iter_rows(named=True)}
        cells = [f"{at[a]['bits']:.3f} ({at[a]['bits_low']:.3f} to {at[a]['bits_high']:.3f})" for a in ARMS]
        rows.append((str(n), *cells, f"{at['steps']['n_tokens']:.0f}", f"{at['steps']['read']:.0%}"))
    return Table("bits a question by depth", ("layers", *ARMS, "tokens of steps", "steps read"), tuple(rows))


def bought_table(table: pl.DataFrame, questions: pl.DataFrame) -> Table:
    """How many layers thinking buys: how deep a model would be that answers as well without any thought (linear between
    the depths that were trained, in layers), less the model's own depth; and the same for each of its steps."""
    depths = table["layers"].unique(maintain_order=True).sort().to_list()
    numbers = questions["game"].unique(maintain_order=True).sort().to_list()
    sums = np.zeros((len(numbers), len(depths), len(ARMS), 2))
    for i, n in enumerate(depths):
        for j, arm in enumerate(ARMS):
            of = questions.filter(layers=n, arm=arm)
            both = np.stack([of["bits"].to_numpy(), np.ones(len(of))], axis=1)
            sums[np.isin(numbers, of["game"].to_numpy()), i, j] = game_sums(of["game"].to_numpy(), both)
    drawn = np.tensordot(game_weights(len(numbers), N_BOOT, 0), sums, 1)
    whole, some = sums.sum(0), drawn[..., 0] / drawn[..., 1]
    whole = whole[..., 0] / whole[..., 1]
    rows = []
    for i, n in enumerate(depths):
        steps = table.filter(layers=n, arm="steps")["n_steps"][0]
        cells = [_bought(depths, whole, some, i, ARMS.index(arm)) for arm in ("filler", "belief", "steps")]
        each = f"{_layers(depths, whole, i, 3) / steps:+.2f}" if steps else ""
        rows.append((str(n), *cells, f"{steps:.1f}", each))
    head = ("layers", "filler", "belief", "steps", "steps a line", "layers a step")
    return Table("layers bought by thinking", head, tuple(rows))


def _layers(depths: Sequence[int], bits: Floats, i: int, j: int) -> float:
    """The depth that has the bits of arm j of depth i without a thought, less that depth; bits `(n_depths, n_arms)`."""
    curve = np.minimum.accumulate(bits[:, 0])
    return float(np.interp(-bits[i, j], -curve, depths)) - depths[i]


def _bought(depths: Sequence[int], whole: Floats, drawn: Floats, i: int, j: int) -> str:
    found = np.array([_layers(depths, one, i, j) for one in drawn])
    low, high = np.percentile(found, [2.5, 97.5])
    least = bool(whole[i, j] < whole[:, 0].min())
    cell = Cell(_layers(depths, whole, i, j), float(low), float(high), len(drawn))
    return f"{'at least ' if least else ''}{cell.value:+.1f} ({cell.low:+.1f} to {cell.high:+.1f})"
