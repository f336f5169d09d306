"""Typed speech acts in sentences of the AIWolf protocol, such as `DAY 2 (DIVINED Agent[04] WEREWOLF)`.

Only the speaker's own assertions become acts: below AND, BECAUSE and DAY, not below NOT, OR, XOR, REQUEST and
INQUIRE, nor quotations of others. Natural language gets no typed acts.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from games.records import SpeechAct

ASSERTING = {"AND", "BECAUSE"}
SPECIES = {"HUMAN": "human", "WEREWOLF": "werewolf"}
CLAIMS = {
    "VILLAGER": "villager", "SEER": "seer", "MEDIUM": "medium", "BODYGUARD": "doctor", "WEREWOLF": "werewolf",
    "POSSESSED": "possessed",
}  # fmt: skip
_AGENT = r"Agent\[(\d+)\]"
_SENTENCE = re.compile(rf"(?:(?:{_AGENT}|ANY) )?([A-Z]+) (?:{_AGENT}|ANY)(?: ([A-Z]+))?")


def acts_of(text: str, speaker: int, names: Sequence[str]) -> tuple[SpeechAct, ...]:
    """The acts of an utterance in the protocol; none where it is natural language. Agent[01] is seat 0."""
    found: list[SpeechAct] = []
    _collect(text.strip(), speaker, len(names), found)
    return tuple(found)


def _collect(sentence: str, speaker: int, n: int, found: list[SpeechAct]) -> None:
    word, _, rest = sentence.partition(" ")
    if word in ASSERTING:
        for part in _parts(rest):
            _collect(part, speaker, n, found)
    elif word == "DAY":
        for part in _parts(rest.partition(" ")[2]):
            _collect(part, speaker, n, found)
    elif match := _SENTENCE.fullmatch(sentence):
        subject, verb, target, what = match.groups()
        if (
            target is None
            or not 1 <= int(target) <= n
            or (subject is not None and int(subject) - 1 != speaker)
        ):
            return
        act = _act(verb, int(target) - 1, what or "", speaker)
        if act is not None:
            found.append(act)


def _act(verb: str, target: int, what: str, speaker: int) -> SpeechAct | None:
    if verb == "COMINGOUT" and target == speaker and what in CLAIMS:
        return SpeechAct("claim_role", role=CLAIMS[what])
    if verb == "DIVINED" and what in SPECIES:
        return SpeechAct("report_inspection", target, SPECIES[what])
    if verb == "ESTIMATE" and what == "WEREWOLF":
        return SpeechAct("accuse", target)
    if verb == "ESTIMATE" and what in CLAIMS and what != "POSSESSED":
        return SpeechAct("defend", target)
    if verb == "VOTE":
        return SpeechAct("announce_ballot", target)
    return None


def _parts(text: str) -> list[str]:
    """The sentences in the outermost brackets; none where brackets do not close."""
    parts, depth, start = [], 0, 0
    for i, character in enumerate(text):
        if character == "(":
            depth += 1
            start = i + 1 if depth == 1 else start
        elif character == ")":
            depth -= 1
            if depth == 0:
                parts.append(text[start:i])
            elif depth < 0:
                return []
    return parts if depth == 0 else []
