"""Questions about held-out games of the scripted players, with what ideal readers would answer.

Before every ballot each living plain villager is asked about each living other: is it a werewolf, what does it believe
about the one who asks, and how does it play. What is known of the answer (the truth, the observers on every rung of the
evidence ladder, how often what was said about whom) stands beside the question; the model's answers and activations are
added by `readings`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec
import numpy as np

from agents.llm.transcript_context import document
from agents.werewolf.observer import RUNGS, Observer, second_order_beliefs
from agents.werewolf.styles import CAST
from games import chance, load_game
from games.records import Decision
from games.werewolf.evidence import Evidence
from harness.training.curriculum import View
from harness.training.games import HELD_OUT, MIXTURE, scripted_game
from harness.training.questions import Fork, character_question, opens_ballot


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
    """What the exact observer, in the viewer's place, expects the subject to believe: P(viewer is a werewolf)."""
    held: float
    """What the exact observer, in the subject's place, believes: P(viewer is a werewolf)."""
    counts: tuple[float, ...]
    """How often what was said about whom, see `public_counts`."""
    text: str
    """What the viewer has read, with ME and SUBJECT in place of the two names."""


class Sitting(msgspec.Struct, frozen=True):
    """All that one viewer is asked in one game: the view with its forks, and the inquiries in the order of the forks.

    Each fork asks first about the subjects' roles, then about what they believe, then about their characters, as many
    of the one as of the others.
    """

    view: View
    names: tuple[str, ...]
    inquiries: tuple[Inquiry, ...]


def sittings(preset: str, n_games: int, lexicon: str = "classic") -> Iterator[Sitting]:
    """The sittings of `n_games` held-out games, game by game."""
    game = load_game("werewolf")
    config = game.configure(preset=preset, lexicon=lexicon)
    for index in range(n_games):
        yield from game_sittings(index, game, config)


def game_sittings(index: int, game: Any, config: Any) -> Iterator[Sitting]:
    """The sittings of held-out game `index`."""
    log = scripted_game(config, chance.key(HELD_OUT, "beliefs", index) >> 1)
    facts = game.seats(config, log)
    names = tuple(fact.name for fact in facts)
    cast = {r.seat: CAST.index(r.agent) for r in log if isinstance(r, Decision)}
    observers = ladder(config)
    seen = Evidence.empty(config.n_players)
    forks: dict[int, list[Fork]] = {}
    inquiries: dict[int, list[Inquiry]] = {}
    for i, record in enumerate(log):
        if opens_ballot(log, i):
            alive = [j for j in range(config.n_players) if seen.alive[j]]
            viewers = [v for v in alive if facts[v].role == "villager"]
            held = observers["exact"].all_beliefs()[..., observers["exact"].roles.index("werewolf")]
            for viewer in viewers:
                lines = document(game.text, log[:i], viewer, config)
                others = [j for j in alive if j != viewer]
                questions = [
                    *(names[j] for j in others),
                    *(f"{names[j]} believes {names[viewer]}" for j in others),
                    *(character_question(names[j]) for j in others),
                ]
                asked = Fork(len(lines), names[viewer], [(question, {}) for question in questions])
                forks.setdefault(viewer, []).append(asked)
                p = {kind: observer.p_werewolf(viewer) for kind, observer in observers.items()}
                expected = second_order_beliefs(observers["exact"], viewer)
                styles = observers["exact"].p_characters(viewer)
                inquiries.setdefault(viewer, []).extend(
                    Inquiry(
                        game=index,
                        day=seen.day,
                        viewer=viewer,
                        subject=j,
                        is_werewolf=facts[j].role == "werewolf",
                        character=cast[j],
                        p_characters=tuple(map(float, styles[j])),
                        p={kind: float(value[j]) for kind, value in p.items()},
                        expected=float(expected[j, viewer]),
                        held=float(held[j, viewer]),
                        counts=public_counts(seen, viewer, j),
                        text=" ".join(lines).replace(names[viewer], "ME").replace(names[j], "SUBJECT"),
                    )
                    for j in others
                )
        seen.add(record)
        for observer in observers.values():
            observer.update(record)
    for viewer, found in inquiries.items():
        view = View(document(game.text, log, viewer, config), forks[viewer])
        yield Sitting(view, names, tuple(found))


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
