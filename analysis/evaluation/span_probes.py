"""Probes of lies on all tokens of a speech (T4 for spans, F10), pooled three ways; and their scores token by token.

The three probes read the mean of the span's tokens, its last token, or attention over its tokens
(`analysis.probes.attention`). They see the same rows and folds, choose their layer in the same way, and each has its
own permutation null.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from analysis.data.captures import spans_of
from analysis.data.spans import Spans
from analysis.data.targets import Target
from analysis.evaluation.evaluate import Settings, folds_of
from analysis.probes.attention import SpanResult, fit_spans, read_spans
from analysis.stats.bootstrap import auroc_interval, bootstrap_auroc, interval
from analysis.stats.splits import Folds

SITES = ("tokens:reasoning", "tokens:speech", "tokens:output")
PERMUTATIONS = 39
"""Every permutation refits every fold of every layer; the smallest p with 39 is .025."""
SPAN_PROBES: dict[str, Any] = {
    "contrast": pl.String,
    "site": pl.String,
    "probe": pl.String,
    "auroc": pl.Float64,
    "low": pl.Float64,
    "high": pl.Float64,
    "gain": pl.Float64,  # attention minus this probe, paired over games
    "gain_low": pl.Float64,
    "gain_high": pl.Float64,
    "p_null": pl.Float64,
    "layer": pl.String,
    "n_rows": pl.Int64,
    "n_positive": pl.Int64,
    "n_games": pl.Int64,
}
STRIP: dict[str, Any] = {
    "game_id": pl.String,
    "seq": pl.Int32,
    "seat": pl.Int16,
    "name": pl.String,
    "lie": pl.Boolean,
    "place": pl.Int32,  # position of the token in the span
    "token_index": pl.Int32,  # in the decision's whole context
    "text": pl.String,  # null where the capture keeps no vocabulary
    "score": pl.Float64,  # log-odds that the mean probe gives this token alone, from other games
    "attention": pl.Float64,  # what it weighs in the span, from other games
}


def span_probes(
    contrasts: Sequence[tuple[Target, bool]], runs: Sequence[tuple[str, Any]], settings: Settings
) -> tuple[pl.DataFrame, pl.DataFrame, list[str]]:
    """Probes of every contrast within a role at every captured span (`SPAN_PROBES`), one strip (`STRIP`), and what is
    absent, in words."""
    rows: list[dict[str, Any]] = []
    strips: list[pl.DataFrame] = []
    absent: list[str] = []
    for target, within in contrasts:
        for site in SITES if within else ():
            found = spans_of(target, runs, site, seed=settings.seed)
            if found is None:
                continue
            part, spans = found
            folds = folds_of(part, settings)
            if isinstance(folds, str):
                absent.append(f"{target.name}, {site}: {folds}")
                continue
            results = [
                read_spans(name, tokens, part.y, part.games, folds, min(PERMUTATIONS, settings.n_permutations))
                for name, tokens in (
                    ("attention over tokens", spans), ("mean of tokens", spans.mean()), ("last token", spans.last()),
                )
            ]  # fmt: skip
            rows += _rows(part, site, results, folds, settings, spans.layers)
            if not strips:
                strips.append(strip(part, spans, folds, results, runs))
    table = pl.DataFrame(rows, schema=SPAN_PROBES)
    return table, strips[0] if strips else pl.DataFrame(schema=STRIP), absent


def _rows(
    part: Target,
    site: str,
    results: Sequence[SpanResult],
    folds: Folds,
    settings: Settings,
    layers: Sequence[str],
) -> list[dict[str, Any]]:
    scores = [r.scores for r in results]
    values, samples = bootstrap_auroc(
        part.y, scores, part.games, folds.fold, settings.n_boot // 4, settings.seed
    )
    rows = []
    for i, result in enumerate(results):
        own, gain = (
            auroc_interval(samples[i], values[i], n_games=part.n_games),
            interval(samples[0] - samples[i], values[0] - values[i], n_games=part.n_games),
        )
        rows.append(
            {
                "contrast": part.name, "site": site, "probe": result.name, "auroc": own.value, "low": own.low,
                "high": own.high, "gain": gain.value if i else None, "gain_low": gain.low if i else None,
                "gain_high": gain.high if i else None, "p_null": float(result.null.p[0]),
                "layer": layers[int(np.bincount(result.chosen_layer).argmax())], "n_rows": len(part.y),
                "n_positive": int(part.y.sum()), "n_games": part.n_games,
            }
        )  # fmt: skip
    return rows


def strip(
    target: Target, spans: Spans, folds: Folds, results: Sequence[SpanResult], runs: Sequence[tuple[str, Any]]
) -> pl.DataFrame:
    """The tokens of one game scored by fits on games of other folds (schema `STRIP`).

    The game is the one with most rows among those with both a lie and a truth; else the one with most rows.
    """
    games = target.frame.select("game_id", y=target.y).group_by("game_id", maintain_order=True).agg(
        n=pl.len(), both=(pl.col("y").max() > pl.col("y").min())
    )  # fmt: skip
    game = games.sort("both", "n", "game_id", descending=[True, True, False], maintain_order=True)["game_id"][
        0
    ]
    mine = np.flatnonzero(target.games == game)
    fold = int(folds.fold[mine[0]])
    train = spans.take(np.flatnonzero(folds.fold != fold))
    y = target.y[folds.fold != fold][:, None]
    test = spans.take(mine)
    attention, mean = results[0].chosen_layer[fold], results[1].chosen_layer[fold]
    pooled = train.mean()
    by_mean = fit_spans(pooled.x[:, mean], pooled.start, y)
    by_query = fit_spans(train.x[:, attention], train.start, y)
    alone = np.arange(len(test.x) + 1)
    counts = np.diff(test.start)
    frame = target.frame[mine].select("game_id", "seq", seat="viewer", name="name")
    rows = frame.with_columns(lie=pl.Series(target.y[mine] > 0))[np.repeat(np.arange(len(mine)), counts)]
    place = np.concatenate([np.arange(n) for n in counts])
    index, text = _words(game, rows["seq"].to_numpy(), place, spans.site, runs)
    return rows.with_columns(
        place=pl.Series(place),
        token_index=pl.Series(index),
        text=pl.Series(text, dtype=pl.String),
        score=pl.Series(by_mean.logits(test.x[:, mean], alone)[:, 0].astype(float)),
        attention=pl.Series(by_query.attention(test.x[:, attention], test.start)[:, 0].astype(float)),
    ).cast(STRIP)  # type: ignore[arg-type]


def _words(
    game: str, seqs: NDArray[Any], place: NDArray[Any], site: str, runs: Sequence[tuple[str, Any]]
) -> tuple[list[int], list[str | None]]:
    """For each token its index in the decision's context and its text, where the capture keeps the words."""
    prefix, run = next((p, r) for p, r in runs if game.startswith(p) and game[len(p) :] in set(r.game_ids))
    own = game[len(prefix) :]
    store = run.activations()
    lines = store.index(site=site, games=[own]).sort("seq", "token_index", maintain_order=True)
    words = store.vocabulary()
    indices = {
        int(seq): group["token_index"].to_list()
        for (seq,), group in lines.group_by("seq", maintain_order=True)
    }
    contexts = {seq: run.context_ids(own, seq) for seq in indices}
    index = [indices[int(seq)][int(at)] for seq, at in zip(seqs, place)]
    return index, [words.get(contexts[int(seq)][i]) for seq, i in zip(seqs, index)]
