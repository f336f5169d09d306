"""What a seat reads: one line of text for each record it may see, the question put to it, and its answer read back.

The lines are regular enough for a model with a vocabulary of a hundred words and plain enough for a large one. What
players say stands in double quotes on a line of its own and can neither close the quotes nor start a line, so no speech
can pass for the moderator's words.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import msgspec

from games.base import GameError
from games.records import NOBODY, Action, Decision, Event, Record, Request, SpeechAct
from games.werewolf import acts as codec
from games.werewolf.config import WerewolfConfig
from games.werewolf.discussion import OVER, SKIP, SPEAK
from games.werewolf.lexicon import Lexicon, lexicon

VERBS = {
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

SPEECHES = {"speech": "says", "last_words": "says", "whisper": "whispers", "summary": "notes"}
"""The verb of each decision that takes words."""

QUOTES = re.compile('["“”„‟″‶〃＂«»❝❞]')
INVISIBLE = re.compile(
    "[\x00-\x08\x0e-\x1b\x7f-\x84\x86-\x9f"  # controls but white space; terminal escapes among them
    "\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180e\u200b-\u200f\u202a-\u202e\u2060-\u206f\u3164\ufe00-\ufe0f\ufeff"
    "\uffa0\ufff9-\ufffb\ud800-\udfff\U000e0000-\U000e0fff]"
)


class Malformed(GameError):
    """A reply that cannot be read as an answer to its request; the message says why."""


class Words(msgspec.Struct, frozen=True):
    """The vocabulary of one game: its lexicon and the names drawn for its seats."""

    lex: Lexicon
    names: tuple[str, ...]
    """Public name of each seat."""
    max_chars: int
    """Longest speech that others are shown."""

    def term(self, key: str) -> str:
        """The lexicon's word for a key."""
        return self.lex.terms[key]

    def name(self, seat: int | None) -> str:
        """The seat's public name; `nobody` for NOBODY."""
        return "nobody" if seat is None or seat == NOBODY else self.names[seat]


def words_of(config: WerewolfConfig, records: Sequence[Record]) -> Words:
    """The words of a game, from its first record (the set-up event).

    A name that is a number is the lexicon's; games of other programs bring names of their own.
    """
    setup = records[0] if records else None
    if not isinstance(setup, Event) or setup.data is None or "names" not in setup.data:
        raise GameError("the first record of a log must be its set-up event, which holds the names")
    lex = lexicon(config.lexicon)
    names = tuple(name if isinstance(name, str) else lex.names[name] for name in setup.data["names"])
    return Words(lex, names, config.max_speech_chars)


def quote(text: str, max_chars: int) -> str:
    """Another's words as quoted text: on one line, without inner double quotes or invisible characters, cut to length.

    The log keeps what was said; only what others are shown is bounded.
    """
    if not (text.isascii() and text.isprintable() and '"' not in text):
        text = INVISIBLE.sub("", QUOTES.sub("'", text))
    plain = " ".join(text.split())
    if len(plain) > max_chars:
        plain = plain[:max_chars].rstrip() + " [...]"
    return f'"{plain}"'


def writable(text: str) -> bool:
    """Whether a text can be written as UTF-8: Python's strings can hold halves of characters, files cannot."""
    return not any("\ud800" <= c <= "\udfff" for c in text)


