"""What is said, turned into its opposite about one player, and words that say nothing."""

from __future__ import annotations

from collections.abc import Sequence

from games.records import SpeechAct

FILLER = ("I", "will", "not")
"""Words of filler, said again and again: function words of every lexicon, and no typed act."""


def flipped(acts: Sequence[SpeechAct], subject: int) -> tuple[SpeechAct, ...]:
    """The acts with what they claim of the subject turned into its opposite; others as they are."""
    return tuple(_flip(act) if act.subject == subject else act for act in acts)


def _flip(act: SpeechAct) -> SpeechAct:
    if act.kind == "accuse":
        return SpeechAct("defend", act.subject)
    if act.kind in ("defend", "vouch"):
        return SpeechAct("accuse", act.subject)
    if act.kind == "report_inspection":
        role = {"werewolf": "villager", "village": "werewolf", "human": "werewolf"}.get(
            act.role or "", "werewolf"
        )
        return SpeechAct("report_inspection", act.subject, role)
    return act
