"""Questions about the others' roles as lessons: each on a fork of the view, as asked in play."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np

from agents.lessons import lessons_of
from agents.llm.beliefs import chains, role_words
from games import chance
from games.base import GameError, Observation, SeatFacts
from games.records import Record
from harness.training.language.settings import FinetuneError, LessonBeliefsSection


class ForkedQuestion(msgspec.Struct, frozen=True):
    """A question and its right answer, after the first `at` tokens of a lesson."""

    at: int
    ids: tuple[int, ...]
    start: int
    """The answer is `ids[start:]`; the tokens before are the question."""
    seq: int
    """The decision before which it is asked, in the view's numbers."""

    @property
    def n_learned(self) -> int:
        """Tokens of the answer."""
        return len(self.ids) - self.start


def forks_of(
    player: Any,
    observation: Observation,
    log: Sequence[Record],
    facts: Sequence[SeatFacts],
    section: LessonBeliefsSection,
    seed: int,
    ids: Sequence[int],
) -> list[ForkedQuestion]:
    """The questions before one decision. log: all records before it; ids: the lesson's tokens, which extend beyond
    it.

    Raises FinetuneError for a target that the game does not have.
    """
    roles = role_words(observation)
    key = chance.key(seed, "beliefs", observation.seed >> 1, len(log))
    asked = chance.shuffled(chains(observation, False), key)[: section.most]
    answers = _answers(observation, log, facts, section.target, key, asked)
    found = []
    for chain in asked:
        if answers[chain] not in roles:
            continue  # a role that no answer may name
        (question, *_) = player.belief_questions(
            observation, chain, roles, 1, chance.key(key, "order", *chain)
        )
        answer = question.choices[list(roles).index(answers[chain])]
        prompt = question.prompt.ids
        at = _common(prompt, ids)
        found.append(ForkedQuestion(at, (*prompt[at:], *answer), len(prompt) - at, len(observation.records)))
    return found


def _answers(
    observation: Observation,
    log: Sequence[Record],
    facts: Sequence[SeatFacts],
    target: str,
    key: int,
    asked: Sequence[tuple[int, ...]],
) -> dict[tuple[int, ...], str]:
    """(viewer, subject) -> key of the role that is the right answer."""
    if target == "truth":
        return {chain: facts[chain[1]].role for chain in asked}
    try:
        roles, beliefs = lessons_of(observation.game).exact_beliefs(log, observation.config)
    except GameError as error:
        raise FinetuneError(
            f'data.beliefs.target = "exact" needs an exact observer: {error}; use target = "truth"'
        ) from error
    found: dict[tuple[int, ...], str] = {}
    for viewer, subject in asked:
        p = np.maximum(beliefs[viewer, subject], 0.0)
        found[viewer, subject] = roles[chance.draw(p.tolist(), chance.key(key, "role", viewer, subject))]
    return found


def _common(first: Sequence[int], second: Sequence[int]) -> int:
    """Length of the common prefix of two contexts."""
    n = min(len(first), len(second))
    return next((i for i in range(n) if first[i] != second[i]), n)
