"""The words of the small thinking model: those of the small model in their places, then those of a thought."""

from __future__ import annotations

from typing import Any

from agents.llm.written.line import WORDS
from agents.models.folder import load_tokenizer
from agents.models.small import SMALL_MODEL, widened, word_tokenizer
from agents.werewolf.vocabulary import vocabulary
from games.werewolf.lexicon import lexicon as load_lexicon


def make_tokenizer(lexicon: str = "classic") -> Any:
    """The tokenizer: all words of the small model in their places, then `agents.llm.written.line.WORDS`.

    For `classic` the words are those of the shipped model's own tokenizer, which never change.
    """
    if lexicon == "classic":
        return widened(load_tokenizer(SMALL_MODEL), WORDS)
    return word_tokenizer(list(dict.fromkeys([*vocabulary([load_lexicon(lexicon)]), *WORDS])))
