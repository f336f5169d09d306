"""Inputs of a policy as arrays: the characters of a prior, the public evidence at a moment, and the information sets of
a seat."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec
import numpy as np

from agents.werewolf.styles import CHARACTERS, STYLES, Style
from games.werewolf.evidence import Evidence

HUMAN, SEER, WOLF = 0, 1, 2
"""Kinds of information sets that policies distinguish; all roles but seer and werewolf are HUMAN."""

Mix = Mapping[str | Style, float]
"""A prior over characters: names of `agents.werewolf.styles.STYLES`, `random`, or styles of one's own -> weight."""

RATES = tuple(Style.__struct_fields__)


class Characters:
    """The characters that a seat may have, as arrays, and how likely each is before the game.

    Characters are drawn for each seat independently. `log_prior` is `(n_seats, n_styles)`; each field of `Style` is
    an attribute `(n_styles,)`; `random` marks the player who chooses uniformly.
    """

    accuse: np.ndarray
    bus: np.ndarray

    def __init__(self, mix: Mix | Sequence[Mix], n: int, lapse: float = 0.0) -> None:
        mixes = [mix] * n if isinstance(mix, Mapping) else list(mix)
        if len(mixes) != n:
            raise ValueError(f"the prior over characters has {len(mixes)} entries; the game has {n} seats")
        keys = list(dict.fromkeys(key for m in mixes for key, weight in m.items() if weight > 0))
        for key in keys:
            if isinstance(key, str) and key not in CHARACTERS:
                raise ValueError(
                    f"no scripted player is called {key!r}; there are: random, {', '.join(STYLES)}"
                )
        self.keys = keys
        self.lapse = lapse
        """Share of acts that follow no policy at all."""
        styles = [key if isinstance(key, Style) else STYLES.get(key) for key in keys]
        self.random = np.array([style is None for style in styles])
        self.blind = bool(self.random.any())
        """Whether the player who chooses uniformly is among them."""
        filled = [style or Style() for style in styles]
        self.rates: dict[str, np.ndarray] = {
            name: np.array([getattr(style, name) for style in filled]) for name in RATES
        }
        follow, wolf = self.rates["follow"], self.rates["wolf_follow"]
        self.follow = np.stack([follow, follow, wolf], axis=1)
        """How far the crowd is followed `(n_styles, 3)`, by HUMAN, SEER and WOLF."""
        weights = np.array([[m.get(key, 0.0) for key in keys] for m in mixes], dtype=float)
        if (weights < 0).any() or not (weights.sum(1) > 0).all():
            raise ValueError(
                f"a prior over characters needs weights >= 0 that do not all vanish; found {mix}"
            )
        with np.errstate(divide="ignore"):
            self.log_prior = np.log(weights / weights.sum(1, keepdims=True))

    def __len__(self) -> int:
        return len(self.keys)

    def __getitem__(self, name: str) -> np.ndarray:
        return self.rates[name]


class Scene:
    """The public evidence at one moment as arrays, and the scores that policies make of it."""

    def __init__(self, seen: Evidence, rung: int = 4) -> None:
        self.n, self.day, self.rung = seen.n, seen.day, rung
        self.alive = np.array(seen.alive)
        self.accused = np.array(seen.accusations, dtype=float)
        hostile = self.accused + np.array(seen.ballots, dtype=float)
        self.crowd = np.array(seen.today, dtype=float)
        """Accusations of each seat today, as followers of the crowd count them; zeros below rung 4."""
        self.today = self.crowd
        if rung < 4:
            self.crowd = np.zeros(seen.n)
        self.claims = list(seen.claims)
        self.claims_seer = np.array([claim == "seer" for claim in seen.claims])
        self.reports = {reporter: dict(subjects) for reporter, subjects in seen.reports.items()}
        side = np.array(
            [0.0 if shown is None else 1.0 if shown == "werewolf" else -1.0 for shown in seen.revealed]
        )
        self._relations = (0.8 * np.array(seen.defences, dtype=float) - 0.6 * hostile) @ side
        self._hostile = hostile
        self._weighed: list[tuple[int, dict[int, bool], bool]] = []
        self.public_reports = np.zeros(seen.n)
        """Suspicion of each seat from reports alone, for a seat that was told nothing."""
        if rung >= 3:
            for reporter, subjects in self.reports.items():
                refuted = seen.revealed[reporter] not in (None, "seer") or any(
                    seen.revealed[s] is not None and (seen.revealed[s] == "werewolf") != wolf
                    for s, wolf in subjects.items()
                )
                self._weighed.append((reporter, subjects, refuted))
                self.public_reports[reporter] += 0.5
                for s, wolf in subjects.items():
                    self.public_reports[s] += 1.5 if wolf else -1.5

    def base(self, me: int, kind: int) -> np.ndarray:
        """Suspicion `(n,)` of each seat for seat `me`, without the crowd's accusations and without what `me` was
        told."""
        score: np.ndarray = self._relations + 0.7 * self._hostile[:, me]
        rivals = int(self.claims_seer.sum())
        for reporter, subjects, refuted in self._weighed:
            if me in subjects and subjects[me] != (kind == WOLF):
                refuted = True
            if kind == SEER and reporter != me:
                refuted = True
            weight = 0.0 if refuted else (3.0 if rivals < 2 else 1.2)
            for j, wolf in subjects.items():
                if j != reporter:
                    score[j] += weight if wolf else -weight
            score[reporter] += 2.5 if refuted else (0.8 if rivals > 1 else -1.0)
        return score


class Sequences(msgspec.Struct):
    """Orders in which a seer may have inspected the seats of each of its information sets. A report of several results
    gives them in that order, so seats that it has reported already are left out."""

    of: np.ndarray
    """The seer row, counted from the first `(n_sequences,)`."""
    code: np.ndarray
    """The unreported seats as digits `(n_sequences,)`, see `encode`."""
    share: np.ndarray
    """Probability `(n_styles, n_sequences)` of the sequence given its row and character."""


def encode(seats: Sequence[int], n: int) -> int:
    """Seats in order as one number."""
    code = 0
    for j in seats:
        code = code * (n + 1) + j + 1
    return code


class InfoSets(msgspec.Struct):
    """The information sets that one seat may be in, as rows: plain villager, any other human, each set of fellow
    werewolves, each set of fellow masons, each set of inspections with their results."""

    kind: np.ndarray
    """HUMAN, SEER or WOLF `(n_infosets,)`."""
    told: np.ndarray
    """bool `(n_infosets, n)`: seats whose side the infoset was told (not for werewolves)."""
    value: np.ndarray
    """+-8 where told `(n_infosets, n)`."""
    partner: np.ndarray
    """float `(n_infosets, n)`: 1 for a werewolf's partners."""
    ll: np.ndarray
    """Log-likelihood of the seat's acts so far `(n_styles, n_infosets)`."""
    packs: np.ndarray
    """Index of the pack of each werewolf row, which start at row 2."""
    lodges: np.ndarray
    """Index of the lodge of each mason row, which follow."""
    results: np.ndarray
    """int64 `(n_seer_rows,)`: of each seer row, which are the last, the seats that it asked as bits above those of the
    werewolves that it found."""
    sequences: Sequences
    """The orders behind the seer rows."""

    @property
    def seer(self) -> int:
        """The first seer row."""
        return 2 + len(self.packs) + len(self.lodges)
