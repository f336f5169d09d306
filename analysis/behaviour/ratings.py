"""How strong each agent is on each side: a regularised logistic model of who wins, with intervals over games.

Of a game's two largest sides, the smaller one first (werewolves, village): logit P(first wins) = base of the rules
+ mean strength of the first side's players - mean strength of the second's. Strength is in logits relative to the
average agent on that side; the base says whether the rules favour a side. Ratings that add up the players of a team
without a base mistake the advantage that the rules give a side, and the number of its players, for the strength of
whoever plays that side more often (tests/analysis/test_ratings.py).

The prior on strengths is normal around 0 with standard deviation `PRIOR` logits, on bases with `BASE_PRIOR`.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray
from statsmodels.stats.proportion import proportion_confint

from analysis.behaviour.branches import refuse_branches
from analysis.stats.bootstrap import Interval, interval
from analysis.stats.codes import codes_of
from analysis.stats.errors import AnalysisError
from analysis.stats.logistic import probabilities
from analysis.stats.threads import one_thread

PRIOR, BASE_PRIOR = 1.5, 5.0
RATINGS: dict[str, Any] = {
    "side": pl.String,
    "agent": pl.String,
    "games": pl.Int64,
    "seats": pl.Int64,
    "won": pl.Float64,  # share of its seats that won
    "strength": pl.Float64,  # logits against the average agent on the side
    "low": pl.Float64,
    "high": pl.Float64,
    "p_win": pl.Float64,  # of a side that it has alone, against the average opponent
    "p_low": pl.Float64,
    "p_high": pl.Float64,
}


@dataclass(frozen=True)
class Fit:
    """The model of a set of games and its resamples."""

    agents: dict[str, list[str]]
    """Side -> agents, in the order of the columns; the first side is the one whose wins are modelled."""
    strengths: dict[str, NDArray[np.float64]]
    """Side -> (1 + n_boot, n_agents); row 0 is the fit to the games as they are."""
    bases: NDArray[np.float64]
    """(1 + n_boot,): the average base, each set of rules weighted by its games."""
    n_games: int
    n_dropped: int
    """Finished games that neither side won."""

    def strength(self, side: str, agent: str) -> Interval:
        """An agent's strength on a side, in logits."""
        draws = self.strengths[side][:, self.agents[side].index(agent)]
        return interval(draws[1:], float(draws[0]), n_games=self.n_games)

    def difference(self, side: str, one: str, other: str) -> Interval:
        """One agent's strength minus another's on the same side, in logits; `p` tests equality."""
        i, j = (self.agents[side].index(agent) for agent in (one, other))
        draws = self.strengths[side][:, i] - self.strengths[side][:, j]
        return interval(draws[1:], float(draws[0]), n_games=self.n_games)

    def p_win(self, side: str, agent: str) -> Interval:
        """Probability that a side of this agent alone beats average opponents."""
        own = self.strengths[side][:, self.agents[side].index(agent)]
        draws = probabilities(own + self.bases if side == next(iter(self.agents)) else own - self.bases)
        return interval(draws[1:], float(draws[0]), null=0.5, n_games=self.n_games)


def results_of(runs: Sequence[Any]) -> pl.DataFrame:
    """One row a seat of a finished game: game_id, rules, winner, side, agent, won.

    Raises AnalysisError for runs that share games or continue one, and where no game is finished.
    """
    refuse_branches(runs, "nobody can be rated by them")
    frames = []
    for run in runs:
        games = run.games.filter(pl.col("status") == "finished").select("game_id", "cell", "winner")
        rules = pl.DataFrame(
            {
                "cell": range(len(run.manifest.cells)),
                "rules": [json.dumps(c.settings, sort_keys=True) for c in run.manifest.cells],
            },
            schema={"cell": pl.Int32, "rules": pl.String},
        )
        seats = run.seats.select("game_id", "agent", "won", side="faction")
        frames.append(
            games.join(rules.lazy(), on="cell", maintain_order="left")
            .join(seats, on="game_id", maintain_order="left")
            .collect()
        )
    found = pl.concat(frames).drop("cell")
    if found.is_empty():
        raise AnalysisError("no finished game to rate anybody by; let a run finish first")
    if len(runs) > 1 and sum(f["game_id"].n_unique() for f in frames) > found["game_id"].n_unique():
        raise AnalysisError(
            "the runs share games: join them with `wolfscope merge` first, which keeps each once"
        )
    return found


