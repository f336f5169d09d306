"""Options in words and back, and the fallback for a reply that cannot be used."""

from __future__ import annotations

from typing import Any, Literal

from games import chance
from games.base import Game, Observation
from games.records import Action, Decision, Request
from games.text import Text

Policy = Literal["abstain", "random", "forfeit"]
"""The fallback: abstain where the rules allow it, else a seeded draw; always a seeded draw; or abstain, now and for the
rest of the game."""

POLICIES: tuple[Policy, ...] = ("abstain", "random", "forfeit")

MALFORMED = "malformed"
BACKEND_ERROR = "backend_error"
FORFEITED = "forfeited"


def check_policy(policy: str) -> Policy:
    """The policy of that name. Raises ValueError, naming the known ones."""
    for known in POLICIES:
        if policy == known:
            return known
    raise ValueError(f"no fallback policy is called {policy!r}; there are: {', '.join(POLICIES)}")


def stand_in(game: Game, policy: Policy, observation: Observation) -> Action:
    """The legal action that is recorded instead of a reply; a function of the observation and its seed."""
    request = observation.request
    if policy == "random" and request.options:
        return Action(option=chance.choice(request.options, chance.key(observation.seed, "fallback")))
    return game.legal_fallback(request, observation.seed)


def has_forfeited(observation: Observation) -> bool:
    """Whether an earlier decision of this seat was a fallback: under the policy `forfeit` the seat plays no more."""
    return any(isinstance(r, Decision) and r.fallback is not None for r in observation.records)


def labels(text: Text, request: Request | Decision, words: Any) -> dict[str, int]:
    """Word -> option, in the order in which the seat is shown them: the first word of the option's answer.

    A seat's name stands for the seat, `nobody` for none, numbers for bids.
    """
    found: dict[str, int] = {}
    for option in request.options:
        word = text.answer(request, Action(option=option), words).split()[0].strip('."')
        found[word] = option
    return found


def speaks(text: Text, request: Request | Decision, words: Any) -> bool:
    """Whether the request takes words, from its kind and options alone (a logged decision has no more)."""
    probe = "probe"
    return any(
        probe in text.answer(request, Action(option=option, text=probe), words)
        for option in request.options or (None,)
    )


def silent(text: Text, request: Request | Decision, option: int, words: Any) -> bool:
    """Whether this option of a request that takes words takes none."""
    probe = "probe"
    return probe not in text.answer(request, Action(option=option, text=probe), words)
