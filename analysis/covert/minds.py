"""Two minds: do the activations of two seats at one moment show together what neither shows alone?

A *pair* is two living seats whose decisions of one kind were asked at the same time (a ballot of all, a night's wave).
The question is whether both are werewolves. Each seat's own role is in its prompt, so the baseline (`alone`) combines
the scores of a probe on each mind; only reading both minds together can show agreement between them: a shared target, a
shared code. Where the role line was removed (`variant`), the baseline loses this information.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from analysis.stats.bootstrap import auroc_interval, bootstrap_auroc, interval
from analysis.stats.errors import AnalysisError
from analysis.stats.splits import game_folds
from analysis.stats.threads import one_thread

Floats = NDArray[np.float64]

MINDS: dict[str, Any] = {
    "variant": pl.String,  # of the contexts: `VARIANTS`
    "read": pl.String,  # alone, concatenated, difference, alignment, attention, all together
    "games": pl.Int64,
    "n": pl.Int64,  # pairs
    "auroc": pl.Float64,  # of "both are werewolves", within a moment
    "low": pl.Float64,
    "high": pl.Float64,
    "gain": pl.Float64,  # over `alone`, paired over games
    "gain_low": pl.Float64,
    "gain_high": pl.Float64,
}
VARIANTS = ("original", "no_role_line", "random_span")
"""What the minds had read: the whole context; the context without the role line, which names the partner too; and its
control, with as many tokens removed elsewhere."""
ALONE = "alone"
WIDTH = 32
"""Number of principal directions in which the two minds' coordinates are compared."""


@dataclass(frozen=True)
class Pairs:
    """Pairs of minds, each at one moment."""

    first: Floats
    """`(n_pairs, d)`: the activations of the seat with the lower number."""
    second: Floats
    own: NDArray[np.bool_]
    """`(n_pairs, 2)`: whether each is a werewolf."""
    games: NDArray[Any]
    moments: NDArray[Any]
    """Moment of each pair; pairs are compared within a moment."""


def pairs_of(
    run: Any,
    kind: str = "ballot",
    site: str = "prompt_last",
    layer: int | str = -1,
    variant: str = "original",
) -> Pairs:
    """The pairs of a run's own store. Raises AnalysisError where no two seats were captured at one moment.

    layer: a number or name of the store's; -1 the last.
    """
    store = run.activations("activations")
    lines, x = store.select(store.layers[-1] if layer == -1 else layer, site=site, variant=variant)
    asked = run.decisions.filter(pl.col("kind") == kind).select("game_id", "seq", "day", "phase").collect()
    rows = lines.with_row_index("place").join(
        asked, on=["game_id", "seq"], how="inner", maintain_order="left"
    )
    roles = {(g, s): role for g, s, role in run.seats.select("game_id", "seat", "role").collect().iter_rows()}
    guilty = run.manifest.cells[0].rules()[0].belief_targets[0].roles
    found: list[tuple[int, int, bool, bool, str, str]] = []
    for (game, day, phase), part in rows.partition_by(
        "game_id", "day", "phase", as_dict=True, maintain_order=True
    ).items():
        seats = sorted(dict(part.select("seat", "place").iter_rows()).items())
        for (a, row_a), (b, row_b) in combinations(seats, 2):
            wolves = roles[game, a] in guilty, roles[game, b] in guilty
            found.append((row_a, row_b, *wolves, str(game), f"{game} {day} {phase}"))
    if not found:
        raise AnalysisError(
            f"no two seats were captured at site {site} at one {kind} (variant {variant}): play models in several "
            "seats and capture that site"
        )
    values = np.asarray(x, dtype=float)
    return Pairs(
        values[[f[0] for f in found]], values[[f[1] for f in found]],
        np.array([[f[2], f[3]] for f in found]), np.array([f[4] for f in found]), np.array([f[5] for f in found]),
    )  # fmt: skip


