"""Verbs for run folders: check, repair, import, export, export-activations, export-transcripts, merge."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from harness.cli.app import FOLDERS, SHOWN, Flag, app, last_line, progress_of
from harness.errors import WolfscopeError

if TYPE_CHECKING:
    pass


@app.command(group=FOLDERS)
def check(run: Path, *, activations: Flag = False, quiet: Flag = False) -> int:
    """Check a run: schema, schedule, every game against its rules, prompts against what the seat may see, tokens.

    Of an experiment, a dictionary, a comparison or a data set: every file against its digest.

    Exit status 0 means sound, 1 that something is wrong. Derived files (report, ratings, scores, pages) whose sources
    have changed since are reported as stale; that is no fault of the run.

    Parameters
    ----------
    run
        The run folder, or another folder with a `digests.json`.
    activations
        Also compute a sample of the captured activations again, by a plain forward pass of each context alone.
    quiet
        Print findings alone.
    """
    from harness.check.check import check_run
    from harness.check.files import sealed_damage
    from harness.gate import check_links
    from harness.run.derived import stale
    from harness.seals import FILE

    progress = progress_of(quiet, False)
    other = (run / FILE).is_file()
    if other:
        check_links(run)
    found = list(sealed_damage(run)) if other else check_run(run, progress.say)
    if activations:
        from harness.check.check import check_activations

        found += check_activations(run, progress.say)
    old = [] if other else list(stale(run))
    for one in old:
        last_line(str(one))
    for finding in found[:SHOWN]:
        last_line(f"{finding.where}: {finding.what}")
    if len(found) > SHOWN:
        last_line(f"and {len(found) - SHOWN:,} more")
    progress.say(
        f"{len(found):,} {'thing is' if len(found) == 1 else 'things are'} wrong"
        if found
        else "sound: nothing is wrong" + (f"; {len(old)} derived files are stale" if old else "")
    )
    return 1 if found else 0


@app.command(group=FOLDERS)
def repair(run: Path, *, quiet: Flag = False) -> int:
    """Rebuild a damaged run's tables and pages from its journal, which is never changed; print what could not be
    rebuilt.

    Exit status 0 means that all is repaired, 1 that something could not be.

    Parameters
    ----------
    run
        The run folder.
    quiet
        Print only what could not be repaired.
    """
    from harness.check.repair import repair_run
    from harness.cli.show import view
    from harness.run.derived import mark_stale

    progress = progress_of(quiet, False)
    lost = repair_run(run, progress.say)
    if not lost and (run / "view" / "index.html").is_file():
        view(run, quiet=quiet)
    for one in mark_stale(run):
        progress.say(str(one))
    for what in lost:
        last_line(f"not mended: {what}")
    progress.say("not everything could be mended" if lost else "the run is what was written")
    return 1 if lost else 0


@app.command(name="import", group=FOLDERS)
def import_(
    format: Literal["kaggle", "aiwolf"],
    *paths: Path,
    ballots_shown: Flag = False,
    skip_bad: Flag = False,
    quiet: Flag = False,
) -> int:
    """Read games of another program into a run folder: wolfscope import kaggle REPLAY.json ... OUT.

    Parameters
    ----------
    format
        kaggle: replays of kaggle-environments' werewolf; aiwolf: logs of the AIWolf servers.
    paths
        Files, or folders that hold them, then the new run folder.
    ballots_shown
        aiwolf: the players saw who voted for whom, which the logs do not say.
    skip_bad
        Leave out files that cannot be read; the manifest names them. Default: nothing is imported, and all are named.
    quiet
        Print nothing but the run folder.
    """
    from harness.exchange.imports import import_games

    if len(paths) < 2:
        raise WolfscopeError(
            f"name at least one file and the new run folder: wolfscope import {format} FILE OUT"
        )
    say = progress_of(quiet, False).say
    made = import_games(
        format, paths[:-1], paths[-1], ballots_shown=ballots_shown, skip_bad=skip_bad, say=say
    )
    last_line(made)
    return 0


@app.command(group=FOLDERS)
def export(run: Path, out: Path, *, license: str | None = None, activations: Flag = False) -> int:
    """Write a run as a data set for others: parquet tables and a dataset card (README.md) generated from them.

    Parameters
    ----------
    run
        The run folder.
    out
        The new folder.
    license
        The data's licence for the card, an SPDX identifier such as Apache-2.0.
    activations
        Copy the captured activations too.
    """
    from harness.exchange.export import export_run

    last_line(export_run(run, out, license, activations))
    return 0


@app.command(name="export-activations", group=FOLDERS)
def export_activations(
    run: Path,
    out: Path,
    *,
    site: str,
    layer: str,
    format: Literal["numpy", "saelens", "nla", "oracle"] = "numpy",
    most: int | None = None,
    device: str = "auto",
    quiet: Flag = False,
) -> int:
    """Write rows of activations for other readers, verified against the model first, with controls beside them.

    Parameters
    ----------
    run
        A run folder with activations, its model at hand.
    out
        The new folder.
    site
        The site, as for `capture`.
    layer
        A number (0 = output of block 0), or the layer's name in the store; card.json has it under every convention.
    format
        numpy: one array; saelens: a table with the hook's name; nla: lines for a reader in words; oracle: the same with
        a question and its true answer.
    most
        At most this many rows, of games drawn at random.
    device
        Where the model is read for the check: cpu, cuda or auto.
    quiet
        Print nothing but the folder.
    """
    from harness.activations.format import layer_name
    from harness.exchange.activations import export_activations as write

    named = layer_name(layer)
    say = progress_of(quiet, False).say
    last_line(write(run, out, format=format, site=site, layer=named, most=most, device=device, say=say))
    return 0


@app.command(name="export-transcripts", group=FOLDERS)
def export_transcripts(run: Path, out: Path, *, format: Literal["inspect", "scout"] = "inspect") -> int:
    """Write what models' seats read and said for Inspect or Scout, with exact labels to validate scanners.

    Parameters
    ----------
    run
        The run folder.
    out
        The new folder.
    format
        inspect: an evaluation log (log.json); scout: a transcript database (transcripts.parquet).
    """
    import analysis
    from harness.exchange.transcripts import write_transcripts
    from harness.run.folder import load_run

    last_line(write_transcripts(run, out, format, analysis.labels(load_run(run))["speeches"]))
    return 0


@app.command(group=FOLDERS)
def merge(*folders: Path, activations: Annotated[bool, Parameter(negative="--no-activations")] = True) -> int:
    """Join finished runs: wolfscope merge RUN RUN ... OUT. The same game is kept once, different ones are refused.

    Parameters
    ----------
    folders
        The run folders, then the new folder.
    activations
        Join the captured activations too.
    """
    from harness.exchange.merge import merge_runs

    if len(folders) < 3:
        raise WolfscopeError("name at least two run folders and a new one: wolfscope merge RUN RUN OUT")
    last_line(merge_runs(folders[:-1], folders[-1], activations))
    return 0
