"""The report: runs in, one self-contained HTML page and the numbers beside it out.

`write_report(["runs/demo-1"])` needs no network, no model and no GPU. Whatever is absent (beliefs, an untrained
capture, enough games) is named on the page.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import polars as pl

from analysis.behaviour.branches import is_branch
from analysis.data.frames import Logs
from analysis.data.levels import OF_PLAYERS, levels_of
from analysis.data.targets import Target
from analysis.evaluation.evaluate import Begun, Evaluation, Settings, Skipped, begin, finish
from analysis.evaluation.prepare import Preparing
from analysis.evaluation.saved import config_hash, fit_probe, save
from analysis.report import figures
from analysis.report.assemble import Made, assemble
from analysis.report.figures import standalone
from analysis.report.page import title_of
from analysis.report.sections.causal import caused_by, read_experiments
from analysis.report.sections.recipes import tried
from analysis.rungs.rungs import Causal, settle
from analysis.stats.errors import AnalysisError
from analysis.stats.threads import one_thread
from games.printable import lines_of
from harness.extensions import load_extensions
from harness.machine import cores
from harness.run.derived import inputs_of, write_page
from harness.run.folder import Run, load_run

__all__ = ["evaluate_all", "result_lines", "write_report"]

Say = Callable[[str], None]
Item = TypeVar("Item")
Result = TypeVar("Result")


def write_report(
    runs: Sequence[str | Path],
    *,
    out: str | Path | None = None,
    say: Say | None = None,
    settings: Settings | None = None,
    overwrite: bool = False,
    by: str | None = None,
    command: str = "",
) -> Path:
    """Analyse the runs together and write the page; its path.

    out: an `.html` file, or a folder for `report.html`; by default `report.html` in the first run's folder.
    The numbers go into a folder of the same name without the ending, figures as SVG into its `figures`. `say` is told
    what is being done. by: a factor of the runs, or agent, model, preset, lexicon or run: the rungs of the headline
    target for each of its levels. command: what the reader would type to get this page; printed at its foot.

    Raises AnalysisError where `out` exists (unless `overwrite`), where no run is named or no game has
    ended, for a factor that does not exist; whatever `load_run` raises for a folder that is no run.
    """
    if not runs:
        raise AnalysisError("no run was named; name at least one run folder")
    load_extensions()
    page = _place(Path(runs[0]) / "report.html" if out is None else Path(out), overwrite)
    tell = say or (lambda text: None)
    given = [load_run(path) for path in runs]
    opened, branches = [r for r in given if not is_branch(r)], [r for r in given if is_branch(r)]
    if not opened:
        raise AnalysisError(
            f"{', '.join(map(str, runs))}: branches only; name the run that they continue beside them, their own games "
            "share a beginning and are no sample"
        )
    if by is not None and by not in OF_PLAYERS:
        levels_of(
            [(f"{i}:", run) for i, run in enumerate(opened)], by
        )  # one that does not exist is refused now
    with one_thread(), figures.aside():
        _write(page, opened, branches, Steps(tell), settings or Settings(), by, command)
    return page


def result_lines(page: Path) -> list[str]:
    """The result in words, as the command's last lines tell it, and what to look at next."""
    return lines_of((page.with_suffix("") / "answer.txt").read_text(encoding="utf-8"))


SHARES = {
    "reading the games": 0.0,
    "following the games with observers": 0.05,
    "probing": 0.2,
    "holding what was read against the observers": 0.55,
    "drawing the page": 0.7,
}
"""Share of the total time before each step, measured on runs of 60 to 240 games."""


class Steps:
    """What is being done, with the time left where it can be told."""

    def __init__(self, say: Say) -> None:
        """`say` is told of each step."""
        self.say, self.start = say, time.monotonic()

    def __call__(self, step: str, detail: str = "") -> None:
        """Tells the step; a detail is told as it is."""
        before = SHARES.get(step)
        spent = time.monotonic() - self.start
        left = f", about {spent * (1 - before) / before:,.0f} s left" if before else ""
        self.say(f"{step}{f': {detail}' if detail else ''}{left}")


