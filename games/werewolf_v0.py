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
`text`: False leaves the text out of the observation, so that all spaces are boxes and numbers (`docs/environments.md`).
`render_mode`: `"human"` (prints new lines of the moderator's view) or `"ansi"` (`render()` returns all of them).
`max_cycles`: truncate after so many waves of answers (None: play to the end, which the rules guarantee).

### Play

Seats are asked in waves. In the AEC environment the seats of a wave act one after another; none sees another's answer
before the wave is complete, so both environments give the same events. In the parallel environment each night, and the
werewolves' channel by day, takes a number of steps that the configuration alone decides; in some of them nobody is
asked. In the AEC environment an agent that watches whose turn it is learns who acts: show a policy its own turns alone.
`env.unwrapped.rules_text(agent)` is the rules of the game in words; `env.unwrapped.table.log` is the log with all that
is hidden.

### Observation

- `observation`: the feature vector of `games.werewolf.arrays.discrete.Features`, float32.
- `text` (not with `text=False`): the lines that the seat has read, and the beginning of its next line where it is
  asked something.
- `action_mask` (`actions="discrete"`) or `legal_targets` (`actions="text"`): int8, 1 where the act is an answer to what
  is asked now; the first alone for a seat that is not asked.

### Action

- `actions="discrete"`: an index of `games.werewolf.arrays.discrete.Catalogue`: nobody or silence, a seat,
a number, `over`, or
  one of the typed speech acts, which is put into a sentence.
- `actions="text"`: `target`, an index of the first part of that catalogue, and `text`, what is said where words are
  taken. Typed acts are read from the text. In a free discussion `target` 0 with a text speaks, without one skips.

An action that answers nothing that was asked (another act, an index past the catalogue, None, anything else) never
raises: the rules' fallback takes its place (silence, abstention
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

from typing import Any

from pettingzoo import AECEnv, ParallelEnv
from pettingzoo.utils import wrappers

from games import environment
from games.records import Request, seat_id
from games.werewolf import GAME
from games.werewolf.arrays.discrete import Catalogue, Features
from games.werewolf.arrays.pace import START, Pace

METADATA = environment.metadata("werewolf_v0")


class raw_env(environment.TurnBased):
    """The AEC environment without wrappers. Arguments as in the module's card."""

    metadata = METADATA
    game, catalogue_of, features_of = GAME, Catalogue, Features


class parallel_env(environment.Seats, ParallelEnv):
    """The parallel environment: one wave a step. Actions of agents that are not asked are passed over.

    A hidden part of the game takes the same number of steps whatever is hidden: `games.werewolf.arrays.pace`.
    """

    metadata = METADATA
    game, catalogue_of, features_of = GAME, Catalogue, Features
    paced = True

    def reset(
        self, seed: int | None = None, options: dict | None = None
    ) -> tuple[dict[str, Any], dict[str, dict]]:
        """Begin the game of `seed`."""
        self._begin(seed)
        self._pace, self._place = Pace(self.config), START
        roles = [fact.role for fact in GAME.seats(self.config, self.table.log)]
        self._pack = [seat for seat, role in enumerate(roles) if role == "werewolf"]
        self._go_on()
        if self.render_mode == "human":
            self.render()
        return self._seen()

    @property
    def waiting(self) -> list[Request]:
        """The questions that are open now: none in an empty slot."""
        return [] if self._empty else self.table.waiting

    def _go_on(self) -> None:
        """Stand at the wave that follows, or at the first of the empty slots before it."""
        following = self._pace.place(self.table.waiting, self.table.log, self._pack, self._place)
        self._empty = list(self._pace.between(self._place, following))
        if following is not None:
            self._place = following
        self._show()

    def _show(self) -> None:
        """Let the seats see what has happened up to here."""
        unseen = self.table.unseen
        self.table.show(self._pace.n_shown(unseen, self._empty[0]) if self._empty else len(unseen))

    def step(self, actions: dict[str, Any]) -> tuple[dict, dict, dict, dict, dict]:
        """Answer all open requests; a seat that is asked and has no action is answered by the fallback."""
        if self._empty:
            self._empty.pop(0)
            self._show()
        else:
            for request in self.table.waiting:
                agent = seat_id(request.seat)
                reply = self._reply(request, actions[agent]) if agent in actions else None
                self.table.answer(request, reply, "illegal" if agent in actions else "missing")
            self._go_on()
        self._waves += 1
        over, cut = self._ends()
        observations, infos = self._seen()
        rewards = self._rewards() if over else dict.fromkeys(self.agents, 0.0)
        terminations = dict.fromkeys(self.agents, over)
        truncations = dict.fromkeys(self.agents, cut)
        if over or cut:
            self.agents = []
        if self.render_mode == "human":
            self.render()
        return observations, rewards, terminations, truncations, infos

    def _ends(self) -> tuple[bool, bool]:
        over = self.table.outcome is not None and not self._empty
        return over, not over and self.max_cycles is not None and self._waves >= self.max_cycles

    def _seen(self) -> tuple[dict[str, Any], dict[str, dict]]:
        seats = [(agent, self.seat_of[agent]) for agent in self.agents]
        return {a: self._observe(i) for a, i in seats}, {a: self._info(i) for a, i in seats}


def env(**kwargs: Any) -> AECEnv:
    """The AEC environment, order of calls checked. Arguments as in the module's card."""
    return wrappers.OrderEnforcingWrapper(raw_env(**kwargs))


environment.registered("werewolf")
