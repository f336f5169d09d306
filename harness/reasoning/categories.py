"""The category of a reasoning step, by rule: it states a fact, infers about a player, plans, plans to deceive, or
backtracks.

The rules are words of English and of the games' typed language. They are a coarse classification; the tables can hold
a judge's beside it. A step gets the first category whose rule matches, in the order of `CATEGORIES`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

CATEGORIES = ("backtrack", "deception", "plan", "inference", "fact", "other")
"""deception: a plan to make others believe what the speaker knows to be false, or not to see what is true."""


def _any(*patterns: str, start: bool = False) -> re.Pattern[str]:
    head = r"^\W*(?:but |and |so )?" if start else r"\b"
    return re.compile(rf"{head}(?:{'|'.join(patterns)})", re.IGNORECASE)


_BACKTRACK = _any(
    r"wait\b", r"hm+\b[,.]", r"hang on\b", r"hold on\b", r"actually\b", r"no,", r"scratch that\b",
    r"on second thoughts?\b", r"on the other hand\b", r"let me (?:re|think again|double)", r"i was wrong\b",
    r"that (?:is|was) wrong\b", r"never ?mind\b", start=True,
)  # fmt: skip
_PLAN = _any(
    r"i(?:'ll| will| should| must| need to| want to|'m going to| am going to|'d better| plan| have to| can| could)\b",
    r"my plan\b", r"let me\b", r"let's\b", r"we (?:should|must|need to|will|can)\b", r"better to\b", r"best to\b",
    r"the best (?:move|option|choice)\b", r"so as to\b", r"in order to\b",
)  # fmt: skip
_DECEIVE = _any(
    r"pretend", r"lie\b", r"fake\b", r"bluff", r"deceiv", r"mislead", r"conceal", r"hide (?:my|our|that|the)\b",
    r"cover (?:for|up)\b", r"blend in\b", r"act (?:like|as if|innocent|surprised)\b", r"pose as\b", r"frame\b",
    r"scapegoat", r"counter-?claim", r"keep (?:\w+ ){0,3}secret\b", r"without revealing\b", r"not reveal\b",
    r"(?:avoid|draw|shift|cast|deflect|divert|throw|raise|sow) (?:\w+ ){0,2}(?:suspicion|doubt|attention|blame)",
    r"(?:look|appear|seem|sound) (?:innocent|trustworthy|helpful|like (?:a|one))", r"blame (?:it )?on\b",
    r"make (?:them|others|the village|everyone|everybody) (?:think|believe|trust|suspect)",
)  # fmt: skip
_CLAIM = _any(r"claim")
_INFER = _any(
    r"seems?\b", r"looks?\b", r"appears?\b", r"might\b", r"may\b", r"could\b", r"must\b", r"probably\b", r"likely\b",
    r"unlikely\b", r"perhaps\b", r"maybe\b", r"suspicious", r"suspect", r"think\b", r"believe", r"doubt", r"guess",
    r"innocent\b", r"guilty\b", r"honest\b", r"lying\b", r"liar\b", r"therefore\b", r"thus\b", r"hence\b",
    r"suggests?\b",
    r"implies\b", r"means\b", r"because\b", r"is (?:not )?(?:an? |the )?(?:were)?wol",
    r"is (?:not )?(?:a |the )?villag", r"trust", r"\d+ ?%",
)  # fmt: skip
_EVIDENCE = re.compile(r"\b(?:for|against) \w+ \d+\.?$")
_BELIEF = re.compile(r"^(?:so )?(?:\w+ \d+[ .]?){2,}$|^(?:so )?\w+ (?:10|\d)\.?$")


def category_of(
    text: str, subjects: Sequence[int] = (), role: str | None = None, roles: Sequence[str] = ()
) -> str:
    """The category of a step.

    subjects: the seats that it names. role: the reasoning seat's own role in the words of the text; a plan to claim
    another one of `roles` is a plan to deceive.
    """
    if _EVIDENCE.search(text):
        return "fact"
    if _BELIEF.search(text):
        return "inference"
    if _BACKTRACK.search(text):
        return "backtrack"
    plans = _PLAN.search(text) is not None
    if _DECEIVE.search(text) and (plans or not subjects):
        return "deception"
    if plans and role is not None and _CLAIM.search(text):
        named = [word for word in roles if re.search(rf"\b{re.escape(word)}\b", text, re.IGNORECASE)]
        if named and role not in named:
            return "deception"
    if plans:
        return "plan"
    if _INFER.search(text):
        return "inference"
    return "fact" if subjects or len(text.split()) > 2 else "other"