def line(record: Record, seat: int | None, config: WerewolfConfig, w: Words) -> str | None:
    """One record as `seat` reads it (None: the moderator's view), without a line break; None if it adds nothing.

    A seat's own choice is shown by its decision; the event that repeats it is not shown again.
    """
    if isinstance(record, Decision):
        return own_line(record, w) if record.seat == seat else None
    own = seat is not None and record.actor == seat
    kind = record.kind
    if kind in SPEECHES:
        if own:
            return None
        proposal = f" {w.name(record.target)}" if kind == "whisper" and record.target is not None else ""
        return f"{w.name(record.actor)} {SPEECHES[kind]}{proposal} {quote(record.text or '', w.max_chars)}"
    if kind in VERBS and kind not in ("inspect", "shoot"):
        return None if own else f"{w.name(record.actor)} {w.term(VERBS[kind])} {w.name(record.target)}."
    if kind == "setup":
        roles = " ".join(f"{count} {w.term(role)}" for role, count in config.roles.items() if count)
        return f"Players: {' '.join(w.names)}. Roles: {roles}."
    if kind == "role":
        known = (record.data or {}).get("known", {})
        partners = "".join(f" {w.name(int(i))} {w.term(role)}." for i, role in known.items())
        return f"You: {w.name(record.target)} {w.term(record.value or '')}.{partners}"
    if kind == "phase":
        return f"{w.term(record.value or '')} {record.day}."
    if kind in ("death", "exile"):
        role = f" {w.term(record.value)}" if record.value else ""
        return f"{w.name(record.target)}{role} {w.term('died' if kind == 'death' else 'exiled')}."
    if kind == "no_death":
        return f"nobody {w.term('died')}."
    if kind in ("inspect", "sense"):
        return f"{w.name(record.target)} {w.term(record.value or '')}."
    if kind in ("prey", "attacked"):
        return f"{w.term('target')} {w.name(record.target)}."
    if kind == "mayor":
        return f"{w.term('mayor')} {w.name(record.target)}."
    if kind == "tie":
        return f"{w.term('tied')} {' '.join(w.name(i) for i in (record.data or {})['tied'])}."
    if kind == "outcome":
        return f"Winner: {w.term(record.value or '') if record.value != 'nobody' else 'nobody'}."
    if kind == "shoot":
        shot = "" if own else f"{w.name(record.actor)} {w.term('shoots')} {w.name(record.target)}."
        revealed = f"{w.name(record.target)} {w.term(record.value)}." if record.value else ""
        return " ".join(filter(None, (shot, revealed))) or None
    if own:
        return None
    if kind == "silence":
        return f"{w.name(record.actor)} {'ends' if record.value == 'over' else 'skips'}."
    if kind == "candidacy":
        return f"{w.name(record.actor)} {w.term('stands')} {'yes' if record.value == 'run' else 'no'}."
    if kind == "bid":
        return f"{w.name(record.actor)} {w.term('bids')} {record.value}."
    return None


def offer(request: Request | Decision, w: Words) -> str:
    """What may be chosen, in the order drawn for the request: ` (Ada Ben nobody):`, between `question` and `answer`.

    Empty where the answers are fixed by the kind of question (bids, candidacies, turns to speak).
    """
    if not request.options or (request.kind not in VERBS and request.kind != "whisper"):
        return ""
    return f" ({' '.join(w.name(i) for i in request.options)}):"


def question(request: Request | Decision, w: Words) -> str:
    """The beginning of the seat's next line, which its answer completes."""
    name, kind = w.name(request.seat), request.kind
    if kind in VERBS:
        return f"{name} {w.term(VERBS[kind])}"
    if kind == "bid":
        return f"{name} {w.term('bids')}"
    if kind == "candidacy":
        return f"{name} {w.term('stands')}"
    if kind == "speech" and request.options:
        return name
    if request.options:
        return f"{name} {SPEECHES[kind]}"
    return f'{name} {SPEECHES[kind]} "'


def answer(request: Request | Decision, action: Action, w: Words) -> str:
    """The text that completes `question(request)` to the line of a decision."""
    kind = request.kind
    if kind in VERBS:
        return f" {w.name(action.option)}."
    if kind == "bid":
        return f" {action.option}."
    if kind == "candidacy":
        return f" {'yes' if action.option == 1 else 'no'}."
    speech = quote(action.text, w.max_chars)
    if kind == "speech" and request.options:
        return (
            f" says {speech}"
            if action.option == SPEAK
            else (" ends." if action.option == OVER else " skips.")
        )
    if request.options:
        return f" {w.name(action.option)} {speech}"
    return speech[1:]


