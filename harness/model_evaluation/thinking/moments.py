"""Held-out ballots before which a model may think: each voter's evidence, and the beliefs of ideal observers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from agents.exam import HELD_OUT, observers
from agents.lessons import lessons_of
from agents.llm.beliefs import gone
from agents.llm.written.line import Line
from agents.werewolf import GAME
from agents.werewolf.lessons.thinking.evidence import follow, line_at
from agents.werewolf.observer import RUNGS
from games import chance, load_game
from games.base import Observation
from games.play import observe, waves
from games.records import Decision
from harness.model_evaluation.held_out import in_targets

NEAR = 0.1
"""A rung's observer answers a question where it and all above it are this near to the exact probability."""


class Moment(msgspec.Struct, frozen=True):
    """One villager before one ballot."""

    id: int
    game: int
    day: int
    viewer: int
    subjects: tuple[int, ...]
    """Living others."""
    dead: tuple[int, ...]
    """Others who left the game."""
    names: tuple[str, ...]
    exact: tuple[float, ...]
    """The exact observer's P(werewolf) of each of `subjects`, in the viewer's place."""
    rungs: tuple[str, ...]
    """The lowest rung of the evidence ladder that answers for each of `subjects` (`NEAR`)."""
    rung: str
    """The lowest rung whose observer, and all above it, would vote well: each loses less than `NEAR` of the best
    vote's chance to hit a werewolf, under the exact posterior."""
    line: Line
    """The line that the exact observer would write, in the order of `subjects`."""
    observation: Observation


def moments(preset: str, n_games: int, lexicon: str = "classic") -> Iterator[Moment]:
    """Every ballot of every living plain villager in `n_games` held-out games of the scripted players."""
    game = load_game(GAME)
    config = game.configure(preset=preset, lexicon=lexicon)
    number = 0
    for index in range(n_games):
        for moment in game_moments(index, game, config):
            yield msgspec.structs.replace(moment, id=number)
            number += 1


def game_moments(index: int, game: Any, config: Any) -> Iterator[Moment]:
    """The moments of held-out game `index`."""
    seed = chance.key(HELD_OUT, "thoughts", index) >> 1
    exam, target = lessons_of(game.name).exam, game.belief_targets[0]
    log = exam.scripted_game(config, seed)
    facts = game.seats(config, log)
    names = tuple(fact.name for fact in facts)
    asked = [
        (request, before)
        for requests, wave, before in waves(game, config, seed, log)
        for request, decision in zip(requests, wave, strict=True)
        if isinstance(decision, Decision)
        and decision.kind in game.belief_moments
        and facts[decision.seat].role in exam.ASKED[target.name].roles
    ]
    followed = follow(log, config, {len(before) for _, before in asked}, names)
    ladder, read = observers(exam, config), 0
    for request, before in asked:
        for record in log[read : len(before)]:
            for observer in ladder.values():
                observer.update(record)
        read = max(read, len(before))
        viewer, left = request.seat, gone(game, before)
        subjects = tuple(j for j in range(config.n_players) if j not in left and j != viewer)
        p = {
            name: in_targets(observer.beliefs(viewer), observer.roles, [target])[list(subjects), 0]
            for name, observer in ladder.items()
        }
        kinds = (*RUNGS[:-1], "exact")
        near = [[abs(float(p[kind][i] - q)) <= NEAR for kind in kinds] for i, q in enumerate(p["exact"])]
        votes = [float(p["exact"].max() - p["exact"][p[kind].argmax()]) <= NEAR for kind in kinds]
        yield Moment(
            id=0,
            game=index,
            day=request.day,
            viewer=viewer,
            subjects=subjects,
            dead=tuple(sorted(left)),
            names=names,
            exact=tuple(min(1.0, max(0.0, float(q))) for q in p["exact"]),
            rungs=tuple(map(_lowest, near)),
            rung=_lowest(votes),
            line=line_at(followed, log, len(before), viewer, subjects, names),
            observation=observe(game, f"thoughts-{index}", config, seed, before, request),
        )


def _lowest(good: Sequence[bool]) -> str:
    """The lowest rung that answers with all above it; `good`: whether each does, the highest always."""
    return RUNGS[next(r for r in range(len(RUNGS)) if all(good[r:]))]
