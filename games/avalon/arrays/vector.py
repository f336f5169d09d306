"""Thousands of games of Avalon of one rule set in lock-step, as numpy arrays: for training, and for counting.

The same games as the plain rules: `VectorGames(config, seeds)` makes the same draws from the same seeds, and for the
same choices gives the same deal, leaders, missions and winners (proven game by game in the tests). It supports rule
sets without words or with discussion in turn; `supported` says why a rule set does not fit.

Games differ in how many teams they reject, so each has its own phase; one `step` answers the requests of all games.
Sets of seats are bit masks (`games.engine.masks`).
"""

from __future__ import annotations

from typing import Final

import numpy as np

from games.avalon.arrays.discrete import Catalogue
from games.avalon.config import AvalonConfig
from games.avalon.roles import EVIL, ROLES, TEAM_SIZES, shown
from games.base import ConfigError
from games.chance import stream_id
from games.engine.masks import Array, SeatMasks, deal, mix
from games.records import NOBODY

SPEECH, PICK, VOTE, CARD, STAB, OVER = range(6)
"""Values of `phase`: what a game asks now."""
WINNERS: Final = ("", "good", "evil")
"""What the numbers in `VectorGames.winner` mean; 0 is a game that goes on."""


def supported(config: AvalonConfig) -> str | None:
    """Why a rule set cannot be played in lock-step; None where it can."""
    if config.discussion not in ("round_robin", "none"):
        return f"discussion = {config.discussion!r}"
    return None


