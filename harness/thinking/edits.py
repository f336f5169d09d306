"""One number of the written belief is edited: does the ballot follow the words?

Dose-response: the tenths that the model wrote of one living other are moved by each of `DOSES`, and the ballot behind
the changed line is scored. Two controls: the same edit about another living player, read at the first; and a pair
about a dead player that is put into the line, once with the middle number and once moved by the dose.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import polars as pl

from agents.llm.written.line import TENTHS, Line, written
from games import chance
from harness.thinking.arms import Thought
from harness.thinking.moments import Moment
from harness.thinking.scores import Scored

DOSES = (-6, -3, 3, 6)
MIDDLE = TENTHS // 2
EDITS = {
    "moment": pl.Int64, "game": pl.Int64, "edit": pl.String, "dose": pl.Int64, "vote": pl.Float64, "moved": pl.Float64,
    "stated": pl.Float64,
}  # fmt: skip
"""One row an edit. edit: `subject`, `another`, `dead`. dose: by how many tenths the number was really moved. vote:
change of the probability of a vote for the subject (`dead`: there is none, null). moved: half the sum of the absolute
changes of all options. stated: change of the subject's stated P(werewolf), null for `dead`."""


def edits(scored: Scored, moments: Sequence[Moment], thoughts: Sequence[Thought]) -> pl.DataFrame:
    """`EDITS` of every moment whose own line of kind `belief` could be read."""
    rows: list[dict[str, Any]] = []
    of = {thought.moment: thought for thought in thoughts}
    for moment in moments:
        thought = of.get(moment.id)
        if thought is None or thought.line is None or len(moment.subjects) < 2:
            continue
        line, key = thought.line, chance.key(moment.observation.seed, "edited thought")
        known = [j for j in moment.subjects if moment.names[j] in line.belief]
        if len(known) < 2:
            continue
        subject, another = chance.shuffled(known, key)[:2]
        base = scored.score(moment, thought)
        for dose in DOSES:
            for edit, seat in (("subject", subject), ("another", another)):
                changed, real = moved(line, moment.names[seat], dose)
                if real:
                    rows.append(_row(scored, moment, edit, real, base, changed, subject))
        if moment.dead:
            dead = moment.names[chance.shuffled(list(moment.dead), chance.key(key, "dead"))[0]]
            middle = with_pair(line, dead, MIDDLE)
            before = _scores(scored, moment, middle)
            for dose in DOSES:
                changed, real = moved(middle, dead, dose)
                if real:
                    rows.append(_row(scored, moment, "dead", real, before, changed, None))
    return pl.DataFrame(rows, schema=EDITS)


def moved(line: Line, name: str, dose: int) -> tuple[Line, int]:
    """The line with one number of its belief moved, within what tenths can say; and by how much it was moved."""
    now = line.belief[name]
    new = min(TENTHS, max(0, now + dose))
    return msgspec.structs.replace(line, belief={**line.belief, name: new}), new - now


def with_pair(line: Line, name: str, tenths: int) -> Line:
    """The line with a pair put before the others of its belief."""
    return msgspec.structs.replace(line, belief={name: tenths, **line.belief})


Scores = tuple[Mapping[int, float], Mapping[int, float]]


def _scores(scored: Scored, moment: Moment, line: Line) -> Scores:
    return scored.score(moment, scored.thinkers.with_text(moment, "belief", written("belief", line)))


def _row(
    scored: Scored, moment: Moment, edit: str, dose: int, base: Scores, line: Line, subject: int | None
) -> dict[str, Any]:
    (votes, stated), (before, said) = _scores(scored, moment, line), base
    return {
        "moment": moment.id, "game": moment.game, "edit": edit, "dose": dose,
        "vote": None if subject is None else votes.get(subject, 0.0) - before.get(subject, 0.0),
        "moved": sum(abs(votes[option] - before[option]) for option in votes) / 2,
        "stated": None if subject is None else stated[subject] - said[subject],
    }  # fmt: skip
