"""Hidden choices of the nights, by werewolves, doctor, witch and seer, and their probabilities.

A path is one explanation of all nights so far: each night's target, whether the doctor stood before it, whether the
witch healed it, whom she poisoned. Given a path the factors of different seats are independent, so a world's weight is
a product over packs, doctors, witches and seers, and only paths that explain the deaths are kept.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np

from agents.werewolf.observer.information_sets import HUMAN, Characters, Scene
from agents.werewolf.observer.likelihood import night_choice
from agents.werewolf.observer.pack_vote import target_given
from agents.werewolf.observer.worlds import TooLarge, Worlds
from games.records import NOBODY
from games.werewolf.config import WerewolfConfig

MAX_PACK_STATES = 30_000_000
"""Largest number of entries in the table of (pack, characters of its werewolves, seat); larger ones are refused."""


class Path(msgspec.Struct, frozen=True):
    """One explanation of the nights so far."""

    target: int = NOBODY
    """Tonight's target."""
    guarded: bool = False
    healed: bool = False
    poison: int = NOBODY
    dead: frozenset[int] = frozenset()
    """Who dies tonight."""
    heals: int = 0
    """Potions left."""
    poisons: int = 0
    doctor_saw: tuple[int | None, ...] = ()
    """By night, the target where the doctor stood before it."""
    witch_saw: tuple[tuple[int | None, bool, int], ...] = ()
    """By night: the target that she was told (None: not told), whether she healed, whom she poisoned."""


