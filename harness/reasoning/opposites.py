"""Inverting a claim about one player, and filler words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from games.records import SpeechAct

FILLER = ("I", "will", "not")
"""Words of filler, said again and again: function words of every lexicon, and no typed act."""


def flipped(text: Any, acts: Sequence[SpeechAct], subject: int) -> tuple[SpeechAct, ...]:
    """The acts with their claims about the subject inverted; others unchanged. text: the game's
    (`games.text.Text`)."""
    return tuple(text.opposite(act) if act.subject == subject else act for act in acts)
