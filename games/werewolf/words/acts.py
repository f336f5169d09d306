"""The codec between typed speech acts and sentences, under any lexicon: `read(say(acts)) == acts`."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import lru_cache

from games.records import SpeechAct
from games.werewolf.lexicon import Lexicon
from games.werewolf.roles import ROLE_TERMS

SENTENCES: dict[str, str] = {
    "claim_role": "I am the {role}.",
    "report_inspection": "I {inspected} {subject} {role}.",
    "accuse": "I {accuse} {subject}.",
    "defend": "I {defend} {subject}.",
    "announce_ballot": "I will {vote} {subject}.",
    "deny": "I am not the {role}.",
    "question": "I {question} {subject}.",
    "retract": "I {retract}.",
}
"""The sentence of each kind of act; `{subject}` is a player's name, every other slot a term of the lexicon."""


def say(acts: Sequence[SpeechAct], names: Sequence[str], lex: Lexicon) -> str:
    """The acts as sentences. `names[seat]` is the seat's public name."""
    out = []
    for act in acts:
        slots = dict(lex.terms)
        if act.subject is not None:
            slots["subject"] = names[act.subject]
        if act.role is not None:
            slots["role"] = lex.terms[act.role]
        out.append(SENTENCES[act.kind].format(**slots))
    return " ".join(out)


def read(text: str, names: Sequence[str], lex: Lexicon) -> tuple[SpeechAct, ...]:
    """The typed acts in a text, in order. Sentences that are no act are passed over; the text is not changed.

    A sentence counts when it is whole (from the start of the text or the end of another sentence up to its full stop),
    in the lexicon's words. Case matters for names only, and only in lexicons of single letters for terms too.
    """
    seats = {name: i for i, name in enumerate(names)}
    keys = lex.keys
    single = all(len(word) == 1 for word in keys)
    found = []
    for words in _sentences(_tokens(tuple(names)).findall(text)):
        if len(words) < 3 or words[-1] not in ".!":
            continue
        for kind, template in SENTENCES.items():
            act = _match(kind, template, words, seats, keys, fold=not single)
            if act is not None:
                found.append(act)
                break
    return tuple(found)


@lru_cache(maxsize=256)
def _tokens(names: tuple[str, ...]) -> re.Pattern[str]:
    """Words and single marks; a name that is more than one word (`Player 1`, `gemini-2.5-pro`) is one word all the
    same, the longest first."""
    odd = sorted((n for n in names if not re.fullmatch(r"\w+", n)), key=len, reverse=True)
    first = f"(?<!\\w)(?:{'|'.join(map(re.escape, odd))})(?!\\w)|" if odd else ""
    return re.compile(rf"{first}\w+|[^\w\s]")


def first_word(text: str, names: Sequence[str]) -> re.Match[str] | None:
    """The word or name that a text begins with, as group 1, and the rest, as group 2."""
    odd = sorted((n for n in names if not re.fullmatch(r"\w+", n)), key=len, reverse=True)
    first = f"(?:{'|'.join(map(re.escape, odd))})(?!\\w)|" if odd else ""
    return re.match(rf"({first}\w+)\s*(.*)", text, re.DOTALL)


def _sentences(words: Sequence[str]) -> Iterator[list[str]]:
    """Whole sentences: each with the mark that ends it."""
    sentence: list[str] = []
    for word in words:
        sentence.append(word)
        if word in (".", "!", "?"):
            yield sentence
            sentence = []


def _match(
    kind: str, template: str, words: list[str], seats: dict[str, int], keys: dict[str, str], fold: bool
) -> SpeechAct | None:
    slots = re.findall(r"\{\w+\}|\w+|[^\w\s]", template)
    if len(slots) != len(words):
        return None
    subject: int | None = None
    role: str | None = None
    for slot, word in zip(slots[:-1], words[:-1], strict=True):
        if slot == "{subject}":
            if word not in seats:
                return None
            subject = seats[word]
        elif slot.startswith("{"):
            term = keys.get(word) or (keys.get(word.lower()) if fold else None)
            if slot == "{role}":
                if term not in ROLE_TERMS:
                    return None
                role = term
            elif term != slot[1:-1]:
                return None
        elif word.lower() != slot.lower():
            return None
    return SpeechAct(kind=kind, subject=subject, role=role)  # type: ignore[arg-type]