def own_line(decision: Decision, w: Words) -> str:
    """A decision as its own seat reads it afterwards: question and answer in one line."""
    return question(decision, w) + answer(decision, decision.action, w)


def parse(request: Request, reply: str, w: Words) -> Action:
    """Read a reply as the completion of `question(request)`; the inverse of `answer`.

    Raises Malformed, saying what was found and what was expected.
    """
    kind, rest = request.kind, reply.strip()
    if kind == "speech" and request.options:
        word, _, rest = rest.partition(" ")
        if word.rstrip(".") in ("skips", "ends") and not rest.strip(" ."):
            return Action(option=SKIP if word.startswith("skips") else OVER)
        if word != "says":
            raise Malformed(f"found {reply!r}; expected ' says \"...\"', ' skips.' or ' ends.'")
        return Action(option=SPEAK, **_spoken(rest.strip(), w))
    if kind in VERBS or (kind in SPEECHES and request.options):
        match = re.match(r"(\w+)\s*(.*)", rest, re.DOTALL)
        if not match:
            raise Malformed(f"found {reply!r}; expected a player's name")
        option = (
            NOBODY if match[1] == "nobody" else (w.names.index(match[1]) if match[1] in w.names else None)
        )
        if option is None or option not in request.options:
            allowed = ", ".join(w.name(i) for i in request.options)
            raise Malformed(f"found {match[1]!r}; expected one of {allowed}")
        if kind in SPEECHES:
            return Action(option=option, **_spoken(match[2], w))
        _ended(match[2], reply)
        return Action(option=option)
    if kind in ("bid", "candidacy"):
        values = {"yes": 1, "no": 0} if kind == "candidacy" else {str(i): i for i in request.options}
        match = re.match(r"(\w+)\s*(.*)", rest, re.DOTALL)
        if not match or match[1] not in values:
            raise Malformed(f"found {reply!r}; expected one of {', '.join(values)}")
        _ended(match[2], reply)
        return Action(option=values[match[1]])
    return Action(**_spoken('"' + reply, w))


def _ended(rest: str, reply: str) -> None:
    if rest.strip() not in ("", "."):
        raise Malformed(f"found {reply!r}; expected the line to end after the choice")


def _spoken(quoted: str, w: Words) -> dict:
    """Text and acts of a quoted speech."""
    quoted = quoted.strip()
    if len(quoted) < 2 or quoted[0] != '"' or quoted[-1] != '"' or '"' in quoted[1:-1]:
        raise Malformed(f"found {quoted[:80]!r}; expected words that end with one closing double quote")
    text = quoted[1:-1].strip()
    return {"text": text, "acts": codec.read(text, w.names, w.lex)}


def read_acts(text: str, w: Words) -> tuple[SpeechAct, ...]:
    """The typed acts in a speech."""
    return codec.read(text, w.names, w.lex)


def role_words(config: WerewolfConfig, w: Words) -> dict[str, str]:
    """Role key -> word, of the roles that are dealt."""
    return {role: w.term(role) for role, count in config.roles.items() if count}


def belief(seats: Sequence[int], w: Words) -> str:
    """The beginning of a line about a belief that a role word completes: `Ada believes Ben is` for (0, 1), and
    `Ada believes Ben believes Cal is` for (0, 1, 2)."""
    return " believes ".join(w.name(seat) for seat in seats) + " is"


def transcript(records: Sequence[Record], seat: int | None, config: WerewolfConfig) -> list[str]:
    """The lines that a seat has read (the moderator's own view of all events for None), oldest first."""
    w = words_of(config, records)
    seen = [
        r
        for r in records
        if seat is None or not isinstance(r, Event) or r.audience is None or seat in r.audience
    ]
    return [text for r in seen if (text := line(r, seat, config, w)) is not None]
