"""A game as PettingZoo environments, sequential and parallel: thin adapters over the same rules.

A game's own module (`games.werewolf_v0`, `games.avalon_v0`) names its rules, its catalogue of acts and its features,
and carries the environment's card.
"""

from __future__ import annotations

import functools
import operator
import sys
from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import numpy as np
from gymnasium import spaces
from pettingzoo import AECEnv, ParallelEnv, register
from pettingzoo.env_registry import registration

from games.engine.discussion import SKIP, SPEAK
from games.language.quoting import writable
from games.language.space import MAX_OBSERVED_CHARS, MAX_SPOKEN_CHARS, AnyText
from games.printable import printable
from games.records import Action, Reply, Request, seat_id
from games.table import Table

Form = Literal["discrete", "text"]
RenderMode = Literal["human", "ansi"]
RENDER_MODES = ("human", "ansi")


def metadata(name: str) -> dict[str, Any]:
    """The metadata of an environment called `name`."""
    return {
        "name": name,
        "render_modes": list(RENDER_MODES),
        "is_parallelizable": True,
        "render_fps": 4,
    }


def registered(game: str) -> None:
    """Enter `wolfscope/<game>-v0` into PettingZoo's registries, both forms."""
    for kind, registry in (("aec", registration.aec_registry), ("parallel", registration.parallel_registry)):
        if f"wolfscope/{game}-v0" not in registry:
            entry = "env" if kind == "aec" else "parallel_env"
            register(kind, f"wolfscope/{game}-v0", entry_point=f"games.{game}_v0:{entry}")


