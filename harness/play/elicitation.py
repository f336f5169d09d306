"""Beliefs elicited from a game's model players after its end: on forks of the contexts rebuilt from its log.

Nothing here can change a game. Its decisions are made, its log is whole, and contexts are functions of the log.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from agents.llm.beliefs import Belief, Believer, elicit
from games.base import Game
from games.play import observe, waves
from games.records import Record
from harness.config.sections import BeliefsSection


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
    for requests, wave, before in waves(game, config, seed, records):
        wanted = [
            (observe(game, game_id, config, seed, before, request), decision)
            for request, decision in zip(requests, wave, strict=True)
            if decision.kind in section.before
            and isinstance(agents[decision.seat], Believer)
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
