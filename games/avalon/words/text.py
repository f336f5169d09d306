"""What a seat reads: one line of text for each record it may see, the question put to it, and its answer read back.

The lines are regular enough for a model with a vocabulary of a hundred words and plain enough for a large one.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from games.avalon.config import AvalonConfig
from games.avalon.lexicon import lexicon
from games.avalon.words import acts as codec
from games.avalon.words.lines import CHOICES, OWN_WRITERS, SPEECHES, VERBS, WRITERS, Words, words_of
from games.base import Malformed
from games.engine.discussion import OVER, SKIP, SPEAK
from games.language.quoting import quote
from games.records import Action, Decision, Event, Record, Request, SpeechAct, SpeechActKind


def line(record: Record, seat: int | None, config: AvalonConfig, w: Words) -> str | None:
    """One record as `seat` reads it (None: the moderator's view), without a line break; None if it adds nothing.

    A seat's own choice is shown by its decision; the event that repeats it is not shown again.
    """
    if isinstance(record, Event):
        write = (WRITERS if seat is None or record.actor != seat else OWN_WRITERS).get(record.kind)
        return None if write is None else write(record, w, config)
    return own_line(record, w) if record.seat == seat else None


def offer(request: Request | Decision, w: Words) -> str:
    """What may be chosen, in the order drawn for the request: ` (Ada Ben):`, between `question` and `answer`.

    Empty where the answers are fixed by the kind of question (bids, votes, cards, turns to speak).
    """
    if request.kind not in VERBS:
        return ""
    return f" ({' '.join([w.called[i] for i in request.options])}):"


def question(request: Request | Decision, w: Words) -> str:
    """The beginning of the seat's next line, which its answer completes."""
    name, kind = w.called[request.seat], request.kind
    if kind in VERBS:
        return f"{name} {w.term(VERBS[kind])}"
    if kind in CHOICES:
        return f"{name} {w.term(CHOICES[kind][0])}"
    if kind == "bid":
        return f"{name} {w.term('bids')}"
    if request.options:
        return name
    return f'{name} {SPEECHES[kind]} "'


def answer(request: Request | Decision, action: Action, w: Words) -> str:
    """The text that completes `question(request)` to the line of a decision."""
    kind, option = request.kind, action.option
    if kind in VERBS:
        return f" {w.called[option]}."
    if kind in CHOICES:
        return f" {w.term(CHOICES[kind][1][option or 0])}."
    if kind == "bid":
        return f" {option}."
    speech = quote(action.text, w.max_chars)
    if request.options:
        return f" says {speech}" if option == SPEAK else " ends." if option == OVER else " skips."
    return speech[1:]


def own_line(decision: Decision, w: Words) -> str:
    """A decision as its own seat reads it afterwards: question and answer in one line."""
    return question(decision, w) + answer(decision, decision.action, w)


def parse(request: Request, reply: str, w: Words) -> Action:
    """Read a reply as the completion of `question(request)`; the inverse of `answer`.

    Raises Malformed, saying what was found and what was expected.
    """
    kind, rest = request.kind, reply.strip()
    if kind in SPEECHES and not request.options:
        return Action(None, *_spoken('"' + reply, w))
    if kind in SPEECHES:
        word, _, rest = rest.partition(" ")
        if word.rstrip(".") in ("skips", "ends") and not rest.strip(" ."):
            return Action(SKIP if word.startswith("skips") else OVER)
        if word != "says":
            raise Malformed(f"found {reply!r}; expected ' says \"...\"', ' skips.' or ' ends.'")
        return Action(SPEAK, *_spoken(rest, w))
    named = {option: answer(request, Action(option), w).strip(" .") for option in request.options}
    match = re.fullmatch(r"(\w+)\s*\.?\s*", rest)
    option = next((o for o, word in named.items() if match is not None and match[1] == word), None)
    if option is None:
        raise Malformed(f"found {reply!r}; expected one of {', '.join(named.values())}, and the line to end")
    return Action(option)


def _spoken(quoted: str, w: Words) -> tuple[str, tuple[SpeechAct, ...]]:
    """Text and acts of a quoted speech."""
    quoted = quoted.strip()
    if len(quoted) < 2 or quoted[0] != '"' or quoted[-1] != '"' or '"' in quoted[1:-1]:
        raise Malformed(f"found {quoted[:80]!r}; expected words that end with one closing double quote")
    text = quoted[1:-1].strip()
    return text, read_acts(text, w)


def words_in(config: AvalonConfig) -> list[str]:
    """Every word with a meaning in the game under its lexicon, and all names that it may draw."""
    return lexicon(config.lexicon).words


def say(acts: Sequence[SpeechAct], w: Words) -> str:
    """Typed acts as sentences."""
    return codec.say(acts, w.names, w.lex)


def read_acts(text: str, w: Words) -> tuple[SpeechAct, ...]:
    """The typed acts in a speech."""
    return codec.read(text, w.names, w.lex)


def opposite(act: SpeechAct) -> SpeechAct:
    """An accusation for a word of trust, and the other way round; else the act itself."""
    turned: dict[str, SpeechActKind] = {"accuse": "vouch", "vouch": "accuse"}
    return SpeechAct(turned[act.kind], act.subject) if act.kind in turned else act


def role_words(config: AvalonConfig, w: Words) -> dict[str, str]:
    """Role key -> word, of the roles that are dealt."""
    return {role: w.term(role) for role, count in config.roles.items() if count}


def belief(seats: Sequence[int], w: Words) -> str:
    """The beginning of a line about a belief that a role word completes: `Ada believes Ben` for (0, 1), and
    `Ada believes Ben believes Cal` for (0, 1, 2)."""
    return " believes ".join([w.name(seat) for seat in seats])


def transcript(records: Sequence[Record], seat: int | None, config: AvalonConfig) -> list[str]:
    """The lines that a seat has read (the moderator's own view of all events for None), oldest first."""
    w = words_of(config, records)
    seen = [
        r
        for r in records
        if seat is None or not isinstance(r, Event) or r.audience is None or seat in r.audience
    ]
    return [text for r in seen if (text := line(r, seat, config, w)) is not None]
