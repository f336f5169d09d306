"""Edits of one number of the written belief: does the ballot follow the words?

Dose-response: the tenths that the model wrote of one living other are moved by each of `DOSES`, and the ballot after
the changed line is scored. Two controls: the same edit about another living player, read at the first; and a pair
about a dead player inserted into the line, once with the middle number and once moved by the dose.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
import polars as pl

from agents.llm.written.line import TENTHS, Line, written
from games import chance
from harness.model_evaluation.thinking.arms import Thought
from harness.model_evaluation.thinking.moments import Moment
from harness.model_evaluation.thinking.scores import Scored, Scores

DOSES = (-6, -3, 3, 6)
MIDDLE = TENTHS // 2
EDITS = {
    "moment": pl.Int64, "game": pl.Int64, "edit": pl.String, "dose": pl.Int64, "vote": pl.Float64, "moved": pl.Float64,
    "stated": pl.Float64,
}  # fmt: skip
"""One row an edit. edit: `subject`, `another`, `dead`. dose: by how many tenths the number was actually moved. vote:
change of the probability of a vote for the subject (`dead`: there is none, null). moved: half the sum of the absolute
changes of all options. stated: change of the subject's stated P(werewolf), null for `dead`."""


def edits(scored: Scored, moments: Sequence[Moment], thoughts: Sequence[Thought]) -> pl.DataFrame:
    """`EDITS` of every moment whose own line of kind `belief` could be read."""
    rows: list[dict[str, Any]] = []
    of = {thought.moment: thought for thought in thoughts}
    for moment in moments:
        thought = of.get(moment.id)
        if thought is not None and thought.line is not None:
            rows += _of_moment(scored, moment, thought.line)
    return pl.DataFrame(rows, schema=EDITS)


def _of_moment(scored: Scored, moment: Moment, line: Line) -> list[dict[str, Any]]:
    key = chance.key(moment.observation.seed, "edited thought")
    known = [j for j in moment.subjects if moment.names[j] in line.belief]
    if len(known) < 2:
        return []
    subject, another = chance.shuffled(known, key)[:2]
    lines, made = [line], list[tuple[str, int, int, int]]()

    def change(edit: str, base: int, name: str) -> None:
        for dose in DOSES:
            changed, real = moved(lines[base], name, dose)
            if real:
                made.append((edit, real, base, len(lines)))
                lines.append(changed)

    change("subject", 0, moment.names[subject])
    change("another", 0, moment.names[another])
    if moment.dead:
        dead = moment.names[chance.shuffled(list(moment.dead), chance.key(key, "dead"))[0]]
        lines.append(with_pair(line, dead, MIDDLE))
        change("dead", len(lines) - 1, dead)
    put = [scored.thinkers.with_text(moment, "belief", written("belief", one)) for one in lines]
    found = scored.score(moment, put)
    return [
        _row(moment, edit, dose, found[base], found[at], None if edit == "dead" else subject)
        for edit, dose, base, at in made
    ]


def moved(line: Line, name: str, dose: int) -> tuple[Line, int]:
    """The line with one number of its belief moved, within the range of tenths; and by how much it was moved."""
    now = line.belief[name]
    new = min(TENTHS, max(0, now + dose))
    return msgspec.structs.replace(line, belief={**line.belief, name: new}), new - now


def with_pair(line: Line, name: str, tenths: int) -> Line:
    """The line with a pair inserted before the others of its belief."""
    return msgspec.structs.replace(line, belief={name: tenths, **line.belief})


def _row(
    moment: Moment, edit: str, dose: int, base: Scores, changed: Scores, subject: int | None
) -> dict[str, Any]:
    (votes, stated), (before, said) = changed, base
    return {
        "moment": moment.id, "game": moment.game, "edit": edit, "dose": dose,
        "vote": None if subject is None else votes.get(subject, 0.0) - before.get(subject, 0.0),
        "moved": sum(abs(votes[option] - before[option]) for option in votes) / 2,
        "stated": None if subject is None else stated[subject] - said[subject],
    }  # fmt: skip
