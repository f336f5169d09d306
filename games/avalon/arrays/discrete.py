"""Avalon in numbers, for reinforcement learning: a finite catalogue of acts and a feature vector of one seat's view.

Both depend on the configuration alone, so that one policy serves every seat of every game of a preset.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from games.avalon.config import AvalonConfig
from games.avalon.roles import ROLES
from games.avalon.words.acts import VOTES, say
from games.avalon.words.lines import CHOICES, SPEECHES, VERBS, Words
from games.engine.discussion import OVER, SKIP, SPEAK
from games.records import Action, Decision, Event, Record, Request, SpeechAct

KINDS = (*VERBS, *CHOICES, *SPEECHES, "bid")
"""Every kind of request, in the order of the one-hot features."""

N_NUMBERS = 5
"""Bids 0 to 4; a vote takes 0 (reject) or 1 (approve), a card 0 (failure) or 1 (success)."""


class Catalogue:
    """The finite list of acts of one configuration. With n seats, index

    - 0: skip, say nothing;
    - 1 .. n: choose seat index - 1;
    - n+1 .. n+5: the numbers 0 to 4;
    - n+6: end one's talk of this discussion (`over`, free discussion only);
    - from n+7: the typed speech acts of `speech_acts`, one each.

    The first n+7 are the targets of the environment's act-plus-text form. A team is suggested in words only: the
    catalogue has none of the acts that name several seats.
    """

    def __init__(self, config: AvalonConfig) -> None:
        n = config.n_players
        self.n_seats = n
        self.over = n + 1 + N_NUMBERS
        self.n_targets = self.over + 1
        roles = [role for role, count in config.roles.items() if count]
        subjects = range(n)
        self.speech_acts: tuple[SpeechAct, ...] = (
            *(SpeechAct("accuse", i) for i in subjects),
            *(SpeechAct("vouch", i) for i in subjects),
            *(SpeechAct("question", i) for i in subjects),
            *(SpeechAct("claim_role", role=role) for role in roles),
            *(SpeechAct("deny", role=role) for role in roles),
            *(SpeechAct("announce_ballot", role=vote) for vote in VOTES),
            *(SpeechAct("explain_vote", i, vote) for vote in VOTES for i in subjects),
            SpeechAct("retract"),
        )
        """accuse, trust, question (each about seat 0 to n-1); claim, deny (each of the roles in play); announce a vote;
        explain a vote (each vote, each seat as its reason); retract."""

    def __len__(self) -> int:
        return self.n_targets + len(self.speech_acts)

    def mask(self, request: Request | None, n: int) -> np.ndarray:
        """Which of the first `n` acts answer the request, (n,) int8; only the first where nothing is asked."""
        mask = np.zeros(n, dtype=np.int8)
        if request is None:
            mask[0] = 1
            return mask
        mask[[i for i in (self._index(request, option) for option in request.options) if i is not None]] = 1
        if request.speaks:
            mask[0] = 1
            mask[self.n_targets :] = 1
        return mask

    def action(self, request: Request, index: int, w: Words) -> Action | None:
        """The catalogue's act as an action that answers the request; None where it does not answer it."""
        if request.speaks and self.n_targets <= index < len(self):
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
        if request.kind == "speech":
            return {SKIP: 0, OVER: self.over, SPEAK: None}[option]
        return option + 1 if request.kind in VERBS else self.n_seats + 1 + option


SEAT_FEATURES: tuple[str, ...] = (
    "me",
    *(f"role_{role}" for role in ROLES),  # its card, for the viewer's own seat
    "shown_evil",  # at the deal
    "shown_merlin",
    "leads",
    "in_team",  # picked for the team that is being proposed or voted on
    "approved",  # in the last vote
    "missions_succeeded",  # in which it went
    "missions_failed",
    "failures_with",  # failures in all missions in which it went
    "approved_failed",  # votes for teams that failed
    *(f"claims_{role}" for role in ROLES),  # the last claim that was not retracted
    "accused",
    "trusted",
    "accused_by_me",
)
"""The columns of one seat."""

