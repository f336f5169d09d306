"""Public counts about each player up to a moment: the evidence that every reader of the table talk has.

These counts feed the public-event baseline. A probe that does no better has shown nothing about a model
of others.
"""

from __future__ import annotations

from typing import Self

import msgspec

from games.records import NOBODY, Event, Record
from games.werewolf.evidence import WOLF_VALUES, Evidence, square

PUBLIC = (
    "spoke", "accused", "defended", "questioned", "announced", "voted", "abstained",  # done by the subject
    "was_accused", "was_defended", "was_questioned", "was_announced", "was_voted", "was_accused_today",  # to it
    "claimed_seer", "claimed_villager", "claimed_other", "denied", "retracted",
    "reported_werewolf", "reported_other", "was_reported_werewolf", "was_reported_other", "rival_claims",
    "against_village", "against_werewolf", "for_village", "for_werewolf",  # towards players since revealed
    "hit_by_village", "hit_by_werewolf", "backed_by_werewolf", "voted_with_majority",
    "against_viewer", "for_viewer", "viewer_against", "viewer_for",
)  # fmt: skip
"""The features: counts of public events up to the decision."""


class PublicCounts(Evidence):
    """The public evidence of one game, and counts of further acts, which scripted players do not use.

    Matrices are indexed `[actor][target]`, lists by seat."""

    spoke: list[int] = msgspec.field(default_factory=list)
    """Public speeches and last words."""
    denied: list[int] = msgspec.field(default_factory=list)
    retracted: list[int] = msgspec.field(default_factory=list)
    abstained: list[int] = msgspec.field(default_factory=list)
    with_majority: list[int] = msgspec.field(default_factory=list)
    """Ballots against a seat that they exiled."""
    announced: list[list[int]] = msgspec.field(default_factory=list)
    """Votes announced, which `accusations` count too."""
    reported_werewolf: list[list[int]] = msgspec.field(default_factory=list)
    """Reports that the target is a werewolf, each time that one was made."""
    reported_other: list[list[int]] = msgspec.field(default_factory=list)
    reported_today: list[int] = msgspec.field(default_factory=list)
    """Reports of each seat as a werewolf since the day began."""
    cast: dict[int, int] = msgspec.field(default_factory=dict)
    """Voter -> whom the last of its ballots today was against."""
    about: dict[int, tuple[int, ...]] = msgspec.field(default_factory=dict)
    """Subject -> its counts that are the same to every viewer, kept until the next public event."""

    @classmethod
    def empty(cls, n: int) -> Self:
        """Nothing seen yet, `n` seats."""
        counts = super().empty(n)
        counts.spoke, counts.denied, counts.retracted = [0] * n, [0] * n, [0] * n
        counts.abstained, counts.with_majority, counts.reported_today = [0] * n, [0] * n, [0] * n
        counts.announced, counts.reported_werewolf, counts.reported_other = square(n), square(n), square(n)
        return counts

    def add(self, record: Record) -> None:
        """Count one record; private events and decisions change nothing."""
        if not isinstance(record, Event) or record.audience is not None:
            return
        super().add(record)
        self.about = {}
        kind, actor, target = record.kind, record.actor, record.target
        if kind == "phase":
            self.reported_today, self.cast = [0] * self.n, {}
        elif kind == "ballot" and actor is not None and target is not None:
            self.cast[actor] = target
            self.abstained[actor] += target == NOBODY
        elif kind == "exile" and target is not None and target != NOBODY:
            for seat, choice in self.cast.items():
                self.with_majority[seat] += choice == target
        elif kind in ("speech", "last_words") and actor is not None:
            self.spoke[actor] += 1
            for act in record.acts:
                subject = act.subject
                if act.kind == "deny":
                    self.denied[actor] += 1
                elif act.kind == "retract":
                    self.retracted[actor] += 1
                elif subject is None:
                    continue
                elif act.kind == "announce_ballot":
                    self.announced[actor][subject] += 1
                elif act.kind == "report_inspection":
                    wolf = act.role in WOLF_VALUES
                    (self.reported_werewolf if wolf else self.reported_other)[actor][subject] += 1
                    self.reported_today[subject] += wolf

    def claim(self, seat: int) -> str | None:
        """The role that a seat claims: whoever reports an inspection claims to be the seer where it claims nothing."""
        said = self.claims[seat]
        return "seer" if said is None and self.reports.get(seat) else said

    def against(self, actor: int, target: int) -> int:
        """Accusations, announced votes, ballots and reports of a werewolf."""
        said = self.accusations[actor][target] + self.reported_werewolf[actor][target]
        return said + self.ballots[actor][target]

    def backing(self, actor: int, target: int) -> int:
        """Defences and reports of no werewolf."""
        return self.defences[actor][target] + self.reported_other[actor][target]

    def features(self, subject: int, viewer: int) -> dict[str, int]:
        """The counts of `PUBLIC` about `subject`, as public to all; the last four concern the viewer's own
        relations.
        """
        if subject not in self.about:
            self.about[subject] = self._about(subject)
        own = (
            self.against(subject, viewer), self.backing(subject, viewer),
            self.against(viewer, subject), self.backing(viewer, subject),
        )  # fmt: skip
        return dict(zip(PUBLIC, self.about[subject] + own, strict=True))

    def _about(self, subject: int) -> tuple[int, ...]:
        def made(table: list[list[int]]) -> int:
            return sum(table[subject])

        def got(table: list[list[int]]) -> int:
            return sum(row[subject] for row in table)

        wolves = [seat for seat, shown in enumerate(self.revealed) if shown == "werewolf"]
        village = [seat for seat, shown in enumerate(self.revealed) if shown not in (None, "werewolf")]
        claims = [self.claim(seat) for seat in range(self.n)]
        claim = claims[subject]
        rivals = claims.count(claim) - 1 if claim not in (None, "villager") else 0
        return (
            self.spoke[subject], made(self.accusations) - made(self.announced), made(self.defences),
            made(self.questions), made(self.announced), made(self.ballots), self.abstained[subject],
            got(self.accusations) - got(self.announced), got(self.defences), got(self.questions), got(self.announced),
            got(self.ballots), self.today[subject] + self.reported_today[subject],
            int(claim == "seer"), int(claim == "villager"), int(claim not in (None, "seer", "villager")),
            self.denied[subject], self.retracted[subject], made(self.reported_werewolf), made(self.reported_other),
            got(self.reported_werewolf), got(self.reported_other), rivals,
            sum(self.against(subject, j) for j in village), sum(self.against(subject, j) for j in wolves),
            sum(self.backing(subject, j) for j in village), sum(self.backing(subject, j) for j in wolves),
            sum(self.against(j, subject) for j in village), sum(self.against(j, subject) for j in wolves),
            sum(self.backing(j, subject) for j in wolves), self.with_majority[subject],
        )  # fmt: skip
