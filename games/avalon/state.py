"""What the moderator of a game of Avalon knows."""

from __future__ import annotations

from typing import ClassVar

from games.avalon.config import AvalonConfig
from games.avalon.roles import known_to, side_of
from games.avalon.words.acts import ROLE_TERMS
from games.engine.moderator import Moderator
from games.records import NOBODY

APPROVE, REJECT = 1, 0
"""The options of a vote."""
SUCCESS, FAILURE = 1, 0
"""The options of a mission card."""


class AvalonModerator(Moderator):
    """Everything about a running game of Avalon."""

    ROLE_TERMS: ClassVar[tuple[str, ...]] = ROLE_TERMS

    def __init__(self, config: AvalonConfig, seed: int, roles: tuple[str, ...]) -> None:
        super().__init__(config, seed, roles)
        self.evil = tuple([i for i, role in enumerate(roles) if side_of(role) == "evil"])
        self.known = [known_to(seat, roles) for seat in range(len(roles))]
        """What each seat was shown of the others."""
        self.leader = NOBODY
        self.n_successes = 0
        self.n_failures = 0

    def win(self, side: str, reason: str) -> None:
        """A side has won. Raises GameOver."""
        self.finish(side, [i for i, role in enumerate(self.roles) if side_of(role) == side], reason)
