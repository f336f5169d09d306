"""The roles: which side each is on, and what each is shown of the others before the game begins."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Literal, get_args

Role = Literal["merlin", "percival", "servant", "assassin", "morgana", "mordred", "oberon", "minion"]
ROLES: Final[tuple[str, ...]] = get_args(Role)
SIDES: Final = ("good", "evil")
EVIL: Final = ("assassin", "morgana", "mordred", "oberon", "minion")

TEAM_SIZES: Final = {
    5: (2, 3, 2, 3, 3),
    6: (2, 3, 4, 3, 4),
    7: (2, 3, 3, 4, 4),
    8: (3, 4, 4, 5, 5),
    9: (3, 4, 4, 5, 5),
    10: (3, 4, 4, 5, 5),
}
"""How many go on each mission, by the number of players; the published table."""
TWO_FAILS_FROM: Final = 7
"""Number of players from which the fourth mission fails only by two failures."""
N_EVIL: Final = {5: 2, 6: 2, 7: 3, 8: 3, 9: 3, 10: 4}
"""How many are evil in the published game, by the number of players."""


def side_of(role: str) -> str:
    """The side that a role wins with."""
    return "evil" if role in EVIL else "good"


def shown(viewer: str, other: str) -> str | None:
    """What a holder of the role `viewer` is shown of another player's card at the deal; None for nothing.

    Evil players know each other, except Oberon, who knows nobody and is unknown to them. Merlin is shown all evil
    players except Mordred. Percival is shown Merlin and Morgana alike, both as `merlin`.
    """
    if viewer == "merlin":
        return "evil" if other in EVIL and other != "mordred" else None
    if viewer == "percival":
        return "merlin" if other in ("merlin", "morgana") else None
    if viewer in EVIL and viewer != "oberon":
        return "evil" if other in EVIL and other != "oberon" else None
    return None


def could_be(viewer: str, other: str, seen: str | None) -> bool:
    """Whether a player of whom `viewer` was shown `seen` may have the role `other`."""
    return shown(viewer, other) == seen


def known_to(seat: int, roles: Sequence[str]) -> dict[int, str]:
    """What a seat is shown of the others at the deal: seat -> `evil` or `merlin`."""
    out = {}
    for other, role in enumerate(roles):
        seen = shown(roles[seat], role)
        if other != seat and seen is not None:
            out[other] = seen
    return out