class Nights:
    """The paths of one game and their factors.

    `pack` is `(n_packs, n_paths, n_styles, ..., n_styles)` with one axis of styles for each werewolf of the pack,
    `doctor` `(n_seats, n_paths, n_seats + 1, n_styles)` by the seat protected last (index n_seats: none), and
    `doctor_total` its sum over them, `witch` `(n_seats, n_paths, n_styles)`.
    `seen` `(n_seats, n_paths)` tells which paths a viewer holds possible.
    """

    def __init__(self, config: WerewolfConfig, worlds: Worlds, c: Characters, uniform: bool) -> None:
        self.config, self.worlds, self.c, self.uniform = config, worlds, c, uniform
        n, s, k = worlds.n, len(c), worlds.counts["werewolf"]
        size = len(worlds.packs) * s**k * (n + 1)
        if size > MAX_PACK_STATES:
            raise TooLarge(
                f"{len(worlds.packs):,} packs of {k} werewolves with {s} characters each make {size:,} numbers a "
                f"night; at most {MAX_PACK_STATES:,} are held: use fewer characters in the prior, or fewer seats"
            )
        if k > 3 and config.kill_rule == "vote":
            raise TooLarge(
                f"the votes of {k} werewolves have too many outcomes for an exact posterior; at most 3 can be weighed"
            )
        self.paths = [Path(heals=config.witch_heals, poisons=config.witch_poisons)]
        self.pack = np.ones((len(worlds.packs), 1, *[s] * k))
        self.doctor = np.zeros((n, 1, n + 1, s))
        self.doctor[:, :, n] = 1.0
        self.doctor_total = self.doctor.sum(2)
        self.witch = np.ones((n, 1, s))
        self.seen = np.ones((n, 1), dtype=bool)
        self._scene: Scene | None = None

    def fall(self, scene: Scene) -> None:
        """Keep the evidence at nightfall: the night's choices are weighed with it once the dead are known."""
        self._scene = scene

    @property
    def open(self) -> bool:
        """Whether a night's dead are not known yet."""
        return self._scene is not None

    def keep(self, rows: Sequence[int]) -> None:
        """Drop all paths but these."""
        self.paths = [self.paths[x] for x in rows]
        self.pack, self.doctor = self.pack[:, rows], self.doctor[:, rows]
        self.doctor_total = self.doctor_total[:, rows]
        self.witch, self.seen = self.witch[:, rows], self.seen[:, rows]

    def dawn(self, first: int | None, private: dict[int, dict[str, int]]) -> None:
        """Explain a night whose first announced dead is `first` (None: nobody died).

        The dead are announced in seat order, so seats before `first` have lived and later ones are still open.
        `private[viewer]` holds what that seat learned tonight: `prey` (the pack's target), `protect`, `heal`, `poison`,
        `attacked`.
        """
        scene = self._scene
        if scene is None:
            return
        self._scene = None
        parents, paths = self._explanations(scene, first)
        acts = {p.target for p in paths if p.target != NOBODY}
        pack = self.pack[:, parents]
        if acts:
            table = self.target_table(scene)
            k = self.worlds.packs.shape[1]
            pick = [p.target if p.target != NOBODY else scene.n for p in paths]
            drawn = np.moveaxis(table[..., pick], -1, 1)
            if not self._kills(scene.day):
                drawn = np.ones_like(drawn)
            pack = pack * drawn.reshape(len(pack), len(paths), *drawn.shape[-k:])
        self.pack = pack
        self.doctor = self._doctors(scene, parents, paths)
        self.doctor_total = self.doctor.sum(2)
        self.witch = self._witches(scene, parents, paths)
        self.seen = self.seen[:, parents] & self._privately(paths, private, scene.n)
        self.paths = paths

    def _mode(self, day: int) -> str:
        return self.config.first_night if day == 1 else "full"

    def _kills(self, day: int) -> bool:
        return self._mode(day) == "full"

    def _explanations(self, scene: Scene, first: int | None) -> tuple[list[int], list[Path]]:
        config, day = self.config, scene.day
        living = np.flatnonzero(scene.alive).tolist()
        guards = "doctor" in self.worlds.counts and self._mode(day) != "inspect_only"
        brews = "witch" in self.worlds.counts and self._mode(day) != "inspect_only"
        targets = living + ([NOBODY] if config.kill_abstain else []) if self._kills(day) else [NOBODY]
        parents, paths = [], []
        for x, old in enumerate(self.paths):
            poisons = [NOBODY, *living] if brews and old.poisons else [NOBODY]
            for target in targets:
                for guarded in (False, True) if guards and target != NOBODY else (False,):
                    for healed in (False, True) if brews and old.heals and target != NOBODY else (False,):
                        for poison in poisons:
                            dead = {poison} - {NOBODY}
                            if target != NOBODY and not guarded and not healed:
                                dead.add(target)
                            if {j for j in dead if first is None or j <= first} != (
                                set() if first is None else {first}
                            ):
                                continue
                            told = target if old.heals and target != NOBODY else None
                            parents.append(x)
                            paths.append(
                                Path(
                                    target, guarded, healed, poison, frozenset(dead), old.heals - healed,
                                    old.poisons - (poison != NOBODY),
                                    (*old.doctor_saw, target if guarded else None),
                                    (*old.witch_saw, (told, healed, poison)),
                                )
                            )  # fmt: skip
        return parents, paths

    def target_table(self, scene: Scene) -> np.ndarray:
        """The night-kill target distribution `(n_packs, n_styles or 1, ..., n_seats + 1)`, the last column nobody."""
        config, c, packs = self.config, self.c, self.worlds.packs
        n, (n_packs, k) = scene.n, packs.shape
        member = np.zeros((n_packs, n))
        np.put_along_axis(member, packs, 1.0, axis=1)
        value = np.full((n_packs, n + 1), -1.0)
        claimed = scene.claims_seer if scene.rung >= 3 else np.zeros(n)
        value[:, :n] = 2.5 * claimed + 0.6 * member @ scene.accused.T - 6.0 * member
        legal = np.zeros((n_packs, n + 1), dtype=bool)
        legal[:, :n] = scene.alive & ((member == 0) | (config.kill_targets == "anyone"))
        proposals = self._choose(np.broadcast_to(value, (len(c), n_packs, n + 1)), legal)
        votes = proposals
        if config.kill_abstain:
            legal[:, n] = True
            votes = self._choose(np.broadcast_to(value, (len(c), n_packs, n + 1)), legal)
        chats = config.chat_until_agree and any("chat" in wave for wave in config.night_order)
        rounds = config.chat_rounds if chats else 0
        up: np.ndarray = np.take(scene.alive, packs)
        shape = (n_packs, *[len(c)] * k, n + 1)
        out = np.empty(shape)
        living = up @ (1 << np.arange(k))
        for code in set(living.tolist()):  # packs in which the same members live are weighed together
            some = np.flatnonzero(living == code)
            hands = np.flatnonzero(up[some[0]])
            vote, propose = (np.ascontiguousarray(p[:, some].swapaxes(0, 1)) for p in (votes, proposals))
            t = target_given(vote, propose, len(hands), config.kill_rule, rounds)
            axes = [len(c) if i in hands else 1 for i in range(k)]
            out[some] = t.reshape(len(some), *axes, n + 1)
        return out

    def _choose(self, value: np.ndarray, legal: np.ndarray) -> np.ndarray:
        """Night choices of all characters over the last axis."""
        c, flat = self.c, legal / np.maximum(legal.sum(-1, keepdims=True), 1)
        if self.uniform:
            p = np.broadcast_to(flat, value.shape)
        else:
            p = night_choice(value, c["sharpness"], c.random, np.broadcast_to(legal, value.shape))
        return (1 - c.lapse) * p + c.lapse * flat if c.lapse else p

    def _doctors(self, scene: Scene, parents: list[int], paths: list[Path]) -> np.ndarray:
        config, n = self.config, scene.n
        old = self.doctor[:, parents]
        guarded = np.array([p.guarded for p in paths])
        out = np.where(guarded[None, :, None, None], 0.0, old)
        if "doctor" not in self.worlds.counts or self._mode(scene.day) == "inspect_only":
            return out
        targets = np.array([p.target for p in paths])
        hit = targets[:, None] == np.arange(n)
        fits = (hit == guarded[:, None])[None, :, :, None]
        seats = np.flatnonzero(scene.alive)
        each, last = np.arange(len(seats)), np.arange(n)
        legal: np.ndarray = np.tile(scene.alive, (len(seats), n + 1, 1))
        if not config.doctor_self:
            legal[each, :, seats] = False
        if not config.doctor_repeats:
            legal[:, last, last] = False
        value = 2.0 * scene.claims_seer - 0.5 * np.stack([self._scores(scene, d) for d in seats], axis=1)
        value[:, each, seats] += 0.5
        p = self._choose(np.broadcast_to(value[:, :, None], (len(self.c), *legal.shape)), legal)
        # old (doctor, path, last, style), p (style, doctor, last, now) -> (doctor, path, now, style)
        moved = np.einsum("dxls,sdlj->dxjs", old[seats], p)
        idle = np.asarray(~legal.any(2))[:, None, :, None]
        out[seats] = np.where(guarded[:, None, None], 0.0, old[seats] * idle)
        out[seats, :, :n] += np.where(fits, moved, 0.0)
        return out

    def _scores(self, scene: Scene, me: int) -> np.ndarray:
        """Suspicion `(n_styles, n)` of each seat for a human who was told nothing."""
        return self.c["follow"][:, None] * scene.crowd + scene.base(me, HUMAN)

    def _witches(self, scene: Scene, parents: list[int], paths: list[Path]) -> np.ndarray:
        n, c = scene.n, self.c
        out = self.witch[:, parents].copy()
        if "witch" not in self.worlds.counts or self._mode(scene.day) == "inspect_only":
            return out
        for w in range(n):
            if not scene.alive[w]:
                out[w] *= np.array([not p.healed and p.poison == NOBODY for p in paths])[:, None]
                continue
            scores = self._scores(scene, w)
            heal = 2.0 * scene.claims_seer - 0.5 * scores
            heal[:, w] += 0.5
            pair = np.stack([heal, np.full_like(heal, -1.0)], axis=-1)
            heals = self._choose(pair, np.ones((n, 2), dtype=bool))[..., 0]
            value = np.concatenate([scores, np.full((len(c), 1), 1.5)], axis=1)
            legal = np.append(scene.alive & (np.arange(n) != w), True)
            poisons = self._choose(value, legal)
            for x, p in enumerate(paths):
                before = self.paths[parents[x]]
                if before.heals and p.target != NOBODY:
                    out[w, x] *= heals[:, p.target] if p.healed else 1 - heals[:, p.target]
                if before.poisons:
                    out[w, x] *= poisons[:, p.poison]  # NOBODY is -1, the last column
        return out

    def _privately(self, paths: list[Path], private: dict[int, dict[str, int]], n: int) -> np.ndarray:
        ok = np.ones((n, len(paths)), dtype=bool)
        for viewer, facts in private.items():
            for x, p in enumerate(paths):
                if "prey" in facts and p.target != facts["prey"]:
                    ok[viewer, x] = False
                if "protect" in facts and (p.target == facts["protect"]) != p.guarded:
                    ok[viewer, x] = False
                if "attacked" in facts and p.target != facts["attacked"]:
                    ok[viewer, x] = False
                if "heal" in facts and p.healed != (facts["heal"] != NOBODY):
                    ok[viewer, x] = False
                if "poison" in facts and p.poison != facts["poison"]:
                    ok[viewer, x] = False
        return ok
