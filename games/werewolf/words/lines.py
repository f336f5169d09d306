"""Events put into words: the lines of the log as seats read them, and the vocabulary of one game.

A player's speech is in double quotes on its own line and can neither close the quotes nor start a line, so no speech
can pass for the moderator's words.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

import msgspec

from games.base import GameError
from games.language.quoting import quote
from games.records import NOBODY, Event, Record
from games.werewolf.config import WerewolfConfig
from games.werewolf.lexicon import Lexicon, lexicon
from games.werewolf.words.names import public_names

VERBS: Final = {
    "night_kill": "kills",
    "inspect": "inspects",
    "protect": "protects",
    "heal": "heals",
    "poison": "poisons",
    "shoot": "shoots",
    "ballot": "votes",
    "shadow_ballot": "leans",
    "mayor_ballot": "elects",
    "succession": "appoints",
    "tie_break": "decides",
}
"""The verb of each decision that chooses a seat."""

SPEECHES: Final = {"speech": "says", "last_words": "says", "whisper": "whispers", "summary": "notes"}
"""The verb of each decision that takes words."""


class Words(msgspec.Struct, frozen=True):
    """The vocabulary of one game: its lexicon and the names drawn for its seats."""

    lex: Lexicon
    names: tuple[str, ...]
    """Public name of each seat."""
    max_chars: int
    """Longest speech that others are shown."""
    verbs: dict[str, str]
    """The lexicon's verb of each decision of `VERBS`."""
    called: dict[int | None, str] = {}
    """What each target is called, which follows from the names: a seat by its name, NOBODY and None `nobody`."""

    def __post_init__(self) -> None:
        called: dict[int | None, str] = {None: "nobody", NOBODY: "nobody"}
        called.update(enumerate(self.names))
        msgspec.structs.force_setattr(self, "called", called)

    @property
    def lexicon(self) -> str:
        """The lexicon's name."""
        return self.lex.name

    def term(self, key: str) -> str:
        """The lexicon's word for a key."""
        return self.lex.terms[key]

    def name(self, seat: int | None) -> str:
        """The seat's public name; `nobody` for NOBODY."""
        return self.called[seat]


def words_of(config: WerewolfConfig, records: Sequence[Record]) -> Words:
    """The words of a game, from its first record (the set-up event).

    A name that is a number is the lexicon's; games of other programs bring names of their own, which are shown as
    `games.werewolf.words.names` says.
    """
    setup = records[0] if records else None
    if not isinstance(setup, Event) or setup.data is None or "names" not in setup.data:
        raise GameError("the first record of a log must be its set-up event, which holds the names")
    lex = lexicon(config.lexicon)
    given = setup.data["names"]
    if any(isinstance(name, str) for name in given):
        names = public_names([name if isinstance(name, str) else lex.names[name] for name in given], lex.name)
        return vocabulary(lex, names, config.max_speech_chars)
    return vocabulary(lex, [lex.names[name] for name in given], config.max_speech_chars)


def vocabulary(lex: Lexicon, names: Sequence[str], max_chars: int) -> Words:
    """The words of a game whose seats have these names."""
    verbs = {kind: lex.terms[verb] for kind, verb in VERBS.items()}
    return Words(lex, tuple(names), max_chars, verbs)


def listed(names: Sequence[str]) -> str:
    """Names one after the other: with commas where some are more than one word."""
    return (", " if any(" " in name for name in names) else " ").join(names)


Writer = Callable[[Event, Words, WerewolfConfig], str | None]


def _said(e: Event, w: Words, config: WerewolfConfig) -> str:
    return f"{w.called[e.actor]} {SPEECHES[e.kind]} {quote(e.text or '', w.max_chars)}"


def _whispered(e: Event, w: Words, config: WerewolfConfig) -> str:
    proposal = "" if e.target is None else f" {w.called[e.target]}"
    return f"{w.called[e.actor]} whispers{proposal} {quote(e.text or '', w.max_chars)}"


def _chose(e: Event, w: Words, config: WerewolfConfig) -> str:
    return f"{w.called[e.actor]} {w.verbs[e.kind]} {w.called[e.target]}."


def _setup(e: Event, w: Words, config: WerewolfConfig) -> str:
    roles = " ".join([f"{count} {w.term(role)}" for role, count in config.roles.items() if count])
    return f"Players: {listed(w.names)}. Roles: {roles}."


def _role(e: Event, w: Words, config: WerewolfConfig) -> str:
    known = (e.data or {}).get("known", {})
    partners = "".join([f" {w.called[int(i)]} {w.term(role)}." for i, role in known.items()])
    return f"You: {w.called[e.target]} {w.term(e.value or '')}.{partners}"


def _phase(e: Event, w: Words, config: WerewolfConfig) -> str:
    return f"{w.term(e.value or '')} {e.day}."


def _left(e: Event, w: Words, config: WerewolfConfig) -> str:
    role = f" {w.term(e.value)}" if e.value else ""
    return f"{w.called[e.target]}{role} {w.term('died' if e.kind == 'death' else 'exiled')}."


def _no_death(e: Event, w: Words, config: WerewolfConfig) -> str:
    return f"nobody {w.term('died')}."


def _found(e: Event, w: Words, config: WerewolfConfig) -> str | None:
    return f"{w.called[e.target]} {w.term(e.value)}." if e.value else None


def _prey(e: Event, w: Words, config: WerewolfConfig) -> str:
    return f"{w.term('target')} {w.called[e.target]}."


def _shot(e: Event, w: Words, config: WerewolfConfig) -> str:
    found = _found(e, w, config)
    return f"{_chose(e, w, config)} {found}" if found else _chose(e, w, config)


def _mayor(e: Event, w: Words, config: WerewolfConfig) -> str:
    return f"{w.term('mayor')} {w.called[e.target]}."


def _tie(e: Event, w: Words, config: WerewolfConfig) -> str:
    return f"{w.term('tied')} {listed([w.called[i] for i in (e.data or {})['tied']])}."


def _outcome(e: Event, w: Words, config: WerewolfConfig) -> str:
    return f"Winner: {w.term(e.value or '') if e.value != 'nobody' else 'nobody'}."


def _silence(e: Event, w: Words, config: WerewolfConfig) -> str:
    return f"{w.called[e.actor]} {'ends' if e.value == 'over' else 'skips'}."


def _candidacy(e: Event, w: Words, config: WerewolfConfig) -> str:
    return f"{w.called[e.actor]} {w.term('stands')} {'yes' if e.value == 'run' else 'no'}."


def _bid(e: Event, w: Words, config: WerewolfConfig) -> str:
    return f"{w.called[e.actor]} {w.term('bids')} {e.value}."


WRITERS: Final[dict[str, Writer]] = {
    **dict.fromkeys(SPEECHES, _said),
    "whisper": _whispered,
    **dict.fromkeys(VERBS, _chose),
    "setup": _setup,
    "role": _role,
    "phase": _phase,
    "death": _left,
    "exile": _left,
    "no_death": _no_death,
    "inspect": _found,
    "sense": _found,
    "shoot": _shot,
    "prey": _prey,
    "attacked": _prey,
    "mayor": _mayor,
    "tie": _tie,
    "outcome": _outcome,
    "silence": _silence,
    "candidacy": _candidacy,
    "bid": _bid,
}
"""How each kind of event reads."""

OWN_WRITERS: Final[dict[str, Writer]] = {"inspect": _found, "shoot": _found, "mayor": _mayor}
"""How events read to the seat that brought them about, beyond the line of its own decision."""