class Seats:
    """The common part of both environments: spaces, seeds, one table, and one seat's observation."""

    game: ClassVar[Any]
    """The rules (`games.base.Game`)."""
    catalogue_of: ClassVar[Any]
    """Makes the finite catalogue of acts of a configuration."""
    features_of: ClassVar[Any]
    """Makes the feature vector of (configuration, seat)."""
    paced: ClassVar[bool] = False
    """Whether events are shown step by step, as in an environment with its own stages."""
    table: Table

    def __init__(
        self,
        preset: str | None = None,
        render_mode: RenderMode | None = None,
        actions: Form = "discrete",
        max_cycles: int | None = None,
        text: bool = True,
        **settings: Any,
    ) -> None:
        if render_mode not in (None, *RENDER_MODES):
            raise ValueError(f"render_mode is {render_mode!r}; use 'human', 'ansi' or None")
        if actions not in ("discrete", "text"):
            raise ValueError(f"actions is {actions!r}; use 'discrete' or 'text'")
        if not text and actions == "text":
            raise ValueError("actions = 'text' takes words: leave text = True, or use actions = 'discrete'")
        if preset is not None:
            settings = {"preset": preset} | settings
        self.config = self.game.configure(**settings)
        self.text = text
        self.render_mode = render_mode
        self.actions = actions
        self.max_cycles = max_cycles
        self.catalogue = self.catalogue_of(self.config)
        self.possible_agents = [seat_id(i) for i in range(self.config.n_players)]
        self.agents: list[str] = []
        self.seat_of = {agent: i for i, agent in enumerate(self.possible_agents)}
        self._rng = np.random.default_rng()
        self._n_shown = 0

    @functools.cached_property
    def observation_spaces(self) -> dict[str, spaces.Space]:
        """The observation space of each agent."""
        return {agent: self._observation_space() for agent in self.possible_agents}

    @functools.cached_property
    def action_spaces(self) -> dict[str, spaces.Space]:
        """The action space of each agent."""
        if self.actions == "discrete":
            return {agent: spaces.Discrete(len(self.catalogue)) for agent in self.possible_agents}
        return {
            agent: spaces.Dict(
                {"target": spaces.Discrete(self.catalogue.n_targets), "text": AnyText(MAX_SPOKEN_CHARS)}
            )
            for agent in self.possible_agents
        }

    def observation_space(self, agent: str) -> spaces.Space:
        """The agent's observation space, the same object each time."""
        return self.observation_spaces[agent]

    def action_space(self, agent: str) -> spaces.Space:
        """The agent's action space, the same object each time."""
        return self.action_spaces[agent]

    def _observation_space(self) -> spaces.Dict:
        mask, n = self._mask
        parts: dict[str, spaces.Space] = {
            "observation": spaces.Box(
                0.0, self.features_of.TOP, (self.features_of.size(self.config),), np.float32
            ),
            mask: spaces.Box(0, 1, (n,), np.int8),
        }
        if self.text:
            parts["text"] = AnyText(MAX_OBSERVED_CHARS)
        return spaces.Dict(parts)

    @property
    def _mask(self) -> tuple[str, int]:
        if self.actions == "discrete":
            return "action_mask", len(self.catalogue)
        return "legal_targets", self.catalogue.n_targets

    def _begin(self, seed: int | None) -> None:
        if seed is not None:
            self._rng = np.random.default_rng(seed)
        else:
            seed = int(self._rng.integers(2**62))
        seed = int(seed)  # numpy's ints are seeds, too
        self.table = Table(self.game, self.config, seed, self.config.n_players, self.paced)
        self._words = self.game.text.words_of(self.config, self.table.log)
        self._features = [self.features_of(self.config, i) for i in range(self.config.n_players)]
        self._counted = [0] * self.config.n_players
        self._n_shown = 0
        self._waves = 0
        self.agents = self.possible_agents[:]

    @property
    def waiting(self) -> list[Request]:
        """The questions that are open now."""
        return self.table.waiting

    def _observe(self, seat: int) -> dict[str, Any]:
        request = next((r for r in self.waiting if r.seat == seat), None)
        views = self.table.views
        seen = views.records(seat)
        self._features[seat].add(seen[self._counted[seat] :])
        self._counted[seat] = len(seen)
        mask, n = self._mask
        seat_sees: dict[str, Any] = {
            "observation": self._features[seat].vector(request),
            mask: self.catalogue.mask(request, n),
        }
        if self.text:
            seat_sees["text"] = "\n".join(views.lines(seat)) if request is None else views.text(request)
        return seat_sees

    def _info(self, seat: int) -> dict[str, Any]:
        info: dict[str, Any] = {"fallbacks": self.table.fallbacks[seat]}
        if self.text:  # a word, which libraries with plain spaces cannot hold; the features contain it too
            info["asked"] = next((r.kind for r in self.waiting if r.seat == seat), None)
        return info

    def _reply(self, request: Request, action: Any) -> Reply | None:
        """The action as a reply; None where it answers nothing that was asked, whatever it is."""
        target, text = self._parts(action)
        if target is None:
            return None
        acted = self._acted(request, target) if text is None else self._spoken(request, target, text)
        return None if acted is None else Reply(acted)

    def _parts(self, action: Any) -> tuple[int | None, str | None]:
        """The act's index and the words of an action; no index where it is no action of the space."""
        text = None
        if self.actions == "text":
            if not isinstance(action, Mapping) or not isinstance(action.get("text"), str):
                return None, None
            action, text = action.get("target"), action["text"]
        try:
            index = operator.index(
                action.item() if isinstance(action, np.ndarray) and action.size == 1 else action
            )
        except TypeError:
            return None, None
        n = len(self.catalogue) if text is None else self.catalogue.n_targets
        return (index if 0 <= index < n else None), text

    def _acted(self, request: Request, index: int) -> Action | None:
        return self.catalogue.action(request, index, self._words)

    def _spoken(self, request: Request, target: int, text: str) -> Action | None:
        if not request.speaks:
            return self._acted(request, target)
        if not writable(text):
            return None
        acts = self.game.text.read_acts(text, self._words)
        if not request.options:
            return Action(text=text, acts=acts)
        chosen = self._acted(request, target)
        if chosen is None or request.kind != "speech":
            return None if chosen is None else Action(chosen.option, text, acts)
        return Action(SPEAK, text, acts) if chosen.option == SKIP and text.strip() else chosen

    def _rewards(self) -> dict[str, float]:
        outcome = self.table.outcome
        if outcome is None or not outcome.winners:
            return dict.fromkeys(self.agents, 0.0)
        return {agent: 1.0 if self.seat_of[agent] in outcome.winners else -1.0 for agent in self.agents}

    def _ends(self) -> tuple[bool, bool]:
        """Whether the game is over, and whether it is cut short."""
        over = self.table.outcome is not None
        return over, not over and self.max_cycles is not None and self._waves >= self.max_cycles

    def rules_text(self, agent: str | None = None) -> str:
        """The rules of the running configuration in words, as a seat reads them (with its own part for an agent)."""
        role = (
            None if agent is None else self.game.seats(self.config, self.table.log)[self.seat_of[agent]].role
        )
        return str(self.game.rules_text(self.config, role))

    def render(self) -> str | None:
        """The moderator's view: all of it as a string for `ansi`, the new lines printed for `human`."""
        if self.render_mode is None:
            return None
        if self.render_mode == "ansi":
            return "\n".join(self.game.transcript(self.table.log, None, self.config))
        lines = self.game.transcript(self.table.log, None, self.config)
        for line in lines[self._n_shown :]:
            sys.stdout.write(printable(line) + "\n")
        sys.stdout.flush()
        self._n_shown = len(lines)
        return None

    def close(self) -> None:
        """Nothing is held open."""


