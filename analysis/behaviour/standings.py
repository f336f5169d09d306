"""How well players play: win rates by side, on the same deals and against the same opponents as the baselines.

Such a run seats one contender on one side and scripted players on the other, once for each contender
(`harness/config/examples/competence.toml`). Game k of every combination has the same seed, so differences are paired.
"""

from __future__ import annotations

from typing import Any

import msgspec
import polars as pl
from statsmodels.stats.proportion import proportion_confint

from analysis.stats.bootstrap import ratio_interval
from analysis.stats.errors import AnalysisError
from harness.run.folder import Run


class Standing(msgspec.Struct, frozen=True):
    """One contender on one side."""

    side: str
    """The faction that it played."""
    agent: str
    opponents: str
    games: int
    wins: int
    low: float
    """The win rate's Wilson interval, 95%."""
    high: float
    fallbacks: float
    """Share of its decisions that were fallbacks."""

    @property
    def rate(self) -> float:
        """The win rate."""
        return self.wins / self.games


class Difference(msgspec.Struct, frozen=True):
    """One contender's win rate minus another's, in the same seats of the same games."""

    side: str
    agent: str
    baseline: str
    games: int
    """Deals that both finished."""
    value: float
    low: float
    """95% interval of the difference over games (`analysis.stats.bootstrap`)."""
    high: float


def standings(run: Run) -> list[Standing]:
    """Every contender on every side. Raises AnalysisError where no side of the run has one agent alone."""
    won = _won(run)
    lost = (
        run.decisions.group_by("agent", maintain_order=True)
        .agg(share=pl.col("fallback").is_not_null().mean())
        .collect()
    )
    fallbacks = dict(lost.iter_rows())
    found = []
    for (side, agent), rows in won.group_by("side", "agent", maintain_order=True):
        wins, n = int(rows["won"].sum()), len(rows)
        low, high = proportion_confint(wins, n, method="wilson")
        found.append(
            Standing(
                str(side),
                str(agent),
                rows["opponents"][0],
                n,
                wins,
                low,
                high,
                float(fallbacks.get(agent, 0.0)),
            )
        )
    return found


def differences(run: Run, agent: str, n_boot: int = 2000, seed: int = 0) -> list[Difference]:
    """The agent against every other contender on the same side, paired by deal."""
    won = _won(run)
    found = []
    for side in won["side"].unique(maintain_order=True):
        here = won.filter(pl.col("side") == side)
        mine = here.filter(pl.col("agent") == agent).select("deal", mine="won")
        for baseline in here["agent"].unique(maintain_order=True):
            if baseline == agent:
                continue
            both = mine.join(
                here.filter(pl.col("agent") == baseline).select("deal", theirs="won"),
                on="deal",
                maintain_order="left",
            )
            if not len(both):
                continue
            gain = both["mine"].cast(pl.Float64) - both["theirs"].cast(pl.Float64)
            i = ratio_interval(both["deal"], gain, n_boot=n_boot, seed=seed)
            found.append(Difference(side, agent, baseline, len(gain), i.value, i.low, i.high))
    return found


def _won(run: Run) -> pl.DataFrame:
    """One row a finished game of a contender: side, agent, opponents, deal (equal for equal seeds), won."""
    cells = _contenders(run)
    games = run.games.filter(pl.col("status") == "finished").select("cell", "winner", deal="seed").collect()
    won = games.join(cells, on="cell", maintain_order="left").with_columns(
        won=pl.col("winner") == pl.col("side")
    )
    return won.sort("cell", maintain_order=True)


def _contenders(run: Run) -> pl.DataFrame:
    """cell, side, agent, opponents: the sides that are played by one agent alone, against one opponent or several."""
    rows: list[dict[str, Any]] = []
    seats = run.seats.join(run.games.select("game_id", "cell"), on="game_id", maintain_order="left").collect()
    sides = (
        seats.group_by("cell", "faction", maintain_order=True)
        .agg(pl.col("agent").unique(maintain_order=True).sort())
        .sort("cell", "faction", maintain_order=True)
    )
    for (cell,), parts in sides.group_by("cell", maintain_order=True):
        by_side = dict(parts.select("faction", "agent").iter_rows())
        alone = {side: agents[0] for side, agents in by_side.items() if len(agents) == 1}
        if len(alone) == len(by_side) > 1 and len(set(alone.values())) == 1:
            continue  # the same agent on every side: there is nobody to compare it with
        for side, agent in alone.items():
            others = sorted({a for other, agents in by_side.items() if other != side for a in agents})
            rows.append({"cell": cell, "side": side, "agent": agent, "opponents": ", ".join(others)})
    if not rows:
        raise AnalysisError(
            f"{run.path} seats no agent alone on a side, so nobody's wins can be told from the others': "
            "play harness/config/examples/competence.toml"
        )
    schema = {"cell": pl.Int32, "side": pl.String, "agent": pl.String, "opponents": pl.String}
    return pl.DataFrame(rows, schema=schema)


def competence_lines(run: Run) -> list[str]:
    """The standings, and each model against the baselines, as lines of a table."""
    lines = [
        f"{'side':<10} {'agent':<12} {'games':>6} {'wins':>6}  {'95% interval':<16} {'fallbacks':>9}  against"
    ]
    found = standings(run)
    for s in sorted(found, key=lambda s: (s.side, -s.rate)):
        interval = f"{s.low:.1%} - {s.high:.1%}"
        lines.append(
            f"{s.side:<10} {s.agent:<12} {s.games:>6,} {s.rate:>6.1%}  {interval:<16} {s.fallbacks:>9.2%}"
            f"  {s.opponents}"
        )
    models = (
        run.decisions.filter(pl.col("model").is_not_null())
        .select("agent")
        .unique(maintain_order=True)
        .collect()["agent"]
    )
    for agent in sorted(set(models) & {s.agent for s in found}):
        lines += [""] + [
            f"{d.agent} - {d.baseline} as {d.side}: {100 * d.value:+.1f} points "
            f"[{100 * d.low:+.1f}, {100 * d.high:+.1f}] on {d.games:,} deals"
            for d in differences(run, agent)
        ]
    return lines
