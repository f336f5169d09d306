"""The report's section on training: a probe over checkpoints, and two checkpoints compared."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import polars as pl

from analysis.data.captures import checkpoints_of
from analysis.evaluation.evaluate import Evaluation, Settings
from analysis.evaluation.prepare import Prepared, posterior_of
from analysis.evaluation.saved import fit_probe
from analysis.models.checkpoints import follow
from analysis.models.model_diffs import ModelDiff, model_diffs
from analysis.report import training_charts
from analysis.report.block import Block
from analysis.report.page import Figure, Numbers, Table, share, title_of, tokens_text


def training_block(
    e: Evaluation | None,
    prepared: Prepared,
    runs: Sequence[tuple[str, Any]],
    settings: Settings,
    numbers: Numbers,
) -> Block:
    """The course of the headline target over checkpoints, and every comparison of two models."""
    block = Block("training", "Training")
    course = pl.DataFrame()
    if e is not None:
        found = checkpoints_of(e.target, runs)
        course = follow(e, found, posterior_of(e.target, prepared.watched.beliefs), settings)
    if len(course) and e is not None:
        _course(block, e, course, numbers)
    elif e is None:
        block.add(note="No course over training: the headline target was not evaluated.")
    else:
        block.add(
            note="No course over training: fewer than two other checkpoints were captured on these contexts at site "
            f"{e.target.readouts[0].site}. `wolfscope capture RUN --model CHECKPOINT --site "
            f"{e.target.readouts[0].site}` captures one."
        )
    probes = {}
    if e is not None:
        saved = fit_probe(e)
        probes[saved.card.layer] = saved.direction()
    diffs = model_diffs(runs, probes)
    for number, diff in enumerate(diffs):
        _diff(block, diff, number, numbers)
    if not diffs:
        block.add(
            note="No two checkpoints were compared token by token. `wolfscope diff RUN --model CHECKPOINT` compares "
            "one with the model that played."
        )
    return block


def _course(block: Block, e: Evaluation, course: pl.DataFrame, numbers: Numbers) -> None:
    numbers.add("F11_checkpoints", course, target=e.target.name)
    label = pl.when(pl.col("tokens").is_null()).then(pl.lit("as played"))
    shown = course.with_columns(step=label.otherwise(pl.col("tokens").map_elements(tokens_text, pl.String)))
    own = course.filter(pl.col("what") == "own probe")
    first, last = own.row(0, named=True), own.row(-1, named=True)
    grown = "more than" if last["low"] > first["high"] else "not clearly more than"
    block.add(
        figure=Figure(
            "F11", "F11", f"When in training does “{title_of(e.target.name).lower()}” become readable?",
            training_charts.checkpoints(shown, "AUROC and R2 by tokens trained"),
            "The same contexts, rows and folds through every checkpoint; bands are 95% over games, dots chance. Own "
            "probe: trained on the checkpoint, layer chosen inside. Final model's direction: trained on the model that "
            f"played, other games, applied as it is. R2: of the ideal reader's log-odds. The model that played reads "
            f"{last['value']:.3f}, {grown} the first checkpoint ({first['value']:.3f}), judged by whether the bands "
            f"touch. n = {last['n_rows']:,} rows of {last['n_games']:,} games.",
        )
    )  # fmt: skip


def _diff(block: Block, diff: ModelDiff, number: int, numbers: Numbers) -> None:
    names = f"{diff.a.split('@')[0]} (A) and {diff.b.split('@')[0]} (B)"
    for name, frame in (("kinds", diff.kinds), ("words", diff.words), ("layers", diff.layers)):
        numbers.add(f"D1_{name}", frame, a=diff.a, b=diff.b)
    top = diff.kinds.row(0, named=True)
    rows = [
        [r["kind"].replace("_", " "), f"{r['n']:,}", f"{r['kl']:.4f} [{r['low']:.4f}, {r['high']:.4f}]",
         share(r["share"]), f"{r['gain']:+.4f}"]
        for r in diff.kinds.to_dicts()
    ]  # fmt: skip
    block.add(
        note=f"Where do {names} part? KL(A || B) of the next token on the same contexts, {diff.n_games:,} games, "
        f"intervals over games. Most of it, {top['share']:.0%}, lies on {top['kind'].replace('_', ' ')}. Answers are "
        "what the model that played gave; other kinds are what stands in the log. Gain: how much more B expected what "
        "stood there.",
        table=Table(
            ["kind of token", "tokens", "KL, nats a token [95%]", "share of all", "gain, nats"], rows, (1, 2, 3, 4)
        ),
    )  # fmt: skip
    if len(diff.words):
        words = diff.words.head(12)
        block.add(
            figure=Figure(
                f"D1-{number}", "D1", f"On which words do {names} part most?",
                training_charts.words(words, "Mean KL by word"),
                f"The twelve words of highest mean KL among those with enough tokens; they hold "
                f"{words['share'].to_numpy().sum():.0%} of all KL. n = {diff.n_games:,} games.",
            )
        )  # fmt: skip
    rows = [
        [r["layer"], f"{r['moved']:.3f}", f"{r['cosine']:.3f}", share(r["shared"]),
         ", ".join(f"{v:.0%}" for v in r["explained"][:3]),
         "" if r["probe"] is None else f"{r['probe']:.1%} (chance {r['by_chance']:.1%})"]
        for r in diff.layers.to_dicts()
    ]  # fmt: skip
    kept = len(diff.layers["explained"][0])
    block.add(
        note="Which directions changed? B's stream minus A's at each token: its length beside A's, the cosine of both, "
        "the share that is one shift of all tokens, what the three largest principal directions hold of the rest, and "
        f"how much of the headline probe's direction lies in the {kept} largest.",
        table=Table(
            ["stream", "moved", "cosine", "one shift", "largest three", "of the probe"], rows, (1, 2, 3, 4, 5)
        ),
    )
