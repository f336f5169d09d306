"""Words to token ids that can never be control tokens, whoever wrote the words.

A chat template's markers (`<|im_end|>`, `[/INST]`, `<think>`) are single tokens of the vocabulary. If a player's
speech that merely spells one were tokenised to it, the player could speak as the moderator. So everything that is not
the template's own is tokenised with special tokens split, and what is still a control token after that (tokenizers
differ in what they call special) is spelt out character by character. The words stay what they were.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from agents.models import small
from games.records import Span

Offsets = tuple[tuple[int, int], ...]


class TokenizerError(ValueError):
    """A tokenizer cannot be used for play; says why and what to do."""


def control_ids(tokenizer: Any) -> frozenset[int]:
    """Ids that have a meaning besides their text: special and added tokens, without `unk` and mere white space."""
    added = getattr(tokenizer, "added_tokens_decoder", {})
    ids = {i for i, token in added.items() if str(getattr(token, "content", token)).strip()}
    return frozenset((ids | set(tokenizer.all_special_ids)) - {tokenizer.unk_token_id})


def begins(tokenizer: Any) -> list[int]:
    """What stands before a text: the tokens that the tokenizer itself puts there, and the small models' `<bos>`, with
    which they are taught. Other models' tokens of that name may be markers of turns (ChatML's `<|im_start|>`)."""
    if small.is_small(tokenizer):
        return [tokenizer.bos_token_id]
    ids = tokenizer("a")["input_ids"]
    bare = tokenizer("a", add_special_tokens=False)["input_ids"]
    n = next((k for k in range(len(ids)) if ids[k : k + len(bare)] == bare), 0)
    return list(ids[:n])


class Encoder:
    """A fast Hugging Face tokenizer that takes every text for plain words."""

    def __init__(self, tokenizer: Any) -> None:
        """Raises TokenizerError for a tokenizer without character offsets."""
        if not getattr(tokenizer, "is_fast", False):
            raise TokenizerError(
                f"{type(tokenizer).__name__} is a slow tokenizer, which tells no character offsets; "
                "put the model's tokenizer.json into its folder"
            )
        self.tokenizer = tokenizer
        self.control = control_ids(tokenizer)
        self.bos = begins(tokenizer)
        """What stands before a text."""
        self._cached = lru_cache(maxsize=8192)(self._encode)
        self.newline = self.encode("\n")[0]

    def encode(self, text: str) -> tuple[tuple[int, ...], Offsets]:
        """Token ids of a text and the character range (start, end) of each. Raises TokenizerError, see above."""
        return self._cached(text)

    def _encode(self, text: str) -> tuple[tuple[int, ...], Offsets]:
        out = self.tokenizer(
            text, add_special_tokens=False, return_offsets_mapping=True, split_special_tokens=True
        )
        ids, offsets = tuple(out["input_ids"]), tuple((a, b) for a, b in out["offset_mapping"])
        first = next((k for k, token in enumerate(ids) if token in self.control), None)
        if first is None:
            return ids, offsets
        start, end = offsets[first]
        if end - start <= 1:
            raise TokenizerError(
                f"the tokenizer gives the single character {text[start:end]!r} the control token {ids[first]}, so "
                "what players say could not be told from control; use a tokenizer without that token"
            )
        # Any cut inside the token's text keeps it from being matched.
        parts = [(0, start), *((k, k + 1) for k in range(start, end)), (end, len(text))]
        found: list[int] = []
        ranges: list[tuple[int, int]] = []
        for at, until in parts:
            if at < until:
                inner, where = self._encode(text[at:until])
                found += inner
                ranges += [(a + at, b + at) for a, b in where]
        return tuple(found), tuple(ranges)

    def unknown_words(self, text: str) -> list[str]:
        """The words of a text that this tokenizer turns into its token for what it does not know, each once."""
        unknown = self.tokenizer.unk_token_id
        ids, offsets = self.encode(text)
        if unknown is None or unknown not in ids:
            return []
        lost = [where for token, where in zip(ids, offsets, strict=True) if token == unknown]
        words = list(re.finditer(r"\w+|[^\w\s]", text))
        found = [w.group() for w in words if any(a < w.end() and b > w.start() for a, b in lost)]
        return list(dict.fromkeys(found)) or [text[a:b] for a, b in lost]

    def count_unknown(self, ids: Sequence[int]) -> int:
        """How many of some token ids stand for words that this tokenizer does not know."""
        unknown = self.tokenizer.unk_token_id
        return 0 if unknown is None else sum(token == unknown for token in ids)

    def template(self, text: str) -> tuple[int, ...]:
        """Token ids of a template's own text, whose markers are control tokens."""
        return tuple(self.tokenizer(text, add_special_tokens=False)["input_ids"]) if text else ()

    def choices(self, options: Sequence[str], end: Sequence[int]) -> tuple[tuple[int, ...], ...]:
        """Token ids of each option as a whole answer: one token each where that tells them apart, else with `end`."""
        bare = tuple(self.encode(option)[0] for option in options)
        if len(set(bare)) == len(bare) and all(len(ids) == 1 for ids in bare):
            return bare
        return tuple((*ids, *end) for ids in bare)

    def decode(self, ids: Sequence[int]) -> str:
        """The text of token ids, special tokens included."""
        return str(
            self.tokenizer.decode(list(ids), skip_special_tokens=False, clean_up_tokenization_spaces=False)
        )

    def fits(self, ids: Sequence[int], text: str) -> bool:
        """Whether these are this tokenizer's ids of the text, as emitted."""
        return bool(ids) and max(ids) < len(self.tokenizer) and self.decode(ids) == text


def characters(encoder: Encoder, ids: Sequence[int], spans: Sequence[Span]) -> list[tuple[int, int]]:
    """The character range of each span in `encoder.decode(ids)`; the ids are a whole context."""
    edges = sorted({edge for span in spans for edge in (span.start, span.end)})
    at = {edge: len(encoder.decode(ids[:edge])) for edge in edges}
    return [(at[span.start], at[span.end]) for span in spans]
