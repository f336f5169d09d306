"""What is known from a log of Avalon, event by event: each seat's knowledge by the rules, and public counts."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import ClassVar

import numpy as np

from games.avalon.config import AvalonConfig
from games.avalon.roles import ROLES
from games.avalon.truth import SPOKEN, Told, proposition
from games.records import NOBODY, Decision, Event, Record, SpeechAct

FEATURES = (
    "spoke", "led", "on_team", "went", "went_failed", "went_succeeded", "approved", "rejected",
    "approved_failed", "approved_succeeded", "rejected_failed", "rejected_succeeded",  # of the teams that went
    "accused", "vouched", "was_accused", "was_vouched", "claimed_merlin", "claimed_other", "denied", "suggested",
    "mission", "proposal", "n_failed", "n_succeeded",  # the same for all subjects
    "against_viewer", "for_viewer", "viewer_against", "viewer_for", "went_with_viewer", "failed_with_viewer",
)  # fmt: skip
"""Counts of public events alone, up to the decision."""


class Reading(Told):
    """What every seat knows by the rules, and the public counts (`games.statements.Reading`)."""

    features = FEATURES
    spoken = SPOKEN
    foretold: ClassVar[Mapping[str, str]] = {
        "next_team_fails": "Will the mission of the team that is voted on fail? Asked at the votes for teams that went."
    }

    def __init__(self, config: AvalonConfig) -> None:
        super().__init__(config)
        n = len(self.deck)
        self.living = tuple(range(n))
        """Nobody leaves the game before its end."""
        self._made = {name: [0] * n for name in FEATURES}
        self._all = dict.fromkeys(("mission", "proposal", "n_failed", "n_succeeded"), 0)
        self._against, self._backing = ([[0] * n for _ in range(n)] for _ in range(2))
        self._went: list[tuple[tuple[int, ...], bool]] = []
        self._on_team: tuple[int, ...] = ()
        self._posteriors: dict[int, tuple[dict[str, float], ...]] = {}

    def see(self, event: Event) -> None:
        """Take in the next event of the log."""
        super().see(event)
        if event.kind in ("role", "mission"):
            self._posteriors = {}
        if event.audience is not None:
            return
        made, data = self._made, event.data or {}
        if event.kind == "phase":
            self._all["mission"] = event.day
        elif event.kind == "leader" and event.target is not None and event.target != NOBODY:
            made["led"][event.target] += 1
            self._all["proposal"], self._on_team = int(event.value or 0), ()
        elif event.kind == "pick" and event.target is not None:
            self._on_team += (event.target,)
        elif event.kind == "team":
            self._on_team = tuple(data["team"])
        elif event.kind == "vote" and event.actor is not None:
            made["approved" if event.value == "approve" else "rejected"][event.actor] += 1
        elif event.kind == "mission":
            self._count_mission(tuple(data["team"]), event.value == "failure", data["failures"] > 0)
        elif event.kind == "speech" and event.actor is not None:
            made["spoke"][event.actor] += 1
            for act in event.acts:
                self._count_act(event.actor, act)

    def _count_mission(self, team: tuple[int, ...], failed: bool, blamed: bool) -> None:
        how = "failed" if failed else "succeeded"
        self._all[f"n_{how}"] += 1
        self._went.append((team, blamed))
        for seat in team:
            self._made["went"][seat] += 1
            self._made["went_failed" if blamed else "went_succeeded"][seat] += 1
        for seat, vote in enumerate(self.votes):
            if vote is not None:
                self._made[f"{'approved' if vote == 'approve' else 'rejected'}_{how}"][seat] += 1

    def _count_act(self, actor: int, act: SpeechAct) -> None:
        made, subject = self._made, act.subject
        if act.kind == "claim_role":
            made["claimed_merlin" if act.role == "merlin" else "claimed_other"][actor] += 1
        elif act.kind == "deny":
            made["denied"][actor] += 1
        elif act.kind == "suggest_team":
            made["suggested"][actor] += 1
        elif act.kind in ("accuse", "vouch") and subject is not None:
            said, heard = ("accused", "was_accused") if act.kind == "accuse" else ("vouched", "was_vouched")
            made[said][actor] += 1
            made[heard][subject] += 1
            (self._against if act.kind == "accuse" else self._backing)[actor][subject] += 1

    def posterior(self, viewer: int) -> tuple[dict[str, float], ...]:
        """For each seat, the probability of each role by what the viewer knows: deals that fit are equally likely."""
        if viewer not in self._posteriors:
            fitting = self.worlds[self.possible[viewer]]
            self._posteriors[viewer] = tuple(
                {
                    ROLES[role]: float(n) / len(fitting)
                    for role, n in zip(*np.unique(fitting[:, seat], return_counts=True), strict=True)
                }
                for seat in range(len(self.deck))
            )
        return self._posteriors[viewer]

    def counts(self, subject: int, viewer: int) -> dict[str, int]:
        """The counts of `features` about a subject; the last six concern the viewer's own relations."""
        together = [blamed for team, blamed in self._went if subject in team and viewer in team]
        own = {
            "on_team": int(subject in self._on_team),
            "against_viewer": self._against[subject][viewer], "for_viewer": self._backing[subject][viewer],
            "viewer_against": self._against[viewer][subject], "viewer_for": self._backing[viewer][subject],
            "went_with_viewer": len(together), "failed_with_viewer": sum(together),
        }  # fmt: skip
        return {name: own.get(name, self._all.get(name, self._made[name][subject])) for name in FEATURES}

    def holds(self, act: SpeechAct, speaker: int, roles: Sequence[str]) -> bool | None:
        """Whether the act's proposition is true; None where it asserts nothing."""
        claim = proposition(act, speaker, self)
        if claim is None:
            return None
        return bool(claim(np.array([[ROLES.index(role) for role in roles]], dtype=np.int8))[0])

    def p_of(self, act: SpeechAct, speaker: int) -> float | None:
        """Probability of the act's proposition given what the speaker knows by the rules; None where there is none."""
        claim = proposition(act, speaker, self)
        return None if claim is None else float(claim(self.worlds[self.possible[speaker]]).mean())

    def withheld(self, seat: int, told: Collection[int]) -> bool:
        """Nobody has a result of its own that speech could report."""
        return False

    def outcomes(self, records: Sequence[Record]) -> dict[str, dict[int, bool]]:
        """For every vote for a team that went: whether the mission failed."""
        found: dict[int, bool] = {}
        votes: list[int] = []
        for record in records:
            if isinstance(record, Decision) and record.kind == "vote":
                votes.append(record.seq)
            elif isinstance(record, Event) and record.kind == "mission":
                found |= dict.fromkeys(votes, record.value == "failure")
            elif isinstance(record, Event) and record.kind == "leader":
                votes = []
        return {"next_team_fails": found}
