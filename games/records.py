"""The records of a game, which the rules, the log, the agents and the analysis share.

One ordered log holds a game. `Event` is what the game made happen, `Decision` what one seat was asked and
chose; both share one counter, so `(game_id, seq)` is the key that joins everything. Seats are integers,
`0 <= seat < n_players`; seat 3 is PettingZoo's agent `player_3` (`seat_id(3)`).
"""

from __future__ import annotations

import re
from typing import Any, Final, Literal

import msgspec

SpeechActKind = Literal[
    "claim_role",  # "I am the <role>"
    "report_inspection",  # "I inspected <subject>: <role, faction or species>"
    "accuse",  # "I accuse <subject>"
    "defend",  # "I defend <subject>"
    "announce_ballot",  # "I will vote <subject>"
    "deny",  # "I am not the <role>"
    "question",  # "I question <subject>"
    "retract",  # "I retract": takes back one's own claims and reports
    "vouch",  # "I trust <subject>"
    "suggest_team",  # "I suggest <team>"
    "explain_vote",  # "I voted <role> because of <subject>"
]

NOBODY: Final = -1
"""The option that stands for no seat: abstain, pass, skip."""

EVERYONE: Final = None
"""The audience of a public event."""

MODERATOR: Final[tuple[int, ...]] = ()
"""The audience of an event that no seat sees."""


def seat_id(seat: int) -> str:
    """PettingZoo's name of a seat: `seat_id(3) == "player_3"`."""
    return f"player_{seat}"


class SpeechAct(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """One typed proposition or move inside a speech; the speaker is the seat of the record that holds it."""

    kind: SpeechActKind
    subject: int | None = None
    """The seat spoken about, where the kind has one."""
    role: str | None = None
    """A role, faction or species key (never a lexicon's word), where the kind has one; of a vote, what it was."""
    team: tuple[int, ...] = ()
    """The seats of a team in ascending order, where the kind has one."""


class SpeechForm(msgspec.Struct, frozen=True):
    """How one kind of typed speech act is said."""

    sentence: str
    """`{subject}` stands for a player's name, `{team}` for several, `{role}` for one of `roles`, every other slot for a
    term of the lexicon."""
    roles: tuple[str, ...] = ()
    """The terms (keys, not words) that can stand in the slot `{role}`."""

    @property
    def slots(self) -> tuple[str, ...]:
        """Which of `subject`, `team` and `role` an act of this kind has, in this order."""
        found = re.findall(r"\{(\w+)\}", self.sentence)
        return tuple(slot for slot in ("subject", "team", "role") if slot in found)


class Action(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """What a seat chose, in the game's own terms."""

    option: int | None = None
    """The chosen element of `Request.options`; None for requests that only take text."""
    text: str = ""
    """What was said, as emitted."""
    acts: tuple[SpeechAct, ...] = ()
    """The typed acts that `text` contains, in order."""


class Request(msgspec.Struct, frozen=True, gc=False):
    """A question to one seat. All requests of one `to_act` can be answered together, in any order."""

    seat: int
    kind: str
    """What is asked: the game's own decision kinds, for Werewolf `speech`, `ballot`, `inspect`, ..."""
    options: tuple[int, ...] = ()
    """The legal values of `Action.option` in the order in which the seat is shown them (drawn per request)."""
    speaks: bool = False
    """Whether `Action.text` and `Action.acts` are taken."""
    day: int = 0
    phase: str = ""
    place: int = 0
    """Where in the day the question comes, for a game that has yet to draw the order of its options by that."""


class Event(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """Something the game made happen."""

    seq: int
    kind: str
    audience: tuple[int, ...] | None = EVERYONE
    """Who sees it: None everyone, a tuple of seats, `()` the moderator alone."""
    day: int = 0
    phase: str = ""
    actor: int | None = None
    target: int | None = None
    """A seat, or `NOBODY` where the act was to choose none."""
    value: str | None = None
    """A role, faction, species, outcome or number that the event carries."""
    text: str | None = None
    acts: tuple[SpeechAct, ...] = ()
    data: dict[str, Any] | None = None
    """Whatever else the event holds (JSON types only)."""


class Span(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """A named stretch of a decision's context, in token indices of the whole context, `start <= i < end`."""

    kind: str
    """`system`, `role_line`, `speech`, `mention`, `question`, `reasoning`, `output`, ..."""
    start: int
    end: int
    seat: int | None = None
    """The seat that speaks or is mentioned."""


class Trace(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """How a model came to a decision, token for token. Nothing in it is ever rewritten."""

    model: str
    """Name and content hash of the weights, `name@hash`."""
    prompt_ids: tuple[int, ...] = ()
    """The prompt's token ids after the context that it continues (all of them where `continues` is None)."""
    output_ids: tuple[int, ...] = ()
    output_text: str = ""
    """The output decoded, as emitted."""
    continues: int | None = None
    """seq of the same seat's decision whose context (prompt + output) is this prompt's prefix."""
    spans: tuple[Span, ...] = ()
    """Spans that begin at or after this decision's first own prompt token."""
    logprobs: tuple[float, ...] = ()
    """Log-probability (nats) of each output token, empty where the backend gives none."""
    n_cached: int = 0
    """Prompt tokens that the engine took from its prefix cache."""
    attempts: int = 1
    rejected: tuple[str, ...] = ()
    """Replies that could not be used, as emitted, oldest first."""
    reasoning: str | None = None
    sampling: dict[str, Any] | None = None
    """temperature, top_p, max_tokens, seed."""


class Decision(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """What one seat was asked and chose. Its observation is every record before `seq` that it may see."""

    seq: int
    seat: int
    kind: str
    action: Action
    options: tuple[int, ...] = ()
    day: int = 0
    phase: str = ""
    agent: str = ""
    """The roster name of the agent that decided."""
    fallback: str | None = None
    """Why the action is a fallback (None: it is the agent's own): `malformed`, `illegal`, `backend_error`, ..."""
    trace: Trace | None = None


Record = Event | Decision


class Reply(msgspec.Struct, frozen=True, gc=False):
    """What an agent returns; the loop makes a `Decision` of it."""

    action: Action
    fallback: str | None = None
    trace: Trace | None = None


def visible(record: Record, seat: int) -> bool:
    """Whether `seat` may see the record: events by audience, decisions only its own."""
    if isinstance(record, Decision):
        return record.seat == seat
    return record.audience is None or seat in record.audience
