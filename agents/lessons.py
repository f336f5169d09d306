"""A game's training material for a small model: its words, and its games as texts with targets.

The harness trains on `View`s and does not depend on any game. A game's `Players` name its lessons
(`agents.base.Players.lessons`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib import import_module
from typing import Any, Protocol, cast

import msgspec
import numpy as np

from agents.exam import Exam
from agents.llm.transcript_context import document, document_lengths
from agents.policies import players_of
from games import chance, load_game
from games.base import Game, GameError, Observation
from games.play import Answer, play
from games.records import Action, Decision, Record, Reply
from games.seat_view.views import Seen


class PointQuestions(msgspec.Struct, frozen=True):
    """Questions asked at one point of a view, each independently of the others."""

    n_lines: int
    """Number of lines of the view before it."""
    viewer: str
    """Name of the seat that is asked; every question begins with `NAME believes`."""
    asked: list[tuple[str, dict[str, float]]]
    """(rest of the question, the probability of each answer; none where it is only read)."""


class Turn(msgspec.Struct, frozen=True):
    """One of the seat's own lines."""

    line: int
    """Its index among the view's lines."""
    given: str
    """The beginning of the line, which the seat was given."""
    answers: list[tuple[str, float]]
    """(rest of the line, probability): the player's distribution over its line, given what it knew."""
    advantage_weights: dict[str, dict[str, float]]
    """Word -> following word in the sentence -> advantage weight of that choice; 1 where it is absent."""
    chooses: bool = False
    """Whether the first word is a choice although no list of options precedes it."""


class View(msgspec.Struct, frozen=True):
    """What one seat reads and writes in a game, and the questions in between."""

    lines: list[str]
    forks: list[PointQuestions]
    name: str = ""
    """The seat's name; empty for the moderator."""
    names: tuple[str, ...] = ()
    """Names of all seats."""
    turns: list[Turn] = []
    """Soft targets of its own lines; empty where the actual lines are the targets."""


class Lessons(Protocol):
    """What a small model of one game is trained on, and measured by; a module."""

    exam: Exam
    """What it is measured by; a module."""

    def make_tokenizer(self, lexicons: Sequence[str]) -> Any:
        """The word-level tokenizer of the game's language under the lexicons of these names."""
        ...

    def views(self, index: int, seed: int, progress: float, lexicon: str, belief_share: float) -> list[View]:
        """The training texts of game `index`, a pure function of its arguments.

        progress: the share of the curriculum's games done, above 1 beyond them; belief_share: the share of the seats'
        views that have questions.
        """
        ...

    def exact_beliefs(self, log: Sequence[Record], config: Any) -> tuple[tuple[str, ...], Any]:
        """(roles, the exact observer's probabilities `(n_viewers, n_seats, n_roles)` for every viewer after the whole
        log), under the prior that the lessons' games draw their players from."""
        ...


Views = Callable[[int, int, float, str, float], list[View]]
"""`Lessons.views`."""


def lessons_of(game: str) -> Lessons:
    """What a small model of the game called `game` is trained on. Raises GameError where it gives none."""
    path = players_of(load_game(game)).lessons()
    if not path:
        raise GameError(f"the game {game!r} has no lessons that a small model could be trained on")
    return cast(Lessons, import_module(path))


def stream(
    views: Views, seed: int, lexicon: str, belief_share: float, games: int, start: int = 0, step: int = 1
) -> Iterator[tuple[int, list[View]]]:
    """(index, views) of every `step`th game from `start` on; `games` is the number that the curriculum is laid over."""
    index = start
    while True:
        yield index, views(index, seed, index / games, lexicon, belief_share)
        index += step


Distribution = list[tuple[Action, float]]


def played(
    game: Game,
    config: Any,
    seed: int,
    seats: Sequence[Any],
    draw: Callable[[Distribution, Observation], Action],
) -> tuple[list[Record], list[list[Distribution]]]:
    """The log of a game between scripted players, one a seat, and for each seat what its player might have done at each
    of its decisions. `draw` takes one of the actions by the observation's own key."""
    loop, views = play(game, config, seed), Seen(game, config, len(seats))
    log: list[Record] = []
    options: list[list[Distribution]] = [[] for _ in seats]
    step = next(loop)
    while True:
        log += step.new
        views.add(step.new)
        if not step.requests:
            return log, options
        answers = []
        for request in step.requests:
            observation = views.observation("", seed, request)
            player = seats[request.seat]
            options[request.seat].append(player.distribution(observation))
            answers.append(Answer(Reply(draw(options[request.seat][-1], observation)), player.name))
        step = loop.send(answers)


def moderators_view(
    game: Game,
    log: list[Record],
    config: Any,
    terms: Mapping[str, str],
    key: int,
    points: Sequence[int] | None,
) -> View:
    """All that the moderator reads, with questions at some points of the log about the roles of all seats, by the name
    of one of them; or, without points, only the opening, in which every role is stated, with the questions at its end.

    terms: the words of the roles. key: of the draws of who asks.
    """
    facts, lines = game.seats(config, log), document(game.text, log, None, config)
    first = 1 + config.n_players
    before = document_lengths(game.text, log, None, config)
    forks = []
    for n_lines in [first] if points is None else [before[point] for point in points]:
        viewer = chance.key(key, "viewer", n_lines) % config.n_players
        asked = [(fact.name, {terms[fact.role]: 1.0}) for i, fact in enumerate(facts) if i != viewer]
        forks.append(PointQuestions(n_lines, facts[viewer].name, asked))
    return View(lines[:first] if points is None else lines, forks)


def answers_of(
    text: Any,
    decision: Decision,
    actions: Distribution,
    words: Any,
    in_sentences: Callable[[Action, Any], Action],
) -> list[tuple[str, float]]:
    """`Turn.answers` of a decision: what a player might have done there, written. text: the game's
    (`games.base.Game.text`), its `words` of the running game; in_sentences: gives a speech its sentences."""
    answers: dict[str, float] = {}
    for action, p in actions:
        if p > 0.0:
            line = text.answer(decision, in_sentences(action, words), words)
            answers[line] = answers.get(line, 0.0) + p
    return list(answers.items())


def decisions(log: Sequence[Record], seat: int) -> list[tuple[int, Decision]]:
    """The seat's decisions and where in the log they are."""
    return [(i, r) for i, r in enumerate(log) if isinstance(r, Decision) and r.seat == seat]


def opens(log: Sequence[Record], i: int, kind: str) -> bool:
    """Whether record `i` is the first of consecutive decisions of a kind."""
    record, before = log[i], log[i - 1] if i else None
    return (
        isinstance(record, Decision)
        and record.kind == kind
        and not (isinstance(before, Decision) and before.kind == kind)
    )


def in_words(p: np.ndarray, roles: Sequence[str], terms: Mapping[str, str]) -> dict[str, float]:
    """Probabilities `(n_roles,)` by the role's word; impossible roles are left out."""
    p = np.maximum(p, 0.0) / np.maximum(p, 0.0).sum()
    return {terms[role]: float(x) for role, x in zip(roles, p, strict=True) if x > 0.0}
