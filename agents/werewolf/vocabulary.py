"""The words of the small models of Werewolf: their vocabulary, frozen with the shipped weights, and its tokenizer.

The index of a word is its token id. Words that existed when the shipped models were trained keep their ids; words added
to the game later follow after all others, so a new term or style changes no id and no shipped model.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from agents.models.small import NUMBERS, PUNCTUATION, SPECIALS, word_tokenizer
from games.werewolf.lexicon import FIRST_TERMS, FUNCTION_WORDS, Lexicon, lexicon

FIRST_FUNCTION_WORDS = (
    "Players Roles You Winner I am the not will says whispers notes skips ends nobody yes no believes is asks"
).split()
"""The function words that all shipped models know."""
PLAYS = "plays"
"""The last word of the question for a player's character, which is answered with the name of a scripted one."""
CHARACTER_WORDS = ("naive", "cautious", "loud", "bluffer", "claimer", "busser", "random")
"""The answers to that question: the characters that the shipped weights were trained on, in the order of their token
ids. Frozen with the weights: a new scripted style has no word here."""


def vocabulary(lexicons: Sequence[Lexicon]) -> list[str]:
    """Every word of the typed language under the given lexicons; the index is the token id."""
    words = [*SPECIALS, *PUNCTUATION, *NUMBERS, *FIRST_FUNCTION_WORDS]
    for lex in lexicons:
        words += [*(lex.terms[term] for term in FIRST_TERMS), *lex.names]
    words += [PLAYS, *CHARACTER_WORDS, *FUNCTION_WORDS]
    for lex in lexicons:
        words += lex.words
    return list(dict.fromkeys(words))


def make_tokenizer(lexicons: Sequence[str] = ("classic",)) -> Any:
    """A word-level tokenizer of the language under the lexicons of these names."""
    return word_tokenizer(vocabulary([lexicon(name) for name in lexicons]))
