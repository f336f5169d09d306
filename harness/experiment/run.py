"""Run a design: draw moments, check, write the plan, ask, join the parts.

    from harness.experiment.run import run_experiment
    folder = run_experiment("belief-drives-ballot", ["runs/demo-1"])

`wolfscope experiment NAME RUN` does the same and makes the table and the page. The same call resumes after a stop.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from harness.atomic import storage
from harness.config.hashing import hash_of
from harness.errors import RunFolderError
from harness.experiment.arms import expand
from harness.experiment.checks import check_changes, check_games
from harness.experiment.design import Design, ExperimentError, load_design
from harness.experiment.directions import Direction, fit_mass_mean, fit_probability, read_direction
from harness.experiment.folder import (
    NAME,
    SCHEMA_VERSION,
    Manifest,
    Source,
    finish,
    read_manifest,
    read_parts,
    write_outcomes,
    write_part,
    write_vectors,
)
from harness.experiment.moments import Moment, draw_moments, split_games
from harness.experiment.scenes import Scenes
from harness.experiment.work.models import load_model
from harness.experiment.work.parts import play_continuations, run_strategic
from harness.experiment.work.place import Place
from harness.experiment.work.scripted import ScriptedMeasurer, check_scripted
from harness.experiment.work.worker import Worker, asked_model
from harness.experiment.work.workers import Left, Workers
from harness.gate import own_folder
from harness.lock import RunLock
from harness.play.outside import refuse_outside
from harness.play.preflight.place import Executor
from harness.run.folder import Run, load_run
from harness.run.manifest import this_session
from harness.schedule.branched import schedule_of

PART = 10
"""Moments per part file."""
MOST_FIT = 1000
"""Rows that a direction is fitted on."""
Say = Callable[[str], None]


def run_experiment(
    design: Design | str | Path,
    runs: Sequence[str | Path],
    out: str | Path | None = None,
    *,
    force: bool = False,
    device: str = "auto",
    executor: Executor = "auto",
    address: str | None = None,
    n_workers: int | None = None,
    say: Say = lambda text: None,
) -> Path:
    """Run a design on the games of some runs; returns the experiment's folder.

    out: by default `experiment-<name>` in the first run's folder. force: run also with fewer games than the smallest
    effect of interest needs; the page then says so. executor, address, n_workers: who does the work, this process by
    default, or actors on Ray (`harness.experiment.work.place.Place`).

    Raises ExperimentError for a design that fails its checks, ConfigurationError, RunFolderError,
    ModelFilesError, StorageError.
    """
    if not isinstance(design, Design):
        design = load_design(design)
    place = Place(device, executor, address, n_workers)
    if not runs:
        raise ExperimentError("no run was named; name at least one run folder with games of a model")
    opened = [load_run(path) for path in runs]
    if design.strategic is not None or design.outcomes.continuations:
        for run in opened:
            refuse_outside(schedule_of(run.manifest).configs, trusted=False)
    folder = Path(out) if out is not None else opened[0].path / f"experiment-{design.name}"
    sources = [Source(str(r.path.resolve()), r.manifest.name, r.manifest.config_hash) for r in opened]
    key = hash_of(
        [
            design.hash(),
            [[s.name, s.config_hash, r.manifest.n_games] for s, r in zip(sources, opened, strict=True)],
        ]
    )
    with storage(folder):
        own_folder(folder)
    with RunLock(folder):
        manifest = read_manifest(folder) if (folder / NAME).is_file() else None
        if manifest is not None and manifest.key != key:
            raise RunFolderError(
                f"{folder} holds the experiment {manifest.design['name']!r} with other settings or runs (key "
                f"{manifest.key}, asked for {key}): choose another --out, or remove it"
            )
        if manifest is not None and manifest.status == "finished":
            say(f"{folder} is finished: nothing is asked again")
            return folder
        carry_out = _carry_out if design.strategic is None and design.turns is None else _played_out
        carry_out(folder, design, opened, sources, key, manifest, force, place, say)
    return folder


def _played_out(
    folder: Path,
    design: Design,
    runs: Sequence[Run],
    sources: list[Source],
    key: str,
    manifest: Manifest | None,
    force: bool,
    place: Place,
    say: Say,
) -> None:
    """Play out the acts of a menu, or repeat whole turns, instead of measuring answers under arms."""
    from harness.experiment.reasoning.turns import turn_arms, write_turns

    hooked = asked_model(design, runs, place.device, say)
    if manifest is None:
        moments = draw_moments(design, runs, False)
        stamps = [] if design.turns is None else check_games(design, moments, force)
        manifest = Manifest(
            schema_version=SCHEMA_VERSION, kind="experiment", status="asking", design=design.model_dump(mode="json"),
            key=key, runs=sources, models=_names(runs) if hooked is None else [hooked.name], moments=moments,
            arms=turn_arms(design), stamps=stamps, directions={}, sessions=[this_session()], forced=force,
        )  # fmt: skip
    manifest.write(folder)
    began = time.monotonic()
    if design.turns is None:
        with place.workers(Worker(folder, design, manifest, runs, hooked, place.device, say), say) as workers:
            run_strategic(folder, manifest.moments, workers, say)
    elif hooked is None:
        raise ExperimentError("no model sits in these games, so nobody can take a turn anew")
    else:
        write_turns(folder, design.turns, manifest.moments, manifest.arms, runs, hooked, say)
    manifest.seconds += time.monotonic() - began
    finish(folder, manifest)


def _names(runs: Sequence[Run]) -> list[str]:
    return sorted({name for run in runs for name in run.manifest.models.values()})


def _carry_out(
    folder: Path,
    design: Design,
    runs: Sequence[Run],
    sources: list[Source],
    key: str,
    manifest: Manifest | None,
    force: bool,
    place: Place,
    say: Say,
) -> None:
    hooked = load_model(runs, place.device, say)
    if hooked is None:
        check_scripted(design)
    scenes = [Scenes(run, design.reasons) for run in runs]
    if manifest is None:
        manifest = _plan(folder, design, runs, sources, key, hooked, scenes, force, say)
    else:
        manifest.sessions.append(this_session())
    worker = Worker(folder, design, manifest, runs, hooked, place.device, say)
    scorers = {} if hooked is None else worker.scorers  # refuses unreadable files before anything is asked
    with place.workers(worker, say) as workers:
        _ask(folder, manifest, workers, say)
        if design.reasoning is not None:
            from harness.experiment.reasoning.run import read_reasonings

            read_reasonings(folder, design, manifest, runs, scenes, scorers[None], hooked, say)
        if design.outcomes.continuations:
            play_continuations(folder, manifest, workers, say)
    write_outcomes(folder)
    finish(folder, manifest)


def _plan(
    folder: Path,
    design: Design,
    runs: Sequence[Run],
    sources: list[Source],
    key: str,
    hooked: Any,
    scenes: Sequence[Scenes],
    force: bool,
    say: Say,
) -> Manifest:
    """Draw and check; writes the plan before anything is asked."""
    fits = [name for name, section in design.directions.items() if section.fit is not None]
    moments = draw_moments(design, runs, bool(fits))
    left_out: list[str] = []
    if design.reasons:
        from harness.experiment.reasoning.run import with_reasoning

        moments, left_out = with_reasoning(moments, scenes)
    stamps = check_games(design, moments, force)
    say(f"{len(moments):,} moments of {len({(m.run, m.game_id) for m in moments}):,} games")
    directions = {
        name: read_direction(name, section)
        for name, section in design.directions.items()
        if section.fit is None
    }
    if fits:
        directions |= _fitted(design, runs, hooked, say)
    n_layers, d_model = (0, 0) if hooked is None else (hooked.layout.n_layers, hooked.layout.d_model)
    arms, vectors, more = expand(design, directions, n_layers, d_model)
    if hooked is None:
        ScriptedMeasurer(scenes, arms).check_changes(moments)
    else:
        check_changes(arms, moments, scenes, vectors)
    manifest = Manifest(
        schema_version=SCHEMA_VERSION, kind="experiment", status="asking", design=design.model_dump(mode="json"),
        key=key, runs=sources, models=[] if hooked is None else [hooked.name], moments=moments, arms=arms,
        stamps=stamps + left_out + more,
        directions={name: d.origin for name, d in directions.items()}, sessions=[this_session()], forced=force,
    )  # fmt: skip
    write_vectors(folder, vectors)
    if design.reasoning is not None and design.reasoning.belief is not None:
        from harness.experiment.reasoning.reads import readout_of

        readout_of(directions[design.reasoning.belief]).write(folder)
    manifest.write(folder)
    return manifest


def _ask(folder: Path, manifest: Manifest, workers: Workers, say: Say) -> None:
    done = set(read_parts(folder)["moment"].unique(maintain_order=True))
    todo = [(m, None) for m in manifest.moments if m.id not in done]
    began, before = time.monotonic(), manifest.seconds
    left = Left("", len(manifest.moments) - len(todo), len(manifest.moments), say)
    found = workers.each("ask", todo)
    while some := list(itertools.islice(found, PART)):
        write_part(folder, some[0][0].id, [row for _, rows in some for row in rows])
        manifest.seconds = before + time.monotonic() - began
        manifest.write(folder)
        left.add(len(some))


def _fitted(design: Design, runs: Sequence[Run], hooked: Any, say: Say) -> dict[str, Direction]:
    """The belief directions, fitted on games that hold no moment."""
    from harness.experiment.fitting import belief_streams

    say("reading what the model holds of the others in the games kept for fitting")
    games, _ = split_games(runs, design.moments.fit_share, design.moments.seed)
    streams, labels, codes = belief_streams(runs, games, design.moments.kind, hooked, MOST_FIT)
    found = {}
    for name, section in design.directions.items():
        if section.fit is None:
            continue
        if not labels.any() or labels.all():
            raise ExperimentError(
                f"directions.{name}: the {len(games):,} games kept for fitting hold {len(labels):,} questions about "
                "players that the viewer has not been told, all of one class; give more games or a larger "
                "moments.fit_share"
            )
        vector, best, scores = fit_mass_mean(streams, labels, codes, section.layer)
        origin = (
            f"difference of class means of 'is a werewolf' at the subject's mention in the question for its role, "
            f"layer {best} (AUROC {scores[best]:.2f} on held-out games), {len(labels):,} rows of {len(set(codes)):,} "
            "games"
        )
        say(f"direction {name}: {origin}")
        slope, offset = fit_probability(streams[:, best].astype(np.float64) @ vector, labels)
        found[name] = Direction(
            name, vector, best, "option", best, origin, (slope * vector).astype(np.float32), offset
        )
    return found


__all__ = ["Moment", "run_experiment"]
