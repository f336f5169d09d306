"""Valid player names: none that could pass for the moderator's words, and none that cannot be parsed again.

The rules draw names from a lexicon. Games of other programs bring names of their own, and so does any run folder that
was made elsewhere; `public_names` is the one way in for them.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache, lru_cache
from typing import Final

from games.printable import UNSEEN
from games.werewolf.lexicon import FUNCTION_WORDS, lexicon

LONGEST: Final = 60
"""Largest number of characters of a name."""
FORBIDDEN: Final = re.compile(r'[\s"“”„‟″‶〃＂«»❝❞:;!?<>{}|`\\/,]|\.(?!\w)|(?<!\w)\.')
"""Characters that a word of a name may not hold; a dot may only stand between letters or digits."""


def is_public_name(name: str, lexicon_name: str = "classic") -> bool:
    """Whether a player may be called `name` in lines of the moderator, who speaks in the words of a lexicon."""
    if not 0 < len(name) <= LONGEST or UNSEEN.search(name):
        return False
    words = name.split(" ")
    if any(not word or FORBIDDEN.search(word) for word in words):
        return False
    return not any(_is_reserved(word.strip(".,'()[]"), lexicon_name) for word in words)


def public_names(names: Sequence[str], lexicon_name: str = "classic") -> tuple[str, ...]:
    """The names as they are shown: those that are public names unchanged, the others with `_` in place of what they may
    not hold; no two alike."""
    return _public_names(tuple(names), lexicon_name)


@lru_cache(maxsize=256)
def _public_names(names: tuple[str, ...], lexicon_name: str) -> tuple[str, ...]:
    good = [is_public_name(name, lexicon_name) for name in names]
    taken = {name for name, fine in zip(names, good, strict=True) if fine}
    found = []
    for name, fine in zip(names, good, strict=True):
        shown, number = name if fine else _escaped(name, lexicon_name), 2
        while not fine and shown in taken:
            shown = f"{_escaped(name, lexicon_name)[: LONGEST - 5]}_{number}"
            number += 1
        taken.add(shown)
        found.append(shown)
    return tuple(found)


def _escaped(name: str, lexicon_name: str) -> str:
    kept = re.sub(r"[^\w.-]+|\.(?!\w)|(?<!\w)\.", "_", UNSEEN.sub("_", name))
    kept = re.sub(r"_+", "_", kept)[:LONGEST].strip("_.") or "player"
    return kept if is_public_name(kept, lexicon_name) else f"{kept[: LONGEST - 1]}_"


@cache
def _terms(lexicon_name: str) -> frozenset[str]:
    return frozenset(word.casefold() for word in lexicon(lexicon_name).terms.values())


def _is_reserved(word: str, lexicon_name: str) -> bool:
    """Whether the moderator uses the word: a term in any case, a function word as it is written."""
    return word in FUNCTION_WORDS or word.casefold() in {*_terms(lexicon_name), "nobody"}
