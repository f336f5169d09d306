"""The day: election, discussion, ballot and exile."""

from __future__ import annotations

from games.records import EVERYONE, MODERATOR, NOBODY
from games.werewolf.discussion import discussion
from games.werewolf.leaving import bury
from games.werewolf.night import chat
from games.werewolf.roles import species_of
from games.werewolf.state import Asking, Moderator, Rules, choice_of, leaders, shown_role, without


def day(m: Moderator) -> Rules:
    """The day's programme."""
    config = m.config
    if config.mayor and m.day == 1:
        yield from election(m)
    yield from discussion(m)
    if "before_ballot" in config.chat_by_day:
        yield from chat(m)
    yield from ballot(m)
    if "after_ballot" in config.chat_by_day:
        yield from chat(m)
    if config.summaries:
        for d in (yield tuple([m.ask(i, "summary", speaks=True) for i in m.present])):
            m.emit("summary", (d.seat,), d.seat, text=d.action.text)


def election(m: Moderator) -> Rules:
    """Everyone declares at once; plurality among the candidates, ties at random."""
    declared = yield tuple([m.ask(i, "candidacy", (1, 0)) for i in m.present])
    for d in declared:
        m.emit("candidacy", EVERYONE, d.seat, value="run" if d.action.option == 1 else "decline")
    running = tuple([d.seat for d in declared if d.action.option == 1])
    if running:
        cast = yield tuple([m.ask(i, "mayor_ballot", running) for i in m.present])
        for d in cast:
            m.emit("mayor_ballot", EVERYONE, d.seat, choice_of(d))
        m.mayor = m.pick(leaders([choice_of(d) for d in cast])[0])
        m.emit("mayor", target=m.mayor)


def ballot(m: Moderator) -> Rules:
    """Who is exiled: the leader, else by revote, mayor, chance, or nobody."""
    config = m.config
    votes = yield from cast(m, m.present, 0)
    tied, top = leaders(votes.values())
    if config.ballot_rule == "majority":
        yield from exile(m, tied[0] if top * 2 > len(votes) else NOBODY)
        return
    for again in range(config.revotes):
        if len(tied) < 2:
            break
        m.emit("tie", data={"tied": list(tied)})
        votes = yield from cast(m, tied, again + 1)
        tied, top = leaders(votes.values())
    if not tied:
        exiled = NOBODY
    elif len(tied) > 1 and m.mayor in m.present:
        m.n_draws += 1  # counted as a draw, so that later draws do not reveal who broke a secret tie
        exiled = votes[m.mayor]
        if exiled not in tied:
            [decided] = yield (m.ask(m.mayor, "tie_break", tied),)
            exiled = choice_of(decided)
    else:
        exiled = m.pick(tied) if config.tie == "random" or len(tied) == 1 else NOBODY
    yield from exile(m, exiled)


def cast(m: Moderator, among: tuple[int, ...], again: int) -> Asking[dict[int, int]]:
    """The ballots, voter -> choice, all at once or one after another; `again` counts the revotes."""
    place, votes = again << 8, {}
    audience = EVERYONE if m.config.ballot_public else MODERATOR
    if m.config.ballot == "simultaneous":
        waves = [m.present]
    else:
        waves = [(voter,) for voter in m.order(m.present)]
    for turn, voters in enumerate(waves, place):
        for d in (yield tuple([m.ask(i, "ballot", m.ballot_options(i, among), False, turn) for i in voters])):
            votes[d.seat] = choice = choice_of(d)
            m.emit("ballot", audience, d.seat, choice)
    return votes


def exile(m: Moderator, seat: int) -> Rules:
    """Exile a seat, or nobody; a jester who is exiled wins alone."""
    if seat == NOBODY:
        m.emit("exile", target=NOBODY)
        return
    role = m.roles[seat]
    m.emit("exile", EVERYONE, None, seat, shown_role(role, m.config.reveal_day))
    mediums = without(m.living("medium"), seat)
    if mediums:
        m.emit("sense", mediums, target=seat, value=species_of(role))
    if role == "jester":
        m.leave((seat,))
        m.finish("jester", (seat,), "the jester was exiled")
    yield from bury(m, (seat,), "exile")
