"""Soft targets of a seat's own lines: the teachers' policies, in place of one draw from them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from agents.lessons import Distribution, Turn, answers_of, decisions
from agents.llm.transcript_context import ask, document_lengths
from agents.werewolf.lessons.questions import Expected
from agents.werewolf.scripted import in_sentences
from games import load_game
from games.records import Record
from games.werewolf.lexicon import lexicon as load_lexicon

HUNTS, SPARES = ("accuse", "question", "vote", "votes", "inspects", "shoots", "poisons"), ("defend",)
"""Acts that serve the village where they name a werewolf, and where they do not."""
SERVED, FAILED = 3.0, 0.05
"""Advantage weight of naming a player where it serves the village, and where it does not."""


def turns(
    log: Sequence[Record], seat: int, config: Any, options: Sequence[Distribution], expected: Expected
) -> list[Turn]:
    """The turns of a seat, given its player's distribution at each of its decisions, in their order."""
    game = load_game("werewolf")
    words = game.text.words_of(config, log)
    faction = game.seats(config, log)[seat].faction
    before = document_lengths(game.text, log, seat, config)
    found = []
    for (point, decision), distribution in zip(decisions(log, seat), options, strict=True):
        answers = answers_of(game.text, decision, distribution, words, in_sentences)
        judged = (
            advantage_weights(expected, point, seat, words.names, config.lexicon)
            if faction == "village"
            else {}
        )
        found.append(Turn(before[point], ask(game.text, decision, words), answers, judged))
    return found


def advantage_weights(
    expected: Expected, point: int, seat: int, names: Sequence[str], lexicon: str
) -> dict[str, dict[str, float]]:
    """`Turn.advantage_weights` of a village seat: the mean over all deals that are possible for the exact observer in
    its seat.

    Imitation is weighted by its consequences, as in advantage-weighted regression (Peng et al. 2019, arXiv:1910.00177).
    A seat does not know the deal, so it learns to imitate its teacher where that is likely to be right.
    """
    terms = load_lexicon(lexicon).terms
    p: np.ndarray = expected.beliefs[point][seat, :, expected.roles.index("werewolf")]
    hunts = {name: FAILED + (SERVED - FAILED) * float(q) for name, q in zip(names, p, strict=True)}
    spares = {name: SERVED - (SERVED - FAILED) * float(q) for name, q in zip(names, p, strict=True)}
    return {terms[verb]: hunts for verb in HUNTS} | {terms[verb]: spares for verb in SPARES}
