"""Assembles the page: one section a question, one list of what is absent, the answer in words at the top."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import jinja2
import polars as pl

from analysis.behaviour.competence import agents_table, in_words
from analysis.data.frames import Logs
from analysis.effects.table import Used, used_in
from analysis.evaluation import judge
from analysis.evaluation.by_factor import by_factor
from analysis.evaluation.contrasts import windows
from analysis.evaluation.evaluate import Evaluation, Settings, Skipped
from analysis.evaluation.monitor import speech_texts
from analysis.evaluation.prepare import Prepared
from analysis.evaluation.second_order import second_order
from analysis.evaluation.span_probes import span_probes
from analysis.evaluation.transfer import factors_of
from analysis.report import cards
from analysis.report.before_after.section import change_block
from analysis.report.block import Block
from analysis.report.headline.answer import answer_of, headline_of, next_step
from analysis.report.methods import methods, missing
from analysis.report.page import Numbers, Table, commands
from analysis.report.registry import SECTIONS, Material
from analysis.report.sections import probes
from analysis.report.sections.audits import audits_block
from analysis.report.sections.behaviour import behaviour_block
from analysis.report.sections.beliefs import beliefs_block
from analysis.report.sections.causal import Read, causal_words
from analysis.report.sections.deception import add_spans, windows_block
from analysis.report.sections.effects import effects_block
from analysis.report.sections.factors import factors_block
from analysis.report.sections.inferred import inferred_block, said_table, used_table
from analysis.report.sections.ladder import ladder_block
from analysis.report.sections.made.collusion import collusion_block
from analysis.report.sections.made.features import features_block
from analysis.report.sections.made.reasoning import reasoning_block
from analysis.report.sections.planted import appendix
from analysis.report.sections.recipes import recipes_block
from analysis.report.sections.summary import summary_figure
from analysis.report.sections.training import training_block
from analysis.report.sections.transfer import transfer_block


@dataclass(frozen=True)
class Made:
    """The material of a page."""

    evaluations: Sequence[Evaluation | Skipped]
    prepared: Prepared
    logs: Logs
    runs: Sequence[tuple[str, Any]]
    """(prefix of the game ids, run)."""
    branches: Sequence[Any]
    experiments: Sequence[Read]
    """Those beside the runs."""
    tried: Mapping[str, pl.DataFrame]
    """Recipes that were computed while observers followed the games, by the target's name."""
    tables: dict[str, pl.DataFrame]
    settings: Settings
    by: str | None
    command: str
    folder: str
    """Name of the folder beside the page."""
    started: float

    @property
    def used(self) -> list[Used]:
        """The tested arms of the experiments."""
        return [used for one, table in self.experiments for used in used_in(one, table=table)]


def assemble(made: Made) -> tuple[str, Numbers, list[str]]:
    """The page, the frames and figures behind it, and the answer as lines."""
    numbers = Numbers()
    done = [e for e in made.evaluations if isinstance(e, Evaluation)]
    first = made.evaluations[0] if made.evaluations else None
    labels = made.prepared.labels
    agents = agents_table(made.logs.game, made.tables["seats"], made.tables["decisions"], labels["ballots"])
    numbers.add("T1_agents", agents)
    models = sorted(made.tables["decisions"]["model"].drop_nulls().unique(maintain_order=True))
    effects = effects_block(made.branches, made.experiments, numbers)
    causal = causal_words(made.used, numbers.frames.get("T6_strategic"))
    deception, lies = _deception(made, numbers)
    blocks = [
        probes.surface_block(made.evaluations, numbers),
        _inferred(made, numbers),
        _said(made, numbers),
        _used(made, first, effects, numbers),
        reasoning_block([run.path for _, run in made.runs], numbers),
        deception,
        _where(made, done, numbers),
        change_block(headline_of(made.evaluations), made.prepared, made.runs, made.settings, numbers),
        features_block([run.path for _, run in made.runs], numbers),
        _players(made, agents, models, numbers),
        audits_block(done, numbers),
    ]
    if made.by is not None:
        blocks.insert(
            5, factors_block(made.by, by_factor(made.prepared, made.runs, made.by, made.settings), numbers)
        )
    blocks.append(collusion_block([run.path for _, run in made.runs], numbers))
    material = Material(made.evaluations, made.prepared, made.logs, made.runs, made.settings, numbers)
    blocks += [make(material) for make in SECTIONS.values()]
    planted = appendix(numbers)
    answer = answer_of(made.evaluations, lies, causal, models)
    blocks_shown = [b for b in blocks if not b.empty]
    absent = [text for b in [*blocks, planted] for text in b.absent]
    absent += [part.note for b in blocks if b.empty for part in b.parts]
    context = {
        "title": "Do they model each other, and do they act on it?",
        "subtitle": _subtitle(made, done, models),
        "answer": answer,
        "remarks": made.tables["remarks"]["remark"].to_list(),
        "summary": summary_figure(made.evaluations, numbers) if made.evaluations else None,
        "blocks": blocks_shown,
        "card": cards.card(made.tables, done),
        "methods": methods(done, made.settings),
        "missing": list(dict.fromkeys(filter(None, [*absent, *missing(made.evaluations)]))),
        "cost": cards.cost(made.tables, time.monotonic() - made.started),
        "planted": None if planted.empty else planted,
        "foot": _foot(made, models),
        "tables": made.folder + "/",
        "keep": numbers.keep,
    }
    page = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined)
    page.filters["code"] = commands
    template = page.from_string(Path(__file__).with_name("report.html.jinja").read_text(encoding="utf-8"))
    html = template.render(context)
    lines = [*answer["models"], *answer["acts"], f"Next: {next_step(done, causal_shown=not effects.empty)}"]
    return html, numbers, lines


