"""Thousands of games of one rule set in lock-step, as numpy arrays: for training, and for counting over many games.

The same games as the plain rules: `VectorGames(config, seeds)` makes the same draws from the same seeds, and for the
same choices gives the same deal, deaths, exiles and winners (proven game by game in the tests). It supports rule sets
whose acts are all discrete and simultaneous; `supported` says why a rule set does not fit.

All games pass through the same phases together: `night`, then one `speech` after another, then `ballot`. A game that is
over waits. Sets of seats are bit masks (`games.engine.masks`).
"""

from __future__ import annotations

import numpy as np

from games.base import ConfigError
from games.chance import stream_id
from games.engine.masks import Array, SeatMasks, deal, mask_of, mix
from games.records import NOBODY
from games.werewolf.arrays.discrete import ROLES, Catalogue
from games.werewolf.config import WerewolfConfig

WINNERS = ("", "village", "werewolf", "jester", "nobody")
"""What the numbers in `VectorGames.winner` mean; 0 is a game that goes on."""

PER_GAME = (
    *(
        "index",
        "seeds",
        "roles",
        "pack",
        "plain",
        "living",
        "winner",
        "day",
        "last_death",
        "last_exile",
        "ballots",
    ),
    *("accusations", "_inspected", "_protected", "_draws", "_killer"),
)
"""The arrays of `VectorGames` with one row a game."""


LOCK_STEP_ROLES = frozenset(("villager", "werewolf", "seer", "doctor", "possessed", "jester", "mason"))
"""The roles that can be played in lock-step."""


def supported(config: WerewolfConfig) -> str | None:
    """Why a rule set cannot be played in lock-step; None where it can."""
    others = {role for role, count in config.roles.items() if count} - LOCK_STEP_ROLES
    wrong = {
        f"roles {sorted(others)}": bool(others),
        "more than 15 seats": config.n_players > 15,
        "a werewolf channel": any("chat" in wave for wave in config.night_order) or bool(config.chat_by_day),
        f"discussion = {config.discussion!r}": config.discussion not in ("round_robin", "none"),
        "ballot = 'sequential'": config.ballot == "sequential",
        "revotes": config.revotes > 0,
        "first_night = 'fixed'": config.first_night == "fixed",
        "a mayor": config.mayor,
        "shadow_ballots": config.shadow_ballots,
        "summaries": config.summaries,
        "last_words": config.last_words != "none",
    }
    return ", ".join(what for what, found in wrong.items() if found) or None


