"""Questions to a seat during a game, and the exact observer's answers."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import Any

import numpy as np

from agents.avalon.lessons.games import MIXTURE
from agents.avalon.observer import Observer
from agents.lessons import PointQuestions, in_words, opens
from agents.llm.transcript_context import document_lengths
from games import chance
from games.avalon.game import GAME
from games.avalon.lexicon import lexicon as load_lexicon
from games.records import Event, Record

ASKED_AFTER = ("pick", "speech", "verdict", "mission")
"""Kinds of events after which a seat may be asked."""
PAIRS = 6
"""Largest number of questions about others' beliefs at one point."""


def cuts(log: Sequence[Record], key: int, n: int) -> list[int]:
    """Up to `n` points of a log at which to ask: half of them before a vote, the others after public events."""
    votes = [i for i in range(len(log)) if opens(log, i, "vote")]
    others = [i + 1 for i, r in enumerate(log) if isinstance(r, Event) and r.kind in ASKED_AFTER]
    chosen = list(chance.shuffled(votes, chance.key(key, "votes")))[: (n + 1) // 2]
    return [*chosen, *list(chance.shuffled(others, chance.key(key, "others")))[: n - len(chosen)]]


class Expected:
    """The exact observer's beliefs for every seat, at some points of a game."""

    def __init__(self, log: Sequence[Record], config: Any, points: Collection[int]) -> None:
        observer = Observer("exact", config, MIXTURE)
        self.roles = tuple(observer.roles)
        self.beliefs: dict[int, np.ndarray] = {}
        """Point -> probability `(n_viewers, n_seats, n_roles)`, after the first `point` records."""
        self.clean: dict[int, np.ndarray] = {}
        """Point -> probability `(n_viewers,)` that nobody of the last team is evil."""
        self.last: dict[int, bool] = {}
        """Point -> whether the last team is the last that may be proposed for its mission."""
        read = 0
        for point in sorted(points):
            for record in log[read:point]:
                observer.update(record)
            read = point
            self.beliefs[point] = observer.all_beliefs()
            weights = np.stack([observer.weights_of(viewer) for viewer in range(observer.n)])
            clean = ~observer.evil[:, list(observer.seen.team)].any(1)
            self.clean[point] = weights @ clean / weights.sum(1)
            self.last[point] = observer.seen.proposal == config.max_rejections


def exact_beliefs(log: Sequence[Record], config: Any) -> tuple[tuple[str, ...], np.ndarray]:
    """`agents.lessons.Lessons.exact_beliefs`."""
    expected = Expected(log, config, [len(log)])
    return expected.roles, expected.beliefs[len(log)]


def belief_questions(
    log: Sequence[Record], seat: int, config: Any, points: Iterable[int], expected: Expected
) -> list[PointQuestions]:
    """Questions to the seat at some points of the log: the role of each other."""
    facts, terms = GAME.seats(config, log), load_lexicon(config.lexicon).terms
    before = document_lengths(GAME.text, log, seat, config)
    return [
        PointQuestions(
            before[point],
            facts[seat].name,
            [
                (facts[i].name, in_words(expected.beliefs[point][seat, i], expected.roles, terms))
                for i in range(config.n_players)
                if i != seat
            ],
        )
        for point in sorted(points)
    ]


def second_order_questions(
    log: Sequence[Record], seat: int, config: Any, points: Iterable[int], key: int, expected: Expected
) -> list[PointQuestions]:
    """Questions to the seat about others' beliefs, up to `PAIRS` a point, half of them about the seat itself.

    The answer is the exact observer's belief for the other seat. Its mean over games that look the same to the viewer
    is the viewer's correct second-order expectation.
    """
    facts, terms = GAME.seats(config, log), load_lexicon(config.lexicon).terms
    before = document_lengths(GAME.text, log, seat, config)
    forks = []
    for point in sorted(points):
        pairs = [
            (j, k) for j in range(config.n_players) for k in range(config.n_players) if j not in (k, seat)
        ]
        drawn = chance.shuffled(pairs, chance.key(key, "pairs", point, seat))
        mine = [pair for pair in drawn if pair[1] == seat][: PAIRS // 2]
        others = [pair for pair in drawn if pair[1] != seat]
        asked = [
            (
                f"{facts[j].name} believes {facts[k].name}",
                in_words(expected.beliefs[point][j, k], expected.roles, terms),
            )
            for j, k in (*mine, *others)[:PAIRS]
        ]
        forks.append(PointQuestions(before[point], facts[seat].name, asked))
    return forks
