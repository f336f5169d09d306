"""The weight of every world of one game as a sum of log-factors, one for each seat, pack and night, kept up to date.

An act changes only its actor's factor, which is computed when weights are next asked for: of a wave of acts once. The
factors sum out the actor's hidden character (and those of a whole pack,
whose choice of a target ties them together), the seer's hidden inspections and the doctor's hidden protections.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence

import msgspec
import numpy as np

from agents.werewolf.observer.information_sets import (
    HUMAN,
    SEER,
    WOLF,
    Characters,
    InfoSets,
    Scene,
    Sequences,
)
from agents.werewolf.observer.inspections import consistent, inspect, reported
from agents.werewolf.observer.nights import Nights
from agents.werewolf.observer.worlds import Worlds
from games.werewolf.config import WerewolfConfig

FACTORED = ("werewolf", "seer", "doctor", "witch", "mason")
"""Roles whose factor differs from a plain human's."""


IMPOSSIBLE = -1e200
"""Finite stand-in for log 0 in products; a log-weight below half of it counts as zero weight."""


def log_sum(x: np.ndarray, axis: int) -> np.ndarray:
    """log(sum(exp(x))) along an axis; -inf where everything is."""
    top = x.max(axis=axis, keepdims=True)
    top = np.where(np.isfinite(top), top, 0.0)
    with np.errstate(divide="ignore"):
        out: np.ndarray = np.log(np.exp(x - top).sum(axis=axis)) + top.squeeze(axis)
    return out


def _among(q: Sequences, rows: np.ndarray) -> Sequences:
    """The sequences of the rows that are kept (bool over seer rows)."""
    some = np.flatnonzero(rows[q.of])
    return Sequences((np.cumsum(rows) - 1)[q.of[some]], q.code[some], np.take(q.share, some, axis=1))


