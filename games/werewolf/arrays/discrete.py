"""Werewolf in numbers, for reinforcement learning: a finite catalogue of acts and a feature vector of one seat's view.

Both depend on the configuration alone, so that one policy serves every seat of every game of a preset.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from games.records import NOBODY, Action, Decision, Event, Record, Request, SpeechAct
from games.werewolf.config import WerewolfConfig
from games.werewolf.discussion import OVER, SKIP, SPEAK
from games.werewolf.roles import ROLES as CARD_OF
from games.werewolf.roles import species_of
from games.werewolf.words.acts import say
from games.werewolf.words.lines import SPEECHES, VERBS, Words

ROLES = tuple(CARD_OF)
KINDS = (*VERBS, *SPEECHES, "bid", "candidacy")
"""Every kind of request, in the order of the features."""

N_NUMBERS = 5
"""Bids 0 to 4; a candidacy takes 0 (declines) or 1 (runs)."""


class Catalogue:
    """The finite list of acts of one configuration. With n seats, index

    - 0: nobody, pass, skip, say nothing;
    - 1 .. n: choose seat index - 1;
    - n+1 .. n+5: the numbers 0 to 4;
    - n+6: end one's talk of the day (`over`, free discussion only);
    - from n+7: the typed speech acts of `speech_acts`, one each.

    The first n+7 are the targets of the environment's act-plus-text form.
    """

    def __init__(self, config: WerewolfConfig) -> None:
        n = config.n_players
        self.n_seats = n
        self.over = n + 1 + N_NUMBERS
        self.n_targets = self.over + 1
        roles: list[str] = [role for role, count in config.roles.items() if count]
        shown = {
            "role": list(roles),
            "faction": sorted({"village", "werewolf", *(["jester"] if "jester" in roles else [])}),
            "species": ["human", "werewolf"],
        }[config.seer_learns]
        subjects = range(n)
        self.speech_acts: tuple[SpeechAct, ...] = (
            *(SpeechAct("accuse", i) for i in subjects),
            *(SpeechAct("defend", i) for i in subjects),
            *(SpeechAct("question", i) for i in subjects),
            *(SpeechAct("announce_ballot", i) for i in subjects),
            *(SpeechAct("claim_role", role=role) for role in roles),
            *(SpeechAct("deny", role=role) for role in roles),
            *(SpeechAct("report_inspection", i, role) for i in subjects for role in shown),
            SpeechAct("retract"),
        )
        """accuse, defend, question, announce a ballot (each about seat 0 to n-1); claim, deny (each of the roles in
        play); report of an inspection (each seat, each thing that a seer can learn); retract."""

    def __len__(self) -> int:
        return self.n_targets + len(self.speech_acts)

    def mask(self, request: Request | None, n: int) -> np.ndarray:
        """Which of the first `n` acts answer the request, (n,) int8; only the first where nothing is asked."""
        mask = np.zeros(n, dtype=np.int8)
        if request is None:
            mask[0] = 1
            return mask
        mask[[i for i in (self._index(request, option) for option in request.options) if i is not None]] = 1
        if request.speaks and (not request.options or self._talk(request)):
            mask[0] = 1
            mask[self.n_targets :] = 1
        return mask

    def action(self, request: Request, index: int, w: Words) -> Action | None:
        """The catalogue's act as an action that answers the request; None where it does not answer it."""
        if (
            request.speaks
            and self.n_targets <= index < len(self)
            and (not request.options or self._talk(request))
        ):
            acts = (self.speech_acts[index - self.n_targets],)
            return Action(SPEAK if request.options else None, say(acts, w.names, w.lex), acts)
        if not request.options:
            return Action() if index == 0 else None
        for option in request.options:
            if self._index(request, option) == index:
                return Action(option)
        return None

    def _index(self, request: Request, option: int) -> int | None:
        """The act that stands for an option, None for those that take words."""
        if request.kind in ("bid", "candidacy"):
            return self.n_seats + 1 + option
        if self._talk(request):
            return {SKIP: 0, OVER: self.over, SPEAK: None}[option]
        return 0 if option == NOBODY else option + 1

    @staticmethod
    def _talk(request: Request) -> bool:
        """Whether the request is a turn of a free discussion, whose options are to speak, skip or end."""
        return request.kind == "speech" and bool(request.options)


SEAT_FEATURES: tuple[str, ...] = (
    "me",
    "living",
    "mayor",
    *(f"known_{role}" for role in ROLES),  # told in private or revealed to all
    "known_of_werewolves",  # by faction, species or role
    "known_of_others",
    *(f"claims_{role}" for role in ROLES),  # the last claim that was not retracted
    "reported_werewolf",  # how often reported to be a werewolf, and something else
    "reported_other",
    "accused_today",
    "defended_today",
    "accused_by_me",
    "speeches_today",
    "ballots_received",  # in the last public ballot
    "ballot_by_me",
)
"""The columns of one seat."""


