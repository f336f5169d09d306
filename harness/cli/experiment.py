"""Verbs of experiments over many moments: experiment, effects."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter, validators

from harness.cli.app import PLAY, Flag, app, executor_of, last_line, progress_of


@app.command(group=PLAY)
def experiment(
    design: str,
    *runs: Path,
    out: Path | None = None,
    set: Annotated[tuple[str, ...], Parameter(name="--set", negative="")] = (),
    force: Flag = False,
    device: str = "auto",
    local: Flag = False,
    ray: Flag = False,
    ray_address: str | None = None,
    workers: Annotated[int | None, Parameter(validator=validators.Number(gte=1))] = None,
    quiet: Flag = False,
) -> int:
    """Change many logged moments, with controls, and measure what the model then does: a table, figures and a page.

    Resumes where an earlier call stopped. Without a run it lists the designs that ship.

    Parameters
    ----------
    design
        A TOML file, or the name of a design that ships: belief-drives-ballot, word-or-role, ...
    runs
        Run folders with games of one local model.
    out
        The experiment's folder (default: experiment-<design> in the first run folder, where a report finds it).
    set
        Change a setting, for instance --set moments.n=50. May be given again.
    force
        Run also with fewer games than the smallest effect of interest needs; the page then says so.
    device
        Where the model is read: cpu, cuda or auto.
    local
        Work in this process, without Ray; the default.
    ray
        Share the moments between workers on Ray, each with the model; the table is the same.
    ray_address
        Work on a running Ray cluster.
    workers
        Number of workers on Ray (default: one for each GPU, or one for each core where there is none).
    """
    from harness.errors import WolfscopeError
    from harness.experiment.design import load_design, shipped
    from harness.experiment.run import run_experiment

    if not runs:
        raise WolfscopeError(
            f"name at least one run folder: wolfscope experiment {design} RUN; designs that ship: "
            f"{', '.join(shipped())}"
        )
    progress = progress_of(quiet, False)
    folder = run_experiment(
        load_design(design, set), runs, out, force=force, device=device, executor=executor_of(local, ray),
        address=ray_address, n_workers=workers, say=progress.say,
    )  # fmt: skip
    return effects(folder, quiet=quiet)


@app.command(group=PLAY)
def effects(folder: Path, *, quiet: Flag = False) -> int:
    """Make the table (effects.parquet), the figures and the page (effects.html) of a finished experiment again.

    Parameters
    ----------
    folder
        The folder of an experiment.
    """
    from analysis.report.experiment import write_effects
    from harness.gate import check_links

    check_links(folder)
    page, found = write_effects(folder)
    if not quiet:
        for line in found:
            last_line(line)
    last_line(page)
    return 0
