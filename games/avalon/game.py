"""Avalon behind the common interface of all games: its rules, its words and its truth."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from games import chance
from games.avalon import rules, truth
from games.avalon.config import AvalonConfig, build
from games.avalon.lexicon import LEXICONS
from games.avalon.presets import NAMES, configure
from games.avalon.reading import Reading
from games.avalon.roles import EVIL, side_of
from games.avalon.words import text
from games.avalon.words.acts import FORMS
from games.avalon.words.lines import SPEECHES, words_of
from games.avalon.words.rules_text import rules_text
from games.base import BeliefTarget, Game, ReplayError, SeatFacts
from games.engine.discussion import SKIP
from games.engine.machine import State
from games.engine.snapshot import restore, snapshot
from games.records import Action, Event, Record, Request, SpeechForm
from games.statements import Naming


class Avalon:
    """The game of the harness (`games.base.Game`)."""

    name = "avalon"
    exit_kinds: tuple[str, ...] = ()
    """Nobody leaves the game before its end."""
    speech_kinds = tuple(SPEECHES)
    speech_acts: Mapping[str, SpeechForm] = FORMS
    belief_targets = (
        BeliefTarget("evil", EVIL, "evil", "evil players"),
        BeliefTarget("merlin", ("merlin",), "Merlin", "Merlins", apart=True),
    )
    sides = ("evil", "good")
    namings: Mapping[str, Naming] = {"pick": Naming(False, "places in teams", "went to a good player")}
    presets = NAMES
    lexicons = LEXICONS
    secret_choice = ""
    belief_moments = ("vote",)
    players = "agents.avalon.room"
    configure = staticmethod(configure)
    start = staticmethod(rules.start)
    to_act = staticmethod(rules.to_act)
    apply = staticmethod(rules.apply)
    outcome = staticmethod(rules.outcome)
    transcript = staticmethod(text.transcript)
    rules_text = staticmethod(rules_text)
    statements = staticmethod(truth.statements)
    snapshot = staticmethod(snapshot)
    text = text

    @staticmethod
    def reading(config: AvalonConfig) -> Reading:
        """A new fold over a game's events."""
        return Reading(config)

    @staticmethod
    def private_talk(config: AvalonConfig) -> bool:
        """Everything is said to all."""
        return False

    @staticmethod
    def settings() -> tuple[str, ...]:
        """The fields of the configuration."""
        return tuple(AvalonConfig.model_fields)

    @staticmethod
    def restore(data: bytes | str) -> State:
        """The state of a snapshot. Raises ReplayError for data that is not a snapshot, or whose rules are refused."""
        return restore(data, build, rules.start)

    @staticmethod
    def legal_fallback(request: Request, seed: int) -> Action:
        """Silence, else an option drawn by `seed`."""
        if not request.options:
            return Action()
        if request.kind == "speech":
            return Action(option=SKIP)
        return Action(option=chance.choice(request.options, seed))

    @staticmethod
    def seats(config: AvalonConfig, records: Sequence[Record]) -> list[SeatFacts]:
        """Name, role and side of every seat, from the moderator's first events of a log."""
        deal = next((r for r in records if isinstance(r, Event) and r.kind == "deal"), None)
        if deal is None or deal.data is None:
            raise ReplayError("this log has no deal event: it is one seat's view, not the moderator's log")
        names = words_of(config, records).names
        roles = deal.data["roles"]
        return [SeatFacts(name, role, side_of(role)) for name, role in zip(names, roles, strict=True)]


GAME: Game = Avalon()
