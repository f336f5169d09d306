"""The learner's opponents: scripted characters, frozen models, its own earlier states."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from agents.base import Agent
from agents.llm.transcript import TranscriptPlayer
from agents.policies import make_policy
from games import load_game
from harness.training.selfplay.learner import load
from harness.training.selfplay.lockstep import LockStepBackend, Planned
from harness.training.selfplay.sampler import Sampler
from harness.training.selfplay.settings import OpponentSection, SelfPlayConfig

LEARNER = "learner"
PARTS = 2
"""Parts in which evaluations play their games, as trainings do by default."""


def player(name: str, sampler: Sampler) -> TranscriptPlayer:
    """The model as a player with a tournament's default settings."""
    return TranscriptPlayer(name, LockStepBackend(sampler), sampler.tokenizer)


def sampler_of(hooked: Any, batch_tokens: int = 4096) -> Sampler:
    """A sampler of a loaded model (`agents.hooks.model.HookedModel`)."""
    return Sampler(
        hooked.model, hooked.name, tokenizer=hooked.tokenizer, eos=hooked.eos, batch_tokens=batch_tokens
    )


def casts(
    models: Mapping[str, Any], others: Callable[[], Mapping[str, Agent]] = dict
) -> list[dict[str, Agent]]:
    """The players of `PARTS` parts of the games of an evaluation (`lockstep.play_side_by_side`).

    models: loaded ones by their players' names, which every part samples by itself; others: makes a part's further
    players, which may remember what they have worked out.
    """
    return [
        {name: player(name, sampler_of(model)) for name, model in models.items()} | dict(others())
        for _ in range(PARTS)
    ]


class Pool:
    """The players of one part of the games of a training by outcome, created on demand."""

    def __init__(self, config: SelfPlayConfig, learner: Sampler, models: dict[str, Any]) -> None:
        """models: the loaded opponents by name, which the pools of all parts share."""
        self.config = config
        self._learner, self._models = learner, models
        self.players: dict[str, Agent] = {}
        self.renew()

    def renew(self) -> None:
        """After a change of the learner's weights: a new learner player, named after them, with an empty cache."""
        self._learner.forget()
        self.players[LEARNER] = player(LEARNER, self._learner)

    def ready(self, planned: Sequence[Planned], checkpoints: Mapping[str, Path]) -> dict[str, Agent]:
        """The players of some games by name. checkpoints: name -> folder of the learner's earlier states."""
        for name in sorted({name for one in planned for name in one.agents}):
            if name in self.players:
                continue
            if name in checkpoints:
                self.players[name] = self._model(name, checkpoints[name])
            elif name in self.config.opponents.frozen:
                self.players[name] = self._model(name, name)
            else:
                self.players[name] = make_policy(load_game(self.config.game), name, name, {})
        return self.players

    def _model(self, name: str, folder: str | Path) -> TranscriptPlayer:
        if name not in self._models:
            self._models[name] = load(folder, self.config.dtype, self.config.device)
        return player(name, sampler_of(self._models[name]))


def draw_opponents(
    opponents: OpponentSection, past: Sequence[str], n_seats: int, rng: np.random.Generator
) -> tuple[str, tuple[str, ...]]:
    """(the opponents' name, the player of each of `n_seats` seats). past: names of earlier states."""
    kinds = {"scripted": opponents.scripted, **opponents.frozen}
    if past:
        kinds["past"] = opponents.past
    elif not sum(kinds.values()) > 0:
        kinds["scripted"] = 1.0
    else:
        kinds["scripted"] += opponents.past
    kind = _drawn(kinds, rng)
    if kind == "past":
        return kind, (past[int(rng.integers(len(past)))],) * n_seats
    if kind != "scripted":
        return kind, (kind,) * n_seats
    return kind, tuple(_drawn(opponents.characters, rng) for _ in range(n_seats))


def _drawn(weights: Mapping[str, float], rng: np.random.Generator) -> str:
    names = list(weights)
    p = np.array([weights[name] for name in names], dtype=float)
    return names[int(rng.choice(len(names), p=p / p.sum()))]


def plan(config: SelfPlayConfig, rules: Any, iteration: int, past: Sequence[str]) -> list[Planned]:
    """The games of an iteration: a function of (seed, iteration, names of earlier states)."""
    game = load_game(config.game)
    side = config.learner(iteration)
    out: list[Planned] = []
    for deal in range(config.rollouts.deals):
        rng = np.random.default_rng((config.seed, iteration, deal))
        seed = int(rng.integers(2**62))
        _, events = game.start(rules, seed)
        factions = [fact.faction for fact in game.seats(rules, events)]
        n_others = sum(faction != side for faction in factions)
        kind, cast = draw_opponents(config.opponents, past, n_others, rng)
        others = iter(cast)
        agents = tuple(LEARNER if faction == side else next(others) for faction in factions)
        for k in range(config.rollouts.group):
            players_seed = seed if k == 0 else int(rng.integers(2**62))
            name = f"learn-{iteration}-{deal}-{k}"
            out.append(
                Planned(name, rules, seed, players_seed, agents, deal, f"{side} against {kind}", config.game)
            )
    return out
