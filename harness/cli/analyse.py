"""Verbs that analyse runs: report, score, judge, ratings, behaviour, competence."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter, validators

from harness.cli.app import ANALYSE, Flag, app, last_line, named, progress_of, write_derived
from harness.errors import WolfscopeError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from harness.play.progress import Progress


@app.command(group=ANALYSE)
def report(
    *runs: Path,
    out: Path | None = None,
    site: str | None = None,
    by: str | None = None,
    force: Flag = False,
    quiet: Flag = False,
) -> int:
    """Say whether the players model each other and act on it: fit probes, compare them with surface baselines, write
    report.html.

    Parameters
    ----------
    runs
        Run folders with activations.
    out
        Where to write it (default: report.html in the first run folder).
    site
        Where beliefs about others are read (default: belief_mention where it was captured, else mention).
    by
        A factor of the runs, or agent, model, preset, lexicon, run: the rungs for each of its levels.
    force
        Replace a report that is there.
    quiet
        Print nothing but the result and the page's path.
    """
    if not runs:
        raise WolfscopeError("name at least one run folder: wolfscope report RUN")
    last_line(report_of(list(runs), out, progress_of(quiet, False), site, by, force))
    return 0


def report_of(
    runs: list[Path],
    out: Path | None,
    progress: Progress,
    site: str | None = None,
    by: str | None = None,
    force: bool = False,
) -> Path:
    """Write the report and tell its result in words; the page's path."""
    from analysis.evaluation.evaluate import Settings
    from analysis.report.report import result_lines, write_report

    words = [f"--{name} {value}" for name, value in (("site", site), ("by", by)) if value is not None]
    page = write_report(
        runs, out=out, say=progress.say, settings=Settings(site=site), overwrite=force, by=by,
        command=" ".join(["wolfscope report", *map(str, runs), *words]),
    )  # fmt: skip
    for line in result_lines(page):
        last_line(line)
    return page


@app.command(group=ANALYSE)
def score(run: Path, *probes: Path) -> int:
    """Score a run's activations with saved probes, for the viewer: RUN/derived/probe_scores.parquet.

    Parameters
    ----------
    run
        A run folder with activations.
    probes
        Saved probes (default: those that the run's own report has saved, RUN/report/probes/*.json).
    """
    from analysis.evaluation.saved import load, saved_in
    from analysis.evaluation.scores import write_scores
    from harness.run.folder import load_run

    files = list(probes) or saved_in(run / "report" / "probes")
    if not files:
        raise WolfscopeError(
            f"{run} has no saved probes; run: wolfscope report {run}, or name some: wolfscope score RUN PROBE.json"
        )
    last_line(write_scores(load_run(run), {file.stem: load(file) for file in files}))
    return 0


@app.command(group=ANALYSE)
def judge(
    run: Path,
    *,
    config: Path,
    set: Annotated[tuple[str, ...], Parameter(name="--set", negative="")] = (),
    quiet: Flag = False,
) -> int:
    """Ask a model of each speech, on public text alone, whether it is a lie: RUN/derived/judge.parquet, for the report.

    Resumes where an earlier call stopped. One table holds several judges, each under its name.

    Parameters
    ----------
    run
        The run folder.
    config
        A TOML file with [judge] and [backends.NAME]; `judge` is one that ships.
    set
        Change a setting, for instance --set backends.model.model=/models/Qwen3-8B. May be given again.
    quiet
        Print nothing but the table's path.
    """
    from harness.play.judge import judge_run

    last_line(judge_run(run, config, set, progress_of(quiet, False)))
    return 0


@app.command(group=ANALYSE)
def ratings(*runs: Path, by: str | None = None) -> int:
    """Print how strong each agent is on each side, with intervals over games, and who met whom.

    Parameters
    ----------
    runs
        Run folders; RUN/derived/ of the first gets the tables as parquet files.
    by
        A factor of the runs, preset, lexicon or run: each of its levels by itself.
    """
    from analysis.behaviour.ratings import (
        differences_table,
        head_to_head,
        rate,
        ratings_lines,
        ratings_table,
        results_of,
    )

    tables: dict[str, list[Any]] = {}
    for level, parts in _levels(runs, "ratings", by):
        results = results_of(parts)
        fit = rate(results)
        for line in ratings_lines(fit, results):
            last_line(line)
        _keep(tables, "ratings", ratings_table(fit, results), by, level)
        _keep(tables, "head_to_head", head_to_head(results), by, level)
        _keep(tables, "rating_differences", differences_table(fit), by, level)
    last_line(write_derived(runs, _joined(tables), ("games.parquet", "seats.parquet")))
    return 0


@app.command(group=ANALYSE)
def behaviour(*runs: Path, by: str | None = None) -> int:
    """Print what agents do: ballot accuracy, survival, persuasion, deception, sycophancy, with intervals over games.

    Parameters
    ----------
    runs
        Run folders; RUN/derived/behaviour.parquet of the first gets the table.
    by
        A factor of the runs, preset, lexicon or run: each of its levels by itself.
    """
    from analysis.behaviour.behaviour import behaviour_lines, behaviour_of

    tables: dict[str, list[Any]] = {}
    for level, parts in _levels(runs, "behaviour", by):
        table = behaviour_of(parts)
        for line in behaviour_lines(table):
            last_line(line)
        _keep(tables, "behaviour", table, by, level)
    last_line(write_derived(runs, _joined(tables), ("*.parquet",)))
    return 0


