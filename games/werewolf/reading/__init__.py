"""What is known from a log of Werewolf, event by event: each seat's knowledge by the rules, and public counts.

from games.werewolf.reading import Reading     # games.statements.Reading
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import ClassVar

from games.records import Event, Record, SpeechAct
from games.werewolf import truth
from games.werewolf.config import WerewolfConfig
from games.werewolf.reading.counts import PUBLIC, PublicCounts
from games.werewolf.reading.knowledge import Knowledge
from games.werewolf.roles import faction_of, species_of


class Reading(Knowledge):
    """What every seat knows by the rules, and the public counts."""

    features = PUBLIC
    spoken = truth.SPOKEN
    foretold: ClassVar[Mapping[str, str]] = {}

    def __init__(self, config: WerewolfConfig) -> None:
        super().__init__(config)
        self.public = PublicCounts.empty(len(self.deck))

    def see(self, event: Event) -> None:
        """Take in the next event of the log."""
        super().see(event)
        self.public.add(event)

    def counts(self, subject: int, viewer: int) -> dict[str, int]:
        """The counts of `features` about a subject; the last four concern the viewer's own relations."""
        return self.public.features(subject, viewer)

    def holds(self, act: SpeechAct, speaker: int, roles: Sequence[str]) -> bool | None:
        """Whether the act's proposition is true; None where it asserts nothing."""
        return truth.holds(act, speaker, roles, self)

    def p_of(self, act: SpeechAct, speaker: int) -> float | None:
        """Probability of the act's proposition given what the speaker knows by the rules; None where there is none."""
        if act.kind in ("claim_role", "deny"):
            own = self.posterior(speaker)[speaker].get(act.role or "", 0.0)
            return own if act.kind == "claim_role" else 1 - own
        if act.subject is None:
            return None
        if act.kind == "report_inspection":
            if (speaker, act.subject) not in self.inspections:
                return 0.0  # the speaker knows whom it has inspected
            posterior = self.posterior(speaker)[act.subject]
            return sum(
                p for role, p in posterior.items() if act.role in (role, faction_of(role), species_of(role))
            )
        if act.kind in ("accuse", "defend"):
            p = self.p_werewolf(speaker, act.subject)
            return p if act.kind == "accuse" else 1 - p
        return None

    def withheld(self, seat: int, told: Collection[int]) -> bool:
        """Whether the seat has found a living werewolf and not reported on it. told: subjects of its reports."""
        return any(
            seer == seat and value == "werewolf" and subject in self.living and subject not in told
            for (seer, subject), value in self.inspections.items()
        )

    def outcomes(self, records: Sequence[Record]) -> dict[str, dict[int, bool]]:
        """Nothing is foretold."""
        return {}
