"""The verb that reads probes of one game in another."""

from __future__ import annotations

from pathlib import Path

from harness.cli.app import ANALYSE, app, last_line, write_derived


@app.command(group=ANALYSE)
def across(*runs: Path) -> int:
    """Read probes of one game in another, where one model plays both: is "on the other side" one direction?

    For three questions (another's side, one's own side, a lie about to be told) a probe of each game is read in the
    others: AUROC with intervals over games, the cosine of the directions, and how players who hide something score.
    Beside it: the counts that the games name alike, an untrained model and contexts without the role line, where they
    were captured.

    Parameters
    ----------
    runs
        One captured run folder of each game; RUN/derived/across.parquet of the first gets the table.
    """
    from analysis.across.groups import groups_of_runs
    from analysis.across.table import across as read
    from analysis.across.table import lines
    from harness.run.folder import load_run

    groups, missing = groups_of_runs([load_run(run) for run in runs])
    table, small = read(groups)
    for line in (*lines(table), *(f"left out: {text}" for text in (*missing, *small))):
        last_line(line)
    last_line(write_derived(runs, {"across": table}, ("*.parquet",)))
    return 0
