"""The words of the small thinking model: those of the small model in their places, then those of a thought."""

from __future__ import annotations

from typing import Any

from agents.llm.written.line import WORDS
from agents.models.folder import load_tokenizer
from agents.models.small import SMALL_MODEL, word_tokenizer
from agents.werewolf.vocabulary import vocabulary
from games.werewolf.lexicon import lexicon as load_lexicon


def make_tokenizer(lexicon: str = "classic") -> Any:
    """The tokenizer: all words of the small model in their places, then `agents.llm.written.line.WORDS`.

    For `classic` the words are those of the shipped model's own tokenizer, which never change.
    """
    if lexicon == "classic":
        known = load_tokenizer(SMALL_MODEL).get_vocab()
        words = sorted(known, key=known.__getitem__)
    else:
        words = vocabulary([load_lexicon(lexicon)])
    return word_tokenizer([*words, *(word for word in WORDS if word not in words)])
