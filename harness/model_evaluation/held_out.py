"""Questions about held-out games of the scripted players, with the answers of ideal observers.

Before each of its ballots every plain villager is asked about each living other: is it a werewolf, what does it believe
about the one who asks, and how does it play. Each question carries its reference answers (the truth, the observers on
every rung of the evidence ladder, counts of public events); `readings` adds the model's answers and activations.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec
import numpy as np

from agents.llm.transcript_context import document
from agents.werewolf.lessons.games import HELD_OUT, MIXTURE, scripted_game
from agents.werewolf.observer import RUNGS, Observer, second_order_beliefs
from agents.werewolf.styles import CAST
from games import chance, load_game
from games.base import Observation, SeatFacts
from games.play import observe, waves
from games.records import Decision
from games.werewolf.evidence import Evidence


class Inquiry(msgspec.Struct, frozen=True):
    """One viewer asked about one subject at one point of one game."""

    game: int
    day: int
    viewer: int
    subject: int
    is_werewolf: bool
    character: int
    """Index of the subject's hidden character in `CAST`."""
    p_characters: tuple[float, ...]
    """P(character of the subject) of the exact observer, in the order of `CAST`."""
    p: Mapping[str, float]
    """P(subject is a werewolf) of each observer: the rungs of the ladder, the highest of which is `exact`."""
    expected: float
    """P(viewer is a werewolf) that the exact observer, in the viewer's place, expects the subject to believe."""
    held: float
    """P(viewer is a werewolf) by the exact observer in the subject's place."""
    counts: tuple[float, ...]
    """Counts of public events, see `public_counts`."""
    text: str
    """The viewer's transcript, with ME and SUBJECT in place of the two names."""


class Sitting(msgspec.Struct, frozen=True):
    """All questions to one viewer before one of its ballots."""

    observation: Observation
    """The viewer's observation at the request of its ballot."""
    decision: Decision
    """The ballot, which came after the questions."""
    inquiries: tuple[Inquiry, ...]


def sittings(preset: str, n_games: int, lexicon: str = "classic") -> Iterator[Sitting]:
    """The sittings of `n_games` held-out games, game by game; of each viewer one after the other."""
    game = load_game("werewolf")
    config = game.configure(preset=preset, lexicon=lexicon)
    for index in range(n_games):
        yield from game_sittings(index, game, config)


def game_sittings(index: int, game: Any, config: Any) -> Iterator[Sitting]:
    """The sittings of held-out game `index`."""
    seed = chance.key(HELD_OUT, "beliefs", index) >> 1
    log = scripted_game(config, seed)
    facts = game.seats(config, log)
    cast = {r.seat: CAST.index(r.agent) for r in log if isinstance(r, Decision)}
    observers, seen, read = ladder(config), Evidence.empty(config.n_players), 0
    found: dict[int, list[Sitting]] = {}
    for requests, wave, before in waves(game, config, seed, log):
        asked = [
            (request, decision)
            for request, decision in zip(requests, wave, strict=True)
            if decision.kind == "ballot" and facts[decision.seat].role == "villager"
        ]
        if not asked:
            continue
        for record in log[read : len(before)]:
            seen.add(record)
            for observer in observers.values():
                observer.update(record)
        read = len(before)
        alive = [j for j in range(config.n_players) if seen.alive[j]]
        for request, decision in asked:
            viewer = request.seat
            known = _Known(observers, viewer, " ".join(document(game.text, before, viewer, config)))
            found.setdefault(viewer, []).append(
                Sitting(
                    observe(game, f"beliefs-{index}", config, seed, before, request),
                    decision,
                    tuple(known.inquiry(index, seen, facts, cast[j], j) for j in alive if j != viewer),
                )
            )
    for own in found.values():
        yield from own


class _Known:
    """The observers' posteriors in one viewer's place."""

    def __init__(self, observers: Mapping[str, Observer], viewer: int, text: str) -> None:
        exact = observers["exact"]
        self.viewer, self.text = viewer, text
        self.p = {kind: observer.p_werewolf(viewer) for kind, observer in observers.items()}
        self.expected = second_order_beliefs(exact, viewer)
        self.held = exact.all_beliefs()[..., exact.roles.index("werewolf")]
        self.styles = exact.p_characters(viewer)

    def inquiry(
        self, game: int, seen: Evidence, facts: Sequence[SeatFacts], character: int, subject: int
    ) -> Inquiry:
        """The question about one subject."""
        me, it = facts[self.viewer].name, facts[subject].name
        return Inquiry(
            game=game,
            day=seen.day,
            viewer=self.viewer,
            subject=subject,
            is_werewolf=facts[subject].role == "werewolf",
            character=character,
            p_characters=tuple(map(float, self.styles[subject])),
            p={kind: float(value[subject]) for kind, value in self.p.items()},
            expected=float(self.expected[subject, self.viewer]),
            held=float(self.held[subject, self.viewer]),
            counts=public_counts(seen, self.viewer, subject),
            text=self.text.replace(me, "ME").replace(it, "SUBJECT"),
        )


def ladder(config: Any) -> dict[str, Observer]:
    """An observer for each rung of evidence; the last is the exact one."""
    found = {RUNGS[0]: Observer("rules", config)}
    for rung, name in enumerate(RUNGS[1:-1], 1):
        found[name] = Observer("exact", config, MIXTURE, rung=rung)
    return found | {"exact": Observer("exact", config, MIXTURE)}


def public_counts(seen: Evidence, viewer: int, subject: int) -> tuple[float, ...]:
    """Counts of public events around a subject: made, received, exchanged with the viewer, towards players whose side
    is known; reports and claims; how far the game has come."""
    made, received, mutual, aimed = [], [], [], []
    for table in (seen.accusations, seen.defences, seen.questions, seen.ballots):
        made.append(sum(table[subject]))
        received.append(sum(row[subject] for row in table))
        mutual += [table[subject][viewer], table[viewer][subject]]
        for wolf in (False, True):
            shown = [k for k, r in enumerate(seen.revealed) if r is not None and (r == "werewolf") == wolf]
            aimed.append(sum(table[subject][k] for k in shown))
    reports = [by[subject] for by in seen.reports.values() if subject in by]
    own = seen.reports.get(subject, {})
    rest = [
        sum(reports), len(reports) - sum(reports), len(own), sum(own.values()),
        seen.claims[subject] == "seer", sum(claim == "seer" for claim in seen.claims),
        seen.today[subject], seen.day, sum(seen.alive),
    ]  # fmt: skip
    return tuple(float(x) for x in (*made, *received, *mutual, *aimed, *rest))


def stack(items: list[Inquiry]) -> dict[str, np.ndarray]:
    """The inquiries' fields as arrays `(n_inquiries, ...)`; an observer's under its own name."""
    columns = {
        name: np.array([getattr(item, name) for item in items])
        for name in (
            "game",
            "day",
            "viewer",
            "subject",
            "is_werewolf",
            "character",
            "p_characters",
            "expected",
            "held",
            "counts",
        )
    }
    return columns | {kind: np.array([item.p[kind] for item in items]) for kind in items[0].p}
