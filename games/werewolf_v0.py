"""# Werewolf

A hidden minority that knows itself (the werewolves) against a majority that does not, as a PettingZoo environment.

| Import             | `from games import werewolf_v0`                                                  |
|--------------------|----------------------------------------------------------------------------------|
| Environments       | `werewolf_v0.env()` (AEC), `werewolf_v0.raw_env()`, `werewolf_v0.parallel_env()` |
| Registered         | `pettingzoo.make("aec", "wolfscope/werewolf-v0")`, `"parallel"` likewise         |
| Agents             | `player_0` ... `player_<n-1>`, 4 to 20; all stay until the end of the game       |
| Action             | `Discrete(len(catalogue))`, or `Dict(target: Discrete, text: Text)`              |
| Observation        | `Dict(observation: Box, text: Text, action_mask or legal_targets: Box)`          |
| Manual control     | no                                                                               |

### Arguments

`preset` (a name of `games.werewolf.presets.NAMES`, default `classic-7`) and any field of `WerewolfConfig` in its place
(`werewolf_v0.env(preset="kaggle-8", ballot="simultaneous", lexicon="neutral")`). `actions`: `"discrete"` or `"text"`.
`render_mode`: `"human"` (prints new lines of the moderator's view) or `"ansi"` (`render()` returns all of them).
`max_cycles`: truncate after so many waves of answers (None: play to the end, which the rules guarantee).

### Play

Seats are asked in waves. In the AEC environment the seats of a wave act one after another; none sees another's answer
before the wave is complete, so both environments give the same events. `env.unwrapped.rules_text(agent)` is the rules
of the game in words; `env.unwrapped.table.log` is the log with all that is hidden.

### Observation

- `observation`: the feature vector of `games.werewolf.arrays.discrete.Features`, float32.
- `text`: the lines that the seat has read, and the beginning of its next line where it is asked something.
- `action_mask` (`actions="discrete"`) or `legal_targets` (`actions="text"`): int8, 1 where the act is an answer to what
  is asked now; the first alone for a seat that is not asked.

### Action

- `actions="discrete"`: an index of `games.werewolf.arrays.discrete.Catalogue`: nobody or silence, a seat,
a number, `over`, or
  one of the typed speech acts, which is put into a sentence.
- `actions="text"`: `target`, an index of the first part of that catalogue, and `text`, what is said where words are
  taken. Typed acts are read from the text. In a free discussion `target` 0 with a text speaks, without one skips.

An action that answers nothing that was asked never raises: the rules' fallback takes its place (silence, abstention
where allowed, else a legal option drawn from the seat's own stream), the decision records it, and
`infos[agent]["fallbacks"]` counts it.

### Rewards

At the end +1 for every seat that wins, living or dead, and -1 for every other; 0 for all where nobody wins.

### Seeding

`reset(seed=s)` plays the game of seed `s`: the same log as `games.play.play(GAME, config, s)` for the same answers.
Without a seed the next games follow from the last one given, or from the system's entropy. No global random state is
used.

### Version history

* v0: initial version
"""

from __future__ import annotations

import functools
import sys
from typing import Any, Literal

import numpy as np
from gymnasium import spaces
from pettingzoo import AECEnv, ParallelEnv, register
from pettingzoo.env_registry import registration
from pettingzoo.utils import wrappers

from games.printable import printable
from games.records import Action, Reply, Request, seat_id
from games.table import Table
from games.text_space import MAX_OBSERVED_CHARS, MAX_SPOKEN_CHARS, AnyText
from games.werewolf import GAME
from games.werewolf.arrays.discrete import Catalogue, Features
from games.werewolf.discussion import SKIP, SPEAK
from games.werewolf.presets import configure
from games.werewolf.words.acts import read
from games.werewolf.words.lines import words_of, writable
from games.werewolf.words.rules_text import rules_text

Form = Literal["discrete", "text"]
RenderMode = Literal["human", "ansi"]

METADATA: dict[str, Any] = {
    "name": "werewolf_v0",
    "render_modes": ["human", "ansi"],
    "is_parallelizable": True,
    "render_fps": 4,
}


