"""Soft targets of a seat's own lines: the teachers' policies, in place of one draw from them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from agents.avalon.lessons.questions import Expected
from agents.avalon.scripted import in_sentences
from agents.lessons import Distribution, Turn, answers_of, decisions
from agents.llm.transcript_context import ask, document_lengths
from games.avalon.game import GAME
from games.avalon.lexicon import lexicon as load_lexicon
from games.avalon.roles import EVIL
from games.records import Decision, Record

HUNTS, SPARES = ("accuse", "question"), ("trust", "suggest", "picks")
"""Terms after which naming an evil player serves the good side, and naming a good one."""
SERVED, FAILED = 3.0, 0.05
"""Advantage weight of a choice that serves the good side, and of one that does not."""
CHOICES = ("vote", "card")
"""Kinds of decisions before which no list of options stands."""


def turns(
    log: Sequence[Record], seat: int, config: Any, options: Sequence[Distribution], expected: Expected
) -> list[Turn]:
    """The turns of a seat. options: its player's distribution at each of its decisions, in their order."""
    words = GAME.text.words_of(config, log)
    facts = GAME.seats(config, log)[seat]
    judged = facts.faction == "good" and facts.role != "merlin"  # Merlin has to hide what it knows
    before = document_lengths(GAME.text, log, seat, config)
    found = []
    for (point, decision), distribution in zip(decisions(log, seat), options, strict=True):
        found.append(
            Turn(
                before[point],
                ask(GAME.text, decision, words),
                answers_of(GAME.text, decision, distribution, words, in_sentences),
                advantage_weights(expected, point, decision, config, words.names) if judged else {},
                decision.kind in CHOICES,
            )
        )
    return found


def advantage_weights(
    expected: Expected, point: int, decision: Decision, config: Any, names: Sequence[str]
) -> dict[str, dict[str, float]]:
    """`Turn.advantage_weights` of a good seat: the mean over all deals that are possible for the exact observer in its
    seat. Imitation is weighted by its consequences, as in advantage-weighted regression (Peng et al. 2019,
    arXiv:1910.00177). The last team of a mission has to go, whoever is in it."""
    terms = load_lexicon(config.lexicon).terms
    evil = [i for i, role in enumerate(expected.roles) if role in EVIL]
    p: np.ndarray = expected.beliefs[point][decision.seat][:, evil].sum(-1)
    hunts = {name: between(float(q)) for name, q in zip(names, p, strict=True)}
    spares = {name: between(1.0 - float(q)) for name, q in zip(names, p, strict=True)}
    out = {terms[verb]: hunts for verb in HUNTS} | {terms[verb]: spares for verb in SPARES}
    if decision.kind == "vote" and not expected.last[point]:
        clean = float(expected.clean[point][decision.seat])
        out[terms["votes"]] = {terms["approve"]: between(clean), terms["reject"]: between(1.0 - clean)}
    return out


def between(p: float) -> float:
    """Advantage weight of a choice that serves the good side with probability `p`."""
    return FAILED + (SERVED - FAILED) * p