class LogWeights:
    """The log-weights of the worlds of one game, as factors by seat and pack.

    `rows` are the indices of the worlds that are still possible; arrays over worlds follow it. With `uniform` every
    legal hidden choice counts the same (the rules alone).
    """

    def __init__(self, config: WerewolfConfig, worlds: Worlds, c: Characters, uniform: bool) -> None:
        self.config, self.worlds, self.c, self.uniform = config, worlds, c, uniform
        n = worlds.n
        self.nights = Nights(config, worlds, c, uniform)
        side = (
            worlds.faction_mask["werewolf"] if config.seer_learns == "faction" else worlds.mask_of["werewolf"]
        )
        self.shown, self._shown_of_all = np.unique(side, return_inverse=True)
        """Bit masks of the seats that may show as werewolves to the seer."""
        self.infosets = [self._infosets(seat) for seat in range(n)]
        self.plain = np.zeros((n, len(worlds.roles)))
        self.seer = np.zeros((n, len(self.shown)))
        self.doctor = np.zeros((n, 1))
        self.witch = np.zeros((n, 1))
        self.pack = np.zeros((len(worlds.packs), 1))
        self.lodge = np.zeros(len(worlds.lodges))
        self._wolf = np.zeros((*worlds.packs.shape, len(c)))
        self._mason = np.zeros(worlds.lodges.shape)
        for seat in range(n):
            self._wolf[(worlds.packs == seat)] = c.log_prior[seat]
        self._fits: dict[int, tuple[np.ndarray, np.ndarray]] = {}
        self._stale: set[int] = set()
        """Seats whose factors do not know their latest acts yet."""
        self._new_paths = True
        """Whether no seat's factors know the present paths of the nights yet."""
        self._take(np.arange(len(worlds.assignments)))

    def fork(self) -> LogWeights:
        """A copy that can be extended by itself."""
        other = copy.copy(self)
        other.nights = copy.copy(self.nights)
        other.infosets, other._fits, other._stale = list(self.infosets), dict(self._fits), set(self._stale)
        for name in ("plain", "seer", "doctor", "witch", "pack", "_wolf", "_mason"):
            setattr(other, name, getattr(self, name).copy())
        return other

    def with_character(self, seat: int, style: int) -> LogWeights:
        """A copy in which a seat is known to have had one character all along."""
        other = self.fork()
        other.c = copy.copy(self.c)
        other.c.log_prior = self.c.log_prior.copy()
        other.c.log_prior[seat] = -np.inf
        other.c.log_prior[seat, style] = 0.0
        other._stale.add(seat)
        return other

    def _infosets(self, seat: int) -> InfoSets:
        worlds, n = self.worlds, self.worlds.n
        packs = np.flatnonzero((worlds.packs == seat).any(1))
        lodges = np.flatnonzero((worlds.lodges == seat).any(1)) if len(worlds.lodges) else packs[:0]
        seer = 1 if "seer" in worlds.counts else 0
        count = 2 + len(packs) + len(lodges) + seer
        kind = np.full(count, HUMAN)
        kind[2 : 2 + len(packs)] = WOLF
        kind[count - seer :] = SEER
        told, value, partner = np.zeros((count, n), dtype=bool), np.zeros((count, n)), np.zeros((count, n))
        for row, pack in enumerate(packs, start=2):
            partner[row, worlds.packs[pack]] = 1.0
            partner[row, seat] = 0.0
        for row, lodge in enumerate(lodges, start=2 + len(packs)):
            told[row, worlds.lodges[lodge]] = True
            told[row, seat] = False
            value[row] = np.where(told[row], -8.0, 0.0)
        return InfoSets(
            kind=kind, told=told, value=value, partner=partner, ll=np.zeros((len(self.c), count)), packs=packs,
            lodges=lodges, results=np.zeros(seer, dtype=np.int64),
            sequences=Sequences(
                np.zeros(seer, dtype=np.int64), np.zeros(seer, dtype=np.int64), np.ones((len(self.c), seer))
            ),
        )  # fmt: skip

    def _take(self, rows: np.ndarray) -> None:
        """Keep only these worlds."""
        w = self.worlds
        self.rows = rows
        self.assignments, self.onehot = w.assignments[rows], w.onehot[rows]
        self.pack_of, self.lodge_of, self.shown_of = (
            w.pack_of[rows],
            w.lodge_of[rows],
            self._shown_of_all[rows],
        )
        self.holders = {
            role: np.nonzero(self.assignments == w.roles.index(role))[1].reshape(len(rows), -1)
            for role in ("seer", "doctor", "witch")
            if role in w.counts
        }

    def _may_show(self) -> np.ndarray:
        """The entries of `shown` that occur in the remaining worlds."""
        there = np.zeros(len(self.shown), dtype=bool)
        there[self.shown_of] = True
        return self.shown[there]

    def restrict(self, possible: np.ndarray) -> None:
        """Drop the worlds that are not `possible` (bool over the present worlds) and the infosets of them alone."""
        if possible.all():
            return
        self.settle()  # by all infosets that the acts were weighed in
        self._take(self.rows[possible])
        packs, lodges, shown = (
            np.zeros(len(self.worlds.packs), dtype=bool),
            np.unique(self.lodge_of),
            self._may_show(),
        )
        packs[self.pack_of] = True
        has_seer = set(self.holders["seer"].ravel().tolist()) if "seer" in self.holders else set()
        for seat, infosets in enumerate(self.infosets):
            keep = np.ones(len(infosets.kind), dtype=bool)
            keep[2 : 2 + len(infosets.packs)] = packs[infosets.packs]
            end = 2 + len(infosets.packs) + len(infosets.lodges)
            if len(infosets.lodges):
                keep[2 + len(infosets.packs) : end] = np.isin(infosets.lodges, lodges)
            if seat in has_seer:
                keep[end:] = consistent(infosets.results, shown, self.worlds.n).any(1)
            else:
                keep[end:] = False
            if keep.all():
                continue
            rows = np.flatnonzero(keep)
            self.infosets[seat] = InfoSets(
                kind=infosets.kind[rows], told=infosets.told[rows], value=infosets.value[rows],
                partner=infosets.partner[rows], ll=np.take(infosets.ll, rows, axis=1),
                packs=infosets.packs[keep[2 : 2 + len(infosets.packs)]],
                lodges=infosets.lodges[keep[2 + len(infosets.packs) : end]], results=infosets.results[keep[end:]],
                sequences=_among(infosets.sequences, keep[end:]),
            )  # fmt: skip

    def act(self, seat: int, p: np.ndarray, told: Sequence[int] = (), before: Sequence[int] = ()) -> None:
        """Weigh an act of probability `p` `(n_styles, n_infosets)` in the infosets of its actor.

        `told` are the seats that it reported with it, in order, `before` those that it had reported.
        """
        infosets = self.infosets[seat]
        with np.errstate(divide="ignore"):
            infosets = msgspec.structs.replace(infosets, ll=infosets.ll + np.log(p))
        if told:
            infosets = reported(infosets, told, [*before, *told], self._may_show(), strict=not self.c.lapse)
        self.infosets[seat] = infosets
        self._stale.add(seat)

    def night(self, scene: Scene) -> None:
        """Night has fallen on `scene`: seers have inspected; the other choices wait for the dead."""
        if "seer" in self.worlds.counts and scene.rung:
            some = [
                seat
                for seat in np.flatnonzero(scene.alive).tolist()
                if len(self.infosets[seat].kind) > self.infosets[seat].seer
            ]
            if some:
                before, repeats = [self.infosets[seat] for seat in some], self.config.seer_repeats
                after = inspect(self.c, scene, before, some, repeats, self._may_show(), scene.rung < 3)
                for seat, infosets in zip(some, after):
                    self.infosets[seat] = infosets
                self._stale.update(some)
        self.nights.fall(scene)

    def settle(self) -> None:
        """Update the factors with the acts and nights since they were last asked for."""
        if not self._stale and not self._new_paths:
            return
        seats = sorted(self._stale)
        if seats:
            self._refresh(seats)
        changed = np.zeros(len(self.worlds.packs), dtype=bool)
        for seat in seats:
            changed[self.infosets[seat].packs] = True
        if self._new_paths:
            changed[:] = True
            self.pack = np.zeros((len(changed), len(self.nights.paths)))
            seats, size = list(range(self.worlds.n)), (self.worlds.n, len(self.nights.paths))
            self.doctor, self.witch = np.zeros(size), np.zeros(size)
        self._hidden(seats)
        self._packs(np.flatnonzero(changed))
        self._stale.clear()
        self._new_paths = False

    def refresh(self) -> None:
        """The nights have other paths: all factors of hidden choices are to be computed again."""
        self._new_paths = True

    def _refresh(self, seats: Sequence[int]) -> None:
        """Update the factors with the information sets of some seats; those of hidden nights are `_hidden`'s."""
        worlds, infosets = self.worlds, [self.infosets[seat] for seat in seats]
        to = np.cumsum([0, *(len(one.kind) for one in infosets)]).tolist()
        of_all = np.concatenate(
            [one.ll + self.c.log_prior[seat][:, None] for seat, one in zip(seats, infosets)], axis=1
        )
        total_of_all = log_sum(of_all, 0)
        for seat, one, first, last in zip(seats, infosets, to, to[1:]):
            mixed, total = of_all[:, first:last], total_of_all[first:last]
            end, start = 2 + len(one.packs), one.seer
            for r, role in enumerate(worlds.roles):
                if role not in FACTORED:
                    self.plain[seat, r] = total[0] if role == "villager" else total[1]
            self._wolf[one.packs, worlds.place_in_pack[one.packs, seat]] = mixed[:, 2:end].T
            if len(one.lodges):
                at = np.nonzero(worlds.lodges[one.lodges] == seat)[1]
                self._mason[one.lodges, at] = total[end:start]
            if len(total) > start:
                fits = self._fitting(seat)
                best = total[start:].max()
                best = best if np.isfinite(best) else 0.0
                with np.errstate(divide="ignore"):
                    self.seer[seat] = np.log(np.exp(total[start:] - best) @ fits) + best
            else:  # no seer can have acted so
                self.seer[seat] = -np.inf

    def _hidden(self, seats: Sequence[int]) -> None:
        """Sum out the nights of some seats as the doctor and as the witch."""
        worlds, some = self.worlds, list(seats)
        if "doctor" not in worlds.counts and "witch" not in worlds.counts:
            return
        human = np.stack([self.infosets[seat].ll[:, 1] for seat in some]) + self.c.log_prior[some]
        top = human.max(1, keepdims=True)
        top = np.where(np.isfinite(top), top, 0.0)
        human = np.exp(human - top)[:, :, None]
        with np.errstate(divide="ignore"):
            if "doctor" in worlds.counts:
                self.doctor[some] = np.log((self.nights.doctor_total[some] @ human)[..., 0]) + top
            if "witch" in worlds.counts:
                self.witch[some] = np.log((self.nights.witch[some] @ human)[..., 0]) + top

    def _fitting(self, seat: int) -> np.ndarray:
        """1 where a seer infoset's results fit a set that may show, `(n_seer_infosets, n_shown)`; kept between acts."""
        infosets = self.infosets[seat]
        known = self._fits.get(seat)
        if known is None or known[0] is not infosets.results:
            fits = consistent(infosets.results, self.shown, self.worlds.n)
            known = self._fits[seat] = (infosets.results, fits.astype(np.float64))
        return known[1]

    def _packs(self, some: np.ndarray) -> None:
        """Update the factors of these packs, and those of the masons."""
        wolf = self._wolf[some]
        top = wolf.max(-1)
        top = np.where(np.isfinite(top), top, 0.0)
        e = np.exp(wolf - top[..., None])
        t = self.nights.pack[some]
        for i in reversed(range(e.shape[1])):
            shape = (len(e), 1, *[1] * (t.ndim - 3), e.shape[-1])
            t = (t * e[:, i].reshape(shape)).sum(-1)
        with np.errstate(divide="ignore"):
            self.pack[some] = np.log(t) + top.sum(1)[:, None]
        self.lodge = self._mason.sum(1)

    def log_weights(self) -> np.ndarray:
        """Log-weight `(n_worlds, n_paths)` of every world that is still possible, up to a constant."""
        self.settle()
        base = self.onehot @ np.maximum(self.plain, IMPOSSIBLE).ravel()
        if "seer" in self.holders:
            for seats in self.holders["seer"].T:
                base = base + self.seer[seats, self.shown_of]
        if len(self.lodge):
            base = base + self.lodge[self.lodge_of]
        out: np.ndarray = base[:, None] + self.pack[self.pack_of]
        for role, table in (("doctor", self.doctor), ("witch", self.witch)):
            if role in self.holders:
                for seats in self.holders[role].T:
                    out = out + table[seats]
        return out
