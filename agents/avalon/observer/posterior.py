"""An observer of one game of Avalon: takes in records one by one and states every seat's beliefs.

`agents.avalon.observer` is the module to import from; it says what the kinds of observers mean.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np

from agents.avalon.minds import Array, style_named
from agents.avalon.observer.ladder import HIGHEST, RUNGS, WEIGHED
from agents.avalon.observer.seats import Seats
from agents.avalon.styles import CHARACTERS, Style
from games.avalon import worlds
from games.avalon.config import AvalonConfig
from games.avalon.evidence import Evidence
from games.avalon.roles import EVIL, ROLES
from games.engine.discussion import OVER, SKIP, SPEAK
from games.records import Action, Event, Record

Kind = Literal["exact", "rules"]
Mix = Mapping[str | Style, float]
"""Character -> weight: the prior over the character of each seat."""
EVEN: Mix = dict.fromkeys(CHARACTERS, 1.0)
"""All shipped characters alike: the prior of an exact observer that is told no other."""

MAX_CARD_TABLE = 200_000
"""Most combinations of the evil seats' characters that are weighed one by one."""


class Impossible(ValueError):
    """A record has probability zero under the observer."""


class Unmodelled(ValueError):
    """A game that the observer does not model; the message names what."""


class Observer:
    """Beliefs over the roles of one game, for every viewer, after every record.

    Args:
        kind: `exact` or `rules` (see `agents.avalon.observer`).
        config: the game's rules.
        mix: prior over characters, name (of `agents.avalon.styles.STYLES`, or `random`) or `Style` -> weight, drawn for
            each seat independently; or one such prior for each seat. `exact` only; all shipped ones equally by default.
        lapse: the share of acts that follow no policy. 0 for games of scripted players alone; with more, no act of a
            stranger is impossible.
        rung: the deepest evidence that an `exact` observer uses (`agents.avalon.observer.ladder`).

    `update` takes all records of a log, or those that one seat may see. Raises Unmodelled for games that it does not
    model, Impossible where the records have probability zero.
    """

    @classmethod
    def on_rung(
        cls, name: str, config: AvalonConfig, mix: Mix | Sequence[Mix] | None = None, *, lapse: float = 0.0
    ) -> Observer:
        """The observer that uses evidence up to the rung of this name (`RUNGS`), the lowest of which weighs no act."""
        rung = RUNGS.index(name)
        return cls("exact", config, mix, lapse=lapse, rung=rung) if rung else cls("rules", config)

    def __init__(
        self, kind: Kind, config: AvalonConfig, mix: Mix | Sequence[Mix] | None = None, *, lapse: float = 0.0,
        rung: int = HIGHEST,
    ) -> None:  # fmt: skip
        if kind not in ("exact", "rules"):
            raise ValueError(f"kind is {kind!r}; use 'exact' or 'rules'")
        if not 0 < rung <= HIGHEST:
            raise ValueError(
                f"the ladder has no rung {rung} above 'rules'; there are 1 to {HIGHEST}: {', '.join(RUNGS[1:])}"
            )
        self.kind, self.config, self.rung = kind, config, rung
        self.deck = tuple(str(role) for role in config.decks)
        n = self.n = config.n_players
        self.roles = [role for role, count in config.roles.items() if count]
        """The roles in play; the order of all arrays over roles."""
        self.worlds = worlds.deals(self.deck)
        self.evil = worlds.is_evil(self.deck)
        self.possible = np.ones(len(self.worlds), dtype=bool)
        """`(n_deals,)`: deals that contradict nothing that everyone saw."""
        self.private = np.ones((n, len(self.worlds)), dtype=bool)
        """`[viewer, deal]`: deals that fit the viewer's own card, what it was shown, and the cards it played."""
        self.role: list[str | None] = [None] * n
        """The role of each seat whose own records have been taken in."""
        self.seen = Evidence(config)
        self._failed: set[int] = set()
        self._target: int | None = None
        """The seat that the assassin named."""
        self._cache: Array | None = None
        self.acts: Seats | None = None
        if kind == "exact":
            self.acts = self._seats(mix, lapse)

    def _seats(self, mix: Mix | Sequence[Mix] | None, lapse: float) -> Seats:
        if "oberon" in self.deck:
            raise Unmodelled(
                "the exact observer does not model 'oberon', who neither knows the others of its side nor is known to "
                "them: use kind = 'rules', or a minion in its place"
            )
        each = (
            [EVEN if mix is None else mix] * self.n if mix is None or isinstance(mix, Mapping) else list(mix)
        )
        if len(each) != self.n:
            raise ValueError(f"mix has {len(each)} priors for {self.n} seats: give one, or one for each seat")
        self.characters: list[str | Style] = list(dict.fromkeys(name for one in each for name in one))
        """The characters of the prior, in the order of all arrays over characters."""
        size = len(self.characters) ** self.config.n_evil
        if size > MAX_CARD_TABLE:
            raise Unmodelled(
                f"{len(self.characters)} characters for each of {self.config.n_evil} evil seats are {size} "
                f"combinations; the exact observer weighs at most {MAX_CARD_TABLE}: give a mix of fewer characters"
            )
        weights = np.array([[float(one.get(name, 0.0)) for name in self.characters] for one in each])
        if (weights < 0).any() or not (weights.sum(1) > 0).all():
            raise ValueError(f"a prior has a negative weight or none at all: {weights.tolist()}")
        with np.errstate(divide="ignore"):
            log_prior = np.log(weights / weights.sum(1, keepdims=True))
        return Seats(self.config, [style_named(name) for name in self.characters], log_prior, lapse)

    @property
    def approximations(self) -> tuple[str, ...]:
        """What this observer does not weigh exactly in games of this configuration; empty where it is exact."""
        if self.kind == "rules":
            return ("rules: no behaviour is counted as evidence",)
        if self.rung < HIGHEST:
            return (f"evidence above rung {self.rung} of the ladder is left out",)
        if self.config.discussion == "bidding":
            return ("bids are hidden; who won the turn is not counted as evidence",)
        return ()

    def fork(self) -> Observer:
        """A copy that can be extended by itself."""
        other = copy.copy(self)
        other.possible, other.private = self.possible.copy(), self.private.copy()
        other.role, other._failed = list(self.role), set(self._failed)
        other.seen = self.seen.copy()
        other.acts = None if self.acts is None else self.acts.copy()
        return other

    # --- taking in --------------------------------------------------------------------------------------------

    def update(self, record: Record) -> bool:
        """Take in the next record; whether it is one that everyone saw."""
        if not isinstance(record, Event):
            return False
        self._cache = None
        if record.audience is not None:
            self._private(record)
            return False
        if self.acts is not None and WEIGHED.get(record.kind, HIGHEST) <= self.rung:
            self._weigh(self.acts, record)
        data, target = record.data or {}, record.target
        if record.kind == "mission":
            self._exclude(worlds.n_failures_allow(self.deck, data["team"], data["failures"]))
            for viewer in data["team"]:
                if self.role[viewer] is not None:
                    others = [seat for seat in data["team"] if seat != viewer]
                    left = data["failures"] - (viewer in self._failed)
                    self.private[viewer] &= worlds.n_failures_allow(self.deck, others, left)
            self._failed = set()
        elif record.kind == "assassinate" and record.actor is not None:
            self._exclude(self.worlds[:, record.actor] == ROLES.index("assassin"))
            self._target = target
        elif record.kind == "outcome" and self.seen.n_successes == 3 and "merlin" in self.deck:
            found = self.worlds[:, self._target] == ROLES.index("merlin")
            self._exclude(found if record.value == "evil" else ~found)
        self.seen.add(record)
        return True

    def _exclude(self, fits: Array) -> None:
        self.possible &= fits

    def _private(self, record: Event) -> None:
        if record.kind == "role" and record.target is not None and record.value is not None:
            known = {int(i): what for i, what in (record.data or {})["known"].items()}
            self.private[record.target] &= worlds.fits_card(self.deck, record.target, record.value, known)
            self.role[record.target] = record.value
        elif record.kind == "card" and record.actor is not None and record.value == "failure":
            self._failed.add(record.actor)

    def _weigh(self, acts: Seats, record: Event) -> None:
        """Weigh what everyone saw of one seat."""
        kind, actor, seen = record.kind, record.actor, self.seen
        if kind == "mission":
            data = record.data or {}
            acts.counted(seen, data["team"], data["failures"])
        if actor is None:
            return
        free = self.config.discussion == "free"
        options = tuple(i for i in range(self.n) if i not in seen.team)
        if kind == "speech":
            spoken = Action(SPEAK if free else None, acts=record.acts)
            acts.acted(actor, seen, kind, spoken, (SPEAK, SKIP, OVER) if free else ())
        elif kind == "silence":
            skipped = Action(SKIP if record.value == "skip" else OVER)
            acts.acted(actor, seen, "speech", skipped, (SPEAK, SKIP, OVER))
        elif kind == "pick":
            acts.acted(actor, seen, kind, Action(record.target), options)
        elif kind == "vote":
            acts.acted(actor, seen, kind, Action(int(record.value == "approve")), ())
        elif kind == "assassinate":
            everyone = tuple(i for i in range(self.n) if i != actor)
            acts.acted(actor, seen, kind, Action(record.target), everyone)

    # --- stating beliefs --------------------------------------------------------------------------------------

    def weights(self) -> Array:
        """Weight `(n_deals,)` of each deal given public information alone, largest 1. Raises Impossible."""
        if self._cache is None:
            log = np.zeros(len(self.worlds)) if self.acts is None else self.acts.log_weights()
            log = np.where(self.possible, log, -np.inf)
            top = log.max()
            if not np.isfinite(top):
                raise Impossible(
                    f"no deal explains the records so far: the log was not made by the rules {self.config.preset!r}"
                    + ("" if self.acts is None else f" and the characters {self.characters}")
                )
            self._cache = np.exp(log - top)
        return self._cache

    def weights_of(self, viewer: int) -> Array:
        """Weight `(n_deals,)` of each deal to a seat; its own acts are no evidence for it.

        Raises ValueError where no record has told the seat its role: its private events were not among the records.
        """
        if self.role[viewer] is None:
            raise ValueError(
                f"seat {viewer} has no `role` event among the records: an observer fed with one seat's view has the "
                "beliefs of that seat alone; feed the whole log for all of them"
            )
        # All deals that fit its card give its own acts the same probability, so nothing has to be divided out.
        return np.asarray(self.weights() * self.private[viewer])

    def _share(self, viewer: int | None) -> Array:
        """Probability `(n_deals,)` of each deal to a viewer, None for an outsider."""
        weights = self.weights() if viewer is None else self.weights_of(viewer)
        total = weights.sum()
        if not total > 0:
            raise Impossible("no deal agrees with a viewer's private information and the public record")
        return np.asarray(weights / total)

    def beliefs(self, viewer: int | None) -> Array:
        """Probability `(n_seats, n_roles)` of each role of each seat to a viewer (None: to an outsider)."""
        p = self._share(viewer)
        return np.stack([p @ (self.worlds == ROLES.index(role)) for role in self.roles], 1)

    def all_beliefs(self) -> Array:
        """`beliefs` of all viewers `(n_viewers, n_seats, n_roles)`; NaN for those whose role no record told."""
        out = np.full((self.n, self.n, len(self.roles)), np.nan)
        for viewer in range(self.n):
            if self.role[viewer] is not None:
                out[viewer] = self.beliefs(viewer)
        return out

    def p_evil(self, viewer: int | None) -> Array:
        """Probability `(n_seats,)` that each seat is evil."""
        return np.asarray(self.beliefs(viewer)[:, [role in EVIL for role in self.roles]].sum(1))

    def p_merlin(self, viewer: int | None) -> Array:
        """Probability `(n_seats,)` that each seat is Merlin; zeros in games without."""
        if "merlin" not in self.roles:
            return np.zeros(self.n)
        return np.asarray(self.beliefs(viewer)[:, self.roles.index("merlin")])