def minds_table(pairs: Pairs, variant: str = "original", n_boot: int = 1000, seed: int = 0) -> pl.DataFrame:
    """AUROC within moments of each way to read two minds, and its gain over each alone (schema `MINDS`).

    All fits are on other games. Raises AnalysisError where the pairs hold one answer alone or fewer than 10 games.
    """
    y = pairs.own.all(axis=1).astype(float)
    n_games = len(set(pairs.games.tolist()))
    if n_games < 10 or not 0 < y.sum() < len(y):
        raise AnalysisError(
            f"{len(y)} pairs of {n_games} games, {int(y.sum())} of two werewolves: at least 10 games with both kinds "
            "of pairs are needed"
        )
    with one_thread():
        scores = _scores(pairs, y, seed)
        values, samples = bootstrap_auroc(y, list(scores.values()), pairs.games, pairs.moments, n_boot, seed)
    base = list(scores).index(ALONE)
    rows = []
    for i, name in enumerate(scores):
        found = auroc_interval(samples[i], float(values[i]), n_games=n_games)
        gain = interval(samples[i] - samples[base], float(values[i] - values[base]), n_games=n_games)
        rows.append(
            {
                "variant": variant, "read": name, "games": n_games,
                "n": len(y), "auroc": found.value, "low": found.low, "high": found.high,
                "gain": None if i == base else gain.value, "gain_low": None if i == base else gain.low,
                "gain_high": None if i == base else gain.high,
            }
        )  # fmt: skip
    return pl.DataFrame(rows, schema=MINDS)


def _scores(pairs: Pairs, y: Floats, seed: int) -> Mapping[str, Floats]:
    folds = game_folds(pairs.games, 5, seed).require_grouped().fold
    names = (ALONE, "concatenated", "difference", "alignment", "attention", "all together")
    out = {name: np.zeros(len(y)) for name in names}
    for k in range(5):
        train, test = folds != k, folds == k
        a, b = pairs.first, pairs.second
        # Each mind alone: one probe of the seat's own side, the same for both seats.
        own = _probe(np.vstack([a[train], b[train]]), np.hstack([pairs.own[train, 0], pairs.own[train, 1]]))
        one, two = own(a), own(b)
        alone = np.column_stack([np.minimum(one, two), np.maximum(one, two), one + two])
        # Agreement: products of the two minds' coordinates, which stay when both change their sign.
        basis = np.linalg.svd(np.vstack([a[train], b[train]]) - a[train].mean(axis=0), full_matrices=False)[
            2
        ][:WIDTH]
        u, v = (a - a[train].mean(axis=0)) @ basis.T, (b - b[train].mean(axis=0)) @ basis.T
        views = {
            ALONE: alone,
            "concatenated": np.hstack([a + b, np.abs(a - b), alone]),
            "difference": np.hstack([np.abs(u - v), alone]),
            "alignment": np.hstack([u * v, alone]),
            "attention": np.hstack([attended(u, v, one, two), alone]),
            "all together": np.hstack([a + b, np.abs(u - v), u * v, alone]),
        }
        for name, x in views.items():
            out[name][test] = _probe(x[train], y[train])(x)[test]
    return out


def attended(u: Floats, v: Floats, one: Floats, two: Floats) -> Floats:
    """Attention over the members: each mind's coordinates `(n_pairs, k)` are weighted by its own score in standard
    deviations, so that the mind with the clearer score dominates. With two members the softmax is a logistic function
    of the difference of their scores."""
    spread = max(float(np.concatenate([one, two]).std()), 1e-9)
    share = (1.0 / (1.0 + np.exp(-(one - two) / spread)))[:, None]
    return np.asarray(share * u + (1.0 - share) * v)


def _probe(x: Floats, y: NDArray[Any]) -> Any:
    model = make_pipeline(StandardScaler(), LogisticRegression(C=0.01, class_weight="balanced", max_iter=300))
    return model.fit(x, y).decision_function


def minds_lines(table: pl.DataFrame) -> list[str]:
    """The table for a terminal."""
    out = []
    for r in table.iter_rows(named=True):
        gain = (
            ""
            if r["gain"] is None
            else f"  beyond alone {r['gain']:+.3f} [{r['gain_low']:+.3f}, {r['gain_high']:+.3f}]"
        )
        out.append(
            f"two minds, {r['variant']}, {r['read']:<14} AUROC {r['auroc']:.3f} [{r['low']:.3f}, {r['high']:.3f}]{gain}"
        )
    alone = table.filter(read=ALONE)["auroc"].to_list()
    if alone and alone[0] > 0.99:
        out.append(
            "each mind alone tells it, for its own role stands in its prompt: nothing is left to be gained"
        )
    return out
