"""Verbs that play: run, watch, sit."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter, validators

from harness.cli.app import (
    LOOK,
    PLAY,
    RUNS,
    Flag,
    app,
    executor_of,
    last_line,
    mode_of,
    progress_of,
    status_of,
)
from harness.errors import WolfscopeError

if TYPE_CHECKING:
    from harness.play.progress import Progress


@app.command(group=PLAY)
def run(
    config: Path,
    *,
    out: Path | None = None,
    set: Annotated[tuple[str, ...], Parameter(name="--set", negative="")] = (),
    seed: int | None = None,
    limit: Annotated[int | None, Parameter(validator=validators.Number(gte=1))] = None,
    dry_run: Flag = False,
    sample: Annotated[int, Parameter(validator=validators.Number(gte=0))] = 0,
    track: Annotated[tuple[str, ...], Parameter(name="--track", negative="")] = (),
    ray_address: str | None = None,
    local: Flag = False,
    ray: Flag = False,
    quiet: Flag = False,
    json: Flag = False,
) -> int:
    """Play a tournament into a run folder; the same command resumes after a stop, and plays no game twice.

    Exit status 3 means that a model's backend failed more often than run.max_backend_errors allows.

    Parameters
    ----------
    config
        A TOML file, or the name of a configuration that ships (`wolfscope configs`).
    out
        The run folder (default: runs/<run.name>).
    set
        Change a setting, for instance --set run.games=20 or --set game.preset=probe-6. May be given again.
    seed
        The same as --set run.seed=...
    limit
        At most this many games of each combination of factors; more can be added later by the same command.
    dry_run
        Show the schedule, and an estimate of the calls, tokens, time and disk that it will take; play nothing.
    sample
        With --dry-run: first play this many games of each combination of factors, and discard them.
    track
        Report progress to a tracker too: jsonl:FILE, wandb:PROJECT or mlflow:URI. May be given again.
    ray_address
        Work on a running Ray cluster.
    local
        Play in processes of this machine, without Ray; the default where no player asks a model and the run is small.
    ray
        Play on Ray, also where the run needs no cluster.
    quiet
        Print nothing but the run folder.
    json
        Print progress as lines of JSON.
    """
    from harness.config.files import load_config

    overrides = [*set] + ([f"run.seed={seed}"] if seed is not None else [])
    settings = load_config(config, overrides)
    if limit is not None:
        settings = load_config(config, [*overrides, f"run.games={min(limit, settings.run.games)}"])
    if sample and not dry_run:
        raise WolfscopeError(
            "--sample belongs to --dry-run: it plays a few games to say what the run will take"
        )
    if dry_run:
        return _dry_run(settings, sample, progress_of(quiet or json, False), json)
    from harness.play.tournament import run_tournament
    from harness.play.trackers import TrackedProgress, tracker_of

    place = out or RUNS / settings.run.name
    progress = TrackedProgress(mode_of(quiet, json), [tracker_of(words) for words in track])
    with progress.tracked(settings, place):
        path = run_tournament(settings, place, progress, ray_address, executor_of(local, ray))
    _say_fallbacks(path, progress)
    if progress.losses:
        progress.say(
            f"runners and engines lost and replaced on the way: {progress.losses:,}; no game is missing"
        )
    status = status_of(path, progress.say)
    last_line(path)
    return status


@app.command(group=LOOK)
def watch(run: Path, *, json: Flag = False, once: Flag = False, every: float = 1.0) -> int:
    """Watch a run that is being played, from another terminal or machine; reads the run folder and nothing else.

    Parameters
    ----------
    run
        The run folder.
    json
        A line of JSON each time.
    once
        Show the state once.
    every
        Seconds between two looks.
    """
    from harness.play.watch import watch as show

    show(run, as_json=json, once=once, every=every)
    return 0


@app.command(group=PLAY)
def sit(
    config: Path,
    *,
    out: Path | None = None,
    set: Annotated[tuple[str, ...], Parameter(name="--set", negative="")] = (),
) -> int:
    """Take a human's seat in the terminal; the game is logged like any other.

    Parameters
    ----------
    config
        A TOML file that seats an agent of kind "human"; `human` is one that ships.
    out
        The run folder (default: runs/<run.name>).
    set
        Change a setting. May be given again.
    """
    from harness.config.files import load_config
    from harness.play.sit import sit as take_seat

    settings = load_config(config, set)
    progress = progress_of(False, False)
    path = take_seat(settings, out or RUNS / settings.run.name, progress)
    status = status_of(path, progress.say)
    last_line(path)
    return status


def _say_fallbacks(path: Path, progress: Progress) -> None:
    """Print how many decisions were fallbacks, by kind, and the usage of each model."""
    from analysis.behaviour.reliability import reliability_lines
    from harness.play.budget import Ledger, usage_lines
    from harness.run.folder import load_run

    run = load_run(path)
    usage = usage_lines(Ledger(None, path, run.journal.ends.values()).models)
    for line in (*reliability_lines(run), *usage):
        progress.say(line)


def _dry_run(settings: Any, sample: int, progress: Progress, json: bool) -> int:
    import msgspec

    from harness.forecast.dry_run import dry_run, dry_run_lines

    found = dry_run(settings, sample, progress)
    for line in [msgspec.json.encode(found).decode()] if json else dry_run_lines(found):
        last_line(line)
    return 0
