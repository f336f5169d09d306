"""Questions about held-out games of the scripted players, with the answers of ideal observers.

Before its decisions of the game's belief moment (a ballot, a vote on a team) each seat that the game's exam asks is
asked about each living other: does a belief target hold of it, what does it believe about the one who asks, how does it
play. Each question carries its reference answers (the truth, the observers on every rung of the evidence ladder,
counts of public events); `readings` adds the model's answers and activations.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import msgspec
import numpy as np

from agents.exam import HELD_OUT, HIGHEST, Counts, Exam, SeatObserver, observers
from agents.lessons import lessons_of
from agents.llm.beliefs import gone
from agents.llm.transcript_context import document
from games import chance, load_game
from games.base import BeliefTarget, Game, GameConfig, Observation, SeatFacts
from games.play import observe, waves
from games.records import Decision


class Inquiry(msgspec.Struct, frozen=True):
    """One viewer asked about one subject at one point of one game. Tuples `(n_targets,)` are in the order of
    `measured_targets`."""

    game: int
    day: int
    viewer: int
    subject: int
    asks: tuple[bool, ...]
    """Whether the viewer's belief about each target is measured."""
    holds: tuple[bool, ...]
    """Whether each target is true of the subject."""
    character: int
    """Index of the subject's hidden character in `Exam.CHARACTERS`; -1 where characters are not asked for."""
    p_characters: tuple[float, ...]
    """P(character of the subject) of the exact observer, in the order of `Exam.CHARACTERS`."""
    p: Mapping[str, tuple[float, ...]]
    """P(target holds of the subject) of each observer: the rungs of the ladder, the highest of which is `exact`."""
    expected: float
    """P(the first target holds of the viewer) that the exact observer, in the viewer's place, expects the subject to
    believe; NaN where the viewer is not asked about that target."""
    counts: tuple[float, ...]
    """Counts of public events (`Exam.counts`)."""
    text: str
    """The viewer's transcript, with ME and SUBJECT in place of the two names."""


class Sitting(msgspec.Struct, frozen=True):
    """All questions to one viewer before one of its decisions."""

    observation: Observation
    """The viewer's observation at the request of its decision."""
    decision: Decision
    """The decision, which came after the questions."""
    inquiries: tuple[Inquiry, ...]


def measured_targets(game: Game) -> tuple[BeliefTarget, ...]:
    """The belief targets that the game's exam asks about, in the game's order; the game's first is the first."""
    asked = lessons_of(game.name).exam.ASKED
    return tuple(target for target in game.belief_targets if target.name in asked)


def sittings(name: str, preset: str, n_games: int, lexicon: str = "classic") -> Iterator[Sitting]:
    """The sittings of `n_games` held-out games of the game called `name`, game by game; of each viewer one after the
    other."""
    game = load_game(name)
    config = game.configure(preset=preset, lexicon=lexicon)
    for index in range(n_games):
        yield from game_sittings(index, game, config)


def game_sittings(index: int, game: Game, config: GameConfig) -> Iterator[Sitting]:
    """The sittings of held-out game `index`."""
    exam = lessons_of(game.name).exam
    seed = chance.key(HELD_OUT, "beliefs", index) >> 1
    log = exam.scripted_game(config, seed)
    facts = game.seats(config, log)
    viewers = {role for asked in exam.ASKED.values() for role in asked.roles}
    characters = {
        r.seat: exam.CHARACTERS.index(r.agent) if exam.CHARACTERS else -1
        for r in log
        if isinstance(r, Decision)
    }
    ladder, counts, read = observers(exam, config), exam.counts(config), 0
    found: dict[int, list[Sitting]] = {}
    for requests, wave, before in waves(game, config, seed, log):
        asked = [
            (request, decision)
            for request, decision in zip(requests, wave, strict=True)
            if decision.kind in game.belief_moments and facts[decision.seat].role in viewers
        ]
        if not asked:
            continue
        for record in log[read : len(before)]:
            counts.add(record)
            for observer in ladder.values():
                observer.update(record)
        read, left = len(before), gone(game, before)
        for request, decision in asked:
            viewer = request.seat
            known = _Known(game, exam, ladder, counts, facts, viewer)
            text = " ".join(document(game.text, before, viewer, config))
            others = [j for j in range(config.n_players) if j not in left and j != viewer]
            found.setdefault(viewer, []).append(
                Sitting(
                    observe(game, f"beliefs-{index}", config, seed, before, request),
                    decision,
                    tuple(known.inquiry(index, decision.day, j, characters.get(j, -1), text) for j in others),
                )
            )
    for own in found.values():
        yield from own


class _Known:
    """The observers' posteriors in one viewer's place."""

    def __init__(
        self,
        game: Game,
        exam: Exam,
        ladder: Mapping[str, SeatObserver],
        counts: Counts,
        facts: Sequence[SeatFacts],
        viewer: int,
    ) -> None:
        self.facts, self.counts, self.viewer = facts, counts, viewer
        self.targets = measured_targets(game)
        exact = ladder[HIGHEST]
        self.p = {
            kind: in_targets(observer.beliefs(viewer), observer.roles, self.targets)
            for kind, observer in ladder.items()
        }
        self.asked = [facts[viewer].role in exam.ASKED[target.name].roles for target in self.targets]
        self.expected = exam.second_order(exact, viewer)[:, viewer] if self.asked[0] else None
        self.characters = exam.p_characters(exact, viewer)

    def inquiry(self, game: int, day: int, subject: int, character: int, text: str) -> Inquiry:
        """The question about one subject. A target that is asked apart is asked only about those of whom the viewer
        does not know that the first one holds."""
        me, it = self.facts[self.viewer].name, self.facts[subject].name
        sure = float(next(iter(self.p.values()))[subject, 0]) > 1.0 - 1e-9
        return Inquiry(
            game=game,
            day=day,
            viewer=self.viewer,
            subject=subject,
            asks=tuple(
                asked and not (target.apart and sure)
                for asked, target in zip(self.asked, self.targets, strict=True)
            ),
            holds=tuple(self.facts[subject].role in target.roles for target in self.targets),
            character=character,
            p_characters=tuple(map(float, self.characters[subject])),
            p={kind: tuple(map(float, value[subject])) for kind, value in self.p.items()},
            expected=float("nan") if self.expected is None else float(self.expected[subject]),
            counts=self.counts.about(subject, self.viewer),
            text=text.replace(me, "ME").replace(it, "SUBJECT"),
        )


def in_targets(p: np.ndarray, roles: Sequence[str], targets: Sequence[BeliefTarget]) -> np.ndarray:
    """Probabilities `(..., n_roles)` of roles as those of targets `(..., n_targets)`."""
    return np.stack([p[..., target.places(roles)].sum(-1) for target in targets], axis=-1)


def stack(items: Sequence[Inquiry]) -> dict[str, np.ndarray]:
    """The inquiries' fields as arrays `(n_inquiries, ...)`; an observer's `(n_inquiries, n_targets)` under its own
    name."""
    names = (
        "game", "day", "viewer", "subject", "asks", "holds", "character", "p_characters", "expected", "counts"
    )  # fmt: skip
    columns = {name: np.array([getattr(item, name) for item in items]) for name in names}
    return columns | {kind: np.array([item.p[kind] for item in items]) for kind in items[0].p}
