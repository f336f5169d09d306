"""Beliefs asked of a game's model players once it has ended: on forks of the contexts that its log gives back.

Nothing here can change a game. Its decisions are made, its log is whole, and contexts are functions of the log.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from typing import Any

from agents.beliefs import Belief, elicit
from games.base import Game, Observation
from games.play import Answer, observe, play
from games.records import Decision, Record, Reply
from harness.config import BeliefsSection


def asked_points(
    game: Game, game_id: str, config: Any, seed: int, records: Sequence[Record]
) -> Iterator[list[tuple[Observation, Decision]]]:
    """For every whole wave of a log: the observation before each decision, and the decision (log numbers)."""
    steps = play(game, config, seed)
    step = next(steps)
    at = 0
    while step.requests:
        at += len(step.new)
        wave = [r for r in records[at : at + len(step.requests)] if isinstance(r, Decision)]
        if len(wave) < len(step.requests):
            return
        yield [
            (observe(game, game_id, config, seed, records[:at], request), decision)
            for request, decision in zip(step.requests, wave, strict=True)
        ]
        # Without traces: theirs hold the log's numbers, an agent's would hold those of its view.
        step = steps.send([Answer(Reply(d.action, d.fallback), d.agent) for d in wave])


async def elicit_game(
    section: BeliefsSection,
    game: Game,
    game_id: str,
    config: Any,
    seed: int,
    records: Sequence[Record],
    agents: Sequence[Any],
) -> tuple[Belief, ...]:
    """The beliefs before all decisions of the wanted kinds. `agents[seat]` has the seat."""
    found: list[Belief] = []
    for wave in asked_points(game, game_id, config, seed, records):
        wanted = [
            (observation, decision)
            for observation, decision in wave
            if decision.kind in section.before
            and hasattr(agents[decision.seat], "belief_questions")
            and (section.agents is None or decision.agent in section.agents)
        ]
        for beliefs in await asyncio.gather(
            *(
                elicit(
                    agents[decision.seat],
                    observation,
                    decision.seq,
                    second_order=section.second_order,
                    orders=section.orders,
                )
                for observation, decision in wanted
            )
        ):
            found += beliefs
    return tuple(found)