class VectorGames:
    """`n_games` games of one rule set. Seats are columns, `0 <= seat < n_seats`.

    roles: (n_games, n_seats) int8, indices into `games.avalon.roles.ROLES`. phase, leader, mission, rejected,
    succeeded, failed: (n_games,) int8. team: (n_games,) int32, the mask of the seats picked. votes: (n_games,
    n_seats) int8, the last ones, -1 before the first. n_fails: (n_games, 5) int8, failures in each mission, -1 before
    it was played. accusations, trust: (n_games, n_seats, n_seats) int16 `[speaker, subject]`. winner: (n_games,) int8.
    """

    def __init__(self, config: AvalonConfig, seeds: Array) -> None:
        """`seeds`: (n_games,) integers. Raises ConfigError for rule sets that do not fit, naming what does not."""
        if (why := supported(config)) is not None:
            raise ConfigError(f"these rules cannot be played in lock-step: {why}; use games.play")
        self.config, self.catalogue = config, Catalogue(config)
        self.seeds = np.asarray(seeds, dtype=np.uint64)
        g, n = self.seeds.size, config.n_players
        self.n_games, self.n_seats = g, n
        self.masks = SeatMasks(n)
        self._row, self._everyone = np.arange(g), np.int32((1 << n) - 1)
        self._order = mix(self.seeds ^ np.uint64(stream_id("order")))
        self._n_draws = np.zeros(g, dtype=np.uint64)
        deck = np.array([ROLES.index(role) for role in config.decks], dtype=np.int8)
        self.roles = deal(deck, self.seeds)
        self.evil = self._holders(EVIL)
        self._merlin = self._holders(("merlin",))
        self._targets = self._everyone & ~self._holders(
            [role for role in EVIL if role == "assassin" or shown("assassin", role)]
        )
        leaders = mix(self.seeds ^ np.uint64(stream_id("leader")))
        self.leader = (leaders % np.uint64(n)).astype(np.int8)
        self.phase = np.full(g, PICK, dtype=np.int8)
        self.mission, self.rejected = np.ones(g, dtype=np.int8), np.zeros(g, dtype=np.int8)
        self.succeeded, self.failed = np.zeros(g, dtype=np.int8), np.zeros(g, dtype=np.int8)
        self.team = np.zeros(g, dtype=np.int32)
        self.votes = np.full((g, n), -1, dtype=np.int8)
        self.n_fails = np.full((g, 5), -1, dtype=np.int8)
        self.accusations = np.zeros((g, n, n), dtype=np.int16)
        self.trust = np.zeros((g, n, n), dtype=np.int16)
        self.winner = np.zeros(g, dtype=np.int8)
        self._turn, self._first = np.zeros(g, dtype=np.int16), np.zeros(g, dtype=np.int16)
        self._then = np.full(g, PICK, dtype=np.int8)
        """The phase that follows the current discussion."""
        self._sizes = np.array(TEAM_SIZES[n], dtype=np.int8)
        self._needed = np.array([config.fails_needed(k) for k in range(1, 6)], dtype=np.int8)
        self._about = {
            kind: np.array(
                [a.subject if a.kind == kind else NOBODY for a in self.catalogue.speech_acts] + [NOBODY],
                dtype=np.int8,
            )
            for kind in ("accuse", "vouch")
        }
        self._propose(np.ones(g, dtype=bool))

    def _holders(self, roles: tuple[str, ...] | list[str]) -> Array:
        """(n_games,) int32: the mask of the seats with one of the roles."""
        holds = np.isin(self.roles, [ROLES.index(role) for role in roles])
        return np.asarray((holds << np.arange(self.n_seats, dtype=np.int32)).sum(1, dtype=np.int32))

    # --- what is asked ----------------------------------------------------------------------------------------

    @property
    def done(self) -> bool:
        """Whether all games are over."""
        return bool((self.phase == OVER).all())

    def team_size(self) -> Array:
        """(n_games,) int8: how many go on the mission in question."""
        return np.asarray(self._sizes[np.minimum(self.mission, 5) - 1])

    def asked(self) -> Array:
        """(n_games, n_seats) bool: who is asked now."""
        seat = np.arange(self.n_seats)
        one = np.select(
            [self.phase == SPEECH, self.phase == PICK, self.phase == STAB],
            [self.speaker(), self.leader, self._assassin()],
            NOBODY,
        )
        members = (self.team[:, None] >> seat) & 1 > 0
        everyone = np.broadcast_to((self.phase == VOTE)[:, None], members.shape)
        return np.asarray((seat == one[:, None]) | everyone | (members & (self.phase == CARD)[:, None]))

    def speaker(self) -> Array:
        """(n_games,) int8: whose turn to speak it is; NOBODY where none is."""
        turn = (self._first + self._turn) % self.n_seats
        return np.where(self.phase == SPEECH, turn, NOBODY).astype(np.int8)

    def _assassin(self) -> Array:
        return np.asarray((self.roles == ROLES.index("assassin")).argmax(1))

    def legal(self) -> Array:
        """(n_games, n_seats) int32: the legal choices of each seat, 0 where it is not asked: seats as bits for a pick
        or the assassin, bit 0 (reject, failure) and 1 (approve, success) for votes and cards; 0 for speeches."""
        out = np.zeros((self.n_games, self.n_seats), dtype=np.int32)
        seat = np.int32(1) << np.arange(self.n_seats, dtype=np.int32)
        evil = (self.evil[:, None] & seat) > 0
        for phase, options in (
            (PICK, (self._everyone & ~self.team)[:, None]),
            (VOTE, np.int32(3)),
            (CARD, np.where(evil, np.int32(3), np.int32(2))),
            (STAB, self._targets[:, None]),
        ):
            out = np.where((self.phase == phase)[:, None], options, out)
        return np.asarray(np.where(self.asked(), out, 0))

    def random_choices(self, rng: np.random.Generator) -> Array:
        """A uniformly random legal input of `step`."""
        legal = self.legal()
        count = self.masks.count[legal]
        k = (rng.random(legal.shape, dtype=np.float32) * count).astype(np.int8)
        out = self.masks.nth(legal, np.minimum(k, np.maximum(count - 1, 0))).astype(np.int16)
        said = rng.integers(-1, len(self.catalogue.speech_acts), self.n_games)
        return np.where((self.phase == SPEECH)[:, None], said[:, None], out)

    # --- what happens -----------------------------------------------------------------------------------------

    def step(self, choices: Array) -> None:
        """Answer the requests of every game.

        `choices`: (n_games, n_seats); values of seats that are not asked are ignored. A seat for a pick or the
        assassin, 0 or 1 for votes and cards, for a speech the act as an index into `catalogue.speech_acts`, -1 for
        silence. Choices are not checked: take them from `legal`.
        """
        phase = self.phase.copy()
        self._speeches(phase == SPEECH, choices)
        self._picks(phase == PICK, choices)
        self._votes(phase == VOTE, choices)
        self._cards(phase == CARD, choices)
        self._stabs(phase == STAB, choices)

    def play_randomly(self, rng: np.random.Generator) -> VectorGames:
        """Play all games to their ends with random legal choices."""
        while not self.done:
            self.step(self.random_choices(rng))
        return self

    def _talk(self, which: Array, then: int) -> None:
        """Begin a discussion in some games, which `then` follows."""
        self._n_draws += which
        drawn = mix(self._order ^ self._n_draws) % np.uint64(self.n_seats)
        self._first = np.where(which, drawn.astype(np.int16), self._first)
        self._turn[which], self._then[which], self.phase[which] = 0, then, SPEECH

    def _propose(self, which: Array) -> None:
        """A new proposal begins."""
        self.team[which] = 0
        if "proposal" in self.config.talk_before:
            self._talk(which, PICK)
        else:
            self.phase[which] = PICK

    def _speeches(self, which: Array, choices: Array) -> None:
        rows = np.nonzero(which)[0]
        speaker = self.speaker()[rows]
        acts = choices[rows, speaker]
        for kind, counts in (("accuse", self.accusations), ("vouch", self.trust)):
            subject = self._about[kind][acts]
            heard = subject != NOBODY
            counts[rows[heard], speaker[heard], subject[heard]] += 1
        self._turn[rows] += 1
        over = which & (self._turn >= self.n_seats * self.config.speech_rounds)
        self.phase = np.where(over, self._then, self.phase).astype(np.int8)
        self._no_vote(over & (self.phase == VOTE))

    def _picks(self, which: Array, choices: Array) -> None:
        picked = np.maximum(choices[self._row, self.leader], 0).astype(np.int32)
        self.team |= np.where(which, np.int32(1) << picked, 0)
        full = which & (self.masks.count[self.team] == self.team_size())
        if "vote" in self.config.talk_before:
            self._talk(full, VOTE)
        else:
            self.phase[full] = VOTE
            self._no_vote(full)

    def _no_vote(self, which: Array) -> None:
        """The last team that may be proposed goes without a vote where there is a hammer."""
        if self.config.hammer:
            self._accept(which & (self.rejected + 1 == self.config.max_rejections))

    def _votes(self, which: Array, choices: Array) -> None:
        self.votes = np.where(which[:, None], choices == 1, self.votes).astype(np.int8)
        accepted = which & (2 * (choices == 1).sum(1) > self.n_seats)
        self._accept(accepted)
        rejected = which & ~accepted
        self.rejected += rejected
        self._lead(rejected)
        lost = rejected & (self.rejected == self.config.max_rejections)
        self._win(lost, "evil")
        self._propose(rejected & ~lost)

    def _accept(self, which: Array) -> None:
        self._lead(which)
        self.phase[which] = CARD

    def _lead(self, which: Array) -> None:
        """The next seat leads."""
        self.leader = np.where(which, (self.leader + 1) % self.n_seats, self.leader).astype(np.int8)

    def _cards(self, which: Array, choices: Array) -> None:
        members = (self.team[:, None] >> np.arange(self.n_seats)) & 1 > 0
        n_fails = (members & (choices == 0)).sum(1)
        number = np.minimum(self.mission, 5) - 1
        rows = np.nonzero(which)[0]
        self.n_fails[rows, number[rows]] = n_fails[rows]
        failed = n_fails >= self._needed[number]
        self.failed += which & failed
        self.succeeded += which & ~failed
        self.mission += which
        self.rejected[which] = 0
        self._win(which & (self.failed == 3), "evil")
        three = which & (self.succeeded == 3)
        if self.config.count("assassin"):
            self.phase[three] = STAB
        else:
            self._win(three, "good")
        self._propose(which & (self.failed < 3) & ~three)

    def _stabs(self, which: Array, choices: Array) -> None:
        if not which.any():
            return
        target = np.maximum(choices[self._row, self._assassin()], 0).astype(np.int32)
        found = (self._merlin >> target) & 1 > 0
        self._win(which & found, "evil")
        self._win(which & ~found, "good")

    def _win(self, which: Array, side: str) -> None:
        self.winner[which], self.phase[which] = WINNERS.index(side), OVER