class Features:
    """The feature vector of one seat's view, extended record by record.

    The vector is float32 of shape (n_seats * n_seat_features + 3 + n_kinds,): the rows of `SEAT_FEATURES`, seat after
    seat; day, 1 if night, 1 if day; a one-hot of what is asked (`KINDS`). Counts stop at `TOP`.
    """

    TOP = 255.0

    def __init__(self, config: WerewolfConfig, seat: int) -> None:
        n = config.n_players
        self.seat = seat
        self.rows = np.zeros((n, len(SEAT_FEATURES)), dtype=np.float32)
        self.rows[seat, 0] = 1
        self.rows[:, 1] = 1
        self.day, self.phase = 0, ""
        self.column = {name: i for i, name in enumerate(SEAT_FEATURES)}

    @staticmethod
    def size(config: WerewolfConfig) -> int:
        """The length of the vector."""
        return config.n_players * len(SEAT_FEATURES) + 3 + len(KINDS)

    def add(self, records: Iterable[Record]) -> None:
        """Count records of the seat's view."""
        for record in records:
            if isinstance(record, Decision):
                if record.kind == "ballot" and record.action.option not in (None, NOBODY):
                    self._bump(record.action.option, "ballot_by_me")
            else:
                self._event(record)

    def vector(self, request: Request | None) -> np.ndarray:
        """The features now, with what is asked."""
        tail = np.zeros(3 + len(KINDS), dtype=np.float32)
        tail[0] = min(self.day, self.TOP)
        tail[1:3] = self.phase == "night", self.phase == "day"
        if request is not None:
            tail[3 + KINDS.index(request.kind)] = 1
        return np.concatenate([np.minimum(self.rows, self.TOP).ravel(), tail])

    def _bump(self, seat: int | None, *names: str) -> None:
        if seat is not None and seat != NOBODY:
            for name in names:
                self.rows[seat, self.column[name]] += 1

    def _clear(self, *names: str) -> None:
        for name in names:
            self.rows[:, self.column[name]] = 0

    def _know(self, seat: int, what: str) -> None:
        """Note a role, faction or species that was told for certain."""
        if what in ROLES and what != "werewolf":
            self.rows[seat, self.column[f"known_{what}"]] = 1
        wolf = species_of(what) == "werewolf"
        self.rows[seat, self.column["known_of_werewolves" if wolf else "known_of_others"]] = 1

    def _event(self, e: Event) -> None:
        data: dict[str, Any] = e.data or {}
        if e.kind == "phase":
            self.day, self.phase = e.day, e.value or ""
            self._clear("accused_today", "defended_today", "speeches_today")
            if self.phase == "day":
                self._clear("ballots_received", "ballot_by_me")
        elif e.kind == "role" and e.target is not None and e.value is not None:
            self.rows[e.target, self.column[f"known_{e.value}"]] = 1
            for seat, role in data["known"].items():
                self.rows[int(seat), self.column[f"known_{role}"]] = 1
        elif e.kind in ("inspect", "sense", "death", "exile", "shoot") and e.target not in (None, NOBODY):
            seat = e.target
            if e.kind not in ("inspect", "sense"):
                self.rows[seat, 1] = 0
            if e.value is not None:
                self._know(seat, e.value)
        elif e.kind == "mayor":
            self._clear("mayor")
            self._bump(e.target, "mayor")
        elif e.kind == "tie":
            self._clear("ballots_received", "ballot_by_me")
        elif e.kind == "ballot":
            self._bump(e.target, "ballots_received")
        elif e.kind in ("speech", "last_words", "whisper"):
            self._bump(e.actor, "speeches_today")
            for act in e.acts:
                self._act(e.actor, act)

    def _act(self, speaker: int | None, act: SpeechAct) -> None:
        claims = slice(self.column[f"claims_{ROLES[0]}"], self.column[f"claims_{ROLES[-1]}"] + 1)
        if act.kind in ("accuse", "announce_ballot"):
            mine = ("accused_by_me",) if speaker == self.seat else ()
            self._bump(act.subject, "accused_today", *mine)
        elif act.kind == "defend":
            self._bump(act.subject, "defended_today")
        elif act.kind == "report_inspection":
            wolf = species_of(act.role or "") == "werewolf"
            self._bump(act.subject, "reported_werewolf" if wolf else "reported_other")
        elif act.kind == "retract" and speaker is not None:
            self.rows[speaker, claims] = 0
        elif act.kind == "claim_role" and speaker is not None and act.role in ROLES:
            self.rows[speaker, claims] = 0
            self.rows[speaker, self.column[f"claims_{act.role}"]] = 1
