"""The pure state machine around a moderator: `begin`, `to_act`, `apply`, `outcome`.

A `State` is one moment of a game and never changes; where its moderator has moved on since, the game is replayed up to
that moment.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from games import chance
from games.base import GameError, IllegalAction, Outcome
from games.engine.moderator import Moderator
from games.records import Action, Decision, Event, Request


class State(msgspec.Struct, frozen=True, eq=False, gc=False):
    """One moment of a game, between two waves."""

    moderator: Moderator
    """The game's moderator, which may have moved on: `moderator_at` gives it as of this moment."""
    n_waves: int
    """How many waves have been answered."""
    seed: int
    """The seed of the draws to come."""
    requests: tuple[Request, ...]
    """What is asked now, with options in their own order; `to_act` puts them in the order that seats see."""
    seq: int
    """The next sequence number."""
    outcome: Outcome | None

    def __eq__(self, other: object) -> bool:
        """Whether both follow from the same rules, deal, seeds and actions."""
        if not isinstance(other, State):
            return NotImplemented
        one, two = self.moderator, other.moderator
        same = (type(one), one.config, one.roles, one.first_seed) == (
            type(two),
            two.config,
            two.roles,
            two.first_seed,
        )
        return same and self.seed == other.seed and self.past == other.past

    def __reduce__(self) -> tuple[Any, ...]:
        m = self.moderator
        return _replayed, (type(m), m.config, m.first_seed, m.roles, m.past[: self.n_waves], self.seed)

    @property
    def past(self) -> list[tuple[int, list[Action]]]:
        """The seed and the actions of each wave that has been answered."""
        waves = self.moderator.past[: self.n_waves]
        return [(seed, [d.action for d in decisions]) for seed, decisions in waves]


def deal(deck: Sequence[str], seed: int, dealt: Sequence[str] | None = None) -> tuple[str, ...]:
    """The role of each seat: the deck shuffled, or `dealt`. Raises GameError where that is another deck."""
    if dealt is None:
        return chance.shuffled(deck, chance.key(seed, "deal"))
    if sorted(dealt) != sorted(deck):
        raise GameError(f"the deal {list(dealt)} is not the deck, which is {list(deck)}")
    return tuple(dealt)


def begin(m: Moderator) -> tuple[State, tuple[Event, ...]]:
    """The first state of a moderator's game, and the events up to the first requests."""
    m.rules = m.programme()
    return _go_on(m, (), 0)


def to_act(state: State) -> tuple[Request, ...]:
    """All requests that can be answered now, options in the order in which they are shown; empty when the game is over.

    The orders are drawn here, since the rules need none. Each depends only on the seat, the day and the place in the
    day's programme, all of which the seat knows.
    """
    shown = []
    own_order = state.moderator.OWN_ORDER
    for r in state.requests:
        options = r.options
        if len(options) > 1 and r.kind not in own_order:
            k = chance.key(state.seed, r.kind, (r.day << 24) + (r.place << 8) + r.seat)
            options = chance.shuffled(options, k)
        shown.append(Request(r.seat, r.kind, options, r.speaks, r.day, r.phase))
    return tuple(shown)


def apply(state: State, decisions: Sequence[Decision]) -> tuple[State, tuple[Event, ...]]:
    """The state after the decisions, one for each of `to_act(state)` in that order, and the events they cause.

    Raises:
        IllegalAction: a decision that does not fit its request.
    """
    requests, m = state.requests, state.moderator
    if len(decisions) != len(requests):
        raise IllegalAction(f"{len(requests)} requests are open, but {len(decisions)} decisions came")
    for seq, (request, decision) in enumerate(zip(requests, decisions, strict=True), state.seq):
        if decision.seq != seq:
            raise IllegalAction(f"a decision has seq {decision.seq}; the log goes on at {seq}")
        m.check_legal(request, decision)
    m = moderator_at(state)
    m.seed = state.seed
    return _go_on(m, tuple(decisions), state.seq + len(decisions))


def outcome(state: State) -> Outcome | None:
    """The outcome, None while the game goes on."""
    return state.outcome


def moderator_at(state: State) -> Moderator:
    """The moderator as of a state; callers may read it or continue from it, but not change it."""
    m = state.moderator
    if len(m.past) == state.n_waves:
        return m
    return _replayed(type(m), m.config, m.first_seed, m.roles, m.past[: state.n_waves], state.seed).moderator


def _replayed(
    kind: type[Moderator],
    config: Any,
    first_seed: int,
    roles: tuple[str, ...],
    past: Sequence[tuple[int, tuple[Decision, ...]]],
    seed: int,
) -> State:
    """The state of a game after the waves of `past`."""
    m = kind(config, first_seed, roles)
    state, _ = begin(m)
    for m.seed, decisions in past:
        state, _ = _go_on(m, decisions, m.seq + len(decisions))
    return msgspec.structs.replace(state, seed=seed)


def _go_on(m: Moderator, decisions: tuple[Decision, ...], seq: int) -> tuple[State, tuple[Event, ...]]:
    """Let the rules go on to the next requests; with no decisions, from their beginning."""
    if decisions:
        m.past.append((m.seed, decisions))
    m.seq, m.events = seq, []
    try:
        requests = m.rules.send(decisions or None)  # type: ignore[arg-type]  # None begins a generator
    except StopIteration:
        requests = ()
    return State(m, len(m.past), m.seed, requests, m.seq, m.outcome), tuple(m.events)
