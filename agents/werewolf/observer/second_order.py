"""What one seat expects another to believe: the other's beliefs in each information set that it may be in."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import numpy as np

from agents.werewolf.observer.inspections import consistent
from agents.werewolf.observer.posterior import Observer
from games.werewolf.state import shown_role


def second_order_beliefs(observer: Observer, viewer: int) -> np.ndarray:
    """`[j, k]`: what `viewer` expects j to believe of k, probability of being a werewolf `(n_seats, n_seats)`."""
    out: np.ndarray = expected_beliefs(observer, [viewer])[0]
    return out


def all_second_order(observer: Observer) -> np.ndarray:
    """`second_order_beliefs` of all viewers `(n_viewers, n_seats, n_seats)`; NaN where no record told the role."""
    n = observer.n
    out = np.full((n, n, n), np.nan)
    known = [i for i in range(n) if observer.role[i] is not None]
    if known:
        out[known] = expected_beliefs(observer, known)
    return out


def expected_beliefs(observer: Observer, viewers: Sequence[int]) -> np.ndarray:
    """`[v, j, k]`: what `viewers[v]` expects j to believe of k, probability of being a werewolf.

    Shape `(n_viewers, n_seats, n_seats)`; row j = viewers[v] is the viewer's own belief.
    """
    f, roles, n = observer.world_weights, observer.roles, observer.n
    mine = np.stack([observer.weights_of(viewer) for viewer in viewers])
    mine /= mine.sum((1, 2), keepdims=True)
    shared = observer.weights()
    wolf = f.onehot.reshape(len(f.rows), n, -1)[:, :, roles.index("werewolf")]
    out = np.zeros((len(viewers), n, n))
    for j in range(n):
        for r, role in enumerate(roles):
            own = np.flatnonzero(f.assignments[:, j] == r)
            p, w = mine[:, own], shared[own]
            if not len(own) or not p.any():
                continue
            if role == "werewolf":
                out[:, j] += p.sum(2) @ wolf[own]  # werewolves know each other
            elif role == "seer" and observer.rung:
                out[:, j] += _seer(observer, j, own, p, w, wolf)
            else:
                key, by_path = _cell_keys(observer, role, own)
                out[:, j] += _average(p, w, wolf[own], key, by_path, even=not observer.rung)
    for v, viewer in enumerate(viewers):
        out[v, viewer] = mine[v].sum(1) @ wolf
    return out


def _average(
    p: np.ndarray, w: np.ndarray, wolf: np.ndarray, row_key: np.ndarray, path_key: np.ndarray, even: bool
) -> np.ndarray:
    """Sum over infosets of (each viewer's probability `p` of the infoset) x (beliefs in the infoset under weights `w`).

    An infoset is a pair of keys, of the world's row and of the path; with `even` all possible worlds of one are equally
    likely. Returns `(n_viewers, n_seats)`.
    """
    rows, paths = np.eye(int(row_key.max()) + 1)[row_key], np.eye(int(path_key.max()) + 1)[path_key]
    w, p = w @ paths, rows.T @ (p @ paths)
    if even:
        w = (w > 0).astype(float)
    total = np.broadcast_to(rows.T @ w, p.shape)
    share = np.divide(p, total, out=np.zeros_like(p), where=total > 0)
    # Each world of the infoset gets its part of the viewer's probability of the infoset.
    out: np.ndarray = (share[:, row_key] * w).sum(2) @ wolf
    return out


def _cell_keys(observer: Observer, role: str, own: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Keys of each world and of each path; a seat of `role` cannot distinguish worlds and paths with equal keys."""
    f = observer.world_weights
    rows, paths = np.zeros(len(own), dtype=np.int64), f.nights.paths
    if role == "mason":
        rows = _numbered(f.lodge_of[own].tolist())
    if role == "medium":
        wolves = f.assignments[own] == observer.roles.index("werewolf")
        rows = _numbered([tuple(row) for row in wolves[:, observer.sensed].tolist()])
    if role == "doctor":
        return rows, _numbered([p.doctor_saw for p in paths])
    if role == "witch":
        return rows, _numbered([p.witch_saw for p in paths])
    return rows, np.zeros(len(paths), dtype=np.int64)


def _numbered(keys: Sequence[Hashable]) -> np.ndarray:
    numbers: dict[Hashable, int] = {}
    return np.array([numbers.setdefault(key, len(numbers)) for key in keys], dtype=np.int64)


def _seer(
    observer: Observer, j: int, own: np.ndarray, p: np.ndarray, w: np.ndarray, wolf: np.ndarray
) -> np.ndarray:
    """The part of the worlds in which j is the seer: its infosets are what it inspected and was shown.

    Returns `(n_viewers, n_seats)`.
    """
    f = observer.world_weights
    infosets = f.infosets[j]
    start, shown = infosets.seer, f.shown_of[own]
    p, w = p.sum(2), w.sum(1)
    own_factor = f.seer[j, shown]
    some = np.isfinite(own_factor)
    if not some.any():
        return np.zeros((len(p), observer.n))
    # In its own information set its acts are no evidence.
    w = np.where(some, w, 0.0) * np.exp(np.where(some, own_factor[some].min() - own_factor, 0.0))
    u = infosets.ll[:, start:] + f.c.log_prior[j][:, None]
    top = u.max()
    weight = np.exp(u - top).sum(0)[:, None] * consistent(infosets.results, f.shown, observer.n)
    sets = _numbered([row.tobytes() for row in infosets.told[start:]])
    share = np.zeros((int(sets.max()) + 1, len(f.shown)))
    np.add.at(share, sets, weight)
    total = share.sum(0)
    share = np.divide(share, total, out=np.zeros_like(share), where=total > 0)
    code = _codes(observer)[f.assignments[own]]
    base = int(code.max()) + 1
    given = np.zeros(p.shape)
    for number, told in zip(*_first(sets, infosets.told[start:]), strict=True):
        asked = np.flatnonzero(told)
        key = np.unique(code[:, asked] @ base ** np.arange(len(asked)), return_inverse=True)[1]
        group = np.eye(int(key.max()) + 1)[key]
        norm = w @ group
        mass = (p * share[number, shown]) @ group
        given += np.divide(mass, norm, out=np.zeros_like(mass), where=norm > 0)[:, key]
    out: np.ndarray = (given * w) @ wolf[own]
    return out


def _first(sets: np.ndarray, told: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    numbers, index = np.unique(sets, return_index=True)
    return numbers, told[index]


def _codes(observer: Observer) -> np.ndarray:
    """What the seer is shown of each role, numbered `(n_roles,)`."""
    return _numbered([shown_role(role, observer.config.seer_learns) for role in observer.roles])
