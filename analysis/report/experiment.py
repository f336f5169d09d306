"""The page of one experiment: its question, what was found, the table, the figures, how it was made."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jinja2

from analysis.behaviour.strategic import SLOPE_OF_INTEREST
from analysis.effects.outcomes import read_experiment
from analysis.effects.table import effect_table
from analysis.reasoning.importance import importance
from analysis.reasoning.read import has_reasoning, read_reasonings
from analysis.report.block import Block
from analysis.report.effect_words import sentences
from analysis.report.figures import standalone
from analysis.report.page import Numbers, commands
from analysis.report.sections.effects import add_experiment, add_strategic
from analysis.report.sections.made.reasoning import add_reasoning
from analysis.report.sections.made.watched import add_watched
from harness.seals import seal

OF_ARMS = (
    "Interval and p: bootstrap over games. “used”: beyond the controls after Holm's correction over the tested arms, "
    "and further than 19 of 20 random directions. “underpowered”: not so, and the smallest effect of interest could "
    "have been missed. “not beyond controls”: not so, and it would have been found. The numbers: `effects.parquet` and "
    "`outcomes.parquet` beside this file."
)
OF_ACTS = (
    "Interval and p: bootstrap over games. “strategic”: the slope is above zero. “not beyond habit”: not so, and a "
    f"slope of {SLOPE_OF_INTEREST:g}, flattened by the noise in the advantages, is excluded. “underpowered”: it is not."
    " The numbers: `effects.parquet` and `acts.parquet` beside this file."
)
"""What the verdicts of a page mean."""


def write_effects(folder: str | Path) -> tuple[Path, list[str]]:
    """Write `effects.parquet`, `effects.html` and the figures' SVG into an experiment's folder; the page's path and
    what was found in words. Raises AnalysisError where the folder holds no finished experiment."""
    experiment = read_experiment(folder)
    manifest, design = experiment.manifest, experiment.design
    numbers = Numbers()
    block, reasoned = Block("effects", design["name"]), Block("reasoning", design["name"])
    path = experiment.path
    written = [path / "effects.parquet", path / "effects.html"]
    if experiment.strategic:
        found = add_strategic(block, experiment, numbers)
        table = numbers.frames["T6_strategic"].drop("experiment")
    elif experiment.turns:
        found = add_watched(block, experiment, numbers)
        table = numbers.frames["T8_turns"].drop("experiment")
    else:
        add_experiment(block, experiment, effect_table(experiment), numbers, whole=True)
        table = numbers.frames["T6_effects"].drop("experiment")
        found = sentences(experiment, table)
        if has_reasoning(path):
            found = add_reasoning(reasoned, experiment, numbers) + found
            importance(read_reasonings(path)).write_parquet(path / "reasoning-importance.parquet")
            written.append(path / "reasoning-importance.parquet")
    table.write_parquet(path / "effects.parquet")
    for part in reasoned.parts + block.parts:
        if part.figure is not None:
            written.append(path / f"{part.figure.id}.svg")
            written[-1].write_text(standalone(str(part.figure.svg)), encoding="utf-8")
    page = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined)
    page.filters["code"] = commands
    source = Path(__file__).with_name("experiment.html.jinja").read_text(encoding="utf-8")
    # the question and what was found head the page by themselves
    rest = [part for part in block.parts[1:] if part.shown or part.note not in found]
    html = page.from_string(source).render(
        title=design["name"],
        question=design["question"],
        found=found,
        sections=[("Reasoning", reasoned.parts[1:]), ("Effects", rest)],
        made=_made(manifest, design),
        verdicts=OF_ACTS if experiment.strategic else OF_ARMS,
    )
    out = path / "effects.html"
    part_file = out.with_name(out.name + ".part")
    part_file.write_text(html, encoding="utf-8")
    part_file.replace(out)
    seal(path, *written, verb="effects")
    return out, found


def _made(manifest: dict[str, Any], design: dict[str, Any]) -> list[str]:
    """How the experiment was made, in sentences."""
    session, query = manifest["sessions"][-1], design["moments"]
    names = ", ".join(run["name"] for run in manifest["runs"])
    folders = " ".join(run["path"].rpartition("/")[2] for run in manifest["runs"])
    where = f", where {'; '.join(query['where'])}" if query["where"] else ""
    directions = "; ".join(f"{name}, {origin}" for name, origin in manifest["directions"].items()) or "none"
    drawn = (
        f"{len(manifest['moments']):,} moments, drawn by seed {query['seed']} from {names}, written down before "
        f"anything was asked: decisions of kind {query['kind']!r}, at most {query['per_game']} a game, subject "
        f"{query['subject']!r}{where}."
    )
    answers = (
        f"Every act was played out {design['strategic']['continuations']} times to the end of the game, with the same "
        f"seeds for all acts of a moment; {manifest['seconds']:,.0f} s."
        if design.get("strategic") is not None
        else f"Every turn was taken {design['turns']['n']} times anew under each arm, with the same seeds for all; "
        f"{manifest['seconds']:,.0f} s."
        if design.get("turns") is not None
        else f"Answers are exact probabilities of whole answers, {manifest['scorer']} passes, within "
        f"{manifest['off']:.1g} nats of one plain pass a moment and arm; {manifest['seconds']:,.0f} s."
    )
    made = (
        f"Design {manifest['key']}, git revision {session['revision'] or 'unknown'}, {session['started']}; "
        f"`wolfscope experiment {design['name']} {folders}`."
    )
    return [drawn, f"Models: {', '.join(manifest['models'])}. Directions: {directions}.", answers, made]
