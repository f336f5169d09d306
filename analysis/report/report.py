"""The report: runs in, one self-contained HTML page and the numbers beside it out.

`write_report(["runs/demo-1"])` needs no network, no model and no GPU. Whatever is absent (beliefs, an
untrained capture, enough games) is named on the page, never papered over; every claim ends with a verdict.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import jinja2
import polars as pl

from analysis.behaviour.competence import agents_table, in_words
from analysis.behaviour.effects import is_branch
from analysis.data.frames import GameLog, logs_of
from analysis.data.targets import Target
from analysis.evaluation import judge
from analysis.evaluation.contrasts import windows
from analysis.evaluation.evaluate import Evaluation, Settings, Skipped, evaluate
from analysis.evaluation.prepare import Prepared, prepare
from analysis.evaluation.saved import config_hash, fit_probe, save
from analysis.evaluation.span_readouts import read_outs
from analysis.evaluation.transfer import factors_of
from analysis.report import cards
from analysis.report.block import Block
from analysis.report.methods import methods, missing
from analysis.report.page import Numbers, commands, title_of
from analysis.report.sections import headline as sections
from analysis.report.sections.audits import audit_section
from analysis.report.sections.behaviour import behaviour_block
from analysis.report.sections.beliefs import beliefs_block
from analysis.report.sections.deception import add_spans, windows_block
from analysis.report.sections.effects import effects_block
from analysis.report.sections.ladder import ladder_block
from analysis.report.sections.planted import appendix
from analysis.report.sections.recipes import recipes_block
from analysis.report.sections.training import training_block
from analysis.report.sections.transfer import transfer_block
from analysis.stats.bootstrap import holm
from analysis.stats.errors import AnalysisError
from analysis.stats.threads import one_thread
from harness.run.derived import inputs_of, with_inputs
from harness.run.folder import Run, load_run

__all__ = ["render", "write_report"]

Say = Callable[[str], None]


def write_report(
    runs: Sequence[str | Path],
    *,
    out: str | Path | None = None,
    say: Say | None = None,
    settings: Settings | None = None,
    overwrite: bool = False,
) -> Path:
    """Analyse the runs together and write the page; its path.

    out: an `.html` file, or a folder for `report.html`; by default `report.html` in the first run's folder.
    The numbers go into a folder of the same name without the ending. `say` is told what is being done.

    Raises AnalysisError where `out` exists (unless `overwrite`), where no run is named or no game has
    ended; whatever `load_run` raises for a folder that is no run.
    """
    if not runs:
        raise AnalysisError("no run was named; name at least one run folder")
    page = _place(Path(runs[0]) / "report.html" if out is None else Path(out), overwrite)
    tell = say or (lambda text: None)
    given = [load_run(path) for path in runs]
    opened, branches = [r for r in given if not is_branch(r)], [r for r in given if is_branch(r)]
    if not opened:
        raise AnalysisError(
            f"{', '.join(map(str, runs))}: branches only; name the run that they continue beside them, their own games "
            "share a beginning and are no sample"
        )
    with one_thread():
        _write(page, opened, branches, tell, settings or Settings())
    return page


def _write(page: Path, opened: Sequence[Run], branches: Sequence[Run], tell: Say, settings: Settings) -> None:
    """The page and the numbers beside it."""
    prefixes = [""] if len(opened) == 1 else [f"{i}:" for i in range(len(opened))]
    start = time.monotonic()
    tell("reading the games")
    logs = [
        replace(log, game_id=prefix + log.game_id)
        for prefix, run in zip(prefixes, opened)
        for log in logs_of(run)
    ]
    if not logs:
        raise AnalysisError(
            f"no game of {', '.join(str(run.path) for run in opened)} has ended yet; let the run finish first"
        )
    pairs = list(zip(prefixes, opened))
    tell("following the games with observers")
    prepared = prepare(logs, pairs, settings)
    evaluations = evaluate_all(prepared.targets, settings, tell)
    tell("drawing the page")
    html, numbers = render(
        evaluations, prepared.labels, _tables(pairs), settings,
        title=" + ".join(dict.fromkeys(run.manifest.name for run in opened)), n_games=len(logs), started=start,
        tables_name=page.with_suffix("").name, more=_blocks(evaluations, prepared, logs, pairs, branches, settings),
    )  # fmt: skip
    folder = page.with_suffix("")
    folder.mkdir(parents=True, exist_ok=True)
    for name, frame in numbers.frames.items():
        frame.write_parquet(folder / f"{name}.parquet")
    for e in evaluations:
        if isinstance(e, Evaluation):
            save(fit_probe(e, [config_hash(run) for run in opened]), folder / "probes")
    part = page.with_name(page.name + ".part")
    home = page.parent if (page.parent / "manifest.json").is_file() else None
    part.write_text(
        with_inputs(html, inputs_of([run.path for run in (*opened, *branches)], home=home)), encoding="utf-8"
    )
    part.replace(page)
    tell(f"report of {len(logs):,} games in {time.monotonic() - start:,.0f} s")


def _place(out: Path, overwrite: bool) -> Path:
    page = out if out.suffix == ".html" else out / "report.html"
    if page.exists() and not overwrite:
        raise AnalysisError(
            f"{page} exists: move it away or choose another --out; a report is not overwritten silently"
        )
    if page.parent.exists() and not page.parent.is_dir():
        raise AnalysisError(f"{page.parent} is a file: choose another --out")
    return page


def evaluate_all(targets: Sequence[Target], settings: Settings, tell: Say) -> list[Evaluation | Skipped]:
    """Every target, side by side, with Holm's correction over those that could be evaluated."""

    def one(target: Target) -> Evaluation | Skipped:
        tell(f"{title_of(target.name).lower()}: {len(target.y):,} rows of {target.n_games:,} games")
        return evaluate(target, settings)

    with one_thread(), ThreadPoolExecutor(max(1, min(len(targets), os.cpu_count() or 1))) as pool:
        found = list(pool.map(one, targets))
    done = [e for e in found if isinstance(e, Evaluation)]
    for e, p in zip(done, holm([e.increment.p for e in done])):
        e.adjusted_p = float(p)
    return found


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
        "decisions": all_of("decisions", "game_id", "seq", "kind", "agent", "model", "fallback", "attempts"),
        "costs": pl.concat(costs).collect(),
        "remarks": pl.DataFrame(
            {"remark": [text for _, run in runs for text in run.remarks()]}, {"remark": pl.String}
        ),
    }


