"""Events put into words: the lines of the log as seats read them, and the vocabulary of one game."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

import msgspec

from games.avalon.config import AvalonConfig
from games.avalon.lexicon import Lexicon, lexicon
from games.base import GameError
from games.language.quoting import quote
from games.records import NOBODY, Event, Record

VERBS: Final = {"pick": "picks", "assassinate": "stabs"}
"""The verb of each decision that chooses a seat."""

CHOICES: Final = {"vote": ("votes", ("reject", "approve")), "card": ("plays", ("failure", "success"))}
"""The verb of each decision that chooses one of two things, and their terms by option."""

SPEECHES: Final = {"speech": "says"}
"""The verb of each decision that takes words."""


class Words(msgspec.Struct, frozen=True):
    """The vocabulary of one game: its lexicon and the names drawn for its seats."""

    lex: Lexicon
    names: tuple[str, ...]
    """Public name of each seat."""
    max_chars: int
    """Longest speech that others are shown."""
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


def words_of(config: AvalonConfig, records: Sequence[Record]) -> Words:
    """The words of a game, from its first record (the set-up event). Raises GameError where that is missing, or holds
    names that are not the lexicon's."""
    setup = records[0] if records else None
    if not isinstance(setup, Event) or setup.data is None or "names" not in setup.data:
        raise GameError("the first record of a log must be its set-up event, which holds the names")
    lex = lexicon(config.lexicon)
    given = setup.data["names"]
    if not all(isinstance(name, int) and 0 <= name < len(lex.names) for name in given):
        raise GameError(f"the names {given} are not places in the lexicon's list of {len(lex.names)} names")
    names = [lex.names[name] for name in given]
    return vocabulary(lex, names, config.max_speech_chars)


def vocabulary(lex: Lexicon, names: Sequence[str], max_chars: int) -> Words:
    """The words of a game whose seats have these names."""
    return Words(lex, tuple(names), max_chars)


Writer = Callable[[Event, Words, AvalonConfig], str | None]


def _said(e: Event, w: Words, config: AvalonConfig) -> str:
    return f"{w.called[e.actor]} {SPEECHES[e.kind]} {quote(e.text or '', w.max_chars)}"


def _silence(e: Event, w: Words, config: AvalonConfig) -> str:
    return f"{w.called[e.actor]} {'ends' if e.value == 'over' else 'skips'}."


def _setup(e: Event, w: Words, config: AvalonConfig) -> str:
    roles = " ".join([f"{count} {w.term(role)}" for role, count in config.roles.items() if count])
    return f"Players: {' '.join(w.names)}. Roles: {roles}."


def _role(e: Event, w: Words, config: AvalonConfig) -> str:
    known = (e.data or {}).get("known", {})
    told = "".join([f" {w.called[int(i)]} {w.term(what)}." for i, what in known.items()])
    return f"You: {w.called[e.target]} {w.term(e.value or '')}.{told}"


def _phase(e: Event, w: Words, config: AvalonConfig) -> str:
    data = e.data or {}
    return f"{w.term('mission')} {e.day}: {data['size']} players, {data['fails']} {w.term('failure')}."


def _leader(e: Event, w: Words, config: AvalonConfig) -> str:
    return f"{w.term('leader')} {e.value} {w.called[e.target]}."


def _chose(e: Event, w: Words, config: AvalonConfig) -> str:
    return f"{w.called[e.actor]} {w.term(VERBS[e.kind])} {w.called[e.target]}."


def _chose_one_of_two(e: Event, w: Words, config: AvalonConfig) -> str:
    return f"{w.called[e.actor]} {w.term(CHOICES[e.kind][0])} {w.term(e.value or '')}."


def _team(e: Event, w: Words, config: AvalonConfig) -> str:
    return f"{w.term('team')} {' '.join([w.called[i] for i in (e.data or {})['team']])}."


def _verdict(e: Event, w: Words, config: AvalonConfig) -> str:
    data = e.data or {}
    return f"{w.term(e.value or '')} {data['approve']} {data['reject']}."


def _mission(e: Event, w: Words, config: AvalonConfig) -> str:
    n = (e.data or {})["failures"]
    return f"{w.term('mission')} {e.day} {w.term(e.value or '')}. {n} {w.term('failure')}."


def _bid(e: Event, w: Words, config: AvalonConfig) -> str:
    return f"{w.called[e.actor]} {w.term('bids')} {e.value}."


def _outcome(e: Event, w: Words, config: AvalonConfig) -> str:
    return f"Winner: {w.term(e.value or '') if e.value != 'nobody' else 'nobody'}."


WRITERS: Final[dict[str, Writer]] = {
    **dict.fromkeys(SPEECHES, _said),
    **dict.fromkeys(VERBS, _chose),
    **dict.fromkeys(CHOICES, _chose_one_of_two),
    "silence": _silence,
    "setup": _setup,
    "role": _role,
    "phase": _phase,
    "leader": _leader,
    "team": _team,
    "verdict": _verdict,
    "mission": _mission,
    "bid": _bid,
    "outcome": _outcome,
}
"""How each kind of event reads."""

OWN_WRITERS: Final[dict[str, Writer]] = {"team": _team}
"""How events read to the seat that brought them about, beyond the line of its own decision."""
