"""The rules of Werewolf as a pure state machine: `start`, `to_act`, `apply`, `outcome`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from games import chance
from games.base import GameError, IllegalAction, Outcome
from games.language.quoting import writable
from games.records import MODERATOR, Action, Decision, Event, Request
from games.werewolf.config import WerewolfConfig
from games.werewolf.day import day
from games.werewolf.night import night
from games.werewolf.roles import ACQUAINTED, ROLE_TERMS
from games.werewolf.state import GameOver, Moderator, Rules, State

OWN_ORDER: Final = ("bid", "candidacy", "speech")
"""Decisions whose options are no seats and keep the order that they have by nature."""


def game(m: Moderator) -> Rules:
    """Everybody is told a role, then nights and days follow until somebody has won."""
    m.emit("setup", data={"names": list(m.names)})
    m.emit("deal", MODERATOR, data={"roles": list(m.roles)})
    for seat, role in enumerate(m.roles):
        known = {str(j): role for j in m.dealt[role] if j != seat} if role in ACQUAINTED else {}
        m.emit("role", (seat,), None, seat, role, data={"known": known})
    try:
        while True:
            yield from night(m)
            yield from day(m)
    except GameOver:
        return


def start(
    config: WerewolfConfig, seed: int, dealt: Sequence[str] | None = None
) -> tuple[State, tuple[Event, ...]]:
    """Deal the roles and names and go on to the first requests.

    `seed` is an integer, 0 <= seed < 2**63; every draw of the game derives from it. With `dealt`, each seat's role, the
    deck is not shuffled. Raises GameError where `dealt` is another deck.
    """
    deck = config.decks
    roles = chance.shuffled(deck, chance.key(seed, "deal")) if dealt is None else tuple(dealt)
    if dealt is not None and sorted(roles) != sorted(deck):
        raise GameError(f"the deal {list(roles)} is not the deck, which is {list(deck)}")
    m = Moderator(config, seed, roles)
    m.rules = game(m)
    return _go_on(m, (), 0)


def to_act(state: State) -> tuple[Request, ...]:
    """All requests that can be answered now, options in the order in which they are shown; empty when the game is over.

    The orders are drawn here, since the rules need none. Each depends only on the seat, the day and the place in the
    day's programme, all of which the seat knows.
    """
    requests, shown = state.requests, []
    for r in requests:
        options, place = r.options, r.place
        if len(options) > 1 and r.kind not in OWN_ORDER:
            k = chance.key(state.seed, r.kind, (r.day << 24) + (place << 8) + r.seat)
            r = Request(r.seat, r.kind, chance.shuffled(options, k), r.speaks, r.day, r.phase)
        elif place:
            r = Request(r.seat, r.kind, options, r.speaks, r.day, r.phase)
        shown.append(r)
    return tuple(shown)


def apply(state: State, decisions: Sequence[Decision]) -> tuple[State, tuple[Event, ...]]:
    """The state after the decisions, one for each of `to_act(state)` in that order, and the events they cause.

    Raises:
        IllegalAction: a decision that does not fit its request.
    """
    requests, seq, m = state.requests, state.seq, state.moderator
    if len(decisions) != len(requests):
        raise IllegalAction(f"{len(requests)} requests are open, but {len(decisions)} decisions came")
    for request, decision in zip(requests, decisions):
        action, options = decision.action, request.options
        if (
            decision.seq != seq
            or decision.seat != request.seat
            or decision.kind != request.kind
            or action.acts
            or (action.option not in options if options else action.option is not None)
            or ((text := action.text) and not (request.speaks and text.isascii()))
        ):  # only an action that is not plainly legal takes the full check
            if decision.seq != seq:
                raise IllegalAction(f"a decision has seq {decision.seq}; the log goes on at {seq}")
            check_legal(request, decision.seat, decision.kind, action, len(m.roles))
        seq += 1
    if len(m.past) != state.n_waves:
        m = moderator_at(state)
    m.seed = state.seed
    return _go_on(m, tuple(decisions), seq)


def moderator_at(state: State) -> Moderator:
    """The moderator as of a state; callers may read it or continue from it, but not change it."""
    m = state.moderator
    if len(m.past) == state.n_waves:
        return m
    past = m.past[: state.n_waves]
    m = start(m.config, m.first_seed, m.roles)[0].moderator
    for m.seed, decisions in past:
        _go_on(m, decisions, m.seq + len(decisions))
    return m


def _go_on(m: Moderator, decisions: tuple[Decision, ...], seq: int) -> tuple[State, tuple[Event, ...]]:
    """Let the rules go on to the next requests; with no decisions, from their beginning."""
    if decisions:
        m.past.append((m.seed, decisions))
    m.seq = seq
    events: list[Event] = []
    m.events = events
    try:
        requests = m.rules.send(decisions or None)  # type: ignore[arg-type]  # None begins a generator
    except StopIteration:
        requests = ()
    return State(m, len(m.past), m.seed, requests, m.seq, m.outcome), tuple(events)


def outcome(state: State) -> Outcome | None:
    """The outcome, None while the game goes on."""
    return state.outcome


def check_legal(request: Request, seat: int, kind: str, action: Action, n: int) -> None:
    """Raises IllegalAction where an action does not fit its request, naming what was allowed."""
    if seat != request.seat or kind != request.kind:
        raise IllegalAction(
            f"seat {seat} answers {kind!r}, but seat {request.seat} was asked for {request.kind!r}"
        )
    if request.options:
        if action.option not in request.options:
            raise IllegalAction(
                f"seat {seat} chose {action.option} for {kind!r}; allowed are {sorted(request.options)}"
            )
    elif action.option is not None:
        raise IllegalAction(f"seat {seat} chose {action.option} for {kind!r}, which takes no option")
    if not request.speaks and (action.text or action.acts):
        raise IllegalAction(f"seat {seat} spoke at {kind!r}, which takes no words")
    if action.text and not action.text.isascii() and not writable(action.text):
        raise IllegalAction(f"seat {seat} said half a character (a lone surrogate), which no log can hold")
    for act in action.acts:
        if act.subject is not None and not 0 <= act.subject < n:
            raise IllegalAction(f"seat {seat} spoke about seat {act.subject}; there are seats 0 to {n - 1}")
        if act.role is not None and act.role not in ROLE_TERMS:
            raise IllegalAction(
                f"seat {seat} spoke about the role {act.role!r}; there are {', '.join(ROLE_TERMS)}"
            )