def sides_of(results: pl.DataFrame) -> tuple[str, str]:
    """The two sides with the most seats, the smaller one first. Raises AnalysisError where there is only one."""
    largest = (
        results.group_by("side", maintain_order=True)
        .len("seats")
        .sort("seats", "side", descending=[True, True], maintain_order=True)["side"]
        .to_list()
    )
    if len(largest) < 2:
        raise AnalysisError(f"the games have one side, {largest}: nobody has an opponent to be rated against")
    return largest[1], largest[0]


def rate(results: pl.DataFrame, n_boot: int = 1000, seed: int = 0) -> Fit:
    """Fit the model to the games of `results_of` and to `n_boot` resamples of them.

    Raises AnalysisError where neither side has won a game.
    """
    first, second = sides = sides_of(results)
    decided = results.filter(pl.col("winner").is_in(sides) & pl.col("side").is_in(sides))
    n_all, n_games = results["game_id"].n_unique(), decided["game_id"].n_unique()
    if not n_games:
        raise AnalysisError(f"none of {n_all} games was won by {first} or by {second}")
    agents = {side: sorted(set(decided.filter(side=side)["agent"])) for side in sides}
    rules = sorted(set(decided["rules"]))
    places = {(side, agent): i for i, (side, agent) in enumerate((s, a) for s in sides for a in agents[s])}
    n_strengths = len(places)
    rows = np.zeros((n_games, n_strengths + len(rules)))
    won = np.zeros(n_games)
    game = codes_of(decided["game_id"].to_numpy())
    winner, side, agent, kind = (decided[name].to_list() for name in ("winner", "side", "agent", "rules"))
    of_first = np.array([one == first for one in side])
    won[game] = [one == first for one in winner]
    rows[game, [n_strengths + rules.index(one) for one in kind]] = 1
    team = 2 * game + of_first
    share = np.where(of_first, 1.0, -1.0) / np.bincount(team)[team]
    np.add.at(rows, (game, np.array([places[key] for key in zip(side, agent)])), share)
    # Games with equal covariates and outcome share a row; a resample of games draws the count of each row.
    alike, counts = np.unique(np.column_stack([rows, won]), axis=0, return_counts=True)
    drawn = np.random.default_rng(seed).multinomial(n_games, counts / n_games, size=n_boot)
    weights = np.vstack([counts, drawn]).astype(float)
    prior = np.repeat([PRIOR, BASE_PRIOR], [n_strengths, len(rules)]) ** -2.0
    with one_thread():
        beta = _newton(alike[:, :-1], alike[:, -1], weights, prior)
    edge = len(agents[first])
    shares = rows[:, n_strengths:].mean(axis=0)
    return Fit(
        agents,
        {first: _centred(beta[:, :edge]), second: _centred(beta[:, edge:n_strengths])},
        beta[:, n_strengths:] @ shares + beta[:, :edge].mean(1) - beta[:, edge:n_strengths].mean(1),
        n_games,
        n_all - n_games,
    )


def _centred(strengths: NDArray[np.float64]) -> NDArray[np.float64]:
    return strengths - strengths.mean(axis=1, keepdims=True)


