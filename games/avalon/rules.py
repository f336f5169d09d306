"""The rules of Avalon as a pure state machine: `start`, `to_act`, `apply`, `outcome`."""

from __future__ import annotations

from collections.abc import Sequence

from games import chance
from games.avalon.config import AvalonConfig
from games.avalon.mission import assassination, mission
from games.avalon.state import AvalonModerator
from games.engine.machine import State, apply, begin, deal, moderator_at, outcome, to_act
from games.engine.moderator import GameOver, Rules
from games.records import MODERATOR, Event


class Game(AvalonModerator):
    """A running game with its programme."""

    def programme(self) -> Rules:
        """Everybody is told a role, then missions follow until three have succeeded or failed."""
        m = self
        m.emit("setup", data={"names": list(m.names)})
        m.emit("deal", MODERATOR, data={"roles": list(m.roles)})
        for seat, role in enumerate(m.roles):
            known = {str(other): what for other, what in m.known[seat].items()}
            m.emit("role", (seat,), None, seat, role, data={"known": known})
        m.leader = chance.choice(m.present, chance.key(m.seed, "leader"))
        try:
            while m.n_successes < 3:
                yield from mission(m)
            if "assassin" in m.roles:
                yield from assassination(m)
            m.win("good", "three missions succeeded")
        except GameOver:
            return


def start(
    config: AvalonConfig, seed: int, dealt: Sequence[str] | None = None
) -> tuple[State, tuple[Event, ...]]:
    """Deal the roles and names and go on to the first requests.

    `seed` is an integer, 0 <= seed < 2**63; every draw of the game derives from it. With `dealt`, each seat's role, the
    deck is not shuffled. Raises GameError where `dealt` is another deck.
    """
    return begin(Game(config, seed, deal(config.decks, seed, dealt)))


__all__ = ["State", "apply", "moderator_at", "outcome", "start", "to_act"]