GAME_FEATURES = ("mission", "proposal", "succeeded", "failed", "team_size", "fails_needed")
"""The features after the rows of the seats."""


class Features:
    """The feature vector of one seat's view, extended record by record.

    The vector is float32 of shape (n_seats * n_seat_features + n_game_features + n_kinds,): the rows of
    `SEAT_FEATURES`, seat after seat; `GAME_FEATURES`; a one-hot of what is asked (`KINDS`). Counts stop at `TOP`.
    """

    TOP = 255.0

    def __init__(self, config: AvalonConfig, seat: int) -> None:
        self.seat = seat
        self.rows = np.zeros((config.n_players, len(SEAT_FEATURES)), dtype=np.float32)
        self.rows[seat, 0] = 1
        self.game = np.zeros(len(GAME_FEATURES), dtype=np.float32)
        self.column = {name: i for i, name in enumerate(SEAT_FEATURES)}

    @staticmethod
    def size(config: AvalonConfig) -> int:
        """The length of the vector."""
        return config.n_players * len(SEAT_FEATURES) + len(GAME_FEATURES) + len(KINDS)

    def add(self, records: Iterable[Record]) -> None:
        """Count records of the seat's view."""
        for record in records:
            if isinstance(record, Decision):
                if record.kind == "pick" and record.action.option is not None:
                    self._set("in_team", record.action.option)
                elif record.kind == "vote":
                    self.rows[self.seat, self.column["approved"]] = record.action.option or 0
            else:
                self._event(record)

    def vector(self, request: Request | None) -> np.ndarray:
        """The features now, with what is asked."""
        asked = np.zeros(len(KINDS), dtype=np.float32)
        if request is not None:
            asked[KINDS.index(request.kind)] = 1
        return np.concatenate([np.minimum(self.rows, self.TOP).ravel(), self.game, asked])

    def _set(self, name: str, seat: int | None, value: float = 1) -> None:
        if seat is not None:
            self.rows[seat, self.column[name]] = value

    def _bump(self, name: str, seats: Iterable[int], by: float = 1) -> None:
        self.rows[list(seats), self.column[name]] += by

    def _event(self, e: Event) -> None:
        data: dict[str, Any] = e.data or {}
        if e.kind == "role":
            self._set(f"role_{e.value}", e.target)
            for seat, what in data["known"].items():
                self._set(f"shown_{what}", int(seat))
        elif e.kind == "phase":
            self.game[0], self.game[4], self.game[5] = e.day, data["size"], data["fails"]
        elif e.kind == "leader":
            self.game[1] = float(e.value or 0)
            self.rows[:, [self.column["leads"], self.column["in_team"]]] = 0
            self._set("leads", e.target)
        elif e.kind == "pick":
            self._set("in_team", e.target)
        elif e.kind == "vote":
            self._set("approved", e.actor, float(e.value == "approve"))
        elif e.kind == "mission":
            failed = e.value == "failure"
            self.game[3 if failed else 2] += 1
            self._bump("missions_failed" if failed else "missions_succeeded", data["team"])
            self._bump("failures_with", data["team"], data["failures"])
            if failed:
                self.rows[:, self.column["approved_failed"]] += self.rows[:, self.column["approved"]]
        elif e.kind == "speech" and e.actor is not None:
            for act in e.acts:
                self._act(e.actor, act)

    def _act(self, speaker: int, act: SpeechAct) -> None:
        claims = slice(self.column[f"claims_{ROLES[0]}"], self.column[f"claims_{ROLES[-1]}"] + 1)
        if act.kind == "accuse" and act.subject is not None:
            self._bump("accused", (act.subject,))
            if speaker == self.seat:
                self._bump("accused_by_me", (act.subject,))
        elif act.kind == "vouch" and act.subject is not None:
            self._bump("trusted", (act.subject,))
        elif act.kind == "retract":
            self.rows[speaker, claims] = 0
        elif act.kind == "claim_role" and act.role in ROLES:
            self.rows[speaker, claims] = 0
            self._set(f"claims_{act.role}", speaker)