@app.command(group=ANALYSE)
def collusion(
    *runs: Path,
    by: str | None = None,
    defence: Annotated[
        tuple[Literal["none", "paraphrased", "re-skinned", "delayed"], ...],
        Parameter(name="--defence", negative=""),
    ] = (),
    exchanges: Annotated[int, Parameter(validator=validators.Number(gte=0))] = 9,
) -> int:
    """Print what a werewolf's words tell its partner but no outsider, and which detectors would notice.

    The same speeches are read for each defence (said again by the codec, seats renumbered, a night later). Beside it:
    how well single speeches give a werewolf away to a text classifier and to log-probabilities.

    Parameters
    ----------
    runs
        Run folders of games with two werewolves; RUN/derived/ of the first gets the tables, which its report shows.
    by
        A factor of the runs, preset, lexicon or run: each of its levels by itself.
    defence
        Only these of none, paraphrased, re-skinned, delayed. May be given again.
    exchanges
        How often speeches are exchanged among equal public states for the null; most of the time goes there.
    """
    from analysis.covert.detectors import detector_lines, detectors
    from analysis.covert.exact import exact_rows
    from analysis.covert.measure import DEFENCES, codes_of, collusion_table
    from analysis.covert.measure import lines as collusion_lines
    from analysis.data.frames import Logs

    tables: dict[str, list[Any]] = {}
    for level, parts in _levels(runs, "collusion", by):
        logs = list(Logs([("", part) for part in parts]))
        codes = {name: code for part in parts for name, code in codes_of(part).items()}
        held, more = _minds_as_readers(parts[0], logs) if len(parts) == 1 else ({}, [])
        more = [*more, *exact_rows(logs)]
        chosen = tuple(one for one in DEFENCES if not defence or one in defence)
        table = collusion_table(logs, codes, defences=chosen, n_null=exchanges, held=held, more=more)
        seen = detectors(logs)
        for line in (*detector_lines(seen), "", *collusion_lines(table)):
            last_line(line)
        _keep(tables, "collusion", table, by, level)
        _keep(tables, "collusion_detectors", seen, by, level)
    if by is None and (minds := _two_minds(runs)) is not None:
        tables["collusion_minds"] = [minds]
    last_line(write_derived(runs, _joined(tables), ("*.parquet",)))
    return 0


def _minds_as_readers(run: Any, logs: Sequence[Any]) -> tuple[dict[Any, int], list[dict[str, Any]]]:
    """(whom each seat believes to be the seer, the rows of listeners' activations) of a run in which beliefs were
    asked; empty where they were not asked or no activations were captured."""
    from analysis.covert.listeners import held_of, listener_rows, minds_of
    from analysis.covert.utterances import moments_of
    from analysis.stats.errors import AnalysisError
    from harness.activations.store import ActivationsError

    held = held_of(run)
    try:
        return held, listener_rows(moments_of(logs), minds_of(run))
    except (AnalysisError, ActivationsError) as error:
        last_line(f"listeners' minds: not read ({error})")
        return held, []


def _two_minds(runs: tuple[Path, ...]) -> Any:
    """The table of two minds of the first run, where two seats of it were captured at one moment; None elsewhere."""
    import polars as pl

    from analysis.covert.minds import VARIANTS, minds_lines, minds_table, pairs_of
    from analysis.stats.errors import AnalysisError
    from harness.activations.store import ActivationsError
    from harness.run.folder import load_run

    run, tables = load_run(runs[0]), []
    for variant in VARIANTS:
        try:
            table = minds_table(pairs_of(run, variant=variant), variant)
        except (AnalysisError, ActivationsError) as error:
            last_line(f"two minds, {variant}: not read ({error})")
            continue
        for line in minds_lines(table):
            last_line(line)
        tables.append(table)
    return pl.concat(tables) if tables else None


@app.command(group=ANALYSE)
def competence(run: Path, *, by: str | None = None) -> int:
    """Print who wins how often on which side, and each model against the other contenders in the same seats.

    Parameters
    ----------
    run
        The run folder of harness/config/examples/competence.toml, or of another run whose sides one agent has alone.
    by
        A factor of the run, preset or lexicon: each of its levels by itself.
    """
    from analysis.behaviour.standings import competence_lines

    for _, parts in _levels((run,), "competence", by):
        for line in competence_lines(parts[0]):
            last_line(line)
    return 0


def _levels(runs: tuple[Path, ...], verb: str, by: str | None) -> Iterator[tuple[str, list[Any]]]:
    """The runs as they are, or level by level of a factor, each under a heading."""
    from harness.run.folder import load_run

    opened = [load_run(run) for run in named(runs, verb)]
    if by is None:
        yield "", opened
        return
    from analysis.data.levels import parts_by

    for level, parts in parts_by(opened, by):
        last_line(f"\n{by} = {level}")
        yield level, parts


def _keep(tables: dict[str, list[Any]], name: str, table: Any, by: str | None, level: str) -> None:
    import polars as pl

    columns = [] if by is None else [pl.lit(by).alias("factor"), pl.lit(level).alias("level")]
    tables.setdefault(name, []).append(table.select([*columns, pl.all()]))


def _joined(tables: dict[str, list[Any]]) -> dict[str, Any]:
    import polars as pl

    return {name: pl.concat(parts) for name, parts in tables.items()}
