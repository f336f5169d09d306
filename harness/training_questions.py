"""What a seat is asked on the way through a game, and what it is to answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import numpy as np

from agents.beliefs import gone
from agents.context import document
from agents.observer import Observer
from games import chance, load_game
from games.records import Decision, Event, Record
from games.werewolf.lexicon import lexicon as load_lexicon
from harness.training_games import MIXTURE


class Fork(msgspec.Struct, frozen=True):
    """Questions asked at one point of a view, each of them as if the others were not."""

    n_lines: int
    """How many lines of the view were read before."""
    viewer: str
    """Name of the seat that is asked; every question begins with `NAME believes`."""
    asked: list[tuple[str, dict[str, float]]]
    """(rest of the question, the probability of each answer)."""


def opens_ballot(log: Sequence[Record], i: int) -> bool:
    """Whether record `i` is the first decision of a ballot."""
    record = log[i]
    before = log[i - 1] if i else None
    return (
        isinstance(record, Decision)
        and record.kind == "ballot"
        and not (isinstance(before, Decision) and before.kind == "ballot")
    )


def cuts(log: list[Record], key: int, n: int) -> list[int]:
    """Up to `n` points of a log at which to ask: half of them before a ballot is cast, the others anywhere by day."""
    ballots, others = list[int](), list[int]()
    for i, record in enumerate(log):
        if opens_ballot(log, i):
            ballots.append(i)
        elif isinstance(record, Event) and record.kind in ("phase", "speech", "ballot", "exile"):
            others.append(i + 1)
    chosen = chance.shuffled(ballots, chance.key(key, "ballots"))[: (n + 1) // 2]
    return [*chosen, *chance.shuffled(others, chance.key(key, "others"))[: n - len(chosen)]]


def belief_questions(
    log: list[Record], seat: int, config: Any, key: int, n_cuts: int, expected: bool = False
) -> list[Fork]:
    """What the seat is asked while it lives: the role of each living other, answered with the truth, or with what the
    exact observer expects of it."""
    game = load_game("werewolf")
    facts = game.seats(config, log)
    terms = load_lexicon(config.lexicon).terms
    observer = Observer("exact", config, MIXTURE) if expected else None
    forks = []
    read = 0
    for cut in sorted(cuts(log, key, n_cuts)):
        alive = living(log[:cut], config.n_players)
        if seat not in alive:
            break
        answers = {i: {terms[facts[i].role]: 1.0} for i in alive if i != seat}
        if observer is not None:
            for record in log[read:cut]:
                observer.update(record)
            read = cut
            beliefs = observer.beliefs(seat)
            answers = {i: in_words(beliefs[i], observer.roles, terms) for i in answers}
        n_lines = len(document(game.text, log[:cut], seat, config))
        forks.append(Fork(n_lines, facts[seat].name, [(facts[i].name, p) for i, p in answers.items()]))
    return forks


def in_words(p: np.ndarray, roles: Sequence[str], terms: Mapping[str, str]) -> dict[str, float]:
    """Probabilities `(n_roles,)` by the role's word; impossible roles are left out."""
    p = np.maximum(p, 0.0) / np.maximum(p, 0.0).sum()
    return {terms[role]: float(x) for role, x in zip(roles, p, strict=True) if x > 0.0}


def second_order_questions(
    log: list[Record], seats: Sequence[int], config: Any, key: int, n_cuts: int, expected: bool = False
) -> dict[int, list[Fork]]:
    """What each seat is asked of the beliefs of each living other about all living.

    The answer is what the exact observer believes in the other's place, or a role drawn from that, so that a well
    calibrated answer is what the viewer expects of that belief.
    """
    game = load_game("werewolf")
    facts = game.seats(config, log)
    terms = load_lexicon(config.lexicon).terms
    observer = Observer("exact", config, MIXTURE)
    forks: dict[int, list[Fork]] = {seat: [] for seat in seats}
    read = 0
    for cut in sorted(cuts(log, key, n_cuts)):
        for record in log[read:cut]:
            observer.update(record)
        read = cut
        alive = living(log[:cut], config.n_players)
        beliefs = observer.all_beliefs()
        for seat in seats:
            if seat not in alive:
                continue
            asked = []
            for j in alive:
                for k in alive:
                    if j != k and seat != j:
                        p = beliefs[j, k]
                        if not expected:
                            drawn = chance.draw(
                                np.maximum(p, 0.0).tolist(), chance.key(key, "answer", cut, seat, j, k)
                            )
                            p = np.eye(len(p))[drawn]
                        answer = in_words(p, observer.roles, terms)
                        asked.append((f"{facts[j].name} believes {facts[k].name}", answer))
            some = list(chance.shuffled(asked, chance.key(key, "asked", cut, seat))[:8])
            forks[seat].append(
                Fork(len(document(game.text, log[:cut], seat, config)), facts[seat].name, some)
            )
    return forks


def living(log: Sequence[Record], n: int) -> list[int]:
    """The seats that are alive after these records."""
    out = gone(load_game("werewolf"), log)
    return [i for i in range(n) if i not in out]