def _newton(
    x: NDArray[np.float64], y: NDArray[np.float64], weights: NDArray[np.float64], prior: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Ridge-penalised logistic coefficients `(n_fits, p)` of rows x (n, p), y (n,) under weights (n_fits, n)."""
    beta = np.zeros((len(weights), x.shape[1]))
    outer = (x[:, :, None] * x[:, None, :]).reshape(len(x), -1)
    for _ in range(50):
        p = probabilities(beta @ x.T)
        gradient = (weights * (p - y)) @ x + prior * beta
        hessian = ((weights * p * (1 - p)) @ outer).reshape(len(weights), x.shape[1], -1) + np.diag(prior)
        step = np.linalg.solve(hessian, gradient[:, :, None])[:, :, 0]
        beta -= step / np.maximum(
            1.0, np.abs(step).max(axis=1, keepdims=True) / 2
        )  # steps are clipped to 2 logits
        if np.abs(step).max() < 1e-8:
            break
    return beta


def ratings_table(fit: Fit, results: pl.DataFrame) -> pl.DataFrame:
    """One row a side and agent (schema `RATINGS`), the strongest of each side first."""
    rows = []
    for side in fit.agents:
        for agent in fit.agents[side]:
            own = results.filter(side=side, agent=agent)
            strength, chance = fit.strength(side, agent), fit.p_win(side, agent)
            rows.append(
                {
                    "side": side,
                    "agent": agent,
                    "games": own["game_id"].n_unique(),
                    "seats": len(own),
                    "won": _mean(own["won"]),
                    "strength": strength.value,
                    "low": strength.low,
                    "high": strength.high,
                    "p_win": chance.value,
                    "p_low": chance.low,
                    "p_high": chance.high,
                }
            )
    return pl.DataFrame(rows, schema=RATINGS).sort(
        "side", "strength", descending=[True, True], maintain_order=True
    )


def head_to_head(results: pl.DataFrame) -> pl.DataFrame:
    """One row for each agent of the first side and agent of the second that have met: games, the first side's wins.

    Columns named after the sides (`sides_of`: werewolf, village), games, wins, rate, low, high (Wilson, 95%). A game
    counts once for each pair in it.
    """
    first, second = sides_of(results)
    sides = [
        results.filter(side=side)
        .select("game_id", "winner", pl.col("agent").alias(side))
        .unique(maintain_order=True)
        for side in (first, second)
    ]
    met = (
        sides[0]
        .join(sides[1].drop("winner"), on="game_id", maintain_order="left")
        .filter(pl.col("winner").is_in([first, second]))
        .group_by(first, second, maintain_order=True)
        .agg(games=pl.len().cast(pl.Int64), wins=(pl.col("winner") == first).sum().cast(pl.Int64))
        .sort(first, second, maintain_order=True)
    )
    low, high = proportion_confint(met["wins"].to_numpy(), met["games"].to_numpy(), method="wilson")
    return met.with_columns(
        rate=pl.col("wins") / pl.col("games"),
        low=pl.Series(low, dtype=pl.Float64),
        high=pl.Series(high, dtype=pl.Float64),
    )


def differences_table(fit: Fit) -> pl.DataFrame:
    """One row a side and pair of agents: side, agent, other, difference (logits), low, high, p."""
    rows = []
    for side in fit.agents:
        names = fit.agents[side]
        for i, one in enumerate(names):
            for other in names[i + 1 :]:
                d = fit.difference(side, one, other)
                rows.append((side, one, other, d.value, d.low, d.high, d.p))
    columns = ["side", "agent", "other", "difference", "low", "high", "p"]
    schema = dict.fromkeys(columns[:3], pl.String) | dict.fromkeys(columns[3:], pl.Float64)
    return pl.DataFrame(rows, schema=schema, orient="row")


def ratings_lines(fit: Fit, results: pl.DataFrame) -> list[str]:
    """The tables in words."""
    lines = [
        f"{fit.n_games:,} games"
        + (f", {fit.n_dropped:,} that neither side won left out" if fit.n_dropped else "")
    ]
    lines += [
        "",
        f"{'side':<9} {'agent':<16} {'games':>6} {'won':>6}  strength in logits, 95%     wins against the average",
    ]
    for r in ratings_table(fit, results).iter_rows(named=True):
        strength = f"{r['strength']:+.2f} [{r['low']:+.2f}, {r['high']:+.2f}]"
        chance = f"{r['p_win']:.0%} ({r['p_low']:.0%} to {r['p_high']:.0%})"
        lines.append(
            f"{r['side']:<9} {r['agent']:<16} {r['games']:>6,} {r['won']:>6.1%}  {strength:<26}  {chance}"
        )
    first, second = fit.agents
    lines += ["", f"{first:<16} {second:<16} {'games':>6}  {first} won, 95%"]
    for r in head_to_head(results).iter_rows(named=True):
        share = f"{r['rate']:.1%} ({r['low']:.1%} to {r['high']:.1%})"
        lines.append(f"{r[first]:<16} {r[second]:<16} {r['games']:>6,}  {share}")
    return lines


def _mean(values: pl.Series) -> float | None:
    known = values.drop_nulls().cast(pl.Float64).to_numpy()
    return float(known.mean()) if len(known) else None