def _subtitle(made: Made, done: Sequence[Evaluation], models: Sequence[str]) -> str:
    title = " + ".join(dict.fromkeys(run.manifest.name for _, run in made.runs))
    what = (
        f"activations of {', '.join(m.split('@')[0] for m in models)}" if done else "no activations to probe"
    )
    played = " and ".join(
        dict.fromkeys(cell.game.capitalize() for _, run in made.runs for cell in run.manifest.cells)
    )
    return f"Run {title}: {len(made.logs):,} games of {played}; {what}"


def _inferred(made: Made, numbers: Numbers) -> Block:
    """Rung 3: share of the way, second order, and the rungs of evidence it stands between."""
    head = headline_of(made.evaluations)
    second = None if head is None else second_order(head, made.prepared.watched.second, made.settings)
    block = inferred_block(made.evaluations, second, numbers)
    block.take(
        ladder_block(
            head, made.prepared.watched.rungs, made.runs, made.settings, numbers, made.logs.game.name
        ),
        "Between which rungs of evidence does it stand?",
    )
    return block


def _said(made: Made, numbers: Numbers) -> Block:
    """Stated beliefs beside the probe's, over turns and events."""
    block = Block("said", "Does it say what it holds, and when does it come to hold it?")
    table = said_table(made.evaluations, numbers)
    if table is None:
        block.absent.append("stated beliefs: `[beliefs] enabled = true` in the run's configuration")
    else:
        block.add(table=table)
    head = headline_of(made.evaluations)
    over_time = probes.time_figure(head, numbers) if head else None
    if over_time is None:
        block.absent.append("F3, belief over turns: no turn with enough rows")
    else:
        block.add(figure=over_time)
    block.take(
        beliefs_block(head, made.prepared, numbers),
        "Beliefs around events, in the simplex, of the second order",
    )
    return block


def _used(made: Made, first: Evaluation | Skipped | None, effects: Block, numbers: Numbers) -> Block:
    block = Block("used", "Is it used?")
    table, why = used_table(first, numbers)
    if table is None:
        block.absent.append(why)
    else:
        block.add(table=table)
    block.take(effects)
    return block


def _deception(made: Made, numbers: Numbers) -> tuple[Block, pl.DataFrame]:
    answers = judge.judgements(made.runs)
    judged = judge.agreement(answers, made.prepared.labels["speeches"])
    numbers.add("T4_judge", judged)
    texts = speech_texts(made.logs)
    found, absent = windows(made.prepared.contrasts, made.settings, texts)
    judges = judge.scores(answers, [target for target, _ in made.prepared.contrasts], made.settings)
    block = windows_block(found, absent, judge.in_words(judged), judges, numbers)
    add_spans(block, *span_probes(made.prepared.contrasts, made.runs, made.settings), numbers)
    labels = made.prepared.labels
    said = cards.said_table(labels["statements"], labels["speeches"], numbers)
    block.add(fold="What was said, by role and player", table=said)
    return block, found


def _where(made: Made, done: Sequence[Evaluation], numbers: Numbers) -> Block:
    block = Block("where", "Where is it, and does it hold elsewhere?")
    if done:
        block.add(figure=probes.layer_figure(done, numbers))
        site = probes.site_figure(done, numbers)
        if site is not None:
            block.add(figure=site)
    head = headline_of(made.evaluations)
    block.take(
        recipes_block(done, made.tried, made.settings, numbers), "Other recipes on the same rows and folds"
    )
    block.take(transfer_block(done, factors_of(made.runs), made.settings, numbers))
    block.take(training_block(head, made.prepared, made.runs, made.settings, numbers))
    return block


def _players(made: Made, agents: pl.DataFrame, models: Sequence[str], numbers: Numbers) -> Block:
    block = Block("players", "How good are the players?")
    for text in in_words(agents, made.logs.game):
        block.add(note=text)
    block.add(table=cards.agents_rows(agents, made.logs.game))
    block.take(
        behaviour_block(made.logs, made.prepared.beliefs, made.prepared.labels, numbers),
        "What the players do",
    )
    return block


def _foot(made: Made, models: Sequence[str]) -> Table:
    """Date, revision, configuration, models, command: what is needed to reproduce the page."""
    sessions = [session for _, run in made.runs for session in run.manifest.sessions]
    revisions = dict.fromkeys(s.revision[:12] + s.revision[40:] for s in sessions if s.revision)
    rows = [
        ["written", datetime.now(UTC).isoformat(timespec="minutes")],
        ["games played with", ", ".join(revisions) or "revision unknown"],
        [
            "configuration",
            ", ".join(f"{run.manifest.name} {run.manifest.config_hash}" for _, run in made.runs),
        ],
        ["models", ", ".join(models) or "none"],
        ["command", made.command or "analysis.report.report.write_report"],
    ]
    return Table(["", ""], rows, id="foot")
