"""The codec between typed speech acts and sentences, under any lexicon: `read(say(acts)) == acts`.

A game's grammar is one sentence for each kind of act. In it `{subject}` is a player's name, `{team}` one or more of
them, `{role}` one of the game's role terms, and every other slot a term of the lexicon.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import msgspec

from games.language.lexicon import Lexicon
from games.records import SpeechAct, SpeechForm


class Grammar(msgspec.Struct, frozen=True):
    """The typed speech acts of a game."""

    forms: dict[str, SpeechForm]
    """How each kind of act is said."""

    def say(self, acts: Sequence[SpeechAct], names: Sequence[str], lex: Lexicon) -> str:
        """The acts as sentences. `names[seat]` is the seat's public name."""
        return " ".join([self._sentence(act, names, lex) for act in acts])

    def _sentence(self, act: SpeechAct, names: Sequence[str], lex: Lexicon) -> str:
        slots = dict(lex.terms)
        if act.subject is not None:
            slots["subject"] = names[act.subject]
        if act.role is not None:
            slots["role"] = lex.terms[act.role]
        slots["team"] = " ".join([names[i] for i in act.team])
        return self.forms[act.kind].sentence.format(**slots)

    def read(self, text: str, names: Sequence[str], lex: Lexicon) -> tuple[SpeechAct, ...]:
        """The typed acts in a text, in order. Sentences that are no act are passed over; the text is not changed.

        A sentence counts when it is whole (from the start of the text or the end of another sentence up to its full
        stop), in the lexicon's words. The case of names and of single letters matters, that of other words does not.
        """
        seats = {name: i for i, name in enumerate(names)}
        keys = lex.keys
        fold = not all(len(word) == 1 for word in keys)
        found = []
        for sentence in re.split(r"(?<=[.!?])", text):
            words = re.findall(r"\w+|[^\w\s]", sentence)
            if len(words) < 3 or words[-1] not in ".!":
                continue
            for kind in self.forms:
                act = self._match(kind, words[:-1], seats, keys, fold)
                if act is not None:
                    found.append(act)
                    break
        return tuple(found)

    def _match(
        self, kind: str, words: list[str], seats: Mapping[str, int], keys: Mapping[str, str], fold: bool
    ) -> SpeechAct | None:
        subject, role, team = None, None, tuple[int, ...]()
        for slot in re.findall(r"\{\w+\}|\w+", self.forms[kind].sentence):
            if not words:
                return None
            word = words[0]
            if slot == "{team}":
                n = next((i for i, w in enumerate(words) if w not in seats), len(words))
                team, words = tuple(sorted({seats[w] for w in words[:n]})), words[n:]
                if not team:
                    return None
                continue
            words = words[1:]
            if slot == "{subject}":
                if word not in seats:
                    return None
                subject = seats[word]
            elif slot.startswith("{"):
                term = keys.get(word) or (keys.get(word.lower()) if fold else None)
                if slot == "{role}" and term in self.forms[kind].roles:
                    role = term
                elif term != slot[1:-1]:
                    return None
            elif word.lower() != slot.lower():
                return None
        return None if words else SpeechAct(kind, subject, role, team)  # type: ignore[arg-type]
