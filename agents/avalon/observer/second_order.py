"""What one seat expects another to believe: the other's beliefs in each information set, averaged over deals."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np

from agents.avalon.minds import Array
from agents.avalon.observer.posterior import Observer, Unmodelled
from agents.avalon.observer.seats import information_sets
from games.avalon.roles import ROLES

About = Literal["evil", "merlin"]


def second_order_beliefs(observer: Observer, viewers: Sequence[int], about: About = "evil") -> Array:
    """`[v, j, k]`: what `viewers[v]` expects j to believe of k being evil (or Merlin), `(n_viewers, n_seats, n_seats)`.

    Row j = viewers[v] is the viewer's own belief. Raises Unmodelled for games with Oberon: what its side knows of it
    depends on secret cards.
    """
    if "oberon" in observer.deck:
        raise Unmodelled("second order is not modelled for games with 'oberon': use a minion in its place")
    n, shared = observer.n, observer.weights()
    holds = (observer.evil if about == "evil" else observer.worlds == ROLES.index("merlin")).astype(float)
    mine = np.stack([observer._share(viewer) for viewer in viewers])
    out = np.zeros((len(viewers), n, n))
    for j in range(n):
        sets, index = information_sets(observer.deck, j, alike=False)
        total = np.bincount(index, shared, len(sets))
        beliefs = np.zeros((len(sets), n))
        np.add.at(beliefs, index, shared[:, None] * holds)
        beliefs = np.divide(beliefs, total[:, None], out=np.zeros_like(beliefs), where=total[:, None] > 0)
        out[:, j] = mine @ beliefs[index]
    for v, viewer in enumerate(viewers):
        out[v, viewer] = mine[v] @ holds
    return out


def all_second_order(observer: Observer, about: About = "evil") -> Array:
    """`second_order_beliefs` of all viewers `(n_seats, n_seats, n_seats)`; NaN where no record told the role."""
    out = np.full((observer.n, observer.n, observer.n), np.nan)
    known = [i for i in range(observer.n) if observer.role[i] is not None]
    if known:
        out[known] = second_order_beliefs(observer, known, about)
    return out
