"""# Avalon

The Resistance: Avalon as a PettingZoo environment: a hidden minority sabotages missions; one of the others knows it and
must not be found out.

| Import             | `from games import avalon_v0`                                                |
|--------------------|------------------------------------------------------------------------------|
| Environments       | `avalon_v0.env()` (AEC), `avalon_v0.raw_env()`, `avalon_v0.parallel_env()`   |
| Registered         | `pettingzoo.make("aec", "wolfscope/avalon-v0")`, `"parallel"` likewise       |
| Agents             | `player_0` ... `player_<n-1>`, 5 to 10; all stay until the end of the game   |
| Action             | `Discrete(len(catalogue))`, or `Dict(target: Discrete, text: Text)`          |
| Observation        | `Dict(observation: Box, text: Text, action_mask or legal_targets: Box)`      |
| Manual control     | no                                                                           |

### Arguments

`preset` (a name of `games.avalon.presets.NAMES`, default `avalon-5`) and any field of `AvalonConfig` in its place
(`avalon_v0.env(preset="avalon-7", discussion="bidding", lexicon="neutral")`). `actions`: `"discrete"` or `"text"`.
`text`: False leaves the text out of the observation, so that all spaces are boxes and numbers.
`render_mode`: `"human"` (prints new lines of the moderator's view) or `"ansi"` (`render()` returns all of them).
`max_cycles`: truncate after so many waves of answers (None: play to the end, which the rules guarantee).

### Play

Seats are asked in waves: the leader for one seat of the team after another, all for their votes, the team for their
cards. In the AEC environment the seats of a wave act one after another; none sees another's answer before the wave is
complete, so both environments give the same events. `env.unwrapped.rules_text(agent)` is the rules of the game in
words; `env.unwrapped.table.log` is the log with all that is hidden.

### Observation

- `observation`: the feature vector of `games.avalon.arrays.discrete.Features`, float32.
- `text` (not with `text=False`): the lines that the seat has read, and the beginning of its next line where it is asked
  something.
- `action_mask` (`actions="discrete"`) or `legal_targets` (`actions="text"`): int8, 1 where the act is an answer to what
  is asked now; the first alone for a seat that is not asked.

### Action

- `actions="discrete"`: an index of `games.avalon.arrays.discrete.Catalogue`: silence, a seat, a number (a vote is 0 to
  reject and 1 to approve, a card 0 for failure and 1 for success), `over`, or one of the typed speech acts, which is
  put into a sentence.
- `actions="text"`: `target`, an index of the first part of that catalogue, and `text`, what is said where words are
  taken. Typed acts are read from the text. In a free discussion `target` 0 with a text speaks, without one skips.

An action that answers nothing that was asked never raises: the rules' fallback takes its place (silence, else a legal
option drawn from the seat's own stream), the decision records it, and `infos[agent]["fallbacks"]` counts it.

### Rewards

At the end +1 for every seat of the side that wins, and -1 for every other.

### Seeding

`reset(seed=s)` plays the game of seed `s`: the same log as `games.play.play(GAME, config, s)` for the same answers.
Without a seed the next games follow from the last one given, or from the system's entropy. No global random state is
used.

### Version history

* v0: initial version
"""

from __future__ import annotations

from typing import Any

from pettingzoo import AECEnv
from pettingzoo.utils import wrappers

from games import environment
from games.avalon import GAME
from games.avalon.arrays.discrete import Catalogue, Features


class raw_env(environment.TurnBased):
    """The AEC environment without wrappers. Arguments as in the module's card."""

    metadata = environment.metadata("avalon_v0")
    game, catalogue_of, features_of = GAME, Catalogue, Features


class parallel_env(environment.Simultaneous):
    """The parallel environment: one wave a step. Actions of agents that are not asked are passed over."""

    metadata = environment.metadata("avalon_v0")
    game, catalogue_of, features_of = GAME, Catalogue, Features


def env(**kwargs: Any) -> AECEnv:
    """The AEC environment, order of calls checked. Arguments as in the module's card."""
    return wrappers.OrderEnforcingWrapper(raw_env(**kwargs))


environment.registered("avalon")