class VectorGames:
    """`n_games` games of one rule set. Seats are columns, `0 <= seat < n_seats`.

    `drop_finished` takes games that are over out of all arrays; `index` says which games the rows are, `winners` and
    `days` hold the results of all.

    roles: (n_games, n_seats) int8, indices into `discrete.ROLES`. living: (n_games,) masks of living seats.
    winner: (n_games,) int8, indices into `WINNERS`. day: (n_games,), the day that each game has reached.
    accusations: (n_games, n_seats, n_seats) int16 `[speaker, subject]`, accusations and announced ballots so far.
    last_death, last_exile: (n_games,) int8, a seat or NOBODY. ballots: (n_games, n_seats) int8, the last ballots.
    """

    def __init__(self, config: WerewolfConfig, seeds: Array) -> None:
        """`seeds`: (n_games,) integers. Raises ConfigError for rule sets that do not fit, naming what does not."""
        if (why := supported(config)) is not None:
            raise ConfigError(f"these rules cannot be played in lock-step: {why}; use games.play")
        self.config = config
        self.catalogue = Catalogue(config)
        self.seeds = np.asarray(seeds, dtype=np.uint64)
        g, n = self.seeds.size, config.n_players
        self.n_games, self.n_seats = g, n
        self.masks = SeatMasks(n)
        self.index = np.arange(g)
        """(n_games,) which of the seeds each row plays."""
        self.winners, self.days = np.zeros(g, dtype=np.int8), np.zeros(g, dtype=np.int16)
        """(n_seeds,) `winner` and `day` of every game, dropped or not; complete when all are over."""
        self._row = np.arange(g)
        self._roots = {
            name: mix(self.seeds ^ np.uint64(stream_id(name))) for name in ("order", "ties", "kill", "killer")
        }

        deck = np.array([ROLES.index(role) for role in config.decks], dtype=np.int8)
        self.roles = deal(deck, self.seeds)
        self._seats = {  # (n_games, n_of_role): who holds each role
            role: np.nonzero(self.roles == ROLES.index(role))[1].reshape(g, count)
            for role, count in config.roles.items()
            if count
        }
        self.pack = mask_of(self._seats["werewolf"])
        self.plain = mask_of(self._seats["villager"]) if "villager" in self._seats else np.zeros(g, np.int32)
        self.living = np.full(g, (1 << n) - 1, dtype=np.int32)
        self.winner = np.zeros(g, dtype=np.int8)
        self.day = np.zeros(g, dtype=np.int16)
        self.last_death = np.full(g, NOBODY, dtype=np.int8)
        self.last_exile = np.full(g, NOBODY, dtype=np.int8)
        self.ballots = np.full((g, n), NOBODY, dtype=np.int8)
        self.accusations = np.zeros((g, n, n), dtype=np.int16)
        self._inspected = np.zeros((g, n), dtype=np.int32)
        self._protected = np.full((g, n), NOBODY, dtype=np.int8)
        self._draws = np.zeros(g, dtype=np.uint64)
        self._killer = np.full(g, NOBODY, dtype=np.int8)
        self._turn = 0
        # What each speech act of the catalogue adds to the accusations of whom; NOBODY for silence, the last.
        self._accused_by_act = np.array(
            [
                a.subject if a.kind in ("accuse", "announce_ballot") else NOBODY
                for a in (*self.catalogue.speech_acts,)
            ]
            + [NOBODY],
            dtype=np.int8,
        )
        self.phase = "night"
        self._nightfall()

    # --- what is asked ----------------------------------------------------------------------------------------

    @property
    def done(self) -> bool:
        """Whether all games are over."""
        return bool(self.winner.all())

    def speaker(self) -> Array:
        """(n_games,) int8: whose turn to speak it is; NOBODY where no one's."""
        rounds = self.config.speech_rounds
        count = self.masks.count[self.living]
        turn = (self._first + self._turn) % np.maximum(count, 1)
        speaks = (self.winner == 0) & (self._turn < count * rounds)
        return np.where(speaks, self.masks.nth(self.living, turn), NOBODY).astype(np.int8)

    def legal(self) -> Array:
        """(n_games, n_seats) int32: the mask of each seat's options at night or in the ballot; 0: it is not asked."""
        g, n, config = self.n_games, self.n_seats, self.config
        out = np.zeros((g, n), dtype=np.int32)
        going = self.winner == 0
        living = np.where(going, self.living, 0)
        nobody = 1 << n
        if self.phase == "ballot":
            seat = np.int32(1) << np.arange(n, dtype=np.int32)
            options = np.broadcast_to(living[:, None], (g, n))
            if not config.ballot_self:
                options = options & ~seat
            if config.ballot_abstain:
                options = options | nobody
            return np.where(living[:, None] & seat, options, 0)
        if self.phase != "night":
            return out
        mode = config.first_night if self._day == 1 else "full"
        if mode == "full":
            choosable = living if config.kill_targets == "anyone" else living & ~self.pack
            choosable = (choosable | nobody) if config.kill_abstain else choosable
            for seat in self._seats["werewolf"].T:
                acts = (living >> seat) & 1
                if config.kill_rule == "one_random":
                    acts = acts & (seat == self._killer)
                out[self._row, seat] = choosable * acts
        for seat in self._seats.get("seer", out[:, :0]).T:
            unseen = living & ~(np.int32(1) << seat)
            if not config.seer_repeats:
                unseen = unseen & ~self._inspected[self._row, seat]
            out[self._row, seat] = unseen * ((living >> seat) & 1)
        if mode != "inspect_only":
            for seat in self._seats.get("doctor", out[:, :0]).T:
                options = living
                if not config.doctor_self:
                    options = options & ~(np.int32(1) << seat)
                if not config.doctor_repeats:
                    last = self._protected[self._row, seat]
                    options = options & ~np.where(last == NOBODY, 0, np.int32(1) << np.maximum(last, 0))
                out[self._row, seat] = options * ((living >> seat) & 1)
        return out

    def legal_mask(self) -> Array:
        """`legal` as (n_games, n_seats, n_seats + 1) bool; the last column is nobody."""
        return ((self.legal()[:, :, None] >> np.arange(self.n_seats + 1)) & 1).astype(bool)

    def random_choices(self, rng: np.random.Generator) -> Array:
        """A uniformly random legal input of `step` for the present phase."""
        if self.phase == "speech":
            return rng.integers(-1, len(self.catalogue.speech_acts), self.n_games)
        legal = self.legal()
        count = self.masks.count[legal]
        k = (rng.random(legal.shape, dtype=np.float32) * count).astype(np.int8)
        return self.masks.nth(legal, np.minimum(k, np.maximum(count - 1, 0)))

    # --- what happens -----------------------------------------------------------------------------------------

    def step(self, choices: Array) -> None:
        """Go on by one phase.

        `choices` at night and in the ballot: (n_games, n_seats), each asked seat's choice, a seat or NOBODY; values of
        seats that are not asked are ignored. At a speech: (n_games,), the speaker's act as an index into
        `catalogue.speech_acts`, -1 for silence. Choices are not checked: take them from `legal`.
        """
        if self.phase == "night":
            self._night(np.asarray(choices))
        elif self.phase == "speech":
            self._speech(np.asarray(choices))
        elif self.phase == "ballot":
            self._ballot(np.asarray(choices))
        else:
            raise ValueError("all games are over")

    def play_randomly(self, rng: np.random.Generator) -> VectorGames:
        """Play all games to their ends with random legal choices."""
        while self.phase != "over":
            if self.phase == "night":
                self.drop_finished()
            self.step(self.random_choices(rng))
        return self

    def drop_finished(self) -> None:
        """Take the games that are over out of all arrays; their results stay in `winners` and `days`."""
        going = np.nonzero(self.winner == 0)[0]
        if going.size == self.n_games:
            return
        self.n_games = going.size
        self._row = np.arange(going.size)
        for name in PER_GAME:
            setattr(self, name, getattr(self, name)[going])
        self._roots = {name: root[going] for name, root in self._roots.items()}
        self._seats = {role: seats[going] for role, seats in self._seats.items()}

    def _nightfall(self) -> None:
        late = (self.winner == 0) & (self.day >= self.config.max_days)
        self.winner[late] = WINNERS.index("nobody")
        self.winners[self.index], self.days[self.index] = self.winner, self.day
        going = self.winner == 0
        if not going.any():
            self.phase = "over"
            return
        self.day += going
        self._day = int(self.day.max())
        self.phase = "night"
        if self.config.kill_rule == "one_random":
            self._killer = self._pick(self.living & self.pack, "killer", self.day)

    def _night(self, choices: Array) -> None:
        going, mode = self.winner == 0, self.config.first_night if self._day == 1 else "full"
        kill_target = np.full(self.n_games, NOBODY, dtype=np.int8)
        if mode == "full":
            votes = np.full((self.n_games, self._seats["werewolf"].shape[1]), NOBODY)
            for i, seat in enumerate(self._seats["werewolf"].T):
                acts = (self.living >> seat) & 1 > 0
                if self.config.kill_rule == "one_random":
                    acts &= seat == self._killer
                votes[:, i] = np.where(acts, choices[self._row, seat], NOBODY)
            tied, _ = self.masks.leaders(votes)
            kill_target = self._pick(tied, "kill", self.day)
        for seat in self._seats.get("seer", choices[:, :0]).T:
            target = choices[self._row, seat].astype(np.int32)
            acts = going & ((self.living >> seat) & 1 > 0) & (target != NOBODY)
            self._inspected[self._row, seat] |= np.where(acts, np.int32(1) << np.maximum(target, 0), 0)
        saved = np.zeros(self.n_games, dtype=bool)
        if mode != "inspect_only":
            for seat in self._seats.get("doctor", choices[:, :0]).T:
                acts = going & ((self.living >> seat) & 1 > 0)
                target = choices[self._row, seat]
                saved |= acts & (target == kill_target)
                self._protected[self._row, seat] = np.where(acts, target, self._protected[self._row, seat])
        self.last_death = np.where(going & ~saved, kill_target, NOBODY).astype(np.int8)
        self._remove(self.last_death)
        self._daybreak()

    def _daybreak(self) -> None:
        self._turn = 0
        if self.done:
            self._nightfall()
        elif self.config.discussion == "none":
            self.phase = "ballot"
        else:
            count = self.masks.count[self.living].astype(np.uint64)
            going = self.winner == 0
            self._draws += going
            self._first = (self._key("order", self._draws) % np.maximum(count, 1)).astype(np.int16)
            self._turns = int((count * going).max()) * self.config.speech_rounds
            self.phase = "speech"

    def _speech(self, acts: Array) -> None:
        speaker, subject = self.speaker(), self._accused_by_act[acts]
        heard = np.nonzero((speaker != NOBODY) & (subject != NOBODY))[0]
        self.accusations[heard, speaker[heard], subject[heard]] += 1
        self._turn += 1
        if self._turn >= self._turns:
            self.phase = "ballot"

    def _ballot(self, choices: Array) -> None:
        going, config = self.winner == 0, self.config
        votes = np.where((self.living[:, None] >> np.arange(self.n_seats)) & 1, choices, NOBODY)
        self.ballots = votes.astype(np.int8)
        tied, top = self.masks.leaders(votes)
        if config.ballot_rule == "majority":
            exiled = np.where(top * 2 > self.masks.count[self.living], self.masks.nth(tied, 0), NOBODY)
        else:
            drawn = going & (tied > 0)
            if config.tie == "no_exile":
                drawn &= self.masks.count[tied] == 1
            self._draws += drawn
            exiled = np.where(drawn, self._pick(tied, "ties", self._draws), NOBODY)
        self.last_exile = np.where(going, exiled, NOBODY).astype(np.int8)
        jester = ROLES.index("jester")
        if "jester" in self._seats:
            hit = (self.last_exile != NOBODY) & (self.roles[self._row, self.last_exile] == jester)
            self.winner[hit] = WINNERS.index("jester")
        self._remove(self.last_exile)
        self._nightfall()

    def _remove(self, seats: Array) -> None:
        """Take a seat (or NOBODY) of each game out, and see who has won."""
        self.living &= ~np.where(seats == NOBODY, 0, np.int32(1) << np.maximum(seats, 0).astype(np.int32))
        wolves, count = self.masks.count[self.living & self.pack], self.masks.count[self.living]
        won = np.where(wolves * 2 >= count, WINNERS.index("werewolf"), 0)
        if self.config.edge_kill:
            won = np.where(self.living & self.plain, won, WINNERS.index("werewolf"))
        won = np.where(wolves == 0, WINNERS.index("village"), won)
        self.winner = np.where(self.winner == 0, won, self.winner).astype(np.int8)

    # --- chance -----------------------------------------------------------------------------------------------

    def _key(self, stream: str, counter: Array) -> Array:
        return mix(self._roots[stream] ^ counter.astype(np.uint64))

    def _pick(self, tied: Array, stream: str, counter: Array) -> Array:
        """(n_games,) int8: one seat of each mask, drawn as the plain rules draw it; NOBODY of an empty mask."""
        count = self.masks.count[tied]
        k = np.zeros(self.n_games, dtype=np.int64)
        several = np.nonzero(count > 1)[0]
        if several.size:
            keys = mix(self._roots[stream][several] ^ counter[several].astype(np.uint64))
            k[several] = (keys % count[several].astype(np.uint64)).astype(np.int64)
        return self.masks.nth(tied, k)
