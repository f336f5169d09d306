"""What is public about each player, counted up to a moment: the evidence that any reader of the table talk
has.

These counts feed the public-event baseline. A probe that does no better has shown nothing about a model
of others.
"""

from __future__ import annotations

from games.records import NOBODY, Event

PUBLIC = (
    "spoke", "accused", "defended", "questioned", "announced", "voted", "abstained",  # done by the subject
    "was_accused", "was_defended", "was_questioned", "was_announced", "was_voted", "was_accused_today",  # to it
    "claimed_seer", "claimed_villager", "claimed_other", "denied", "retracted",
    "reported_werewolf", "reported_other", "was_reported_werewolf", "was_reported_other", "rival_claims",
    "against_village", "against_werewolf", "for_village", "for_werewolf",  # towards players since revealed
    "hit_by_village", "hit_by_werewolf", "backed_by_werewolf", "voted_with_majority",
    "against_viewer", "for_viewer", "viewer_against", "viewer_for",
)  # fmt: skip
"""The features, counts all: up to the decision, of public events alone."""


class PublicRecord:
    """The public events of one game, folded in order."""

    def __init__(self, n: int) -> None:
        """`n` seats."""
        self.n = n
        self.made: dict[str, list[int]] = {}
        self.received: dict[str, list[int]] = {}
        self.against = [[0] * n for _ in range(n)]  # accusations, announcements, ballots: [actor][target]
        self.backing = [[0] * n for _ in range(n)]
        self.today = [0] * n
        self.claims: list[str | None] = [None] * n
        self.revealed: dict[int, bool] = {}  # seat -> was a werewolf
        self._ballots: dict[int, int] = {}

    def see(self, event: Event) -> None:
        """Takes in the next event; private ones change nothing."""
        if event.audience is not None:
            return
        actor, target = event.actor, event.target
        if event.kind == "phase":
            self.today, self._ballots = [0] * self.n, {}
        elif event.kind in ("speech", "last_words") and actor is not None:
            self._count(self.made, "spoke", actor)
            for act in event.acts:
                self._act(actor, act.kind, act.subject, act.role)
        elif event.kind == "ballot" and actor is not None and target is not None:
            self._ballots[actor] = target
            if target == NOBODY:
                self._count(self.made, "abstained", actor)
            else:
                self._count(self.made, "voted", actor)
                self._count(self.received, "voted", target)
                self.against[actor][target] += 1
        elif event.kind in ("death", "exile", "shoot") and target is not None and target != NOBODY:
            if event.kind == "exile":
                for seat, choice in self._ballots.items():
                    if choice == target:
                        self._count(self.made, "with_majority", seat)
            if event.value is not None:
                self.revealed[target] = event.value == "werewolf"

    def _count(self, table: dict[str, list[int]], what: str, seat: int) -> None:
        table.setdefault(what, [0] * self.n)[seat] += 1

    def _act(self, actor: int, kind: str, subject: int | None, role: str | None) -> None:
        if kind == "report_inspection":
            kind = "report_werewolf" if role == "werewolf" else "report_other"
        self._count(self.made, kind, actor)
        if kind == "claim_role":
            self.claims[actor] = role
        elif kind == "retract":
            self.claims[actor] = None
        elif kind.startswith("report") and self.claims[actor] is None:
            self.claims[actor] = "seer"
        if subject is None:
            return
        self._count(self.received, kind, subject)
        if kind in ("accuse", "announce_ballot", "report_werewolf"):
            self.against[actor][subject] += 1
            self.today[subject] += 1
        elif kind in ("defend", "report_other"):
            self.backing[actor][subject] += 1

    def features(self, subject: int, viewer: int) -> dict[str, int]:
        """The counts of `PUBLIC` about `subject`, as public to all; the last four concern the viewer's own
        relations.
        """

        def made(what: str) -> int:
            return self.made[what][subject] if what in self.made else 0

        def got(what: str) -> int:
            return self.received[what][subject] if what in self.received else 0

        wolves = [seat for seat, wolf in self.revealed.items() if wolf]
        village = [seat for seat, wolf in self.revealed.items() if not wolf]
        claim = self.claims[subject]
        rivals = sum(c == claim for c in self.claims) - 1 if claim not in (None, "villager") else 0
        values = (
            made("spoke"), made("accuse"), made("defend"), made("question"), made("announce_ballot"), made("voted"),
            made("abstained"), got("accuse"), got("defend"), got("question"), got("announce_ballot"), got("voted"),
            self.today[subject], int(claim == "seer"), int(claim == "villager"),
            int(claim not in (None, "seer", "villager")), made("deny"), made("retract"), made("report_werewolf"),
            made("report_other"), got("report_werewolf"), got("report_other"), rivals,
            sum(self.against[subject][j] for j in village), sum(self.against[subject][j] for j in wolves),
            sum(self.backing[subject][j] for j in village), sum(self.backing[subject][j] for j in wolves),
            sum(self.against[j][subject] for j in village), sum(self.against[j][subject] for j in wolves),
            sum(self.backing[j][subject] for j in wolves), made("with_majority"),
            self.against[subject][viewer], self.backing[subject][viewer],
            self.against[viewer][subject], self.backing[viewer][subject],
        )  # fmt: skip
        return dict(zip(PUBLIC, values, strict=True))
