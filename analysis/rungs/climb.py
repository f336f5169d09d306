"""From scores on the same folds to the evidence behind every rung."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from analysis.probes.probes import Nested, ProbeResult
from analysis.rungs.inference import partial_r2, where_they_part
from analysis.rungs.nested import TREES, boosted, linear, log_odds, stack
from analysis.rungs.rungs import NONE, Evidence
from analysis.rungs.use import FEWEST_BALLOTS, votes_explained
from analysis.rungs.within import Resamples, within_pairs
from analysis.stats.bootstrap import Interval, bootstrap_auroc, interval
from analysis.stats.codes import codes_of
from analysis.stats.moments import Doubles
from analysis.stats.splits import Folds


@dataclass(frozen=True)
class Sources:
    """The baselines of the probe on the same rows and folds."""

    surface: Sequence[Nested]
    """Fits on public or incidental features: every confound."""
    features: NDArray[Any]
    """`(n_rows, d)`: the same as numbers, for linear fits of other outcomes."""
    coded: NDArray[Any]
    """`(n_rows, d)`: the same for trees, kinds and names as one column of codes each."""
    untrained: Doubles | None = None
    """The probe of an untrained model, `(n_rows,)`."""
    ceilings: tuple[tuple[str, Doubles], ...] = ()
    """Ideal readers by name, the best informed first: probabilities `(n_rows,)`."""
    exact: bool = False
    """Whether the first of them knows all players' policies."""
    stated: Doubles | None = None
    """What the model answers when asked, probabilities `(n_rows,)`."""
    no_ceiling: str = "no ideal reader follows this question"
    chose: Doubles | None = None
    """`(n_rows,)`: 1 for the subject that the viewer's ballot fell on, 0 for the others of that ballot, NaN "
    "elsewhere."""
    no_use: str = "no choice of these rows turns on it"
    choices: tuple[str, str] = ("ballot", "ballots")
    """The kind of decision in which that is, and what the game calls several of them."""
    trees: int = TREES
    """Trees of each boosted fit."""


def climb(
    y: Doubles, games: NDArray[Any], decision: NDArray[Any], folds: Folds, x: NDArray[Any], found: ProbeResult,
    sources: Sources, p_null: float, n_boot: int = 2000, seed: int = 0,
) -> Evidence:  # fmt: skip
    """The evidence of one target.

    `y` 0/1, `games` (ids) and `decision` (codes of the decisions) are `(n_rows,)`; `x` is `(n_rows, d_model)` of the
    layer that was chosen most often; `found` is the probe.
    """
    game = codes_of(games)
    draw = Resamples(int(game.max()) + 1, n_boot, seed)
    several = bool((np.bincount(decision) > 1).mean() > 0.5)
    public = stack(sources.surface, y, folds)
    both = stack([*sources.surface, found.nested], y, folds)
    e = Evidence(len(y), draw.n_games, several, p_null=p_null, choices=sources.choices)
    compared: dict[str, Doubles] = {"read": found.scores, "surface": public, "together": both}
    if sources.ceilings:
        e.ceiling_name, posterior = sources.ceilings[0]
        e.ceiling_exact = sources.exact
        given = [*sources.surface, *(Nested.given(log_odds(p), folds.n_folds) for _, p in sources.ceilings)]
        compared |= {
            "ceiling": posterior, "reach": stack([*sources.surface, given[len(sources.surface)]], y, folds),
            "ideal": stack(given, y, folds), "more": stack([*given, found.nested], y, folds),
        }  # fmt: skip
    else:
        e.no_ceiling = sources.no_ceiling
    if sources.stated is not None:
        compared["stated"] = sources.stated
    compare = _within(y, decision, game, draw) if several else _pooled(y, game, folds, n_boot, seed)
    value, samples = compare(compared)

    def of(name: str, null: float = 0.5) -> Interval:
        return draw.interval(np.clip(samples[name], 0, 1), value[name], null)

    def minus(one: str, other: str) -> Interval:
        return draw.interval(samples[one] - samples[other], value[one] - value[other])

    e.read, e.surface, e.together = of("read"), of("surface"), of("together")
    e.within = minus("together", "surface") if several else NONE
    v, s = _pooled(y, game, folds, n_boot, seed)({"a": both, "b": public})
    e.pooled = draw.interval(s["a"] - s["b"], v["a"] - v["b"])
    if sources.untrained is not None:
        moved = [found.training, np.zeros(1)]
        v2, s2 = bootstrap_auroc(y, [found.scores, sources.untrained], game, folds.fold, n_boot, seed, moved)
        e.untrained = interval(s2[0] - s2[1], v2[0] - v2[1], n_games=draw.n_games)
    if sources.stated is not None:
        e.stated, e.said = of("stated"), minus("stated", "read")
    if sources.ceilings:
        e.ceiling, e.reachable, e.short = of("ceiling"), minus("reach", "surface"), minus("reach", "together")
        e.beyond = minus("more", "ideal")
        gain, room = samples["together"] - samples["surface"], samples["reach"] - samples["surface"]
        e.share = draw.interval(
            np.where(room > 0, gain / np.where(room > 0, room, 1), np.nan),
            (value["together"] - value["surface"]) / max(1e-9, value["reach"] - value["surface"]),
        )
        _inference(e, y, game, folds, x, sources, public, posterior, found, draw, seed)
    _use(e, y, game, decision, folds, found, sources, public, draw, seed)
    return e


