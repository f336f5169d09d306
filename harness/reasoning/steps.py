"""Reasoning cut into steps with token spans: sentences of prose, items of typed language. Steps are cut on token ids,
never on rendered text: the concatenated steps are the original tokens."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Literal

import msgspec

from agents.llm.encoder import Encoder

Cut = Literal["sentences", "items"]
"""Sentences end in . ! ? or a line break; items of typed language also in a semicolon."""

_ABBREVIATED = r"(?<!\b[A-Z])(?<!\be\.g)(?<!\bi\.e)(?<!\bvs)(?<!\betc)(?<!\d)"
_ENDS: dict[Cut, re.Pattern[str]] = {
    "sentences": re.compile(rf"(?:{_ABBREVIATED}[.!?]+|(?<=\d)[.!?]+)[\"')\]*_]*(?=\s|$)|\n"),
    "items": re.compile(r"[.!?;]+(?=\s|$)|\n"),
}


class Step(msgspec.Struct, frozen=True):
    """One step of a reasoning."""

    index: int
    """The step's index, from 0."""
    start: int
    """Token index in the whole context, the first of the step."""
    end: int
    """After its last token."""
    text: str
    """Its words, without white space around them."""
    category: str = "other"
    """The step's category by rule, one of `harness.reasoning.categories.CATEGORIES`."""
    subjects: tuple[int, ...] = ()
    """Seats that it names, in the order of their first mention."""


def cut_text(text: str, how: Cut) -> list[tuple[int, int]]:
    """Character ranges of the steps of a text; together they are the whole text. White space goes to the next step."""
    edges = [0]
    for match in _ENDS[how].finditer(text):
        if text[edges[-1] : match.end()].strip():
            edges.append(match.end())
    if len(edges) > 1 and not text[edges[-1] :].strip():
        edges.pop()
    return list(zip(edges, [*edges[1:], len(text)], strict=True)) if text.strip() else []


def token_starts(encoder: Encoder, ids: Sequence[int]) -> list[int]:
    """The character of `encoder.decode(ids)` at which each token begins, and the length of the text behind them."""
    text = encoder.decode(ids)
    again, offsets = encoder.encode(text)
    if tuple(again) == tuple(ids):
        return [a for a, _ in offsets] + [len(text)]
    return [len(encoder.decode(ids[:i]).rstrip("\N{REPLACEMENT CHARACTER}")) for i in range(len(ids))] + [
        len(text)
    ]


def cut_tokens(encoder: Encoder, ids: Sequence[int], start: int, end: int, how: Cut) -> list[Step]:
    """The steps of the tokens `start <= i < end` of a context. A token belongs to the step of its first character."""
    body = ids[start:end]
    text, starts = encoder.decode(body), token_starts(encoder, body)
    steps: list[Step] = []
    at = 0
    for _, until in cut_text(text, how):
        stop = at
        while stop < len(body) and starts[stop] < until:
            stop += 1
        if stop > at:
            words = text[starts[at] : starts[stop]].strip()
            steps.append(Step(len(steps), start + at, start + stop, words))
            at = stop
    if steps and steps[-1].end < end:
        steps[-1] = msgspec.structs.replace(steps[-1], end=end)
    return steps
