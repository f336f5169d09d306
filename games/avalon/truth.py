"""What each seat has been told of the others' roles, and hence who lies; from the log alone, without policy or judge.

A seat has been told its own card, what it was shown at the deal, how many failures each mission had, and which card it
played itself. It knows a proposition to be false where no deal of the deck fits what it was told and the proposition.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from games.avalon import worlds
from games.avalon.config import AvalonConfig
from games.avalon.roles import ROLES
from games.base import ReplayError
from games.records import Decision, Event, Record, SpeechAct
from games.statements import Statement

SPOKEN = ("speech",)
"""Decisions whose words others hear."""


class Told:
    """What every seat of one game has been told, fed with the game's events in order."""

    def __init__(self, config: AvalonConfig) -> None:
        self.deck = tuple(str(role) for role in config.decks)
        n = len(self.deck)
        self.worlds = worlds.deals(self.deck)
        self.possible = np.ones((n, len(self.worlds)), dtype=bool)
        """`[viewer, deal]`: whether the deal fits all that the viewer has been told."""
        self.failed: set[int] = set()
        """Seats that played a failure in the mission that is being counted."""
        self.votes: list[str | None] = [None] * n
        """The last vote of each seat."""
        self.team: tuple[int, ...] = ()
        """The last team that was proposed."""

    def see(self, event: Event) -> None:
        """Take in the next event of the log."""
        data = event.data or {}
        if event.kind == "role" and event.target is not None and event.value is not None:
            known = {int(seat): what for seat, what in data.get("known", {}).items()}
            self.possible[event.target] &= worlds.fits_card(self.deck, event.target, event.value, known)
        elif event.kind == "card" and event.actor is not None and event.value == "failure":
            self.failed.add(event.actor)
        elif event.kind == "mission":
            for viewer in range(len(self.deck)):
                mine = (viewer in self.failed) if viewer in data["team"] else False
                others = [seat for seat in data["team"] if seat != viewer]
                self.possible[viewer] &= worlds.n_failures_allow(self.deck, others, data["failures"] - mine)
            self.failed = set()
        elif event.kind == "team":
            self.team = tuple(data["team"])
        elif event.kind == "vote" and event.actor is not None:
            self.votes[event.actor] = event.value

    def any_deal(self, viewer: int, holds: np.ndarray) -> bool:
        """Whether some deal in which `holds` fits what the viewer has been told."""
        return bool((self.possible[viewer] & holds).any())


def statements(config: AvalonConfig, records: Sequence[Record]) -> list[Statement]:
    """Every typed act of a whole log with its truth, in order. Raises ReplayError for one seat's view of a log."""
    deal = next((r for r in records if isinstance(r, Event) and r.kind == "deal"), None)
    if deal is None or deal.data is None:
        raise ReplayError("this log has no deal event: who lies can be told from the moderator's log only")
    roles = np.array([ROLES.index(role) for role in deal.data["roles"]], dtype=np.int8)[None]
    told, out = Told(config), []
    for record in records:
        if isinstance(record, Event):
            told.see(record)
        elif record.kind in SPOKEN:
            out += [_statement(record, place, told, roles) for place in range(len(record.action.acts))]
    return out


def _statement(said: Decision, place: int, told: Told, roles: np.ndarray) -> Statement:
    claim = proposition(said.action.acts[place], said.seat, told)
    if claim is None:
        return Statement(said.seq, place, said.seat, None, None)
    false = not claim(roles)[0]
    return Statement(said.seq, place, said.seat, false, not told.any_deal(said.seat, claim(told.worlds)))


Proposition = Callable[[np.ndarray], np.ndarray]
"""Deals `(n_deals, n_seats)` -> whether the proposition is true in each `(n_deals,)`."""


def proposition(act: SpeechAct, speaker: int, told: Told) -> Proposition | None:
    """What an act asserts; None where it asserts nothing (questions, suggestions, what will be voted)."""
    if act.kind in ("claim_role", "deny") and act.role in ROLES:
        role, claims = ROLES.index(act.role), act.kind == "claim_role"
        return lambda deals: (deals[:, speaker] == role) == claims
    if act.kind in ("accuse", "vouch") and act.subject is not None:
        return _side(act.subject, evil=act.kind == "accuse")
    if act.kind == "explain_vote" and act.subject is not None:
        # True where the vote was as stated, the seat was in the team, and the seat is evil (a rejection) or good.
        if told.votes[speaker] != act.role or act.subject not in told.team:
            return lambda deals: np.zeros(len(deals), dtype=bool)
        return _side(act.subject, evil=act.role == "reject")
    return None


def _side(seat: int, evil: bool) -> Proposition:
    table = np.array([(role in worlds.EVIL) == evil for role in ROLES])
    return lambda deals: np.asarray(table[deals[:, seat]])
