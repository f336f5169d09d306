"""The words of the small models of Avalon and their tokenizer. The index of a word is its token id."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from agents.models.small import NUMBERS, PUNCTUATION, SPECIALS, word_tokenizer
from games.avalon.lexicon import FUNCTION_WORDS, lexicon


def make_tokenizer(lexicons: Sequence[str] = ("classic",)) -> Any:
    """A word-level tokenizer of the language under the lexicons of these names."""
    words = [*SPECIALS, *PUNCTUATION, *NUMBERS, *FUNCTION_WORDS]
    for name in lexicons:
        words += lexicon(name).words
    return word_tokenizer(list(dict.fromkeys(words)))
