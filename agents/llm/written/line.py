"""A private line of thinking in the typed language: how it is opened, written, and read again.

    Gus thinks belief (Ada Hal Dot): Ada 1 Hal 7 Dot 0.
    Gus thinks steps (Ada Hal Dot): Dot inspected Hal werewolf against Hal 9. Ada votes Dot for Ada 2. so Ada 1 Hal 7
    Dot 0. Gus thinks filler (Ada Hal Dot): hm hm hm hm hm hm hm hm.

The line is opened for the model: the switch word (`belief`, `steps`, `filler`) says how it thinks, and the living
others stand in the order in which it speaks of them. It writes the rest up to the line break. A step names an event
in the words of the log, then for or against whom it speaks, and how much (`UNIT` nats of log-odds of being a
werewolf, rounded). The belief is the probability of each living other to be a werewolf, in tenths. Filler is prefilled.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Literal, get_args

import msgspec

Kind = Literal["none", "filler", "belief", "steps"]
KINDS: tuple[Kind, ...] = get_args(Kind)
"""How a model thinks before it decides; `none` opens no line."""
THINKS, SO, FOR, AGAINST, FILLER = "thinks", "so", "for", "against", "hm"
WORDS = (THINKS, "belief", "steps", "filler", FILLER, FOR, AGAINST, SO)
"""The words of such lines that the rest of the typed language does not have."""
UNIT, MOST = 0.5, 20
"""Nats that one unit of `Step.amount` stands for, and the largest amount."""
TENTHS = 10
"""Number that stands for certainty."""


class Step(msgspec.Struct, frozen=True):
    """One piece of evidence."""

    event: str
    """In the words of the log: `Ada votes Dot`."""
    subject: str
    """The name of the player that it is evidence about."""
    amount: int
    """How much it speaks against the player, in units of `UNIT` nats; negative: for the player."""

    def __str__(self) -> str:
        """As it is written."""
        return f"{self.event} {AGAINST if self.amount > 0 else FOR} {self.subject} {abs(self.amount)}."


class Line(msgspec.Struct, frozen=True):
    """What a line says after its opening."""

    steps: tuple[Step, ...] = ()
    belief: Mapping[str, int] = {}
    """Name -> probability of being a werewolf in tenths, in the order written."""


class Unwritten(ValueError):
    """A line that cannot be read; the message says what was expected."""


def opening(name: str, kind: Kind, order: Sequence[str]) -> str:
    """The beginning of a line, up to the colon; `order`: the names of the living others."""
    return f"{name} {THINKS} {kind} ({' '.join(order)}):"


def written(kind: Kind, line: Line, n_filler: int = 0) -> str:
    """The rest of a line, without its line break; `n_filler` words of filler, which says nothing."""
    if kind == "filler":
        return " " + " ".join([FILLER] * n_filler) + "."
    belief = " ".join(f"{name} {tenths}" for name, tenths in line.belief.items()) + "."
    if kind == "belief":
        return f" {belief}"
    return " " + " ".join([*map(str, line.steps), f"{SO} {belief}"])


_STEP = re.compile(rf"(?P<event>.+) (?P<side>{FOR}|{AGAINST}) (?P<subject>\S+) (?P<amount>\d+)")
_PAIR = re.compile(r"(\S+) (\d+)")


def read(text: str, order: Sequence[str] | None = None) -> Line:
    """What the rest of a line of kind `belief` or `steps` says. Raises Unwritten for any other text.

    order: the names that the belief must have, in this order; None takes any.
    """
    *sentences, last = text.strip().removesuffix(".").split(". ")
    if not text.strip().endswith("."):
        raise Unwritten(f"a line of thinking ends in a full stop; found {text[-40:]!r}")
    steps = []
    for sentence in sentences:
        found = _STEP.fullmatch(sentence)
        if found is None:
            raise Unwritten(f"a step is `EVENT {FOR}|{AGAINST} NAME AMOUNT`; found {sentence!r}")
        amount = int(found["amount"]) * (1 if found["side"] == AGAINST else -1)
        steps.append(Step(found["event"], found["subject"], amount))
    stated = last.removeprefix(f"{SO} ")
    pairs = _PAIR.findall(stated)
    belief = {name: int(tenths) for name, tenths in pairs}
    if " ".join(f"{name} {tenths}" for name, tenths in pairs) != stated or len(belief) < len(pairs):
        raise Unwritten(f"a belief is a name and its tenths for each; found {last!r}")
    if any(tenths > TENTHS for tenths in belief.values()):
        raise Unwritten(f"a belief is stated in tenths, at most {TENTHS}; found {last!r}")
    if order is not None and tuple(belief) != tuple(order):
        raise Unwritten(f"the belief is to be about {', '.join(order)}, in this order; found {last!r}")
    return Line(tuple(steps), belief)


def n_words(text: str) -> int:
    """How many words and marks a text has: as many tokens as a tokenizer of the typed language makes of it."""
    return len(re.findall(r"\w+|[^\w\s]", text))
