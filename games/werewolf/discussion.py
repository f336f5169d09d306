"""The day's forms of discussion: in turn, by bids, freely, or all at once; with shadow ballots in between."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from games.records import EVERYONE, MODERATOR, Decision, Event, Request
from games.werewolf.lexicon import lexicon
from games.werewolf.state import Moderator, Rules, choice_of, without

BIDS: Final = (0, 1, 2, 3, 4)
SPEAK: Final = 0
SKIP: Final = 1
OVER: Final = 2
"""The options of a turn in a free discussion."""


def say(m: Moderator, said: Decision) -> None:
    """Emit a public speech; where speakers bid, remember who spoke and about whom."""
    action, seq = said.action, m.seq
    # `m.emit`, inlined: most events are speeches
    event = Event(seq, said.kind, EVERYONE, m.day, m.phase, said.seat, None, None, action.text, action.acts)
    m.events.append(event)
    m.seq = seq + 1
    if m.bids:
        m.last_speaker = said.seat
        pool = lexicon(m.config.lexicon).names
        words = set(re.findall(r"\w+", action.text))
        subjects = {act.subject for act in action.acts}
        m.mentioned = tuple([i for i, name in enumerate(m.names) if i in subjects or pool[name] in words])


def discussion(m: Moderator) -> Rules:
    """The configured form of discussion."""
    form, rounds, living = m.config.discussion, m.config.speech_rounds, m.present
    if form == "round_robin":
        start = m.key("order") % len(living)
        order = living[start:] + living[:start]
        m.emit("order", MODERATOR, data={"order": list(order)})
        yield from in_turn(m, order * rounds)
    elif form == "random_order":
        yield from in_turn(m, m.order(living) * rounds)
    elif form == "simultaneous":
        for _ in range(rounds):
            for said in (yield tuple([m.ask(i, "speech", speaks=True) for i in living])):
                say(m, said)
    elif form == "bidding":
        yield from bidding(m)
    elif form == "free":
        yield from free(m)


def in_turn(m: Moderator, order: Sequence[int]) -> Rules:
    """One speech after another."""
    shadows = m.config.shadow_ballots
    for turn, seat in enumerate(order):
        [said] = yield (Request(seat, "speech", (), True, m.day, m.phase),)
        say(m, said)
        if shadows:
            yield from shadow_ballots(m, turn)


def bidding(m: Moderator) -> Rules:
    """The highest bid speaks; among equals those just spoken about come first, then chance decides."""
    for _ in range(m.config.speech_turns):
        bidders = without(m.present, m.last_speaker)
        if not bidders:
            return
        bids = yield tuple([m.ask(i, "bid", BIDS) for i in bidders])
        for bid in bids:
            m.emit("bid", MODERATOR, bid.seat, value=str(bid.action.option))
        top = max([choice_of(bid) for bid in bids])
        tied = [bid.seat for bid in bids if choice_of(bid) == top]
        yield from in_turn(m, (m.pick([i for i in tied if i in m.mentioned] or tied),))


def free(m: Moderator) -> Rules:
    """Cycles of turns in one order; on each a seat speaks, skips or is over for the day."""
    config = m.config
    told, over = [0] * len(m.roles), set()
    order = m.order(m.present)
    # Two cycles more than anyone can speak in, so that skipping ends.
    for cycle in range(config.free_per_seat + 2):
        for turn, seat in enumerate(order):
            place = (cycle << 8) + turn
            [said] = yield (m.ask(seat, "speech", (SPEAK, SKIP, OVER), True, place),)
            if said.action.option == SPEAK:
                say(m, said)
                told[seat] += 1
                if config.shadow_ballots:
                    yield from shadow_ballots(m, place)
            elif said.action.option == SKIP:
                m.emit("silence", EVERYONE, seat, value="skip")
            else:
                m.emit("silence", EVERYONE, seat, value="over")
                over.add(seat)
            if sum(told) >= config.free_per_day:
                return
        order = tuple([i for i in order if i not in over and told[i] < config.free_per_seat])


def shadow_ballots(m: Moderator, place: int) -> Rules:
    """Private ballots without effect."""
    for d in (yield tuple([m.ask(i, "shadow_ballot", m.ballot_options(i), place=place) for i in m.present])):
        m.emit("shadow_ballot", MODERATOR, d.seat, choice_of(d))
