"""The forms of discussion: in turn, by bids, freely, or all at once."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from games.engine.moderator import Moderator, Rules, choice_of
from games.records import EVERYONE, MODERATOR, Decision

BIDS: Final = (0, 1, 2, 3, 4)
SPEAK: Final = 0
SKIP: Final = 1
OVER: Final = 2
"""The options of a turn in a free discussion."""


def say(m: Moderator, said: Decision, pool: Sequence[str]) -> None:
    """Emit a public speech, and remember who spoke and about whom. pool: the lexicon's names."""
    action = said.action
    m.emit(said.kind, EVERYONE, said.seat, None, None, action.text, action.acts)
    if m.config.discussion == "bidding":
        m.last_speaker = said.seat
        words = set(re.findall(r"\w+", action.text))
        subjects = {act.subject for act in action.acts}
        m.mentioned = tuple([i for i, name in enumerate(m.names) if i in subjects or pool[name] in words])


def discussion(m: Moderator, pool: Sequence[str]) -> Rules:
    """The configured form of discussion. pool: the lexicon's names."""
    form, rounds, present = m.config.discussion, m.config.speech_rounds, m.present
    if form == "round_robin":
        start = m.key("order") % len(present)
        order = present[start:] + present[:start]
        m.emit("order", MODERATOR, data={"order": list(order)})
        yield from in_turn(m, order * rounds, pool)
    elif form == "random_order":
        yield from in_turn(m, m.order(present) * rounds, pool)
    elif form == "simultaneous":
        for _ in range(rounds):
            for said in (yield tuple([m.ask(i, "speech", speaks=True) for i in present])):
                say(m, said, pool)
    elif form == "bidding":
        yield from bidding(m, pool)
    elif form == "free":
        yield from free(m, pool)


def in_turn(m: Moderator, order: Sequence[int], pool: Sequence[str]) -> Rules:
    """One speech after another."""
    for turn, seat in enumerate(order):
        [said] = yield (m.ask(seat, "speech", speaks=True),)
        say(m, said, pool)
        yield from m.after_speech(turn)


def bidding(m: Moderator, pool: Sequence[str]) -> Rules:
    """The highest bid speaks; among equals those just spoken about come first, then chance decides."""
    for _ in range(m.config.speech_turns):
        bidders = [i for i in m.present if i != m.last_speaker]
        if not bidders:
            return
        bids = yield tuple([m.ask(i, "bid", BIDS) for i in bidders])
        for bid in bids:
            m.emit("bid", MODERATOR, bid.seat, value=str(bid.action.option))
        top = max([choice_of(bid) for bid in bids])
        tied = [bid.seat for bid in bids if choice_of(bid) == top]
        yield from in_turn(m, (m.pick([i for i in tied if i in m.mentioned] or tied, "ties"),), pool)


def free(m: Moderator, pool: Sequence[str]) -> Rules:
    """Cycles of turns in one order; on each a seat speaks, skips or is over for this discussion."""
    config = m.config
    told, over = [0] * len(m.roles), set()
    order = m.order(m.present)
    # Two cycles more than anyone can speak in, so that skipping ends.
    for cycle in range(config.free_per_seat + 2):
        for turn, seat in enumerate(order):
            place = (cycle << 8) + turn
            [said] = yield (m.ask(seat, "speech", (SPEAK, SKIP, OVER), True, place),)
            if said.action.option == SPEAK:
                say(m, said, pool)
                told[seat] += 1
                yield from m.after_speech(place)
            elif said.action.option == SKIP:
                m.emit("silence", EVERYONE, seat, value="skip")
            else:
                m.emit("silence", EVERYONE, seat, value="over")
                over.add(seat)
            if sum(told) >= config.free_per_day:
                return
        order = tuple([i for i in order if i not in over and told[i] < config.free_per_seat])