def _blocks(
    evaluations: Sequence[Evaluation | Skipped],
    prepared: Prepared,
    logs: Sequence[GameLog],
    runs: Sequence[tuple[str, Any]],
    branches: Sequence[Any],
    settings: Settings,
) -> Callable[[Numbers], list[Block]]:
    def make(numbers: Numbers) -> list[Block]:
        done = [e for e in evaluations if isinstance(e, Evaluation)]
        headline = next((e for e in done if e.target.name == "subject_is_werewolf"), None)
        answers = judge.judgements(runs)
        judged = judge.agreement(answers, prepared.labels["speeches"])
        numbers.add("T4_judge", judged)
        found, absent = windows(prepared.contrasts, settings)
        judges = judge.scores(answers, [target for target, _ in prepared.contrasts], settings)
        deception = windows_block(found, absent, judge.in_words(judged), judges, numbers)
        add_spans(deception, *read_outs(prepared.contrasts, runs, settings), numbers)
        return [
            behaviour_block(logs, prepared.beliefs, prepared.labels, numbers),
            deception,
            beliefs_block(headline, prepared, numbers),
            ladder_block(headline, logs, runs, settings, numbers),
            recipes_block(done, settings, numbers),
            transfer_block(done, factors_of(runs), settings, numbers),
            training_block(headline, prepared, runs, settings, numbers),
            effects_block(branches, numbers),
            appendix(numbers),
        ]

    return make


def render(
    evaluations: Sequence[Evaluation | Skipped],
    labels: dict[str, pl.DataFrame],
    tables: dict[str, pl.DataFrame],
    settings: Settings,
    *,
    title: str,
    n_games: int,
    started: float,
    tables_name: str = "",
    more: Callable[[Numbers], Sequence[Block]] | None = None,
) -> tuple[str, Numbers]:
    """The page and the frames behind it. `more` makes the further sections."""
    numbers = Numbers()
    done = [e for e in evaluations if isinstance(e, Evaluation)]
    agents = agents_table(tables["seats"], tables["decisions"], labels["ballots"])
    numbers.add("T1_agents", agents)
    models = sorted(tables["decisions"]["model"].drop_nulls().unique(maintain_order=True))
    headline = next((e for e in done if e.target.name == "subject_is_werewolf"), None)
    over_time = sections.time_figure(headline, numbers) if headline else None
    context = {
        "title": "What do they know of each other?",
        "subtitle": f"Run {title}: {n_games:,} games of Werewolf; "
        + (f"activations of {', '.join(models)}" if done else "no activations to probe"),
        "answers": [sections.answer(e) for e in evaluations],
        "competence": in_words(agents, models),
        "agents": cards.agents_rows(agents),
        "card": cards.card(tables, done),
        "n_targets": len(done),
        "margin": sections.verdict_words(),
        "targets": [sections.target_section(e, numbers) for e in evaluations],
        "layers": sections.layer_figure(done, numbers) if done else None,
        "sites": sections.site_figure(done, numbers) if done else None,
        "audits": [audit_section(e, numbers) for e in done],
        "time": over_time,
        "no_time": "the headline target has no turn with enough rows, or was not evaluated",
        "blocks": [] if more is None else more(numbers),
        "said": cards.said_table(labels["statements"], labels["speeches"], numbers),
        "methods": methods(done, settings),
        "missing": missing(evaluations),
        "cost": cards.cost(tables, time.monotonic() - started),
        "tables": (tables_name or "report") + "/",
    }
    page = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined)
    page.filters["code"] = commands
    template = page.from_string(Path(__file__).with_name("report.html.jinja").read_text(encoding="utf-8"))
    return template.render(context), numbers
