"""How an observer reads a game: each record, public or private, turned into evidence about worlds and paths."""

from __future__ import annotations

from typing import Literal

import numpy as np

from agents.werewolf.observer import likelihood
from agents.werewolf.observer.fitted import Fitted
from agents.werewolf.observer.information_sets import Characters, Mix, Scene
from agents.werewolf.observer.ladder import HIGHEST, check_rung
from agents.werewolf.observer.log_weights import IMPOSSIBLE, LogWeights
from agents.werewolf.observer.modelled import check_config, check_event
from agents.werewolf.observer.worlds import TooLarge, worlds_of
from agents.werewolf.styles import CAST
from games.records import NOBODY, Event, Record
from games.werewolf.config import WerewolfConfig
from games.werewolf.evidence import Evidence
from games.werewolf.state import shown_role

Kind = Literal["exact", "fitted", "rules"]
EVEN: Mix = dict.fromkeys(CAST, 1.0)
"""The prior over characters where none is given: those of `CAST`, equally likely."""
LEAVES = ("death", "exile", "shoot")


class Impossible(ValueError):
    """A record that has probability zero in every world; the message says which and gives the remedy."""


class Reader:
    """State of an observer: the factors of every world, and what each viewer was told (see `Observer`)."""

    def __init__(
        self,
        kind: Kind,
        config: WerewolfConfig,
        mix: Mix | list[Mix] | None = None,
        *,
        rung: int = HIGHEST,
        fitted: Fitted | None = None,
        lapse: float = 0.0,
    ) -> None:
        if kind not in ("exact", "fitted", "rules"):
            raise ValueError(f"no observer is of kind {kind!r}; there are: exact, fitted, rules")
        if (kind == "fitted") != (fitted is not None):
            raise ValueError(
                "a `fitted` observer, and no other, needs what agents.werewolf.observer.fit gave: fitted=..."
            )
        if mix is not None and kind != "exact":
            raise ValueError(f"a prior over characters is for kind 'exact'; found one for {kind!r}")
        check_config(config)
        for role in ("doctor", "witch"):
            if config.roles.get(role, 0) > 1:
                raise TooLarge(f"an observer can weigh one {role}; found {config.roles.get(role)}: use one")
        self.kind, self.config = kind, config
        self.rung = 0 if kind == "rules" else check_rung(rung)
        worlds = worlds_of(config)
        self.n, self.roles = worlds.n, worlds.roles
        if fitted is not None:
            mix, lapse = {fitted.style: 1.0}, fitted.lapse
        self.characters = Characters({"random": 1.0} if self.rung == 0 else mix or EVEN, self.n, lapse)
        self.world_weights = LogWeights(config, worlds, self.characters, uniform=self.rung < 3)
        self.seen = Evidence.empty(self.n)
        self.private = np.ones((self.n, len(worlds.assignments)), dtype=bool)
        """Worlds that agree with what each viewer was told `(n_viewers, n_worlds)`."""
        self.role: list[str | None] = [None] * self.n
        """Each viewer's own role, None until a record told it."""
        self.asked: list[list[int]] = [[] for _ in range(self.n)]
        """The seats that each viewer has inspected."""
        self.sensed: list[int] = []
        """Exiled seats, whose species living mediums were told."""
        self._tonight: dict[int, dict[str, int]] = {}
        self._wave: tuple[str, int, Scene] | None = None
        self._among: tuple[int, ...] = ()
        self._running: tuple[int, ...] = ()
        self._votes: dict[int, int] = {}
        self._round = 0
        self._mayor = NOBODY
        self._left: list[int] = []
        self._exiled = NOBODY
        self._shot: set[int] = set()
        self._dead: set[int] | None = None
        self._cache: np.ndarray | None = None
        self._log = np.zeros((0, 1))

    # --- taking in records ------------------------------------------------------------------------------------

    def update(self, record: Record) -> bool:
        """Take in the next record; whether it was a public event."""
        if not isinstance(record, Event):
            return False
        check_event(record)
        if record.audience is not None:
            for viewer in record.audience:
                self._tell(viewer, record)
            return False
        self._settle(record)
        self._weigh(record)
        self.seen.add(record)
        self._cache = None
        return True

    def _tell(self, viewer: int, e: Event) -> None:
        """Update with what a private event tells its viewer."""
        kind, target = e.kind, e.target
        a, w = self.world_weights.assignments, self.world_weights.worlds
        ok: np.ndarray | None = None
        if kind == "role" and target == viewer:
            self.role[viewer] = e.value
            ok = np.asarray(a[:, viewer] == w.roles.index(e.value or ""))
            known = [int(i) for i in (e.data or {}).get("known", {})]
            for i in known:
                ok = ok & (a[:, i] == a[:, viewer])
        elif kind == "inspect" and target is not None:
            self.asked[viewer].append(target)
            ok = self._shows(target, self.config.seer_learns, e.value)
        elif kind == "sense" and target is not None:
            ok = self._shows(target, "species", e.value)
        elif kind in ("prey", "protect", "heal", "poison", "attacked") and target is not None:
            self._tonight.setdefault(viewer, {})[kind] = target
        if ok is not None:
            self.private[viewer] &= ok
            self._cache = None

    def _shows(self, seat: int, rule: str, value: str | None) -> np.ndarray:
        """Worlds `(n_worlds,)` in which a look at `seat` under a rule shows `value`."""
        fits = np.array([shown_role(role, rule) == value for role in self.roles])
        return fits[self.world_weights.assignments[:, seat]]

    def _keep(self, possible: np.ndarray) -> None:
        self.private = self.private[:, possible]
        self.world_weights.restrict(possible)

    def _settle(self, e: Event) -> None:
        """Apply updates that waited for this event: all of the night's dead are known, or the game has moved on."""
        if self._dead is not None and e.kind != "death":
            paths = self.world_weights.nights.paths
            keep = [x for x, p in enumerate(paths) if p.dead == self._dead]
            if len(keep) < len(paths):
                self.world_weights.nights.keep(keep)
                self.world_weights.refresh()
            self._dead = None
        if self._left and e.kind not in (*LEAVES, "no_death", "outcome"):
            a, roles = self.world_weights.assignments, self.roles
            ok = np.ones(len(a), dtype=bool)
            for seat in self._left:
                if "hunter" in roles and seat not in self._shot:
                    ok &= a[:, seat] != roles.index("hunter")
                if "jester" in roles and seat == self._exiled:
                    ok &= a[:, seat] != roles.index("jester")
            alive = np.array(self.seen.alive)
            wolves = (a[:, alive] == roles.index("werewolf")).sum(1)
            ok &= (wolves > 0) & (2 * wolves < alive.sum())
            if self.config.edge_kill:
                ok &= (a[:, alive] == roles.index("villager")).any(1)
            self._keep(ok)
            self._left = []

    def _weigh(self, e: Event) -> None:
        kind, actor, target = e.kind, e.actor, e.target
        if kind == "phase":
            self._wave, self._among, self._votes, self._round = None, (), {}, 0
            if e.value == "day" and e.day:
                self.world_weights.night(Scene(self.seen, self.rung))
        elif kind in ("death", "no_death"):
            self._dawn(target if kind == "death" else None)
        elif kind == "tie":
            self._among, self._votes = tuple((e.data or {})["tied"]), {}
            self._round += 1
        elif kind == "mayor":
            if actor is not None and target is not None:
                self._act(e, actor, "succession", target, np.flatnonzero(self.seen.alive).tolist())
            self._mayor = NOBODY if target is None else target
        elif kind == "exile":
            self._exile(e)
        elif kind == "outcome":
            winners = sum(1 << i for i in (e.data or {}).get("winners", ()))
            if e.value in self.world_weights.worlds.faction_mask:
                side = self.world_weights.worlds.faction_mask[e.value][self.world_weights.rows]
                self._keep((side & winners) > 0 if e.value == "jester" else side == winners)
        elif actor is not None:
            self._deed(e, actor)
        if kind in LEAVES and target is not None and target != NOBODY:
            if e.value is not None:
                rule = self.config.reveal_night if kind == "death" else self.config.reveal_day
                self._keep(self._shows(target, rule, e.value))
            self._left.append(target)

    def _deed(self, e: Event, actor: int) -> None:
        """Update with a public act of a seat."""
        living = np.flatnonzero(self.seen.alive).tolist()
        target = NOBODY if e.target is None else e.target
        if e.kind == "shoot":
            self._keep(self.world_weights.assignments[:, actor] == self.roles.index("hunter"))
            self._shot.add(actor)
            self._act(e, actor, "shoot", target, [*living, NOBODY])
        elif e.kind == "candidacy":
            if e.value == "run":
                self._running = (*self._running, actor)
            self._act(e, actor, "candidacy", int(e.value == "run"), [])
        elif e.kind == "mayor_ballot":
            self._act(e, actor, "mayor_ballot", target, list(self._running))
        elif e.kind == "ballot":
            among = self._among or living
            options = [i for i in among if self.config.ballot_self or i != actor]
            self._act(e, actor, "ballot", target, options + [NOBODY] * self.config.ballot_abstain)
            self._votes[actor] = target
        elif e.kind in ("speech", "last_words", "silence"):
            self._act(e, actor, e.kind, 0, [])

    def _exile(self, e: Event) -> None:
        target = NOBODY if e.target is None else e.target
        counts = [list(self._votes.values()).count(j) for j in range(self.n)]
        tied = [j for j in range(self.n) if counts[j] and counts[j] == max(counts)]
        mayor = self._mayor
        if (
            len(tied) > 1
            and mayor != NOBODY
            and self.seen.alive[mayor]
            and self._votes.get(mayor) not in tied
        ):
            self._act(e, mayor, "tie_break", target, tied)
        if target != NOBODY:
            self.sensed.append(target)
            self._exiled = target

    def _scene(self, e: Event, actor: int) -> Scene:
        """The evidence on which the actor decided: before the first act of its simultaneous wave."""
        together = (
            e.kind in ("candidacy", "mayor_ballot")
            or (e.kind == "ballot" and self.config.ballot == "simultaneous")
            or (e.kind == "speech" and self.config.discussion == "simultaneous")
        )
        if not together:
            self._wave = None
            return Scene(self.seen, self.rung)
        name = f"{e.kind} {self._round}"
        if self._wave is None or self._wave[0] != name or actor <= self._wave[1]:
            self._wave = (name, actor, Scene(self.seen, self.rung))
        else:
            self._wave = (name, actor, self._wave[2])
        return self._wave[2]

    def _act(self, e: Event, actor: int, kind: str, choice: int, options: list[int]) -> None:
        """Weigh one act with the policies of the characters."""
        if self.rung == 0:
            return
        c, infosets, scene = self.characters, self.world_weights.infosets[actor], self._scene(e, actor)
        n_options = max(len(options), 1)
        if kind in ("speech", "last_words"):
            free = kind == "speech" and self.config.discussion == "free"
            p = likelihood.speech(c, scene, infosets, actor, e.acts, free)
            n_options = 1 + 3 * int(scene.alive.sum())
        elif kind == "silence":
            p = np.where(c.random, 1 / 3, 0.0)[:, None] * np.ones(len(infosets.kind))
        elif kind in ("ballot", "tie_break"):
            p = likelihood.ballot(c, scene, infosets, actor, choice, options)
        elif kind == "candidacy":
            p = likelihood.candidacy(c, infosets, bool(choice))
        elif kind == "shoot":
            value = np.concatenate(
                [likelihood.lean(c, scene, infosets, actor)[:, 1], np.full((len(c), 1), 1.5)], axis=1
            )
            legal = np.append(scene.alive, True)
            q = likelihood.night_choice(value, c["sharpness"], c.random, np.broadcast_to(legal, value.shape))
            p = np.repeat(q[:, choice][:, None], len(infosets.kind), axis=1)  # NOBODY is -1, the last column
        else:
            p = likelihood.office(c, scene, infosets, actor, choice, options)
        if c.lapse:
            p = (1 - c.lapse) * p + c.lapse / n_options
        elif not p.any():
            raise Impossible(self._complaint(e))
        told: list[int] = []
        if kind in ("speech", "last_words") and self.rung >= 3:
            told = [a.subject for a in e.acts if a.kind == "report_inspection" and a.subject is not None]
        self.world_weights.act(actor, p, told, list(scene.reports.get(actor, {})))

    def _dawn(self, dead: int | None) -> None:
        if not self.world_weights.nights.open:
            if dead is not None and self._dead is not None:
                self._dead.add(dead)
                paths = self.world_weights.nights.paths
                keep = [x for x, p in enumerate(paths) if {j for j in p.dead if j <= dead} == self._dead]
                self.world_weights.nights.keep(keep)
                self.world_weights.refresh()
            return
        self.world_weights.nights.dawn(dead, self._tonight)
        self._tonight = {}
        self._dead = set() if dead is None else {dead}
        self.world_weights.refresh()
        if len(self.world_weights.nights.paths) > 1:
            fine = (self.world_weights.log_weights() > IMPOSSIBLE / 2).any(0)
            if not fine.all():
                self.world_weights.nights.keep(np.flatnonzero(fine).tolist())
                self.world_weights.refresh()

    def _complaint(self, e: Event) -> str:
        return (
            f"record {e.seq} ({e.kind} by seat {e.actor} on day {e.day}) has probability zero under every character "
            f"of the prior ({', '.join(map(str, self.characters.keys))}): the `exact` observer reads games of the "
            "scripted players that it was told of; use kind='rules' or 'fitted' for others"
        )
