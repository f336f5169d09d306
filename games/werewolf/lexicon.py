"""The words under which a game is shown. A lexicon renames every term of the game; the rules read none of it.

Terms are the words with a meaning in the game (roles, phases, acts). Function words ("I", "the", "says") are shared
by all lexicons and belong to none. Every term is one word, and no two terms of a lexicon share a word, so that text
can be read back without loss.

New terms come after all others, and existing words and names stay in every lexicon: models are trained on them, and
stored logs are read with them.
"""

from __future__ import annotations

from functools import cache

from games import chance
from games.base import ConfigError
from games.language.lexicon import N_NAMES, NAMES, NONSENSE_NAMES, Lexicon
from games.language.lexicon import make as make_lexicon
from games.werewolf.roles import CARDS

LEXICONS = ("classic", "mafia", "neutral", "nonsense", "symbols")
"""The named ones; `random-<seed>` draws others."""

FIRST_TERMS = (
    # roles, factions, species
    "villager werewolf seer doctor witch hunter medium possessed jester mason village human mayor "
    # phases
    "night day "
    # acts in the log, third person
    "kills inspects protects heals poisons shoots votes leans bids stands elects appoints decides "
    # what happens
    "died exiled target tied "
    # words of the typed speech acts
    "inspected accuse defend vote question retract"
).split()
"""The terms that all shipped models know."""

TERMS = [*FIRST_TERMS, *(t for card in CARDS for t in (card.name, *card.terms) if t not in FIRST_TERMS)]
"""The keys: the first terms, and those of roles that came later. The words of `classic` are the keys themselves."""

FUNCTION_WORDS = (
    "Players Roles You Winner I am the not will says whispers notes skips ends nobody yes no believes is asks"
).split()


MAFIA = {
    "villager": "townsman",
    "werewolf": "mafioso",
    "seer": "detective",
    "doctor": "medic",
    "witch": "chemist",
    "hunter": "vigilante",
    "medium": "coroner",
    "possessed": "accomplice",
    "jester": "clown",
    "mason": "freemason",
    "village": "town",
    "human": "citizen",
    "mayor": "sheriff",
    "kills": "murders",
    "inspects": "investigates",
    "inspected": "investigated",
    "exiled": "jailed",
    "poisons": "doses",
    "heals": "cures",
    "protects": "guards",
}
NEUTRAL = {
    "villager": "member",
    "werewolf": "marked",
    "seer": "reader",
    "doctor": "keeper",
    "witch": "mixer",
    "hunter": "taker",
    "medium": "sorter",
    "possessed": "follower",
    "jester": "loner",
    "mason": "linked",
    "village": "majority",
    "human": "unmarked",
    "mayor": "chair",
    "night": "closed",
    "day": "open",
    "kills": "removes",
    "inspects": "reads",
    "protects": "keeps",
    "heals": "restores",
    "poisons": "drops",
    "shoots": "takes",
    "votes": "selects",
    "bids": "rates",
    "tied": "level",
    "leans": "inclines",
    "stands": "offers",
    "elects": "seats",
    "appoints": "names",
    "decides": "settles",
    "died": "left",
    "exiled": "withdrawn",
    "target": "mark",
    "inspected": "looked",
    "accuse": "doubt",
    "defend": "support",
    "vote": "select",
    "question": "query",
    "retract": "recall",
}
NONSENSE = (
    "blick dax wug toma fep zorp mip kiv lurn gazz plon snib hest vorn telk "
    "drims jopes yules quams bexes frips nolds grebs skats welks hurds pimes lomps "
    "cravid smoaned tulk brint splend vonk morp gleb noot thrim"
).split()
NONSENSE_SPARE = "plim garb dovo zelt strab kwill umph frodge".split()
"""For terms that come after the first ones."""
# No "a", "A" and "I": they are words of the prose between the terms.
LETTERS = "bcdefghijklmnopqrstuvwxyzBCDEFGHJKLMNOPQRSTUVWXYZαβγδεζηθικλμνξοπρστυφχψω"


def make(name: str, words: list[str], names: list[str]) -> Lexicon:
    """A lexicon from one word a term. Raises ConfigError where words repeat or collide."""
    return make_lexicon(name, TERMS, words, names, FUNCTION_WORDS)


def random_lexicon(seed: int) -> Lexicon:
    """Pronounceable invented words drawn from `seed`; called `random-<seed>`."""
    onsets, vowels, codas = (
        "b d f g k l m n p r s t v z br dr gr kl pl sk st tr".split(),
        "aeiou",
        "dgklmnprst",
    )
    taken = {
        *FIRST_TERMS,
        *MAFIA.values(),
        *NEUTRAL.values(),
        *NONSENSE,
        *(w.lower() for w in FUNCTION_WORDS),
    }
    words: list[str] = []
    counter = 0
    n_first = len(FIRST_TERMS) + N_NAMES
    while len(words) < len(TERMS) + N_NAMES:
        k = chance.key(seed, "lexicon", counter)
        counter += 1
        word = onsets[k % len(onsets)] + vowels[(k >> 8) % 5] + codas[(k >> 16) % len(codas)]
        word += vowels[(k >> 24) % 5] + codas[(k >> 32) % len(codas)]
        if word not in words and word not in taken:
            words.append(word)
    names = [w.capitalize() for w in words[len(FIRST_TERMS) : n_first]]
    return make(f"random-{seed}", [*words[: len(FIRST_TERMS)], *words[n_first:]], names)


@cache
def lexicon(name: str) -> Lexicon:
    """The lexicon called `name`: `classic`, `mafia`, `neutral`, `nonsense`, `symbols` or `random-<seed>`.

    Raises ConfigError, naming the known ones.
    """
    n_later = len(TERMS) - len(FIRST_TERMS)
    if name == "classic":
        return make(name, TERMS, NAMES)
    if name == "mafia":
        return make(name, [MAFIA.get(t, t) for t in TERMS], NAMES)
    if name == "neutral":
        return make(name, [NEUTRAL.get(t, t) for t in TERMS], NAMES)
    if name == "nonsense":
        return make(name, [*NONSENSE[: len(FIRST_TERMS)], *NONSENSE_SPARE[:n_later]], NONSENSE_NAMES)
    if name == "symbols":
        n, letters = len(FIRST_TERMS), list(LETTERS)
        names = letters[n:][:N_NAMES]
        return make(name, [*letters[:n], *letters[n + N_NAMES :][:n_later]], names)
    if name.startswith("random-") and name[7:].isdigit():
        return random_lexicon(int(name[7:]))
    raise ConfigError(f"no lexicon is called {name!r}; there are: {', '.join(LEXICONS)}, random-<seed>")