def _write(
    page: Path, opened: Sequence[Run], branches: Sequence[Run], tell: Steps, settings: Settings, by: str | None,
    command: str,
) -> None:  # fmt: skip
    """The page and the numbers beside it."""
    prefixes = [""] if len(opened) == 1 else [f"{i}:" for i in range(len(opened))]
    tell("reading the games")
    pairs = list(zip(prefixes, opened))
    logs = Logs(pairs)
    if not logs.ids:
        raise AnalysisError(
            f"no game of {', '.join(str(run.path) for run in opened)} has ended yet; let the run finish first"
        )
    tell("following the games with observers", f"{len(logs):,} games")
    preparing = Preparing(logs, settings, spare=True)
    try:
        asked = [f"{title_of(t.name).lower()} ({len(t.y):,} rows)" for t in preparing.targets]
        tell("probing", ", ".join(asked))
        begun = side_by_side(lambda target: begin(target, settings), preparing.targets)
        ready = [one for one in begun if isinstance(one, Begun)]
        others = dict(zip([b.target.name for b in ready], side_by_side(lambda b: tried(b, settings), ready)))
        experiments = read_experiments([run.path for _, run in pairs])
        tell("holding what was read against the observers")
        prepared = preparing.finish()
    finally:
        preparing.stop()
    evaluations = evaluate_all(prepared.targets, settings, begun, caused_by(experiments))
    tell("drawing the page")
    made = Made(
        evaluations,
        prepared,
        logs,
        pairs,
        branches,
        experiments,
        others,
        _tables(pairs),
        settings,
        by,
        command,
        page.stem,
        tell.start,
    )
    html, numbers, answer = assemble(made)
    folder = page.with_suffix("")
    (folder / "figures").mkdir(parents=True, exist_ok=True)
    files = [folder / f"{name}.parquet" for name in numbers.frames]
    for file, frame in zip(files, numbers.frames.values()):
        frame.write_parquet(file)
    for name, drawing in numbers.drawn.items():
        files.append(folder / "figures" / f"{name}.svg")
        files[-1].write_text(standalone(drawing), encoding="utf-8")
    files.append(folder / "answer.txt")
    files[-1].write_text("\n".join(answer) + "\n", encoding="utf-8")
    for e in evaluations:
        if isinstance(e, Evaluation):
            files += save(fit_probe(e, [config_hash(run) for run in opened]), folder / "probes")
    home = page.parent if (page.parent / "manifest.json").is_file() else None
    write_page(page, html, inputs_of([run.path for run in (*opened, *branches)], home=home), files)
    tell(f"report of {len(logs):,} games in {time.monotonic() - tell.start:,.0f} s")


def _place(out: Path, overwrite: bool) -> Path:
    page = out if out.suffix == ".html" else out / "report.html"
    if page.exists() and not overwrite:
        raise AnalysisError(f"{page} exists: move it away or choose another --out, or --force to replace it")
    if page.parent.exists() and not page.parent.is_dir():
        raise AnalysisError(f"{page.parent} is a file: choose another --out")
    return page


def evaluate_all(
    targets: Sequence[Target], settings: Settings, begun: Sequence[Begun | Skipped] = (), causal: Causal = ""
) -> list[Evaluation | Skipped]:
    """Every target, side by side, each rung's p corrected over those that could be evaluated (Holm).

    begun: for the first targets, what was computed before beliefs were available. causal: what experiments say about
    the first target.
    """

    def whole(number: int) -> Evaluation | Skipped:
        target = targets[number]
        one = begun[number] if number < len(begun) else begin(target, settings)
        return replace(one, target=target) if isinstance(one, Skipped) else finish(one, target, settings)

    found = side_by_side(whole, range(len(targets)))
    if found and isinstance(found[0], Evaluation):
        found[0].evidence.causal = causal
    done = [e for e in found if isinstance(e, Evaluation)]
    for e, adjusted in zip(done, settle([e.evidence for e in done])):
        e.adjusted = adjusted
    return found


def side_by_side(do: Callable[[Item], Result], items: Sequence[Item]) -> list[Result]:
    """`do(item)` for every item, in order, each on its own thread."""
    with one_thread(), ThreadPoolExecutor(max(1, min(len(items), cores()))) as pool:
        return list(pool.map(do, items))


def _tables(runs: Sequence[tuple[str, Any]]) -> dict[str, pl.DataFrame]:
    def all_of(table: str, *columns: str) -> pl.DataFrame:
        parts = [run.frame(table).with_columns(game_id=pl.lit(p) + pl.col("game_id")) for p, run in runs]
        return pl.concat([part.select(columns) for part in parts]).collect()

    tokens = (pl.col("prompt_ids").list.len() + pl.col("output_ids").list.len()).alias("tokens")
    costs = [run.decisions.select("n_cached", tokens) for _, run in runs]
    return {
        "games": all_of(
            "games", "game_id", "preset", "lexicon", "n_players", "winner", "status", "n_days", "seconds"
        ),
        "seats": all_of("seats", "game_id", "seat", "role", "faction", "agent", "model", "won"),
        "decisions": all_of("decisions", "game_id", "seq", "kind", "agent", "model", "fallback", "forced"),
        "costs": pl.concat(costs).collect(),
        "remarks": pl.DataFrame(
            {"remark": [text for _, run in runs for text in run.remarks()]}, {"remark": pl.String}
        ),
    }
