"""What each seat has been told of the others' roles, and hence who lies; from the log alone, without policy or judge.

A seat has been told its own card, the cards shown to it at the deal, the results of its own inspections, and what was
revealed to all. It knows a proposition to be false where no deal of the deck fits what it was told and the proposition.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache

from games.base import ReplayError
from games.records import Decision, Event, Record, SpeechAct
from games.statements import Statement
from games.werewolf.config import WerewolfConfig
from games.werewolf.roles import faction_of, species_of

SPOKEN = ("speech", "last_words", "whisper")
"""Decisions whose words others hear."""

Allowed = tuple[frozenset[str], ...]
"""For each seat, the roles that it may have."""


class Told:
    """What every seat of one game has been told, fed with the game's events in order."""

    def __init__(self, config: WerewolfConfig) -> None:
        self._config = config
        self.deck = tuple(str(role) for role in config.decks)
        every = frozenset(self.deck)
        n = len(self.deck)
        self.roles: list[list[frozenset[str]]] = [[every] * n for _ in range(n)]
        """`roles[viewer][subject]`: roles that the subject may have, given what the viewer was told."""
        self.inspections: dict[tuple[int, int], str] = {}
        """(seer, subject) -> what the seer was shown last."""

    def see(self, event: Event) -> None:
        """Take in the next event of the log."""
        target, value = event.target, event.value
        if target is None or target < 0:
            return
        if event.kind == "role" and value is not None:
            self._learn((target,), target, {value})
            known = {int(seat): role for seat, role in (event.data or {}).get("known", {}).items()}
            for seat, role in known.items():
                self._learn((target,), seat, {role})
            if value == "werewolf":  # a werewolf is shown all its partners, so nobody else is one
                for seat in set(range(len(self.deck))) - set(known) - {target}:
                    self._learn((target,), seat, set(self.deck) - {"werewolf"})
        elif event.kind in ("inspect", "sense") and value is not None:
            what = self._config.seer_learns if event.kind == "inspect" else "species"
            for seat in event.audience or ():
                self._learn((seat,), target, self._roles_shown(value, what))
                self.inspections[seat, target] = value
        elif event.kind in ("death", "exile", "shoot"):
            shown = self._config.reveal_night if event.kind == "death" else self._config.reveal_day
            if value is not None:
                self._learn(range(len(self.deck)), target, self._roles_shown(value, shown))
            elif event.kind == "death" and not self._wolves_may_die_at_night:
                self._learn(range(len(self.deck)), target, set(self.deck) - {"werewolf"})

    @property
    def _wolves_may_die_at_night(self) -> bool:
        return "witch" in self.deck or self._config.kill_targets != "others"

    def _roles_shown(self, value: str, what: str) -> set[str]:
        by = {"faction": faction_of, "species": species_of}.get(what, str)
        return {role for role in self.deck if by(role) == value}

    def _learn(self, seats: Iterable[int], subject: int, roles: set[str]) -> None:
        for seat in seats:
            self.roles[seat][subject] &= roles

    def possible(self, viewer: int, subject: int, role: str) -> bool:
        """Whether `subject` may have `role` by all that `viewer` has been told."""
        return role in self.roles[viewer][subject] and can_have(
            self.deck, tuple(self.roles[viewer]), subject, role
        )


@lru_cache(maxsize=65536)
def can_have(deck: tuple[str, ...], allowed: Allowed, seat: int, role: str) -> bool:
    """Whether `seat` has `role` in some deal of the whole deck within `allowed`."""
    return _can_deal(deck, (*allowed[:seat], frozenset((role,)), *allowed[seat + 1 :]))


def _can_deal(deck: tuple[str, ...], allowed: Allowed) -> bool:
    """Whether the cards can be given out, one a seat: a perfect matching, found by augmenting paths."""
    holder: dict[int, int] = {}

    def give(seat: int, tried: set[int]) -> bool:
        for card, role in enumerate(deck):
            if role in allowed[seat] and card not in tried:
                tried.add(card)
                if card not in holder or give(holder[card], tried):
                    holder[card] = seat
                    return True
        return False

    return all(give(seat, set()) for seat in range(len(allowed)))


def statements(config: WerewolfConfig, records: Sequence[Record]) -> list[Statement]:
    """Every typed act of a whole log with its truth, in order. Raises ReplayError for one seat's view of a log."""
    deal = next((r for r in records if isinstance(r, Event) and r.kind == "deal"), None)
    if deal is None or deal.data is None:
        raise ReplayError("this log has no deal event: who lies can be told from the moderator's log only")
    roles: list[str] = deal.data["roles"]
    told, out = Told(config), []
    for record in records:
        if isinstance(record, Event):
            told.see(record)
        elif isinstance(record, Decision) and record.kind in SPOKEN:
            for place, act in enumerate(record.action.acts):
                truth = holds(act, record.seat, roles, told)
                out.append(
                    Statement(
                        seq=record.seq,
                        act=place,
                        speaker=record.seat,
                        is_false=None if truth is None else not truth,
                        knows_false=None if truth is None else not could_hold(act, record.seat, told),
                    )
                )
    return out


def holds(act: SpeechAct, speaker: int, roles: Sequence[str], told: Told) -> bool | None:
    """Whether the act's proposition is true; None where it asserts nothing."""
    subject = act.subject
    if act.kind in ("claim_role", "deny"):
        return (roles[speaker] == act.role) == (act.kind == "claim_role")
    if subject is None:
        return None
    if act.kind == "report_inspection":
        return (speaker, subject) in told.inspections and act.role in _names_of(roles[subject])
    if act.kind in ("accuse", "defend"):
        return (roles[subject] == "werewolf") == (act.kind == "accuse")
    return None


def could_hold(act: SpeechAct, speaker: int, told: Told) -> bool:
    """Whether the act's proposition is possible by what its speaker has been told."""
    deck = set(told.deck)
    if act.kind in ("claim_role", "deny"):
        return any(
            told.possible(speaker, speaker, role) and (role == act.role) == (act.kind == "claim_role")
            for role in deck
        )
    if act.subject is None:
        return True
    if act.kind == "report_inspection":
        return (speaker, act.subject) in told.inspections and any(
            act.role in _names_of(role) and told.possible(speaker, act.subject, role) for role in deck
        )
    accused = act.kind == "accuse"
    return any(told.possible(speaker, act.subject, role) and (role == "werewolf") == accused for role in deck)


def _names_of(role: str) -> tuple[str, str, str]:
    """What a report may call a role: the role, its faction, its species."""
    return role, faction_of(role), species_of(role)
