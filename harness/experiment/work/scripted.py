"""Scripted players under arms that change settings: players state the distribution that they draw from, so no model
is asked.

This measures the utility of a covert channel: `settings.listen` makes a partner act on what it decodes,
`settings.guard` a doctor who has broken the code; continuations use paired seeds as for any other arm.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from games.base import Observation
from games.play import observe
from harness.config.files import with_agent_settings
from harness.experiment.arms import Arm
from harness.experiment.design import Design, ExperimentError
from harness.experiment.moments import Moment
from harness.experiment.scenes import Scenes

FLOOR = 1e-12
"""Probability of an option that a scripted player never takes."""


def check_scripted(design: Design) -> None:
    """Raises ExperimentError for a design that scripted players do not support."""
    others = sorted({arm.kind for arm in design.arms if arm.kind != "player"})
    if others or design.directions or design.reasoning is not None or design.outcomes.beliefs:
        raise ExperimentError(
            "no model sits in these games, so nobody can be asked again but scripted players under other settings: "
            f"arms of kind player and [strategic] need no model; found {', '.join(others) or 'a question for a model'}"
        )


class ScriptedMeasurer:
    """The decision probabilities of scripted players at one moment under every arm."""

    def __init__(self, scenes: Sequence[Scenes], arms: Sequence[Arm]) -> None:
        self.scenes, self.arms = scenes, arms
        self._players: dict[tuple[int, int, str, str], Any] = {}

    def rows(self, moment: Moment) -> list[dict[str, Any]]:
        """A row (`harness.experiment.folder.OUTCOMES`) for each arm. Raises ExperimentError."""
        scenes = self.scenes[moment.run]
        kept = scenes.game(moment.game_id)
        request, decision, before = kept.asked[moment.seq]
        observation = observe(kept.game, moment.game_id, kept.config, kept.seed, before, request)
        cell = scenes.run.manifest.cells.index(scenes.run.cell(moment.game_id))
        out = []
        for arm in self.arms:
            p = options_of(self._player(moment.run, cell, decision.agent, arm), observation)
            out.append(
                {
                    "moment": moment.id, "arm": arm.id, "options": list(request.options),
                    "logprobs": [math.log(max(p.get(option, 0.0), FLOOR)) for option in request.options],
                    "seats": [], "beliefs": [],
                }
            )  # fmt: skip
        return out

    def check_changes(self, moments: Sequence[Moment]) -> None:
        """Raises ExperimentError for an arm that changes no moment's distribution."""
        told = {arm.id: 0 for arm in self.arms if arm.kind == "player"}
        for moment in moments:
            rows = {row["arm"]: np.exp(row["logprobs"]) for row in self.rows(moment)}
            base = rows[self.arms[0].id]
            for name in told:
                told[name] += bool(np.abs(rows[name] - base).max() > 1e-9)
            if all(told.values()):
                return
        silent = [name for name, n in told.items() if not n]
        raise ExperimentError(
            f"arm {silent[0]} changes nothing: in none of {len(moments)} moments does its player choose otherwise; "
            "change the arm's settings or the query"
        )

    def _player(self, run: int, cell: int, agent: str, arm: Arm) -> Any:
        key = (run, cell, agent, arm.id)
        if key not in self._players:
            from harness.play.factory import make_agent

            config = self.scenes[run].schedule.configs[cell]
            made = with_agent_settings(config, agent, arm.settings, f"arm {arm.of}")
            self._players[key] = make_agent(agent, made, {})
        return self._players[key]


def options_of(player: Any, observation: Observation) -> dict[int, float]:
    """Option -> the probability that a scripted player takes it. Raises ExperimentError where it states none."""
    state = getattr(player, "distribution", None)
    found: dict[int, float] = {}
    for action, p in () if state is None else state(observation):
        if action.option is not None:
            found[action.option] = found.get(action.option, 0.0) + p
    if not found:
        raise ExperimentError(
            f"the player {player.name!r} states no probabilities of options at a {observation.request.kind}: take a "
            "scripted player that draws, and a kind of decision that is a choice"
        )
    return found