class _Seats:
    """What both environments share: spaces, seeds, one table, and one seat's observation."""

    metadata = METADATA
    table: Table

    def __init__(
        self,
        preset: str = "classic-7",
        render_mode: RenderMode | None = None,
        actions: Form = "discrete",
        max_cycles: int | None = None,
        **settings: Any,
    ) -> None:
        if render_mode not in (None, *METADATA["render_modes"]):
            raise ValueError(f"render_mode is {render_mode!r}; use 'human', 'ansi' or None")
        if actions not in ("discrete", "text"):
            raise ValueError(f"actions is {actions!r}; use 'discrete' or 'text'")
        self.config = configure(preset, **settings)
        self.render_mode = render_mode
        self.actions = actions
        self.max_cycles = max_cycles
        self.catalogue = Catalogue(self.config)
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
        return spaces.Dict(
            {
                "observation": spaces.Box(0.0, Features.TOP, (Features.size(self.config),), np.float32),
                "text": AnyText(MAX_OBSERVED_CHARS),
                mask: spaces.Box(0, 1, (n,), np.int8),
            }
        )

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
        self.table = Table(GAME, self.config, int(seed), self.config.n_players)  # numpy's ints are seeds, too
        self._words = words_of(self.config, self.table.log)
        self._features = [Features(self.config, i) for i in range(self.config.n_players)]
        self._counted = [0] * self.config.n_players
        self._n_shown = 0
        self._waves = 0
        self.agents = self.possible_agents[:]

    def _observe(self, seat: int) -> dict[str, Any]:
        request = next((r for r in self.table.waiting if r.seat == seat), None)
        views = self.table.views
        seen = views.records(seat)
        self._features[seat].add(seen[self._counted[seat] :])
        self._counted[seat] = len(seen)
        text = "\n".join(views.lines(seat)) if request is None else views.text(request)
        mask, n = self._mask
        return {
            "observation": self._features[seat].vector(request),
            "text": text,
            mask: self.catalogue.mask(request, n),
        }

    def _info(self, seat: int) -> dict[str, Any]:
        asked = next((r.kind for r in self.table.waiting if r.seat == seat), None)
        return {"fallbacks": self.table.fallbacks[seat], "asked": asked}

    def _reply(self, request: Request, action: Any) -> Reply | None:
        """The action as a reply; None where it answers nothing that was asked."""
        if self.actions == "discrete":
            acted = self.catalogue.action(request, int(action), self._words)
        else:
            acted = self._spoken(request, int(action["target"]), str(action["text"]))
        return None if acted is None else Reply(acted)

    def _spoken(self, request: Request, target: int, text: str) -> Action | None:
        if not request.speaks:
            return self.catalogue.action(request, target, self._words)
        if not writable(text):
            return None
        acts = read(text, self._words.names, self._words.lex)
        if not request.options:
            return Action(text=text, acts=acts)
        chosen = self.catalogue.action(request, target, self._words)
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
        role = None if agent is None else GAME.seats(self.config, self.table.log)[self.seat_of[agent]].role
        return rules_text(self.config, role)

    def render(self) -> str | None:
        """The moderator's view: all of it as a string for `ansi`, the new lines printed for `human`."""
        if self.render_mode is None:
            return None
        if self.render_mode == "ansi":
            return "\n".join(GAME.transcript(self.table.log, None, self.config))
        lines = GAME.transcript(self.table.log, None, self.config)
        for line in lines[self._n_shown :]:
            sys.stdout.write(printable(line) + "\n")
        sys.stdout.flush()
        self._n_shown = len(lines)
        return None

    def close(self) -> None:
        """Nothing is held open."""


class raw_env(_Seats, AECEnv):
    """The AEC environment without wrappers. Arguments as in the module's card."""

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


class parallel_env(_Seats, ParallelEnv):
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


def env(**kwargs: Any) -> AECEnv:
    """The AEC environment, order of calls checked. Arguments as in the module's card."""
    return wrappers.OrderEnforcingWrapper(raw_env(**kwargs))


for _kind, _registry in (("aec", registration.aec_registry), ("parallel", registration.parallel_registry)):
    if "wolfscope/werewolf-v0" not in _registry:
        register(
            _kind,
            "wolfscope/werewolf-v0",
            entry_point=f"games.werewolf_v0:{'env' if _kind == 'aec' else 'parallel_env'}",
        )
