"""Edits of what was said, at the level of the log: an utterance removed, its claim flipped, replaced, or inserted; or
everything retold in another lexicon.

A context is a function of the records that a seat has seen, so an edit of the records changes the words in every
prompt style. The viewer's own words are left unchanged.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from agents.llm.encoder import Encoder
from games.records import Event, Record, SpeechAct
from harness.reasoning.opposites import FILLER, flipped

SAID = ("speech", "last_words")
"""Events in which everybody hears a seat's words."""


def utterance_about(records: Sequence[Record], viewer: int, subject: int) -> tuple[int, Event] | None:
    """The last public utterance of another seat with a typed act about the subject, after its index."""
    for i in range(len(records) - 1, -1, -1):
        r = records[i]
        if (
            isinstance(r, Event)
            and r.kind in SAID
            and r.actor != viewer
            and any(a.subject == subject for a in r.acts)
        ):
            return i, r
    return None


def changed_records(
    records: Sequence[Record], do: str, viewer: int, subject: int, words: Any, text: Any, encoder: Encoder
) -> list[Record] | None:
    """The records with the last utterance about the subject changed; None where there is none, or it stays the same.

    do: `remove`, `flip`, or `filler` (as many tokens of filler in its place).
    """
    found = utterance_about(records, viewer, subject)
    if found is None:
        return None
    at, event = found
    if do == "remove":
        return [*records[:at], *records[at + 1 :]]
    if do == "flip":
        acts = flipped(text, event.acts, subject)
        if acts == event.acts:
            return None
        said = text.say(acts, words)
        new = msgspec.structs.replace(event, text=said, acts=acts)
    else:
        n = len(encoder.encode(event.text or "")[0])
        new = msgspec.structs.replace(event, text=filler(encoder, n), acts=())
    return [*records[:at], new, *records[at + 1 :]]


def filler(encoder: Encoder, n: int) -> str:
    """Filler words of n tokens, or as near as the tokenizer allows."""
    words: list[str] = []
    while len(encoder.encode(" ".join([*words, FILLER[len(words) % 3]]))[0]) <= n:
        words.append(FILLER[len(words) % 3])
    return " ".join(words)


def said_before(
    records: Sequence[Record], speaker: int, act: SpeechAct, words: Any, text: Any, day: int, phase: str
) -> list[Record]:
    """The records with one more public utterance at their end."""
    said = text.say((act,), words)
    last = records[-1].seq if records else -1
    return [
        *records,
        Event(seq=last + 1, kind="speech", day=day, phase=phase, actor=speaker, text=said, acts=(act,)),
    ]


def speaker_of(
    by: str, belief: dict[int, float], living: Sequence[int], subject: int, draw: int
) -> int | None:
    """A living third seat: the viewer's most or least suspected one, or one drawn."""
    pool = [i for i in living if i != subject]
    if not pool:
        return None
    if by == "drawn":
        return pool[draw % len(pool)]
    known = [i for i in pool if i in belief]
    pick = max if by == "most_suspect" else min
    return pick(known, key=lambda i: belief[i], default=None)


def in_words(said: str, words: Mapping[str, str]) -> str:
    """A text with each word of one lexicon replaced by that of another; case is kept, and distinguishes single
    letters.

    words: word -> word, of terms and names.
    """

    def other(found: re.Match[str]) -> str:
        word = found.group()
        small = words.get(word.lower()) if len(word) > 1 and word not in words else None
        return small[:1].upper() + small[1:] if small else words.get(word, word)

    return re.sub(r"\w+", other, said)


def renamed_records(records: Sequence[Record], words: Mapping[str, str]) -> list[Record]:
    """The records with everything said or written in other words (`in_words`). A model's outputs lose their token
    ids, which follow from the words."""

    def renamed(record: Record) -> Record:
        if isinstance(record, Event):
            return msgspec.structs.replace(record, text=record.text and in_words(record.text, words))
        action, trace = record.action, record.trace
        if action.text:
            action = msgspec.structs.replace(action, text=in_words(action.text, words))
        if trace is not None:
            trace = msgspec.structs.replace(
                trace, output_ids=(), logprobs=(), output_text=in_words(trace.output_text, words),
                rejected=tuple(in_words(one, words) for one in trace.rejected),
                reasoning=trace.reasoning and in_words(trace.reasoning, words),
            )  # fmt: skip
        return msgspec.structs.replace(record, action=action, trace=trace)

    return [renamed(record) for record in records]
