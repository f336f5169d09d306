"""Planted truth: synthetic activations whose answer is known, for testing the whole pipeline.

Four kinds of data set with the shape of a real one (games, viewers, decisions, subjects): `signal` (a
direction carries who is a werewolf), `confound` (a direction carries a public count that correlates with
it, and nothing more), `nothing` (strong marks of game, seat, name and turn, none of them about roles),
`silence` (as `nothing`, and the public count is uninformative too, so that no baseline prevents a false claim). The
pipeline must find the first, call the second not beyond baseline, and find nothing in the others. Two mistakes of
published code serve as negative controls: a split of rows, and the best of many layers chosen on the test rows; both
"find" signal in `nothing`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray

from analysis.probes.permutation import layer_null, units_of
from analysis.probes.probes import cell_scores, probe
from analysis.stats.metrics import auroc
from analysis.stats.splits import game_folds, row_folds

Plant = Literal["signal", "confound", "nothing", "silence"]


@dataclass(frozen=True)
class Planted:
    """A synthetic data set: `frame` has one row per (game, viewer, decision, subject), `x` its activations."""

    frame: pl.DataFrame
    x: NDArray[np.float32]
    """`(n_rows, n_layers, d_model)`; what is planted lies in layer `n_layers - 2`."""

    @property
    def y(self) -> NDArray[np.float64]:
        """`(n_rows,)`: whether the subject is a werewolf."""
        return self.frame["is_werewolf"].to_numpy().astype(np.float64)

    @property
    def games(self) -> NDArray[Any]:
        """`(n_rows,)` game ids."""
        return self.frame["game_id"].to_numpy()


def plant(
    kind: Plant,
    n_games: int,
    strength: float = 1.0,
    n_players: int = 7,
    n_viewers: int = 2,
    n_turns: int = 3,
    n_layers: int = 4,
    d_model: int = 48,
    seed: int = 0,
) -> Planted:
    """Draws a data set. `strength` is the shift between the classes, in units of the noise along the
    direction.
    """
    rng = np.random.default_rng(seed)
    rows: list[dict[str, Any]] = []
    for game in range(n_games):
        wolves = rng.choice(n_players, 2, replace=False)
        names = rng.permutation(20)[:n_players]
        # Viewers at random: if they were the first villagers, the seat alone would be informative about roles.
        villagers = [int(s) for s in rng.permutation(n_players) if s not in wolves][:n_viewers]
        # Public suspicion: werewolves are accused somewhat more often, whatever any model knows.
        accused = np.zeros(n_players, dtype=int)
        for turn in range(n_turns):
            rate = np.where(np.isin(np.arange(n_players), wolves) & (kind != "silence"), 1.4, 0.7)
            accused = accused + rng.poisson(rate)
            rows.extend(
                {
                    "game_id": f"g{game:05d}", "viewer": v, "subject": s, "seq": turn, "day": turn + 1, "turn": turn,
                    "name": f"name{names[s]}", "is_werewolf": bool(s in wolves), "accused": int(accused[s]),
                }
                for v in villagers for s in range(n_players) if s != v
            )  # fmt: skip
    frame = pl.DataFrame(rows)
    n = len(frame)
    x = rng.normal(size=(n, n_layers, d_model)).astype(np.float32)
    for column in ("name", "subject", "turn"):  # what any real residual stream carries
        code = np.unique(frame[column].to_numpy(), return_inverse=True)[1]
        x += rng.normal(size=(int(code.max()) + 1, n_layers, d_model)).astype(np.float32)[code]
    # Each player of each game leaves a mark of its own: it repeats over the rows of the game, so it leaks.
    unit = units_of(frame["game_id"].to_numpy(), frame["subject"].to_numpy())[0]
    x += 1.5 * rng.normal(size=(int(unit.max()) + 1, n_layers, d_model)).astype(np.float32)[unit]
    if kind in ("signal", "confound"):
        source = frame["is_werewolf" if kind == "signal" else "accused"].to_numpy().astype(np.float64)
        direction = rng.normal(size=d_model)
        direction /= np.linalg.norm(direction)
        level = (source - source.mean()) * (strength if kind == "signal" else strength / source.std())
        noise = np.sqrt(1 + 1.5**2 + 3)
        x[:, max(0, n_layers - 2)] += (noise * level[:, None] * direction).astype(np.float32)
    return Planted(frame, x)


def power_table(
    n_games: Sequence[int] = (30, 100),
    strengths: Sequence[float] = (0.0, 0.5, 1.0),
    repeats: int = 40,
    n_permutations: int = 99,
    level: float = 0.05,
    seed: int = 0,
) -> pl.DataFrame:
    """How often the permutation null over layers is beaten at `level`: power, and at strength 0 the error
    rate.
    """
    found = []
    for games in n_games:
        for strength in strengths:
            hits, total = 0, 0.0
            for repeat in range(repeats):
                kind: Plant = "signal" if strength else "nothing"
                data = plant(kind, games, strength, d_model=24, seed=seed + 1000 * repeat + games)
                unit, unit_games, first = units_of(data.games, data.frame["subject"].to_numpy())
                null = layer_null(
                    data.x,
                    data.y[first],
                    unit,
                    unit_games,
                    game_folds(data.games, 5, repeat),
                    n_permutations,
                    repeat,
                )
                hits += bool(null.p[0] <= level)
                total += float(null.observed.max())
            found.append(
                {"n_games": games, "strength": strength, "detected": hits / repeats, "auroc": total / repeats}
            )
    return pl.DataFrame(found)


def mistakes(data: Planted, seed: int = 0) -> dict[str, float]:
    """AUROC on the same data done right and done wrong, keyed by what was done.

    `nested, grouped` is what this package does. `rows split at random` puts a game on both sides. `best
    layer on the test rows` takes the maximum of many layers where it is scored.
    """
    right = probe(data.x, data.y, game_folds(data.games, 5, seed), data.games, "ridge")
    leaking = row_folds(data.games, 5, seed, force=True)
    leaked, _ = cell_scores(
        data.x[:, -1], data.y, leaking.fold, [([c for c in range(5) if c != f], [f]) for f in range(5)]
    )
    return {
        "nested, grouped": right.auroc,
        "rows split at random": float(auroc(data.y, leaked, strata=leaking.fold)),
        "best layer on the test rows": float(right.by_layer.max()),
    }
