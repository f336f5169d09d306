"""States as JSON: a snapshot of a game at any point, from which it can be continued or branched.

A snapshot holds all hidden information: the rules, the seeds, the deal and the actions, which determine the state.
`restore(snapshot(state)) == state`, and both continue in the same way.
"""

from __future__ import annotations

from copyreg import dispatch_table
from typing import Any

import msgspec

from games.base import GameError, ReplayError
from games.records import Action, Decision
from games.werewolf.config import build
from games.werewolf.rules import apply, start
from games.werewolf.state import State


class Snapshot(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Everything that determines a state."""

    config: dict[str, Any]
    roles: tuple[str, ...]
    first_seed: int
    waves: tuple[tuple[int, tuple[Action, ...]], ...]
    """The seed and the actions of each wave that has been answered."""
    seed: int
    """The seed of the draws to come."""


def snapshot(state: State) -> bytes:
    """The state as JSON."""
    m = state.moderator
    waves = tuple([(seed, tuple(actions)) for seed, actions in state.past])
    return msgspec.json.encode(
        Snapshot(m.config.model_dump(mode="json"), m.roles, m.first_seed, waves, state.seed)
    )


def restore(data: bytes | str) -> State:
    """The state of a snapshot. Raises ReplayError for data that is not a snapshot, or whose rules are refused."""
    try:
        found = msgspec.json.decode(data, type=Snapshot)
        state, _ = start(build(**found.config), found.first_seed, found.roles)
        for seed, actions in found.waves:
            asked = zip(state.requests, actions, strict=True)
            wave = [Decision(state.seq + i, r.seat, r.kind, action) for i, (r, action) in enumerate(asked)]
            state, _ = apply(msgspec.structs.replace(state, seed=seed), wave)
    except (msgspec.DecodeError, GameError, ValueError) as error:
        raise ReplayError(f"this is no snapshot of a game of werewolf: {error}") from error
    return msgspec.structs.replace(state, seed=found.seed)


def _reduced(state: State) -> tuple[Any, ...]:
    """A state's pickled form: its generator cannot be copied, but the snapshot that determines it can."""
    return restore, (snapshot(state),)


dispatch_table[State] = _reduced
