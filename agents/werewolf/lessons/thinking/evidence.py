"""A seat's private line at a point of a game, from the exact observer: evidence item by item, then the belief.

The observer's log-odds that a player is a werewolf are followed for every viewer from event to event. The change
between one event that the viewer sees and the next is attributed to the first of the two, so a viewer's changes add up
to all that it has learned since the deal.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import msgspec
import numpy as np

from agents.llm.written.line import MOST, TENTHS, UNIT, Line, Step
from agents.werewolf.lessons.games import MIXTURE
from agents.werewolf.lessons.questions import Expected
from agents.werewolf.observer import Observer
from games.records import NOBODY, Event, Record, SpeechAct, visible
from games.werewolf.lexicon import lexicon as load_lexicon

CLIP = 0.005
"""Probabilities are clipped to [CLIP, 1 - CLIP] before their log-odds are taken."""
LEAST, N_STEPS = 2, 8
"""The smallest amount of a step, in units, and the most steps of a line; of more the largest are told."""
TELLING = (
    "report_inspection",
    "claim_role",
    "accuse",
    "defend",
    "question",
    "announce_ballot",
    "retract",
    "deny",
)
"""Speech acts from the most telling on: an item names one act of a speech."""


class Moment(msgspec.Struct, frozen=True):
    """An event that may be evidence."""

    index: int
    """Of its record in the log."""
    words: str
    before: np.ndarray
    """P(werewolf) `(n_viewers, n_seats)` right before it."""


class Followed(msgspec.Struct, frozen=True):
    """One game as followed by the exact observer."""

    moments: list[Moment]
    expected: Expected
    """Beliefs at the points that were asked for."""

    def p_werewolf(self, point: int) -> np.ndarray:
        """P(werewolf) `(n_viewers, n_seats)` after the first `point` records."""
        p: np.ndarray = self.expected.beliefs[point][..., self.expected.roles.index("werewolf")]
        return p


def follow(
    log: Sequence[Record],
    config: Any,
    points: Collection[int],
    names: Sequence[str],
) -> Followed:
    """Read a log once; beliefs are kept at `points` (each: how many records were read before) and before all events
    that may be evidence."""
    observer, terms = Observer("exact", config, MIXTURE), load_lexicon(config.lexicon).terms
    wolf = observer.roles.index("werewolf")
    moments: list[Moment] = []
    beliefs: dict[int, np.ndarray] = {}
    wanted, last = set(points), max(points, default=0)
    for i, record in enumerate(log):
        words = in_words(record, names, terms) if isinstance(record, Event) else None
        if i in wanted or words is not None:
            now = observer.all_beliefs()
            if i in wanted:
                beliefs[i] = now
            if words is not None:
                moments.append(Moment(i, words, now[..., wolf]))
        if i >= last:
            break
        observer.update(record)
    return Followed(moments, Expected(observer.roles, beliefs, {}))


def in_words(event: Event, names: Sequence[str], terms: Mapping[str, str]) -> str | None:
    """An event in the words of the log; None for one that is no evidence by itself."""
    target = "nobody" if event.target in (None, NOBODY) else names[event.target or 0]
    actor = "" if event.actor is None else names[event.actor]
    kind = event.kind
    if kind in ("speech", "last_words"):
        return f"{actor} {said(event.acts, names, terms)}"
    if kind == "ballot":
        return f"{actor} {terms['votes']} {target}"
    if kind in ("death", "no_death"):
        return f"{target} {terms['died']}"
    if kind == "exile":
        return f"{target} {terms['exiled']}"
    if kind == "shoot":
        return f"{actor} {terms['shoots']} {target}"
    if kind == "inspect" and event.audience:
        return f"{names[event.audience[0]]} {terms['inspected']} {target} {terms[event.value or 'human']}"
    return None


def said(acts: Sequence[SpeechAct], names: Sequence[str], terms: Mapping[str, str]) -> str:
    """The most telling act of a speech, without the speaker; `says nobody` where it is about no one."""
    ordered = sorted((a for a in acts if a.kind in TELLING), key=lambda act: TELLING.index(act.kind))
    if not ordered:
        return "says nobody"
    act = ordered[0]
    subject = "nobody" if act.subject is None else names[act.subject]
    role = terms.get(act.role or "", "nobody")
    return {
        "report_inspection": f"{terms['inspected']} {subject} {role}",
        "claim_role": f"is {role}",
        "deny": f"is not {role}",
        "announce_ballot": f"{terms['vote']} {subject}",
        "retract": terms["retract"],
    }.get(act.kind) or f"{terms[act.kind]} {subject}"


def line_at(
    followed: Followed,
    log: Sequence[Record],
    point: int,
    viewer: int,
    order: Sequence[int],
    names: Sequence[str],
) -> Line:
    """The exact line of a viewer after the first `point` records: about the seats of `order`, in this order."""
    p = followed.p_werewolf(point)[viewer, list(order)]
    belief = {names[j]: round(TENTHS * float(q)) for j, q in zip(order, p, strict=True)}
    return Line(tuple(steps_at(followed, log, point, viewer, order, names)), belief)


def steps_at(
    followed: Followed,
    log: Sequence[Record],
    point: int,
    viewer: int,
    order: Sequence[int],
    names: Sequence[str],
) -> list[Step]:
    """The evidence of a viewer up to a point, in the order of the log: of each event the change that is largest among
    the seats of `order`, where it is at least `LEAST` units."""
    seen = [m for m in followed.moments if m.index < point and visible(log[m.index], viewer)]
    if not seen or not len(order):
        return []
    at = list(order)
    p = np.stack([*(m.before[viewer, at] for m in seen), followed.p_werewolf(point)[viewer, at]])
    odds = np.clip(p, CLIP, 1.0 - CLIP)
    change = np.diff(np.log(odds) - np.log1p(-odds), axis=0) / UNIT
    subject = np.abs(change).argmax(1)
    amount = np.clip(np.rint(change[np.arange(len(seen)), subject]), -MOST, MOST).astype(int)
    large = np.flatnonzero(np.abs(amount) >= LEAST)
    kept = sorted(large[np.argsort(-np.abs(amount[large]), kind="stable")][:N_STEPS].tolist())
    return [Step(seen[k].words, names[at[subject[k]]], int(amount[k])) for k in kept]
