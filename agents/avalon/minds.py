"""What the players of Avalon may know and be like, as rows: the policies are evaluated on all rows at once.

A scripted player is one row; an observer has a row for every character in every information set of a seat.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np

from agents.avalon.styles import CHARACTERS, STYLES, Style
from games.avalon.config import AvalonConfig
from games.avalon.roles import EVIL, side_of

Array = np.ndarray


class InformationSet(msgspec.Struct, frozen=True):
    """What one seat was told at the deal: its role, and what it was shown of others, in seat order."""

    role: str
    known: tuple[tuple[int, str], ...] = ()


class Minds(msgspec.Struct):
    """Rows of (character, information set) of one seat."""

    seat: int
    style: dict[str, Array]
    """Field of `Style` -> its value in each row `(n_rows,)`."""
    random: Array
    """bool `(n_rows,)`: rows of the character `random`."""
    evil: Array
    """bool `(n_rows,)`."""
    merlin: Array
    percival: Array
    told: Array
    """float `(n_rows, n_seats)`: 1 known to be evil, -1 known to be good, 0 not known. Its own seat counts."""
    candidates: Array
    """float `(n_rows, n_seats)`: for Percival, the share of each seat that was shown as Merlin; rows add up to 1."""

    def __len__(self) -> int:
        return len(self.random)

    def __getitem__(self, name: str) -> Array:
        return self.style[name]


def rows_of(
    config: AvalonConfig,
    seat: int,
    styles: Sequence[Style | None],
    sets: Sequence[InformationSet],
) -> Minds:
    """A row for each character (None is `random`) in each information set: row = style * n_sets + set."""
    n, m = config.n_players, len(sets)
    plain = Style()
    fields = Style.__struct_fields__
    values = np.array([[getattr(style or plain, name) for name in fields] for style in styles])
    told, candidates = np.zeros((m, n)), np.zeros((m, n))
    for i, held in enumerate(sets):
        told[i] = _told(config, seat, held)
        shown = [other for other, what in held.known if what == "merlin"]
        if shown:
            candidates[i, shown] = 1 / len(shown)
    roles = np.array([held.role for held in sets])

    def tiled(of_set: Array) -> Array:
        return np.tile(of_set, (len(styles), *[1] * (of_set.ndim - 1)))

    return Minds(
        seat=seat,
        style={name: np.repeat(values[:, k], m) for k, name in enumerate(fields)},
        random=np.repeat(np.array([style is None for style in styles]), m),
        evil=tiled(np.isin(roles, EVIL)),
        merlin=tiled(roles == "merlin"),
        percival=tiled(roles == "percival"),
        told=tiled(told),
        candidates=tiled(candidates),
    )


def _told(config: AvalonConfig, seat: int, held: InformationSet) -> Array:
    """Who is known to be evil (1) or good (-1)."""
    out = np.zeros(config.n_players)
    evil = [other for other, what in held.known if what == "evil"]
    own_side = side_of(held.role)
    out[evil] = 1
    out[seat] = 1 if own_side == "evil" else -1
    # Who was shown as many evil players as there are knows that all others are good.
    if len(evil) + (own_side == "evil") == config.n_evil:
        out[out == 0] = -1
    if not config.count("morgana"):  # whoever is shown as Merlin is Merlin
        out[[other for other, what in held.known if what == "merlin"]] = -1
    return out


def style_named(name: str | Style) -> Style | None:
    """The style of a character; None for `random`. Raises ValueError, naming the known ones."""
    if isinstance(name, Style):
        return name
    if name not in CHARACTERS:
        raise ValueError(
            f"no scripted player of avalon is called {name!r}; there are: {', '.join(CHARACTERS)}"
        )
    return STYLES.get(name)
