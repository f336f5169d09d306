"""A dry run: the schedule of a configuration and its forecast, printed without playing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import msgspec

from harness.config.sections import Config
from harness.forecast.forecast import Forecast, forecast
from harness.play.progress import Progress, clock
from harness.schedule.tournament import Planned, Schedule

SHOWN = 10
"""How many games of the schedule are printed."""


class DryRun(msgspec.Struct, frozen=True):
    """The output of `--dry-run --json`, on one line."""

    games: int
    factors: list[dict[str, object]]
    """The factors of each combination."""
    seats: dict[str, int]
    """Agent -> seats in all games."""
    first: list[Planned]
    forecast: Forecast


def dry_run(config: Config, sample: int, progress: Progress) -> DryRun:
    """The whole schedule, made once, and the forecast. Raises as `harness.forecast.forecast.forecast`."""
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
    n = len(found.factors)
    yield f"{found.games:,} games" + (
        f": {found.games // n:,} of each of {n} combinations of factors" if n > 1 else ""
    )
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


def forecast_lines(found: Forecast) -> list[str]:
    """The forecast in words."""
    lines = [
        f"estimate, from {found.from_games:,} games {'really played' if found.sampled else 'of stand-ins'}:"
    ]
    for agent, kinds in found.decisions.items():
        shown = ", ".join(f"{kind} {n:,}" for kind, n in sorted(kinds.items(), key=lambda kv: -kv[1]))
        lines.append(f"  decisions of {agent}: {sum(kinds.values()):,} ({shown})")
    for model, usage in found.usage.items():
        cached = usage.cached / usage.prompt if usage.prompt else 0.0
        most = found.most_calls.get(model, 0)
        calls = f"{usage.calls:,} to {most:,} calls" if most > usage.calls else f"{usage.calls:,} calls"
        text = f"  {model}: {calls}, {usage.prompt:,} prompt tokens ({cached:.0%} cached), "
        text += f"{usage.generated:,} generated"
        if not found.sampled and model in found.most_generated:
            text += f", at most {found.most_generated[model]:,}"
        lines.append(text + (f", cost {usage.cost:,.2f}" if usage.cost else ""))
    if found.seconds is None:
        lines.append(
            "  time: not known without a sample; --sample 2 plays 2 games of each combination and says"
        )
    else:
        extra = f", after {clock(found.setup_seconds)} of starting up" if found.setup_seconds else ""
        lines.append(f"  time: about {clock(found.seconds)} of playing{extra}")
    lines.append(f"  disk: journal about {size_of(found.log_bytes)}, the tables less than that again")
    if (a := found.activations) is not None:
        lines.append(
            f"  disk: activations {size_of(a.bytes)} ({a.rows:,} rows x {a.streams} streams x {a.d_model} x {a.dtype})"
        )
    lines += [
        f"  cache of {fit.backend}: {fit.cache:,} tokens of context, a game takes up to {fit.game:,}: {fit.games:,} "
        f"games fit; {found.in_flight:,} would be played at a time"
        for fit in found.fits
    ]
    lines += [f"  engines of {name}: {n} side by side" for name, n in found.engines.items() if n > 1]
    lines += [f"advice: {text}" for text in found.advice]
    lines += [f"measured: {text}" for text in found.measured]
    lines += [f"assumed: {text}" for text in found.assumed]
    return lines


def size_of(n: float) -> str:
    """A number of bytes with a readable unit."""
    for unit in ("B", "KB", "MB", "GB"):
        if n < 1000:
            return f"{n:.0f} {unit}" if unit == "B" else f"{n:.1f} {unit}"
        n /= 1000
    return f"{n:.1f} TB"
