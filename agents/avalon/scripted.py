"""Scripted players of Avalon with character: every one can state its full distribution over actions.

A policy (`agents.avalon.policy`) is a pure function of the player's style, what it was told at the deal, and the public
evidence.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

from agents.avalon.minds import InformationSet, rows_of, style_named
from agents.avalon.policy import table
from agents.avalon.styles import Style
from games import chance
from games.avalon.config import AvalonConfig
from games.avalon.evidence import Evidence, Knowledge, extend, gather
from games.avalon.words.acts import say
from games.avalon.words.lines import Words, words_of
from games.base import Observation
from games.records import Action, Record, Reply

Distribution = list[tuple[Action, float]]
REMEMBERED = 1024
"""Views of seats whose counts a player keeps between decisions."""


def draw(options: Distribution, observation: Observation) -> Action:
    """One of the actions drawn with the observation's own key, its acts put into sentences."""
    action = options[chance.draw([p for _, p in options], observation.seed)][0]
    return in_sentences(action, words_of(observation.config, observation.records)) if action.acts else action


def in_sentences(action: Action, words: Words) -> Action:
    """An action whose acts are also its text."""
    return Action(action.option, say(action.acts, words.names, words.lex), action.acts)


class Drawn(ABC):
    """A player whose choices are drawn from the distribution that it states."""

    name: str

    @abstractmethod
    def distribution(self, observation: Observation) -> Distribution:
        """Every action that it may take and its probability."""

    def choose(self, observation: Observation) -> Action:
        """One action drawn with the observation's own key, its acts put into sentences."""
        return draw(self.distribution(observation), observation)

    async def act(self, observation: Observation) -> Reply:
        """The drawn action as a reply."""
        return Reply(self.choose(observation))


class Scripted(Drawn):
    """A scripted player of one character (a key of `agents.avalon.styles.STYLES`, `random`, or a style of its own)."""

    def __init__(self, name: str, style: str | Style) -> None:
        self.name = name
        self.style = style_named(style)
        self._read: dict[tuple[str, int], tuple[AvalonConfig, tuple[Record, ...], Evidence, Knowledge]] = {}
        """(game, seat) -> what was counted of the view that it had at its last decision."""

    def distribution(self, observation: Observation) -> Distribution:
        """Every action that it may take and its probability."""
        request, config = observation.request, observation.config
        seen, me = self._gathered(observation)
        held = InformationSet(me.role, tuple(sorted(me.known.items())))
        minds = rows_of(config, request.seat, [self.style], [held])
        actions, p = table(minds, seen, request.kind, sorted(request.options))
        return [(action, float(q)) for action, q in zip(actions, p[0], strict=True) if q > 0]

    def _gathered(self, observation: Observation) -> tuple[Evidence, Knowledge]:
        """As `gather`; goes on where the seat's last view of the same game ended, if this one begins with it."""
        key = observation.game_id, observation.request.seat
        records = tuple(observation.records)
        config, before, seen, me = self._read.pop(key, (None, (), None, None))
        if seen is None or me is None or config != observation.config or records[: len(before)] != before:
            seen, me = gather(observation.config, records, observation.request.seat)
        else:
            extend(seen, me, records[len(before) :])
        self._read[key] = observation.config, records, seen, me
        if len(self._read) > REMEMBERED:
            del self._read[next(iter(self._read))]
        return seen, me
