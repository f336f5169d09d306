"""The words of Avalon under each lexicon. No rule reads them."""

from __future__ import annotations

from functools import cache

from games.base import ConfigError
from games.language.lexicon import N_NAMES, NAMES, NONSENSE_NAMES, Lexicon, make, random_lexicon

LEXICONS = ("classic", "neutral", "nonsense")
"""The named ones; `random-<seed>` draws others."""

TERMS = (
    # roles and sides
    "merlin percival servant assassin morgana mordred oberon minion good evil "
    # phases and offices
    "mission leader team "
    # acts in the log, third person, and what they choose
    "picks votes plays stabs bids approve reject success failure "
    # what happens
    "approved rejected "
    # words of the typed speech acts
    "accuse trust suggest voted question retract"
).split()
"""The keys; the words of the `classic` lexicon are the keys themselves."""

FUNCTION_WORDS = (
    "Players Roles You Winner I am the not will because of says skips ends nobody no believes is asks players"
).split()

NEUTRAL = {
    "merlin": "watcher",
    "percival": "deputy",
    "servant": "member",
    "assassin": "seeker",
    "morgana": "double",
    "mordred": "unseen",
    "oberon": "stranger",
    "minion": "marked",
    "good": "majority",
    "evil": "minority",
    "mission": "task",
    "leader": "chair",
    "team": "group",
    "picks": "seats",
    "votes": "sides",
    "plays": "lays",
    "stabs": "hits",
    "bids": "rates",
    "approve": "agree",
    "reject": "differ",
    "success": "white",
    "failure": "black",
    "approved": "passed",
    "rejected": "declined",
    "accuse": "doubt",
    "trust": "support",
    "suggest": "offer",
    "voted": "sided",
    "question": "query",
    "retract": "recall",
}
NONSENSE = (
    "blick dax wug toma fep zorp mip kiv lurn gazz plon snib hest vorn telk "
    "drims jopes yules quams bexes frips nolds grebs skats welk hurd pimes lomps cravid smoan tulk"
).split()


@cache
def lexicon(name: str) -> Lexicon:
    """The lexicon called `name`: `classic`, `neutral`, `nonsense` or `random-<seed>`.

    Raises ConfigError, naming the known ones.
    """
    if name == "classic":
        return make(name, TERMS, TERMS, NAMES, FUNCTION_WORDS)
    if name == "neutral":
        return make(name, TERMS, [NEUTRAL[term] for term in TERMS], NAMES, FUNCTION_WORDS)
    if name == "nonsense":
        return make(name, TERMS, NONSENSE[: len(TERMS)], NONSENSE_NAMES, FUNCTION_WORDS)
    if name.startswith("random-") and name[7:].isdigit():
        return random_lexicon(int(name[7:]), TERMS, [*TERMS, *NEUTRAL.values(), *NONSENSE, *FUNCTION_WORDS])
    raise ConfigError(f"no lexicon is called {name!r}; there are: {', '.join(LEXICONS)}, random-<seed>")


__all__ = ["FUNCTION_WORDS", "LEXICONS", "N_NAMES", "TERMS", "Lexicon", "lexicon"]
