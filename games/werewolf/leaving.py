"""What a seat does on leaving the game, and whether its leaving ends it."""

from __future__ import annotations

from collections.abc import Sequence

from games.records import EVERYONE, NOBODY
from games.werewolf.discussion import say
from games.werewolf.roles import faction_of
from games.werewolf.state import Moderator, Rules, choice_of, shown_role


def bury(m: Moderator, seats: Sequence[int], cause: str) -> Rules:
    """Take seats out of the game together, and all that follows from it.

    First the dead hunters shoot, then victory is checked, then a dead mayor names a successor, then last words.
    """
    m.leave(seats)
    mayor = m.mayor if m.mayor in seats else NOBODY
    hunters = [i for i in seats if m.roles[i] == "hunter"]
    m.n_to_shoot += len(hunters)
    for seat in hunters:
        m.n_to_shoot -= 1
        yield from shoot(m, seat)
    if (
        not m.n_to_shoot
    ):  # a hunter who died in the same event has not shot yet; victory is checked after the shot
        check(m)
    if mayor != NOBODY:
        yield from succession(m, mayor)
    words = m.config.last_words
    if words == "all" or (words == "exiled" and cause == "exile"):
        for seat in seats:
            [said] = yield (m.ask(seat, "last_words", speaks=True),)
            say(m, said)


def shoot(m: Moderator, hunter: int) -> Rules:
    """A dead hunter may take one seat along."""
    if not m.present:
        return
    [shot] = yield (m.ask(hunter, "shoot", (*m.present, NOBODY)),)
    target = choice_of(shot)
    if target == NOBODY:
        m.emit("shoot", EVERYONE, hunter, NOBODY)
    else:
        m.emit("shoot", EVERYONE, hunter, target, shown_role(m.roles[target], m.config.reveal_day))
        yield from bury(m, (target,), "shot")


def succession(m: Moderator, mayor: int) -> Rules:
    """The dead mayor names the next one."""
    m.mayor = NOBODY
    if m.present:
        [named] = yield (m.ask(mayor, "succession", m.present),)
        m.mayor = choice_of(named)
        m.emit("mayor", EVERYONE, mayor, m.mayor)


def check(m: Moderator) -> None:
    """Has a side won? The village is looked at first, so the last werewolf and the last villager dying together
    is a village win. Raises GameOver."""
    wolves, living = len(m.living("werewolf")), len(m.present)
    if wolves == 0:
        winner, reason = "village", "no werewolf lives"
    elif wolves >= living - wolves:
        winner, reason = "werewolf", "as many werewolves as others live"
    elif m.config.edge_kill and not m.living("villager"):
        winner, reason = "werewolf", "no plain villager lives"
    else:
        return
    m.finish(winner, [i for i, role in enumerate(m.roles) if faction_of(role) == winner], reason)
