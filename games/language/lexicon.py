"""The words under which a game is shown: a one-to-one naming of its terms and players.

Terms are the words with a meaning in a game (roles, phases, acts). Function words ("I", "the", "says") are shared by
all lexicons and belong to none. Every term is one word, and no two terms of a lexicon share a word, so that text can be
read back without loss.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from games import chance
from games.base import ConfigError

N_NAMES = 24

NAMES = (
    "Ada Ben Cal Dot Eve Fay Gus Hal Ida Jon Kit Lea Max Nia Oto Pam Quin Ray Sue Tom Una Val Wes Zoe"
).split()
NONSENSE_NAMES = ("Bo Di Fu Ga He Jo Ku La Mi No Pu Ra Si Te Vo Wu Xa Ye Zi Cho Dre Fli Gru Klo").split()


class Lexicon(msgspec.Struct, frozen=True):
    """A one-to-one naming of the game's terms and players."""

    name: str
    terms: dict[str, str]
    """Word of each key."""
    names: tuple[str, ...]
    """The pool of players' names, `N_NAMES` of them; the rules draw indices into it."""

    @property
    def words(self) -> list[str]:
        """All of them: terms, then names."""
        return [*self.terms.values(), *self.names]

    @property
    def keys(self) -> dict[str, str]:
        """Key of each word: the inverse of `terms`."""
        return {word: key for key, word in self.terms.items()}


def make(
    name: str, keys: Sequence[str], words: Sequence[str], names: Sequence[str], reserved: Iterable[str]
) -> Lexicon:
    """A lexicon from one word a term; `reserved` are the function words. Raises ConfigError where words repeat or
    collide."""
    used, taken = [*words, *names], set(reserved)
    bad = sorted({w for w in used if used.count(w) > 1 or w in taken})
    if len(words) != len(keys) or len(names) != N_NAMES or bad:
        raise ConfigError(
            f"lexicon {name!r} needs {len(keys)} terms and {N_NAMES} names, all different and none of them a "
            f"function word; it has {len(words)} and {len(names)}, with repeated or reserved words {bad}"
        )
    return Lexicon(name, dict(zip(keys, words, strict=True)), tuple(names))


def random_lexicon(seed: int, keys: Sequence[str], avoided: Iterable[str]) -> Lexicon:
    """Pronounceable invented words drawn from `seed`, none of them in `avoided`; called `random-<seed>`."""
    onsets, vowels, codas = (
        "b d f g k l m n p r s t v z br dr gr kl pl sk st tr".split(),
        "aeiou",
        "dgklmnprst",
    )
    taken = {word.lower() for word in avoided}
    words: list[str] = []
    counter = 0
    while len(words) < len(keys) + N_NAMES:
        k = chance.key(seed, "lexicon", counter)
        counter += 1
        word = onsets[k % len(onsets)] + vowels[(k >> 8) % 5] + codas[(k >> 16) % len(codas)]
        word += vowels[(k >> 24) % 5] + codas[(k >> 32) % len(codas)]
        if word not in words and word not in taken:
            words.append(word)
    names = [w.capitalize() for w in words[len(keys) :]]
    return make(f"random-{seed}", keys, words[: len(keys)], names, ())