def _within(y: Doubles, decision: NDArray[Any], game: NDArray[Any], draw: Resamples) -> Any:
    def compare(scores: Mapping[str, Doubles]) -> tuple[dict[str, float], dict[str, Doubles]]:
        found = {name: draw.ratio(*within_pairs(y, s, decision, game)) for name, s in scores.items()}
        return {n: v for n, (v, _) in found.items()}, {n: s for n, (_, s) in found.items()}

    return compare


def _pooled(y: Doubles, game: NDArray[Any], folds: Folds, n_boot: int, seed: int) -> Any:
    def compare(scores: Mapping[str, Doubles]) -> tuple[dict[str, float], dict[str, Doubles]]:
        values, samples = bootstrap_auroc(y, list(scores.values()), game, folds.fold, n_boot, seed)
        return dict(zip(scores, map(float, values))), dict(zip(scores, samples))

    return compare


def _inference(
    e: Evidence, y: Doubles, game: NDArray[Any], folds: Folds, x: NDArray[Any], sources: Sources, public: Doubles,
    posterior: Doubles, found: ProbeResult, draw: Resamples, seed: int,
) -> None:  # fmt: skip
    wanted = log_odds(posterior)
    given = [
        *sources.surface,
        linear(sources.features, wanted, folds),
        boosted(sources.coded, wanted, folds, seed, value=True, trees=sources.trees),
    ]
    own = linear(x, wanted, folds)
    e.r2 = partial_r2(wanted, given, own, folds, game, draw)
    e.r2_truth = partial_r2(wanted, [*given, Nested.given(y, folds.n_folds)], own, folds, game, draw)
    columns = {"surface": public, "posterior": posterior, "represented": found.scores}
    if sources.stated is not None:
        columns["stated"] = sources.stated
    e.parted = where_they_part(y, columns, game, draw)


def _use(
    e: Evidence, y: Doubles, game: NDArray[Any], decision: NDArray[Any], folds: Folds, found: ProbeResult,
    sources: Sources, public: Doubles, draw: Resamples, seed: int,
) -> None:  # fmt: skip
    if sources.chose is None:
        e.no_use = sources.no_use
        return
    rows = np.flatnonzero(np.isfinite(sources.chose))
    code = codes_of(decision[rows]) if len(rows) else np.zeros(0, dtype=np.int64)
    n_ballots = int(code.max(initial=-1)) + 1
    if n_ballots < FEWEST_BALLOTS:
        kind, plural = sources.choices
        e.no_use = (
            f"{n_ballots} {plural} on players whom the rules leave open; at least {FEWEST_BALLOTS} are needed"
            + ("" if n_ballots else f', read where they are chosen (beliefs.before = ["{kind}"])')
        )
        return
    part = Folds(folds.fold[rows], folds.n_folds, folds.grouped, folds.how)
    chosen, k = sources.chose[rows], folds.n_folds
    told = log_odds(public[rows])[:, None]
    surface = [
        linear(np.hstack([sources.features[rows], told]), chosen, part),
        boosted(np.hstack([sources.coded[rows], told]), chosen, part, seed, trees=sources.trees),
        Nested.given(log_odds(public[rows]), k),
    ]
    beliefs = {"represented": Nested(found.nested.outer[rows], found.nested.inner[:, rows])}
    if sources.stated is not None:
        beliefs = {"stated": Nested.given(log_odds(sources.stated[rows]), k), **beliefs}
    exact = ""
    if sources.ceilings:
        exact = sources.ceilings[0][0]
        beliefs[exact] = Nested.given(log_odds(sources.ceilings[0][1][rows]), k)
    e.explained = votes_explained(chosen, code, game[rows], part, surface, beliefs, exact, draw)