class TurnBased(Seats, AECEnv):
    """The AEC environment without wrappers: the seats of a wave answer one after another."""

    def reset(self, seed: int | None = None, options: dict | None = None) -> None:
        """Begin the game of `seed`."""
        self._begin(seed)
        self.rewards = dict.fromkeys(self.agents, 0.0)
        self._cumulative_rewards = dict.fromkeys(self.agents, 0.0)
        self.terminations = dict.fromkeys(self.agents, False)
        self.truncations = dict.fromkeys(self.agents, False)
        self.infos = {agent: self._info(self.seat_of[agent]) for agent in self.agents}
        self.agent_selection = seat_id(self.table.waiting[0].seat)
        if self.render_mode == "human":
            self.render()

    def observe(self, agent: str) -> dict[str, Any]:
        """What the agent sees now."""
        return self._observe(self.seat_of[agent])

    def step(self, action: Any) -> None:
        """Answer for the agent whose turn it is."""
        agent = self.agent_selection
        if self.terminations[agent] or self.truncations[agent]:
            self._was_dead_step(action)
            return
        self._cumulative_rewards[agent] = 0.0
        request = self.table.waiting[0]
        self._waves += len(self.table.waiting) == 1
        self.table.answer(request, self._reply(request, action))
        over, cut = self._ends()
        self.rewards = self._rewards()
        if over or cut:
            self.terminations = dict.fromkeys(self.agents, over)
            self.truncations = dict.fromkeys(self.agents, cut)
            self.agent_selection = self.agents[0]
        else:
            self.agent_selection = seat_id(self.table.waiting[0].seat)
        self.infos = {a: self._info(self.seat_of[a]) for a in self.agents}
        self._accumulate_rewards()
        if self.render_mode == "human":
            self.render()


class Simultaneous(Seats, ParallelEnv):
    """The parallel environment: one wave a step. Actions of agents that are not asked are passed over."""

    def reset(
        self, seed: int | None = None, options: dict | None = None
    ) -> tuple[dict[str, Any], dict[str, dict]]:
        """Begin the game of `seed`."""
        self._begin(seed)
        if self.render_mode == "human":
            self.render()
        return self._seen()

    def step(self, actions: dict[str, Any]) -> tuple[dict, dict, dict, dict, dict]:
        """Answer all open requests; a seat that is asked and has no action is answered by the fallback."""
        for request in self.table.waiting:
            agent = seat_id(request.seat)
            reply = self._reply(request, actions[agent]) if agent in actions else None
            self.table.answer(request, reply, "illegal" if agent in actions else "missing")
        self._waves += 1
        over, cut = self._ends()
        observations, infos = self._seen()
        rewards = self._rewards()
        terminations = dict.fromkeys(self.agents, over)
        truncations = dict.fromkeys(self.agents, cut)
        if over or cut:
            self.agents = []
        if self.render_mode == "human":
            self.render()
        return observations, rewards, terminations, truncations, infos

    def _seen(self) -> tuple[dict[str, Any], dict[str, dict]]:
        seats = [(agent, self.seat_of[agent]) for agent in self.agents]
        return {a: self._observe(i) for a, i in seats}, {a: self._info(i) for a, i in seats}
