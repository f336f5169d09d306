"""The demo: the main job from beginning to end."""

from __future__ import annotations

import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from harness.cli.analyse import report_of
from harness.cli.app import PLAY, RUNS, Flag, app, last_line, progress_of, status_of
from harness.machine import collect_seldom
from harness.orphans import end_with_parent

DEMO = ("moments.n=24", "moments.per_game=1", "controls.random=10", "controls.orthogonal=9")
"""The demo's experiment is smaller than the design that ships."""


@app.command(group=PLAY)
def demo(*, out: Path = RUNS, quiet: Flag = False) -> int:
    """The main job from beginning to end: tournament, activations, experiment, report.html (about 3 minutes).

    An interrupted demo is resumed; a finished one is kept, and a new one gets its own folder. Exit
    status 3 means that the model's backend failed more often than run.max_backend_errors allows.

    Parameters
    ----------
    out
        The folder that holds the demos' run folders.
    """
    from analysis.evaluation.prepare import follow_ahead
    from analysis.report.experiment import write_effects
    from harness.config.files import load_config
    from harness.experiment.design import load_design
    from harness.experiment.run import run_experiment
    from harness.play.tournament import run_tournament

    progress = progress_of(quiet, False)
    path = _demo_folder(out)
    config = load_config("demo")
    progress.say(f"1 of 4: a tournament of {config.run.games} games, into {path}")
    run_tournament(config, path, progress)
    progress.say(
        "2 of 4: reading the small model's activations on what it saw in those games, and at the same time"
    )
    progress.say(
        "3 of 4: is what it holds of the others used? Changing it at moments of those games, with controls"
    )
    # neither needs the other, and a second thread is of little use to so small a model
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn"), end_with_parent) as beside:
        reading = beside.submit(_read, path, config.game.name, quiet)
        _one_thread()
        design = load_design("belief-drives-ballot", DEMO)
        write_effects(run_experiment(design, [path], force=True, say=progress.say))
        follow_ahead(path)  # of the report this part needs no activations
        reading.result()
    progress.say("4 of 4: what do they say about the other players? Probing, against every baseline")
    status = status_of(path, progress.say)
    last_line(report_of([path], None, progress))
    return status


def _read(path: Path, game: str, quiet: bool) -> None:
    """Capture the activations that the report asks for."""
    collect_seldom()
    from games import load_game
    from harness.capture.run import capture_run

    _one_thread()
    say = progress_of(quiet, False).say
    capture_run(path, say=say)
    capture_run(path, untrained=True, say=say)
    # a lie that is decoded without the role line is not merely decoded from that line
    liars = load_game(game).belief_targets[0].roles
    capture_run(path, variants=("no_role_line",), sites=("prompt_last",), roles=liars, say=say)


def _one_thread() -> None:
    import torch

    torch.set_num_threads(1)


def _demo_folder(out: Path) -> Path:
    """The newest demo that lacks its report, else the next free number."""
    numbers = [int(p.name[5:]) for p in out.glob("demo-*") if p.name[5:].isdigit()]
    newest = max(numbers, default=0)
    if newest and not (out / f"demo-{newest}" / "report.html").exists():
        return out / f"demo-{newest}"
    return out / f"demo-{newest + 1}"
