"""Werewolf behind the common interface of all games: its rules, its words and its truth."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from games import chance
from games.base import BeliefTarget, Game, ReplayError, SeatFacts
from games.records import NOBODY, Action, Event, Record, Request, SpeechForm
from games.statements import Naming
from games.werewolf import rules, truth
from games.werewolf.config import WerewolfConfig
from games.werewolf.discussion import SKIP
from games.werewolf.lexicon import LEXICONS
from games.werewolf.presets import NAMES, configure
from games.werewolf.reading import Reading
from games.werewolf.roles import ROLE_TERMS, faction_of
from games.werewolf.snapshot import restore, snapshot
from games.werewolf.words import text
from games.werewolf.words.acts import SENTENCES
from games.werewolf.words.lines import SPEECHES, words_of
from games.werewolf.words.rules_text import rules_text


class Werewolf:
    """The game of the harness (`games.base.Game`)."""

    name = "werewolf"
    exit_kinds = ("death", "exile", "shoot")
    speech_kinds = tuple(SPEECHES)
    speech_acts: Mapping[str, SpeechForm] = {
        kind: SpeechForm(sentence, tuple(ROLE_TERMS) if "{role}" in sentence else ())
        for kind, sentence in SENTENCES.items()
    }
    belief_targets = (
        BeliefTarget("werewolf", ("werewolf",), "a werewolf", "werewolves"),
        BeliefTarget("seer", ("seer",), "the seer", "seers"),
    )
    sides = ("werewolf", "village")
    namings: Mapping[str, Naming] = {"ballot": Naming(True, "ballots", "hit a werewolf")}
    presets = NAMES
    lexicons = LEXICONS
    secret_choice = "night_kill"
    belief_moments = ("ballot",)
    players = "agents.werewolf.room"
    configure = staticmethod(configure)
    start = staticmethod(rules.start)
    to_act = staticmethod(rules.to_act)
    apply = staticmethod(rules.apply)
    outcome = staticmethod(rules.outcome)
    transcript = staticmethod(text.transcript)
    rules_text = staticmethod(rules_text)
    statements = staticmethod(truth.statements)
    snapshot = staticmethod(snapshot)
    restore = staticmethod(restore)
    text = text

    @staticmethod
    def reading(config: WerewolfConfig) -> Reading:
        """A new fold over a game's events."""
        return Reading(config)

    @staticmethod
    def private_talk(config: WerewolfConfig) -> bool:
        """Whether the werewolves have a channel of their own."""
        return bool(config.chat_by_day) or any("chat" in wave for wave in config.night_order)

    @staticmethod
    def settings() -> tuple[str, ...]:
        """The fields of the configuration."""
        return tuple(WerewolfConfig.model_fields)

    @staticmethod
    def legal_fallback(request: Request, seed: int) -> Action:
        """Silence, abstention where it is allowed, else an option drawn by `seed`."""
        if not request.options:
            return Action()
        if request.kind == "speech":
            return Action(option=SKIP)
        if NOBODY in request.options:
            return Action(option=NOBODY)
        return Action(option=chance.choice(request.options, seed))

    @staticmethod
    def seats(config: WerewolfConfig, records: Sequence[Record]) -> list[SeatFacts]:
        """Name, role and faction of every seat, from the moderator's first events of a log."""
        deal = next((r for r in records if isinstance(r, Event) and r.kind == "deal"), None)
        if deal is None or deal.data is None:
            raise ReplayError("this log has no deal event: it is one seat's view, not the moderator's log")
        names = words_of(config, records).names
        roles = deal.data["roles"]
        return [SeatFacts(name, role, faction_of(role)) for name, role in zip(names, roles, strict=True)]


GAME: Game = Werewolf()
