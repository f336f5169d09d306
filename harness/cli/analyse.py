"""Verbs that analyse runs: report, score, judge, ratings, behaviour, competence."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from harness.cli.app import Flag, app, last_line, named, progress_of, write_derived
from harness.errors import WolfscopeError

if TYPE_CHECKING:
    from harness.play.progress import Progress


@app.command
def report(*runs: Path, out: Path | None = None, site: str | None = None, quiet: Flag = False) -> int:
    """Probe the captured activations against every baseline and write one self-contained report.html.

    Parameters
    ----------
    runs
        Run folders with activations.
    out
        Where to write it (default: report.html in the first run folder).
    site
        Where what is held of others is read (default: belief_mention where it was captured, else mention).
    """
    if not runs:
        raise WolfscopeError("name at least one run folder: wolfscope report RUN")
    last_line(report_of(list(runs), out, progress_of(quiet, False), site))
    return 0


def report_of(runs: list[Path], out: Path | None, progress: Progress, site: str | None = None) -> Path:
    from analysis.evaluation.evaluate import Settings
    from analysis.report.report import write_report

    return write_report(runs, out=out, say=progress.say, settings=Settings(site=site))


@app.command
def score(run: Path, *probes: Path) -> int:
    """Let saved probes score a run's activations, for the viewer: RUN/derived/probe_scores.parquet.

    Parameters
    ----------
    run
        A run folder with activations.
    probes
        Saved probes (default: those that the run's own report has saved, RUN/report/probes/*.json).
    """
    from analysis.evaluation.saved import load
    from analysis.evaluation.scores import write_scores
    from harness.run.folder import load_run

    files = list(probes) or sorted((run / "report" / "probes").glob("*.json"))
    if not files:
        raise WolfscopeError(
            f"{run} has no saved probes; run: wolfscope report {run}, or name some: wolfscope score RUN PROBE.json"
        )
    last_line(write_scores(load_run(run), {file.stem: load(file) for file in files}))
    return 0


@app.command
def judge(
    run: Path,
    *,
    config: Path,
    set: Annotated[tuple[str, ...], Parameter(name="--set", negative="")] = (),
    quiet: Flag = False,
) -> int:
    """Ask a model of each speech, on public text alone, whether it is a lie: RUN/derived/judge.parquet, for the report.

    Goes on where an earlier call stopped. Several judges, each with its name, stand in one table.

    Parameters
    ----------
    run
        The run folder.
    config
        A TOML file with [judge] and [backends.NAME]; harness/config/examples/judge.toml is one.
    set
        Change a setting, for instance --set backends.model.model=/models/Qwen3-8B. May be given again.
    quiet
        Print nothing but the table's path.
    """
    from harness.play.judge import judge_run

    last_line(judge_run(run, config, set, progress_of(quiet, False)))
    return 0


@app.command
def ratings(*runs: Path) -> int:
    """Print how strong each agent is on each side, with intervals over games, and who met whom.

    Parameters
    ----------
    runs
        Run folders; RUN/derived/ of the first gets the tables as parquet files.
    """
    from analysis.behaviour.ratings import (
        differences_table,
        head_to_head,
        rate,
        ratings_lines,
        ratings_table,
        results_of,
    )
    from harness.run.folder import load_run

    results = results_of([load_run(run) for run in named(runs, "ratings")])
    fit = rate(results)
    for line in ratings_lines(fit, results):
        last_line(line)
    tables = {
        "ratings": ratings_table(fit, results),
        "head_to_head": head_to_head(results),
        "rating_differences": differences_table(fit),
    }
    last_line(write_derived(runs, tables, ("games.parquet", "seats.parquet")))
    return 0


@app.command
def behaviour(*runs: Path) -> int:
    """Print what agents do: ballot accuracy, survival, persuasion, deception, sycophancy, with intervals over games.

    Parameters
    ----------
    runs
        Run folders; RUN/derived/behaviour.parquet of the first gets the table.
    """
    from analysis.behaviour.behaviour import behaviour_lines, behaviour_of
    from harness.run.folder import load_run

    table = behaviour_of([load_run(run) for run in named(runs, "behaviour")])
    for line in behaviour_lines(table):
        last_line(line)
    last_line(write_derived(runs, {"behaviour": table}, ("*.parquet",)))
    return 0


@app.command
def competence(run: Path) -> int:
    """Print who wins how often on which side, and each model against the other contenders in the same seats.

    Parameters
    ----------
    run
        The run folder of harness/config/examples/competence.toml, or of another run whose sides one agent has alone.
    """
    from analysis.behaviour.standings import competence_lines
    from harness.run.folder import load_run

    for line in competence_lines(load_run(run)):
        last_line(line)
    return 0
