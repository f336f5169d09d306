"""An observer of one game: takes in records one by one and states every seat's beliefs.

`agents.werewolf.observer` is the module to import from; it says what the kinds of observers mean.
"""

from __future__ import annotations

import copy

import numpy as np

from agents.werewolf.observer.information_sets import Mix
from agents.werewolf.observer.ladder import HIGHEST, RUNGS
from agents.werewolf.observer.log_weights import IMPOSSIBLE, LogWeights, log_sum
from agents.werewolf.observer.reader import EVEN, Impossible, Kind, Reader
from games.werewolf.config import WerewolfConfig

__all__ = ["EVEN", "Impossible", "Kind", "Observer"]


class Observer(Reader):
    """Beliefs over the roles of one game, for every viewer, after every record.

    Args:
        kind: `exact`, `fitted` or `rules` (see `agents.werewolf.observer`).
        config: the game's rules.
        mix: prior over characters, name (of `agents.werewolf.styles.STYLES`, or `random`) or `Style` ->
        weight, drawn for each
            seat independently; or one such prior for each seat. `exact` only; all shipped ones equally by default.
        rung: the deepest evidence that counts (`agents.werewolf.observer.ladder`).
        fitted: what `agents.werewolf.observer.fitted.fit` gave, for `fitted`.
        lapse: for `exact`, the share of acts that follow no policy. 0 for games of scripted players alone; with
            more, no act of a stranger is impossible.

    `update` takes all records of a log, or those that one seat may see: private events are kept for their own
    audience, decisions are passed over. Raises TooLarge for games that it cannot hold, Impossible at a record that
    has probability zero, Unmodelled for a role, setting, event or act that it does not model.
    """

    @classmethod
    def on_rung(
        cls, name: str, config: WerewolfConfig, mix: Mix | list[Mix] = EVEN, *, lapse: float = 0.0
    ) -> Observer:
        """The observer that uses evidence up to the rung of this name (`RUNGS`), the lowest of which weighs no act."""
        rung = RUNGS.index(name)
        return cls("exact", config, mix, lapse=lapse, rung=rung) if rung else cls("rules", config)

    @property
    def prior(self) -> str:
        """The observer's prior over the players' characters, in words."""
        if not self.rung:
            return "no characters: behaviour is not counted"
        if self.kind == "fitted":
            return "one character fitted on other games"
        names = [key if isinstance(key, str) else "a style of its own" for key in self.characters.keys]
        weights = np.exp(self.characters.log_prior)
        if (weights == weights[0, 0]).all():
            return f"even over {', '.join(names)}"
        if (weights == weights[0]).all():
            return ", ".join(f"{name} {share:.3g}" for name, share in zip(names, weights[0], strict=True))
        return f"one a seat, over {', '.join(names)}"

    @property
    def approximations(self) -> tuple[str, ...]:
        """What this observer does not weigh exactly in games of this configuration; empty where it is exact."""
        config, out = self.config, list[str]()
        if self.kind == "fitted":
            out.append("one fitted character stands for all players")
        if 0 < self.rung < HIGHEST:
            out.append(f"evidence above rung {self.rung} of the ladder is left out")
        if not self.rung:
            return ("rules: no behaviour is counted as evidence",)
        if config.discussion == "bidding":
            out.append("bids are hidden; who won the turn is not counted as evidence")
        if not config.ballot_public:
            out.append("ballots are hidden; who was exiled by them is not counted as evidence")
        if config.roles.get("witch") and config.roles.get("doctor"):
            out.append(
                "second order: where a witch lives, a doctor is taken to know only the attacks that it stopped"
            )
        return tuple(out)

    def fork(self) -> Observer:
        """A copy that can be extended by itself."""
        other = copy.copy(self)
        other.world_weights = self.world_weights.fork()
        other.seen = self.seen.copy()
        other.private = self.private.copy()
        other.role, other.asked = list(self.role), [list(a) for a in self.asked]
        other.sensed, other._votes = list(self.sensed), dict(self._votes)
        other._left, other._shot = list(self._left), set(self._shot)
        other._tonight = {k: dict(v) for k, v in self._tonight.items()}
        other._dead = None if self._dead is None else set(self._dead)
        return other

    # --- stating beliefs --------------------------------------------------------------------------------------

    def weights(self) -> np.ndarray:
        """Weight `(n_worlds, n_paths)` of each possible world given public information alone, largest 1."""
        if self._cache is None:
            log = self.world_weights.log_weights()
            top = log.max(initial=-np.inf)
            if top < IMPOSSIBLE / 2:
                raise Impossible(
                    f"no world explains the records so far: the log was not made by the rules {self.config.preset!r}"
                    + (f" and the characters {self.characters.keys}" if self.rung else "")
                )
            self._log = log
            self._cache = np.exp(log - top) if self.rung else evenly(log > IMPOSSIBLE / 2)
        return self._cache

    def weights_of(self, viewer: int) -> np.ndarray:
        """Weight `(n_worlds, n_paths)` of each world to a seat; its own acts are no evidence for it.

        Raises ValueError where no record has told the seat its role: its private events were not among the records.
        """
        rows = self._rows(viewer)
        out = np.zeros(self.weights().shape)
        out[rows] = self._own_weights(viewer, rows)
        return out

    def _rows(self, viewer: int) -> np.ndarray:
        """The worlds that agree with what a seat was told. Raises ValueError as `weights_of`."""
        if self.role[viewer] is None:
            raise ValueError(
                f"seat {viewer} has no `role` event among the records: an observer fed with one seat's view has the "
                "beliefs of that seat alone; feed the whole log for all of them"
            )
        return np.flatnonzero(self.private[viewer])

    def _own_weights(self, viewer: int, rows: np.ndarray) -> np.ndarray:
        """Weight `(n_rows, n_paths)` to a seat of the worlds `rows`, all of which agree with what it was told."""
        shared = self.weights()
        if not self.rung:
            return evenly(shared[rows] * self.world_weights.nights.seen[viewer])
        if self.role[viewer] not in ("seer", "doctor", "witch"):
            return np.asarray(shared[rows] * self.world_weights.nights.seen[viewer])
        log = self._own_log(self.world_weights, self._log, viewer, rows)
        top = log.max(initial=-np.inf)
        return np.asarray(np.exp(log - (top if np.isfinite(top) else 0.0)) * (log > IMPOSSIBLE / 2))

    def _own_log(self, f: LogWeights, log: np.ndarray, viewer: int, rows: np.ndarray) -> np.ndarray:
        """Log-weight `(n_rows, n_paths)` to a seat of the worlds `rows`, given that of all to the public."""
        role, own = self.role[viewer], np.zeros(1)
        if role in ("seer", "doctor", "witch"):
            table = f.seer if role == "seer" else f.doctor if role == "doctor" else f.witch
            own = table[viewer, f.shown_of[rows], None] if role == "seer" else table[viewer]
        out: np.ndarray = log[rows] - np.maximum(own, IMPOSSIBLE)
        out[:, ~f.nights.seen[viewer]] = -np.inf
        return out

    def _marginals(self, weights: np.ndarray) -> np.ndarray:
        total = weights.sum(-1, keepdims=True)
        if not (total > 0).all():
            raise Impossible("no world agrees with a viewer's private information and the public record")
        p: np.ndarray = (weights / total) @ self.world_weights.onehot
        return p.reshape(*weights.shape[:-1], self.n, len(self.roles))

    def beliefs(self, viewer: int | None) -> np.ndarray:
        """Probability `(n_seats, n_roles)` of each role of each seat to a viewer (None: to an outsider)."""
        if viewer is None:
            weights = self.weights().sum(1)
        else:
            rows, weights = self._rows(viewer), np.zeros(len(self.weights()))
            weights[rows] = self._own_weights(viewer, rows).sum(1)
        out: np.ndarray = self._marginals(weights)
        return out

    def all_beliefs(self) -> np.ndarray:
        """`beliefs` of all viewers `(n_viewers, n_seats, n_roles)`; NaN for those whose role no record told."""
        out = np.full((self.n, self.n, len(self.roles)), np.nan)
        known = [i for i in range(self.n) if self.role[i] is not None]
        if known:
            shared = self.weights()
            base = shared.sum(1)
            stack = np.empty((len(known), len(base)))
            for row, i in enumerate(known):
                if self.rung and self.role[i] not in ("seer", "doctor", "witch", "werewolf"):
                    stack[row] = base * self.private[i]
                else:
                    rows = np.flatnonzero(self.private[i])
                    stack[row] = 0.0
                    stack[row, rows] = self._own_weights(i, rows).sum(1)
            out[known] = self._marginals(stack)
        return out

    def p_werewolf(self, viewer: int | None) -> np.ndarray:
        """Probability `(n_seats,)` that each seat is a werewolf."""
        out: np.ndarray = self.beliefs(viewer)[:, self.roles.index("werewolf")]
        return out

    def p_characters(self, viewer: int) -> np.ndarray:
        """Probability `(n_seats, n_characters)` of each seat's hidden character, in the order of `characters.keys`, to
        a viewer; NaN for its own seat, whose character it was never in doubt about.

        By Bayes' rule from the weight that all worlds have together where the seat has one character alone. Raises
        ValueError as `weights_of`, and for an observer that weighs no behaviour.
        """
        if not self.rung:
            raise ValueError(
                "an observer of the rules weighs no behaviour, so it cannot tell characters apart"
            )
        rows = np.flatnonzero(self.weights_of(viewer).any(1))
        prior = self.characters.log_prior
        log = np.full(prior.shape, -np.inf)
        for seat, style in np.argwhere(np.isfinite(prior)):
            alone = self.world_weights.with_character(int(seat), int(style))
            own = self._own_log(alone, alone.log_weights(), viewer, rows)
            log[seat, style] = prior[seat, style] + log_sum(own.ravel(), 0)
        out: np.ndarray = np.exp(log - log_sum(log, 1)[:, None])
        out[viewer] = np.nan
        return out


def evenly(possible: np.ndarray) -> np.ndarray:
    """Weight 1 for each world `(n_worlds, n_paths)` with a possible path, the same for each of its paths."""
    some = possible > 0
    out: np.ndarray = some / np.maximum(some.sum(1, keepdims=True), 1)
    return out
