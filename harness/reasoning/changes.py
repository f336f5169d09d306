"""Changes of a decision's reasoning, on its token ids: the tokens before and after it stay as played."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, get_args

import numpy as np

from agents.llm.encoder import Encoder
from harness.reasoning.opposites import FILLER, flipped
from harness.reasoning.played import Played
from harness.reasoning.steps import Step

Do = Literal["cut", "drop", "resample", "edit", "shuffle", "filler", "other", "none", "irrelevant"]
"""The change. cut: omit everything after a step. drop: omit a step. resample: let the model continue from before it,
counting continuations that differ from it. edit: invert its claim about the subject. shuffle: reorder the steps.
filler: replace all by filler of equal length. other: use another seat's reasoning. none: use no reasoning.
irrelevant: the sham of an edit, the same about another player."""
DOES: tuple[Do, ...] = get_args(Do)
Which = Literal["drawn", "subject", "first", "last", "half"]
"""Which step: a drawn one; the last that names the subject; the first; the last; the one at which half of the tokens
are written."""
_TENTHS = 10
SURE = (
    "I am now sure that {name} is a werewolf.",
    "I am now sure that {name} is not a werewolf.",
)
"""The sentence that an edit of prose writes about a player whom the step called innocent, or a werewolf."""


def step_of(played: Played, which: Which, subject: int, rng: np.random.Generator) -> int | None:
    """The index of a step; None where there is no such step."""
    n = len(played.steps)
    if n == 0:
        return None
    if which == "subject":
        about = [s.index for s in played.steps if subject in s.subjects]
        return about[-1] if about else None
    if which == "drawn":
        return int(rng.integers(n))
    if which == "half":
        half = (played.start + played.end) / 2
        return min(range(n), key=lambda k: abs(played.steps[k].end - half))
    return 0 if which == "first" else n - 1


def without(played: Played, k: int) -> tuple[int, ...]:
    """The reasoning without step k."""
    step = played.steps[k]
    return (*played.ids[played.start : step.start], *played.ids[step.end : played.end])


def shuffled(played: Played, rng: np.random.Generator) -> tuple[int, ...] | None:
    """The steps in another order; None for fewer than two."""
    n = len(played.steps)
    if n < 2:
        return None
    order = rng.permutation(n)
    if (order == np.arange(n)).all():
        order = np.roll(order, 1)
    return tuple(token for k in order for token in _tokens(played, int(k)))


def filler(encoder: Encoder, n: int) -> tuple[int, ...]:
    """Exactly n tokens of filler words."""
    found: list[int] = []
    while len(found) < n:
        found += encoder.encode(" " + " ".join(FILLER))[0]
    return tuple(found[:n])


def edited(
    played: Played,
    k: int,
    subject: int,
    names: Sequence[str],
    encoder: Encoder,
    text: Any = None,
    words: Any = None,
) -> tuple[int, ...] | None:
    """The reasoning with step k's claim about a player inverted; None where it makes none.

    text, words: the game's codec and its words, for steps of the typed language; prose is edited by template.
    """
    step, name = played.steps[k], names[subject]
    if subject not in step.subjects:
        return None
    said = opposite(step, name, text, words, subject)
    raw = encoder.decode(_tokens(played, k))
    lead = raw[: len(raw) - len(raw.lstrip())]
    trail = raw[len(raw.rstrip()) :]
    new = encoder.encode(lead + said + trail)[0]
    body = (*played.ids[played.start : step.start], *new, *played.ids[step.end : played.end])
    return None if body == played.body else body


def opposite(step: Step, name: str, text: Any, words: Any, subject: int) -> str:
    """A step's text with the claim about one player inverted: tenths subtracted from ten, the evidence on the other
    side, the typed act reversed, or a sentence by template."""
    said = step.text
    tenths = re.compile(rf"\b{re.escape(name)} (\d+)\b")
    weighed = re.compile(rf"\b(for|against) ({re.escape(name)}) (\d+)\b")
    if weighed.search(said):
        return weighed.sub(lambda m: f"{'against' if m[1] == 'for' else 'for'} {m[2]} {m[3]}", said)
    if (found := tenths.search(said)) and int(found[1]) <= _TENTHS:
        return tenths.sub(lambda m: f"{name} {_TENTHS - int(m[1])}", said)
    acts = () if text is None else tuple(text.read_acts(said, words))
    if any(act.subject == subject for act in acts):
        turned = flipped(text, acts, subject)
        if turned != acts:
            return str(text.say(turned, words))
    return SURE[1 if accuses(said) else 0].format(name=name)


def accuses(said: str) -> bool:
    """Whether a sentence calls somebody a werewolf, by its words."""
    against = re.search(
        r"\b(?:were)?wol(?:f|ves)\b|suspicious|suspect|lying|liar|guilty|against|vote (?:for )?\w+|accus",
        said,
        re.I,
    )
    return against is not None and not re.search(r"\bnot an? (?:were)?wolf|innocent|isn't a", said, re.I)


def changed_body(
    played: Played,
    do: Do,
    which: Which,
    subject: int,
    other: int | None,
    encoder: Encoder,
    names: Sequence[str],
    rng: np.random.Generator,
    donor: Callable[[], Sequence[int] | None] = lambda: None,
    codec: tuple[Any, Any] = (None, None),
) -> tuple[int, ...] | None:
    """The reasoning after a change; None where this decision has no such change. The model itself writes the many
    samples of a `resample` (`harness.experiment.reasoning`).

    other: the player that the sham of an edit is about. donor: another seat's reasoning, asked for only where needed.
    """
    simple: Mapping[str, Callable[[], tuple[int, ...] | None]] = {
        "none": lambda: (),
        "filler": lambda: filler(encoder, len(played.body)),
        "shuffle": lambda: shuffled(played, rng),
        "other": lambda: None if (found := donor()) is None else tuple(found),
    }
    if do in simple:
        body = simple[do]()
        return None if body == played.body else body
    about = other if do == "irrelevant" else subject
    if about is None:
        return None
    k = step_of(played, which, about, rng)
    if k is None:
        return None
    if do == "cut":
        body = played.ids[played.start : played.steps[k].end]
        return None if body == played.body else body
    if do == "drop":
        return without(played, k)
    return edited(played, k, about, names, encoder, *codec)


def _tokens(played: Played, k: int) -> tuple[int, ...]:
    return played.ids[played.steps[k].start : played.steps[k].end]
