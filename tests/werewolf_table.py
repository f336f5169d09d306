"""A game of Werewolf laid out by hand for the tests: chosen deal, chosen acts, the moderator's and each seat's view."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from games.play import Answer, observe, stamp
from games.records import NOBODY, Action, Decision, Event, Record, Reply, Request
from games.werewolf import GAME
from games.werewolf.discussion import SKIP
from games.werewolf.rules import moderator_at
from games.werewolf.state import Moderator

Choice = Callable[[Request], Action]


class Board:
    """One game whose seats have the given roles. `play(kind={seat: target})` answers until something else is asked."""

    def __init__(self, deal: str, preset: str = "custom", seed: int = 1, **settings: Any) -> None:
        dealt = deal.split()
        settings.setdefault("roles", {role: dealt.count(role) for role in dict.fromkeys(dealt)})
        if preset == "custom":
            settings.setdefault("ballot_abstain", True)  # so that a day passes without an exile
        self.config = GAME.configure(preset=preset, **settings)
        self.seed = seed
        self.state, events = GAME.start(self.config, seed, dealt=dealt)
        self.log: list[Record] = list(events)

    @property
    def now(self) -> Moderator:
        """The hidden truth of the game as it stands."""
        return moderator_at(self.state)

    @property
    def asked(self) -> dict[str, list[int]]:
        """Kind of what is asked now -> the seats that are."""
        out: dict[str, list[int]] = {}
        for request in self.state.requests:
            out.setdefault(request.kind, []).append(request.seat)
        return out

    def request(self, seat: int) -> Request:
        """What the seat is asked now."""
        return next(r for r in self.state.requests if r.seat == seat)

    def answer(self, choose: Choice) -> None:
        """Answer all that is asked now."""
        decisions = tuple(
            stamp(r, Answer(Reply(choose(r))), len(self.log) + i) for i, r in enumerate(self.state.requests)
        )
        self.state, events = GAME.apply(self.state, decisions)
        self.log += [*decisions, *events]

    def once(self, **choices: dict[int, int] | int) -> Board:
        """Answer what is asked now: `kind={seat: option}` or `kind=option` for all of a kind; seats without a word
        abstain, are silent, or take the lowest option."""

        def choose(r: Request) -> Action:
            wanted = choices.get(r.kind)
            if isinstance(wanted, dict):
                wanted = wanted.get(r.seat)
            if wanted in r.options:
                return Action(wanted)
            if not r.options:
                return Action()
            if r.kind == "speech":
                return Action(SKIP)
            return Action(NOBODY if NOBODY in r.options else min(r.options))

        self.answer(choose)
        return self

    def play(self, until: str | None = None, **choices: dict[int, int] | int) -> Board:
        """Answer wave after wave until `until` is asked or the game is over."""
        while self.state.requests and until not in self.asked:
            self.once(**choices)
        return self

    def night(self, **choices: dict[int, int] | int) -> Board:
        """Answer until this night is over."""
        while self.state.requests and self.now.phase == "night":
            self.once(**choices)
        return self

    def day(self, **choices: dict[int, int] | int) -> Board:
        """Answer until this day is over."""
        while self.state.requests and self.now.phase == "day":
            self.once(**choices)
        return self

    def events(self, kind: str) -> list[Event]:
        """The events of one kind so far."""
        return [r for r in self.log if isinstance(r, Event) and r.kind == kind]

    def decisions(self, kind: str) -> list[Decision]:
        """The decisions of one kind so far."""
        return [r for r in self.log if isinstance(r, Decision) and r.kind == kind]

    def sees(self, seat: int) -> tuple[tuple[Record, ...], list[str]]:
        """The records and the lines of a seat's view."""
        seen = observe(GAME, "g", self.config, self.seed, self.log, Request(seat, "speech")).records
        return seen, GAME.transcript(self.log, seat, self.config)

    @property
    def winner(self) -> str | None:
        """Who has won, None while the game goes on."""
        return self.state.outcome.winner if self.state.outcome else None

    @property
    def living(self) -> set[int]:
        """The seats in the game."""
        return set(self.now.present)
