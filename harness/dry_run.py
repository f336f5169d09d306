"""A dry run: the schedule of a configuration and what it will take, printed and not played."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import msgspec

from harness.config import Config
from harness.forecast import Forecast, forecast, forecast_lines
from harness.progress import Progress
from harness.schedule import Planned, Schedule

SHOWN = 10
"""So many games of the schedule are printed."""


class DryRun(msgspec.Struct, frozen=True):
    """What `--dry-run --json` prints, on one line."""

    games: int
    factors: list[dict[str, object]]
    """Of each combination."""
    seats: dict[str, int]
    """Agent -> seats in all games."""
    first: list[Planned]
    forecast: Forecast


def dry_run(config: Config, sample: int, progress: Progress) -> DryRun:
    """The whole schedule, made once, and the forecast. Raises as `harness.forecast.forecast`."""
    schedule = Schedule(config)
    seats: Counter[str] = Counter()
    first: list[Planned] = []
    for planned in schedule:
        seats.update(planned.agents)
        if len(first) < SHOWN:
            first.append(planned)
    return DryRun(
        games=len(schedule),
        factors=[cell.factors for cell in schedule.cells],
        seats=dict(seats.most_common()),
        first=first,
        forecast=forecast(config, sample, progress),
    )


def dry_run_lines(found: DryRun) -> Iterator[str]:
    """The dry run in words."""
    yield f"{found.games:,} games, {len(found.factors)} combinations of factors"
    for i, factors in enumerate(found.factors):
        if factors:
            yield f"  {i}: " + ", ".join(f"{key} = {value}" for key, value in factors.items())
    for agent, n in found.seats.items():
        yield f"  {agent}: {n:,} seats"
    for game in found.first:
        yield f"  game {game.index} {game.game_id} seed {game.seed}: {', '.join(game.agents)}"
    if found.games > len(found.first):
        yield f"  and {found.games - len(found.first):,} more"
    yield from forecast_lines(found.forecast)
