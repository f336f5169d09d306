"""One running game under the PettingZoo environments: state, log, views, and answers waiting for the others'.

Requests of one wave are answered one after another or together; no answer is applied or shown before all are in. So the
sequential and the parallel environment give the same events for the same answers.
"""

from __future__ import annotations

from typing import Any

from games.base import Game, Outcome
from games.play import Answer, stamp
from games.records import Event, Record, Reply, Request
from games.seat_view.views import Views, private_key


class Table:
    """A game in play. `log` holds all records so far."""

    def __init__(self, game: Game, config: Any, seed: int, n_seats: int, paced: bool = False) -> None:
        """paced: records are shown to the seats by `show`, not at once."""
        self._game, self._paced = game, paced
        self.unseen: list[Record] = []
        """Records that the seats have not been shown yet."""
        self.config, self.seed = config, seed
        self.views = Views(game, config, n_seats)
        self.log: list[Record] = []
        self.replies: dict[int, Reply] = {}
        self.fallbacks = [0] * n_seats
        """How many answers of each seat could not be used."""
        self._state, events = game.start(config, seed)
        self.requests: tuple[Request, ...] = game.to_act(self._state)
        """All requests of the present wave, answered ones included."""
        self._record(events)

    @property
    def waiting(self) -> list[Request]:
        """The requests that are not answered yet."""
        return [r for r in self.requests if r.seat not in self.replies]

    @property
    def outcome(self) -> Outcome | None:
        """The outcome, None while the game goes on."""
        return self._game.outcome(self._state)

    def answer(self, request: Request, reply: Reply | None, why: str = "illegal") -> None:
        """Answer a request; None is answered by the rules' legal fallback, recorded as `why` and counted.

        The last answer of a wave carries the game on.
        """
        if reply is None:
            n_seen = len(self.views.records(request.seat))
            action = self._game.legal_fallback(request, private_key(self.seed, request.seat, n_seen))
            reply = Reply(action, fallback=why)
            self.fallbacks[request.seat] += 1
        self.replies[request.seat] = reply
        if not self.waiting:
            decisions = tuple(
                stamp(r, Answer(self.replies[r.seat]), len(self.log) + i, self.log)
                for i, r in enumerate(self.requests)
            )
            self.replies = {}
            self._state, events = self._game.apply(self._state, decisions)
            self.requests = self._game.to_act(self._state)
            self._record((*decisions, *events))

    def _record(self, records: tuple[Record, ...] | tuple[Event, ...]) -> None:
        self.log += records
        self.unseen += records
        if not self._paced:
            self.show(len(self.unseen))

    def show(self, n: int) -> None:
        """Show the next `n` records to the seats, to each those that it may see."""
        self.views.add(self.unseen[:n])
        del self.unseen[:n]
