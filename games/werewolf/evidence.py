"""Counts of what has happened in a game of Werewolf so far: the public evidence, and one seat's private knowledge.

Both are folds over records and can be extended record by record. Scripted players score seats by them, and the
observer evaluates the same players' policies on them.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Self

import msgspec

from games.records import NOBODY, Event, Record
from games.werewolf.config import WerewolfConfig
from games.werewolf.roles import species_of

WOLF_VALUES = ("werewolf",)


def square(n: int) -> list[list[int]]:
    """Zeros `[actor][target]` of `n` seats."""
    return [[0] * n for _ in range(n)]


class Evidence(msgspec.Struct):
    """Public facts of a game up to some record. Matrices are indexed `[actor][target]`, lists by seat."""

    n: int
    day: int = 0
    alive: list[bool] = msgspec.field(default_factory=list)
    accusations: list[list[int]] = msgspec.field(default_factory=list)
    """How often actor accused target, or announced a vote against it."""
    defences: list[list[int]] = msgspec.field(default_factory=list)
    questions: list[list[int]] = msgspec.field(default_factory=list)
    ballots: list[list[int]] = msgspec.field(default_factory=list)
    """Public ballots cast."""
    today: list[int] = msgspec.field(default_factory=list)
    """Accusations that each seat received since the day began."""
    claims: list[str | None] = msgspec.field(default_factory=list)
    """The role that each seat last claimed and has not retracted."""
    reports: dict[int, dict[int, bool]] = msgspec.field(default_factory=dict)
    """reporter -> subject -> reported to be a werewolf."""
    revealed: list[str | None] = msgspec.field(default_factory=list)
    """The role (or faction, or species) that everyone was shown of each seat."""

    @classmethod
    def empty(cls, n: int) -> Self:
        """Nothing seen yet, `n` seats."""
        return cls(
            n=n,
            alive=[True] * n,
            accusations=square(n),
            defences=square(n),
            questions=square(n),
            ballots=square(n),
            today=[0] * n,
            claims=[None] * n,
            revealed=[None] * n,
        )

    def copy(self) -> Self:
        """A copy that can be extended by itself; `copy.deepcopy` takes many times as long."""
        return type(self)(*(_copied(getattr(self, name)) for name in self.__struct_fields__))

    def add(self, record: Record) -> None:
        """Count one record; private events and decisions change nothing."""
        if not isinstance(record, Event) or record.audience is not None:
            return
        kind, actor, target = record.kind, record.actor, record.target
        if kind == "phase":
            self.day = record.day
            self.today = [0] * self.n
        elif kind in ("death", "exile", "shoot"):
            if target is not None and target != NOBODY:
                self.alive[target] = False
                self.revealed[target] = record.value
        elif kind == "ballot" and actor is not None and target is not None:
            if target != NOBODY:
                self.ballots[actor][target] += 1
        elif kind in ("speech", "last_words") and actor is not None:
            for act in record.acts:
                subject = act.subject
                if act.kind == "claim_role":
                    self.claims[actor] = act.role
                elif act.kind == "retract":
                    self.claims[actor] = None
                    self.reports.pop(actor, None)
                elif subject is None:
                    continue
                elif act.kind in ("accuse", "announce_ballot"):
                    self.accusations[actor][subject] += 1
                    self.today[subject] += 1
                elif act.kind == "defend":
                    self.defences[actor][subject] += 1
                elif act.kind == "question":
                    self.questions[actor][subject] += 1
                elif act.kind == "report_inspection":
                    self.reports.setdefault(actor, {})[subject] = act.role in WOLF_VALUES


def _copied(value: Any) -> Any:
    """A copy of a field's value, with its own lists and dicts; immutable elements are shared."""
    if isinstance(value, list):
        return [list(row) if isinstance(row, list) else row for row in value]
    if isinstance(value, dict):
        return {key: dict(row) if isinstance(row, dict) else row for key, row in value.items()}
    return value


class Knowledge(msgspec.Struct, frozen=True):
    """What one seat was told in private: the information set on which a scripted policy depends."""

    seat: int
    role: str
    partners: tuple[int, ...] = ()
    """Other seats of the same kind that it knows (werewolves, masons)."""
    results: tuple[tuple[int, bool], ...] = ()
    """(subject, is a werewolf) of its own inspections, oldest first; inspected roles count by species."""


def gather(config: WerewolfConfig, records: Iterable[Record], seat: int) -> tuple[Evidence, Knowledge]:
    """Public evidence and private knowledge of a seat from the records that it may see."""
    evidence = Evidence.empty(config.n_players)
    role = ""
    partners: tuple[int, ...] = ()
    results: list[tuple[int, bool]] = []
    for record in records:
        evidence.add(record)
        if isinstance(record, Event) and record.audience is not None and seat in record.audience:
            if record.kind == "role":
                role = record.value or ""
                partners = tuple(int(i) for i in (record.data or {}).get("known", {}))
            elif record.kind == "inspect" and record.target is not None:
                wolf = record.value == "werewolf" or species_of(record.value or "") == "werewolf"
                results.append((record.target, wolf))
    return evidence, Knowledge(seat, role, partners, tuple(results))
