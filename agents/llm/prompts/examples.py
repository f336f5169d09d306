"""Worked examples: questions of the running rules with answers in the right form, about players of no game."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from itertools import cycle, islice
from typing import Any

from agents.replies import labels
from games.base import Game
from games.records import Request, SpeechAct

OTHERS = (
    "Ora",
    "Pim",
    "Quin",
    "Rex",
    "Sol",
    "Tad",
    "Uri",
    "Vic",
    "Wim",
    "Xan",
    "Yan",
    "Zoe",
    "Abe",
    "Bo",
    "Cy",
    "Di",
)
"""Names of the players in examples."""


def examples(
    game: Game, words: Any, n: int, ask: Callable[[Request, Sequence[str], bool], str], notes: bool
) -> list[tuple[str, str]]:
    """(question, answer) n times, speeches and choices in turn. ask: (request, options in words, whether it speaks) ->
    the question as the player will be asked it. notes: whether an answer begins with private notes."""
    text = game.text
    about = [kind for kind, form in game.speech_acts.items() if form.slots == ("subject",)]
    head = "PRIVATE: Nobody has told much yet.\n" if notes else ""
    found: list[tuple[str, str]] = []
    seats = range(1, len(words.names))
    for i, speaks in enumerate(islice(cycle((True, False)), n)):
        other = seats[i // 2 % len(seats)]
        if speaks and about:
            request = Request(0, game.speech_kinds[0], speaks=True)
            kind: Any = about[i // 2 % len(about)]
            said = text.say((SpeechAct(kind, subject=other),), words)
            found.append((ask(request, (), True), f"{head}SAY: {said}"))
        else:
            request = Request(0, game.belief_moments[0], tuple(seats))
            options = labels(text, request, words)
            label = next(word for word, o in options.items() if o == other)
            found.append((ask(request, tuple(options), False), label))
    renamed = dict(zip(words.names, _others(words.names), strict=True))
    pattern = re.compile(
        "|".join(rf"\b{re.escape(name)}\b" for name in sorted(words.names, key=len, reverse=True))
    )
    return [tuple(pattern.sub(lambda m: renamed[m[0]], part) for part in pair) for pair in found]  # type: ignore[misc]


def _others(names: Sequence[str]) -> list[str]:
    """As many names as `names`, none of them used at the table."""
    free = [name for name in OTHERS if name not in names]
    return [free[i] if i < len(free) else f"Player{i + 1}" for i in range(len(names))]
