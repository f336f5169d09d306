"""What a seat reads: one line of text for each record it may see, the question put to it, and its answer read back.

The lines are regular enough for a model with a vocabulary of a hundred words and plain enough for a large one.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from games.base import Malformed
from games.language.quoting import quote
from games.records import NOBODY, Action, Decision, Event, Record, Request, SpeechAct
from games.werewolf.config import WerewolfConfig
from games.werewolf.discussion import OVER, SKIP, SPEAK
from games.werewolf.lexicon import lexicon
from games.werewolf.roles import CARDS
from games.werewolf.words import acts as codec
from games.werewolf.words.lines import OWN_WRITERS, SPEECHES, VERBS, WRITERS, Words, listed, words_of

SPOKEN: Final = frozenset(("seer", "villager"))
"""Roles that players may claim even where nobody has them."""


def line(record: Record, seat: int | None, config: WerewolfConfig, w: Words) -> str | None:
    """One record as `seat` reads it (None: the moderator's view), without a line break; None if it adds nothing.

    A seat's own choice is shown by its decision; the event that repeats it is not shown again.
    """
    if isinstance(record, Event):
        write = (WRITERS if seat is None or record.actor != seat else OWN_WRITERS).get(record.kind)
        return None if write is None else write(record, w, config)
    return own_line(record, w) if record.seat == seat else None


def offer(request: Request | Decision, w: Words) -> str:
    """What may be chosen, in the order drawn for the request: ` (Ada Ben nobody):`, between `question` and `answer`.

    Empty where the answers are fixed by the kind of question (bids, candidacies, turns to speak).
    """
    if not request.options or (request.kind not in VERBS and request.kind != "whisper"):
        return ""
    return f" ({listed([w.called[i] for i in request.options])}):"


def question(request: Request | Decision, w: Words) -> str:
    """The beginning of the seat's next line, which its answer completes."""
    name, kind = w.called[request.seat], request.kind
    if kind in VERBS:
        return f"{name} {w.verbs[kind]}"
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
        return f" {w.called[action.option]}."
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
    if (
        decision.kind == "speech" and not decision.options
    ):  # most lines are speeches, which all seats read alike
        return f"{w.called[decision.seat]} says {quote(decision.action.text, w.max_chars)}"
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
        match = codec.first_word(rest, w.names)
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


def words_in(config: WerewolfConfig) -> list[str]:
    """Every word with a meaning that a game of this configuration can show, and all names: those of roles that are not
    dealt and of offices that are not held are left out, but for what players may claim."""
    lex, unused = lexicon(config.lexicon), set[str]()
    for card in CARDS:
        if not config.count(card.name):
            unused.update((card.name, *card.terms))
    unused -= SPOKEN
    if not config.mayor:
        unused.update(("mayor", "stands", "elects", "appoints", "decides"))
    if config.discussion != "bidding":
        unused.add("bids")
    if not config.shadow_ballots:
        unused.add("leans")
    return [*(word for key, word in lex.terms.items() if key not in unused), *lex.names]


def say(acts: Sequence[SpeechAct], w: Words) -> str:
    """Typed acts as sentences."""
    return codec.say(acts, w.names, w.lex)


def read_acts(text: str, w: Words) -> tuple[SpeechAct, ...]:
    """The typed acts in a speech."""
    return codec.read(text, w.names, w.lex)


def opposite(act: SpeechAct) -> SpeechAct:
    """An accusation for a defence, a werewolf found for an innocent, and the other way round; else the act itself."""
    if act.kind == "accuse":
        return SpeechAct("defend", act.subject)
    if act.kind == "defend":
        return SpeechAct("accuse", act.subject)
    if act.kind == "report_inspection":
        return SpeechAct(act.kind, act.subject, "villager" if act.role == "werewolf" else "werewolf")
    return act


def role_words(config: WerewolfConfig, w: Words) -> dict[str, str]:
    """Role key -> word, of the roles that are dealt."""
    return {role: w.term(role) for role, count in config.roles.items() if count}


def belief(seats: Sequence[int], w: Words) -> str:
    """The beginning of a line about a belief that a role word completes: `Ada believes Ben` for (0, 1), and
    `Ada believes Ben believes Cal` for (0, 1, 2). As everywhere in this language the role stands right after the
    name."""
    return " believes ".join(w.name(seat) for seat in seats)


def transcript(records: Sequence[Record], seat: int | None, config: WerewolfConfig) -> list[str]:
    """The lines that a seat has read (the moderator's own view of all events for None), oldest first."""
    w = words_of(config, records)
    seen = [
        r
        for r in records
        if seat is None or not isinstance(r, Event) or r.audience is None or seat in r.audience
    ]
    return [text for r in seen if (text := line(r, seat, config, w)) is not None]
