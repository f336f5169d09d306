"""Counts of what has happened in a game of Avalon so far: the public evidence, and one seat's private knowledge.

Both are folds over records and can be extended record by record. Scripted players score seats by them, and the
observer evaluates the same players' policies on them. Choices of one wave count when the wave is complete, so that no
act is scored with evidence that its actor could not have seen.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable

import msgspec
import numpy as np

from games.avalon.config import AvalonConfig
from games.records import NOBODY, Event, Record


class Knowledge(msgspec.Struct):
    """What one seat was told in private."""

    seat: int
    role: str = ""
    known: dict[int, str] = msgspec.field(default_factory=dict)
    """Seats shown to it at the deal: `evil`, or `merlin`."""

    def add(self, record: Record) -> None:
        """Take in one record of the seat's view."""
        if isinstance(record, Event) and record.kind == "role" and record.target == self.seat:
            self.role = record.value or ""
            self.known = {int(i): what for i, what in (record.data or {})["known"].items()}


class Evidence:
    """Public facts of a game up to some record. Matrices are indexed `[actor, target]`, arrays by seat."""

    def __init__(self, config: AvalonConfig) -> None:
        n = self.n = config.n_players
        self.config = config
        self.mission = 0
        self.proposal = 0
        """Which proposal for this mission it is, from 1."""
        self.leader = NOBODY
        self.team: tuple[int, ...] = ()
        """The seats picked so far for the team in question."""
        self.n_successes = 0
        self.n_failures = 0
        """Missions that succeeded, and that failed."""
        self.blame = np.zeros(n)
        """Failures of each mission divided among those who went, by seat."""
        self.clean = np.zeros(n)
        """Missions without a failure in which each seat went."""
        self.shared_blame = np.zeros((n, n))
        """`[viewer, seat]`: additional share of the failures that falls on a seat for a viewer who was in the team."""
        self.accused = np.zeros((n, n))
        self.trusted = np.zeros((n, n))
        self.accused_now = np.zeros(n)
        """Accusations less trust that each seat received since the mission began."""
        self.approved_with = np.zeros((n, n))
        """`[voter, seat]`: votes for teams in which the seat was."""
        self.rejected_with = np.zeros((n, n))
        self.bad_votes = np.zeros(n)
        """Votes for teams that failed, less half of those for teams that succeeded."""
        self.votes = np.full(n, -1)
        """The last vote of each seat, 1 to approve; -1 before the first."""
        self.voted_team: tuple[int, ...] = ()
        """The team of that vote."""
        self.claims: list[str | None] = [None] * n
        """The role that each seat last claimed and has not retracted."""
        self._wave: list[Event] = []

    def copy(self) -> Evidence:
        """A copy that can be extended by itself."""
        other = copy.copy(self)
        for name, value in vars(self).items():
            if isinstance(value, (np.ndarray, list)):  # elements of the lists do not change
                setattr(other, name, value.copy())
        return other

    def add(self, record: Record) -> None:
        """Count one record; private events and decisions change nothing."""
        if not isinstance(record, Event) or record.audience is not None:
            return
        kind, data = record.kind, record.data or {}
        if kind == "phase":
            self.mission = record.day
            self.accused_now[:] = 0
        elif kind == "leader":
            self.leader = NOBODY if record.target is None else record.target
            self.proposal, self.team = int(record.value or 0), ()
        elif kind == "pick" and record.target is not None:
            self.team += (record.target,)
        elif kind == "team":
            self.team = tuple(data["team"])
        elif kind == "vote":
            self._wave.append(record)
            if len(self._wave) == self.n:
                self._count_votes()
        elif kind == "mission":
            self._count_mission(tuple(data["team"]), data["failures"], record.value == "failure")
        elif kind == "speech":
            self._wave.append(record)
            if self.config.discussion != "simultaneous" or len(self._wave) == self.n:
                for speech in self._wave:
                    self._count_speech(speech)
                self._wave = []

    def _count_votes(self) -> None:
        there = np.zeros(self.n)
        there[list(self.team)] = 1
        voted, approve = np.zeros((self.n, 1)), np.zeros((self.n, 1))
        for vote in self._wave:
            if vote.actor is not None:
                voted[vote.actor] = 1
                approve[vote.actor] = self.votes[vote.actor] = vote.value == "approve"
        self.approved_with += approve * there
        self.rejected_with += (voted - approve) * there
        self.voted_team, self._wave = self.team, []

    def _count_mission(self, team: tuple[int, ...], n_failures: int, failed: bool) -> None:
        seats = list(team)
        self.n_failures += failed
        self.n_successes += not failed
        self.bad_votes += (self.votes == 1) * (1.0 if failed else -0.5)
        if not n_failures:
            self.clean[seats] += 1
            return
        share = n_failures / len(seats)
        self.blame[seats] += share
        more = min(n_failures / max(len(seats) - 1, 1), 1.0) - share
        there = np.zeros(self.n)
        there[seats] = more
        self.shared_blame[seats] += there
        self.shared_blame[seats, seats] -= there[seats]

    def _count_speech(self, speech: Event) -> None:
        speaker = speech.actor
        if speaker is None:
            return
        for act in speech.acts:
            if act.kind == "claim_role":
                self.claims[speaker] = act.role
            elif act.kind == "retract":
                self.claims[speaker] = None
            elif act.kind == "accuse" and act.subject is not None:
                self.accused[speaker, act.subject] += 1
                self.accused_now[act.subject] += 1
            elif act.kind == "vouch" and act.subject is not None:
                self.trusted[speaker, act.subject] += 1
                self.accused_now[act.subject] -= 1


def gather(config: AvalonConfig, records: Iterable[Record], seat: int) -> tuple[Evidence, Knowledge]:
    """The public evidence in a seat's view, and what the seat was told in private."""
    seen, me = Evidence(config), Knowledge(seat)
    extend(seen, me, records)
    return seen, me


def extend(seen: Evidence, me: Knowledge, records: Iterable[Record]) -> None:
    """Count the next records of a seat's view."""
    for record in records:
        seen.add(record)
        me.add(record)
