"""The beliefs that a reasoning states at its end: P(werewolf) of each player that it judges."""

from __future__ import annotations

import re
from collections.abc import Sequence

from harness.reasoning.changes import accuses
from harness.reasoning.steps import Step

AGAINST, IN_FAVOUR = 0.85, 0.15
"""Probabilities assigned to a stance given only in words."""
_STANCE = re.compile(
    r"\b(?:were)?wol(?:f|ves)\b|suspicious|suspect|lying|liar|guilty|accus|innocent|villager|trust|honest|defend|vouch",
    re.IGNORECASE,
)
_FOR = re.compile(r"innocent|villager|trust|honest|defend|vouch", re.IGNORECASE)


def written_belief(steps: Sequence[Step], names: Sequence[str]) -> dict[int, float]:
    """Seat -> P(werewolf) from the last step that states one: `Ben 7` in tenths or `Ben: 70%`; else by its words
    (`Ben is suspicious`), as `AGAINST` or `IN_FAVOUR`."""
    found: dict[int, float] = {}
    for step in steps:
        for seat in step.subjects:
            stated = _stated(step.text, names[seat])
            if stated is not None:
                found[seat] = stated
            elif len(step.subjects) == 1 and _STANCE.search(step.text):
                found[seat] = AGAINST if _against(step.text) else IN_FAVOUR
    return found


def _against(text: str) -> bool:
    if accuses(text) or not _FOR.search(text):
        return accuses(text)
    return re.search(r"\bnot\b|n't\b", text) is not None


def _stated(text: str, name: str) -> float | None:
    percent = re.search(rf"\b{re.escape(name)}\b[^.;\n%]{{0,30}}?\b(\d{{1,3}}) ?%", text)
    if percent is not None and int(percent[1]) <= 100:
        return int(percent[1]) / 100
    tenths = re.search(rf"(?<!for )(?<!against )\b{re.escape(name)} (10|\d)\b(?! ?%|\.\d)", text)
    return int(tenths[1]) / 10 if tenths is not None else None
