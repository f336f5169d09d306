"""Questions to a seat during a game, and their answers."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import Any

import msgspec
import numpy as np

from agents.lessons import PointQuestions, in_words, opens
from agents.llm.beliefs import gone
from agents.llm.transcript_context import document_lengths
from agents.werewolf.lessons.games import MIXTURE
from agents.werewolf.observer import Observer
from agents.werewolf.styles import CAST
from agents.werewolf.vocabulary import PLAYS
from games import chance, load_game
from games.records import Decision, Event, Record
from games.werewolf.lexicon import lexicon as load_lexicon


def cuts(log: list[Record], key: int, n: int, later: int = 1) -> list[int]:
    """Up to `n` points of a log at which to ask: half of them before a ballot is cast, the others anywhere by day;
    those from the second day on with the sampling weight `later`."""
    ballots, others = list[int](), list[int]()
    for i, record in enumerate(log):
        weight = later if isinstance(record, Decision | Event) and record.day > 1 else 1
        if opens(log, i, "ballot"):
            ballots += [i] * weight
        elif isinstance(record, Event) and record.kind in ("phase", "speech", "ballot", "exile"):
            others += [i + 1] * weight
    chosen = drawn(ballots, chance.key(key, "ballots"))[: (n + 1) // 2]
    return [*chosen, *drawn(others, chance.key(key, "others"))[: n - len(chosen)]]


def drawn(drawn_from: Sequence[int], key: int) -> list[int]:
    """The numbers in the order in which they are first drawn, each as likely as it is often among `drawn_from`."""
    return list(dict.fromkeys(chance.shuffled(drawn_from, key)))


class Expected(msgspec.Struct, frozen=True):
    """The exact observer's beliefs at some points of a game, for every seat."""

    roles: tuple[str, ...]
    beliefs: dict[int, np.ndarray]
    """Point -> probability `(n_viewers, n_seats, n_roles)` of each role of each seat to each viewer."""
    characters: dict[tuple[int, int], np.ndarray]
    """(point, viewer) -> probability `(n_seats, n_characters)` of each seat's character, as in `CAST`."""


def exact_beliefs(log: Sequence[Record], config: Any) -> tuple[tuple[str, ...], np.ndarray]:
    """`agents.lessons.Lessons.exact_beliefs`."""
    expected = expect(log, config, [len(log)])
    return expected.roles, expected.beliefs[len(log)]


def expect(
    log: Sequence[Record], config: Any, points: Iterable[int], characters: Collection[tuple[int, int]] = ()
) -> Expected:
    """What the exact observer expects after the first `point` records; of characters where (point, viewer) is named.

    One pass over the log serves all questions: taking in records is most of the cost.
    """
    observer = Observer("exact", config, MIXTURE)
    out = Expected(observer.roles, {}, {})
    read = 0
    for point in sorted({*points, *(point for point, _ in characters)}):
        for record in log[read:point]:
            observer.update(record)
        read = point
        out.beliefs[point] = observer.all_beliefs()
        for at, viewer in characters:
            if at == point:
                out.characters[at, viewer] = observer.p_characters(viewer)
    return out


def belief_questions(
    log: list[Record], seat: int, config: Any, points: Iterable[int], expected: Expected | None = None
) -> list[PointQuestions]:
    """What the seat is asked at some points of the log while it lives: the role of each living other, answered with the
    truth, or with what the exact observer expects of it; and how that other plays, where that is known too."""
    game = load_game("werewolf")
    facts = game.seats(config, log)
    terms = load_lexicon(config.lexicon).terms
    before = document_lengths(game.text, log, seat, config)
    forks = []
    for point in sorted(points):
        alive = living(log[:point], config.n_players)
        if seat not in alive:
            break
        others = [i for i in alive if i != seat]
        asked = [(facts[i].name, {terms[facts[i].role]: 1.0}) for i in others]
        if expected is not None:
            beliefs = expected.beliefs[point][seat]
            asked = [(facts[i].name, in_words(beliefs[i], expected.roles, terms)) for i in others]
            if (point, seat) in expected.characters:
                characters = expected.characters[point, seat]
                asked += [(character_question(facts[i].name), by_character(characters[i])) for i in others]
        forks.append(PointQuestions(before[point], facts[seat].name, asked))
    return forks


def character_question(subject: str) -> str:
    """What comes after `NAME believes` where it is asked for a player's character
    (`agents.werewolf.styles.STYLES`)."""
    return f"{subject} {PLAYS}"


def by_character(p: np.ndarray) -> dict[str, float]:
    """Probabilities `(n_characters,)` by the character's word; impossible ones are left out."""
    return {name: float(x) for name, x in zip(CAST, p, strict=True) if x > 0.0}


def second_order_questions(
    log: list[Record],
    seats: Sequence[int],
    config: Any,
    points: Iterable[int],
    key: int,
    expected: Expected,
    drawn: bool = False,
) -> dict[int, list[PointQuestions]]:
    """What each seat is asked of the beliefs of each living other: four about itself, and about all living up to eight.

    The answer is what the exact observer believes in the other's place, or a role `drawn` from that, so that a well
    calibrated answer is what the viewer expects of that belief.
    """
    game = load_game("werewolf")
    facts = game.seats(config, log)
    terms = load_lexicon(config.lexicon).terms
    before = {seat: document_lengths(game.text, log, seat, config) for seat in seats}
    forks: dict[int, list[PointQuestions]] = {seat: [] for seat in seats}

    def answer(point: int, seat: int, j: int, k: int) -> dict[str, float]:
        p = expected.beliefs[point][j, k]
        if drawn:
            role = chance.draw(np.maximum(p, 0.0).tolist(), chance.key(key, "answer", point, seat, j, k))
            p = np.eye(len(p))[role]
        return in_words(p, expected.roles, terms)

    for point in sorted(points):
        alive = living(log[:point], config.n_players)
        for seat in seats:
            if seat not in alive:
                continue
            pairs = [(j, k) for j in alive for k in alive if j not in (k, seat)]
            mine, others = (
                chance.shuffled(
                    [(j, k) for j, k in pairs if (k == seat) == own],
                    chance.key(key, "asked", point, seat, own),
                )
                for own in (True, False)
            )
            asked = [
                (f"{facts[j].name} believes {facts[k].name}", answer(point, seat, j, k))
                for j, k in (*mine[:4], *others)[:8]
            ]
            forks[seat].append(PointQuestions(before[seat][point], facts[seat].name, asked))
    return forks


def living(log: Sequence[Record], n: int) -> list[int]:
    """The seats that are alive after these records."""
    out = gone(load_game("werewolf"), log)
    return [i for i in range(n) if i not in out]
