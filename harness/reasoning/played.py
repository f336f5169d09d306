"""The reasoning of one decision, in the token ids of the log: the tokens before it, its steps, the tokens between it
and the answer, and every legal answer.

Nothing is rendered again. A prompt whose reasoning stops after step k joins the played ids up to the end of that step
and the played ids from the end of the reasoning to the answer, which close the thinking in the template's own form
and demand the answer.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import msgspec

from agents.llm.chat import ChatPlayer
from agents.llm.chat_reply import Unreadable, chosen, take_apart
from agents.llm.encoder import Encoder
from agents.llm.thinking import inner
from agents.llm.transcript_context import mention_spans
from games.base import Observation
from games.records import Decision, Span
from harness.errors import WolfscopeError
from harness.reasoning.categories import category_of
from harness.reasoning.steps import Cut, Step, cut_tokens, token_starts

REJECTED = ("rejected", "repair")
"""Spans after which an answer was asked for again: the effective reasoning follows the last of them."""


class NoReasoning(WolfscopeError, ValueError):
    """A decision whose reasoning cannot be found or changed; the message says why."""


class Played(msgspec.Struct, frozen=True):
    """A decision's context as played, up to where the answer begins."""

    ids: tuple[int, ...]
    start: int
    """Token index of the reasoning's first word."""
    end: int
    """After its last word."""
    steps: tuple[Step, ...]
    choices: tuple[tuple[int, ...], ...]
    """Token ids of every legal answer, what ends it included, in the order of `answers`."""
    answers: tuple[int, ...]
    """The request's options."""
    chosen: int
    """The option that was taken."""
    spans: tuple[Span, ...]
    """Spans of `ids`, including mentions inside the reasoning."""
    own: int = 0
    """Length of the prefix shared with the prompt of the decision's first question: everything before the text
    written for this decision."""
    how: Cut = "sentences"

    @property
    def head(self) -> tuple[int, ...]:
        """Before the reasoning."""
        return self.ids[: self.start]

    @property
    def body(self) -> tuple[int, ...]:
        """The reasoning."""
        return self.ids[self.start : self.end]

    @property
    def tail(self) -> tuple[int, ...]:
        """Between the reasoning and the answer."""
        return self.ids[self.end :]

    def edge(self, k: int) -> int:
        """The token index at which the first k steps end."""
        return self.start if k == 0 else self.steps[k - 1].end

    def prefix(self, k: int) -> tuple[int, ...]:
        """The context up to the end of the first k steps."""
        return self.ids[: self.edge(k)]

    def with_body(self, body: Sequence[int]) -> tuple[int, ...]:
        """The context with another reasoning."""
        return (*self.head, *body, *self.tail)


def played_reasoning(
    player: Any,
    observation: Observation,
    decision: Decision,
    prompt_ids: Sequence[int],
    names: Sequence[str],
    role: str | None = None,
    roles: Sequence[str] = (),
) -> Played:
    """The reasoning of a decision.

    prompt_ids: its whole prompt as logged (`Run.prompt_ids`). names: of the seats. role, roles: the seat's own role and
    all roles, in the words of the text. Raises NoReasoning.
    """
    trace, request = decision.trace, observation.request
    if trace is None or not trace.output_ids or player.encoder is None:
        raise NoReasoning(
            f"decision {decision.seq} has no token ids of its own, so its reasoning cannot be changed"
        )
    if request.speaks or not request.options or decision.action.option is None:
        raise NoReasoning(f"decision {decision.seq} is a {decision.kind}, no bare choice among options")
    encoder: Encoder = player.encoder
    whole = [*prompt_ids, *trace.output_ids]
    at, choices = _answers(player, observation, decision, encoder, len(prompt_ids), whole)
    ids = whole[:at]
    stretches = _stretches(player, encoder, ids, trace.spans)
    if not stretches:
        raise NoReasoning(f"decision {decision.seq} of {decision.agent!r} has no reasoning before its answer")
    start, end = max(stretches, key=lambda one: one[1] - one[0])
    # later reasoning (notes after thinking) would reveal what was left out
    hidden = {i for a, b in stretches if a >= end for i in range(a, b)}
    ids = [token for i, token in enumerate(ids) if i not in hidden]
    how: Cut = "sentences" if isinstance(player, ChatPlayer) else "items"
    context = player.context(observation)
    common = next(
        (i for i, token in enumerate(context.ids[:start]) if ids[i] != token), min(start, len(context.ids))
    )
    spans = [s for s in context.spans if s.end <= common]
    spans += [s for s in trace.spans if common <= s.start and s.end <= start and s not in spans]
    text = encoder.decode(ids[start:])
    starts = token_starts(encoder, ids[start:])
    offsets = tuple((starts[i], starts[i + 1]) for i in range(len(starts) - 1))
    spans += mention_spans(text, offsets, start, names)
    spans += _questions(trace.spans, end, hidden)
    steps = [
        msgspec.structs.replace(step, subjects=(who := subjects_of(step.text, names)),
                                category=category_of(step.text, who, role, roles))
        for step in cut_tokens(encoder, ids, start, end, how)
    ]  # fmt: skip
    return Played(
        tuple(ids), start, end, tuple(steps), choices, tuple(request.options), decision.action.option, tuple(spans),
        common, how,
    )  # fmt: skip


def subjects_of(text: str, names: Sequence[str]) -> tuple[int, ...]:
    """The seats that a text names, in the order of their first mention."""
    found = [(match.start(), seat) for seat, name in enumerate(names)
             if (match := re.search(rf"\b{re.escape(name)}\b", text))]  # fmt: skip
    return tuple(seat for _, seat in sorted(found))


def _answers(
    player: Any,
    observation: Observation,
    decision: Decision,
    encoder: Encoder,
    n_prompt: int,
    whole: Sequence[int],
) -> tuple[int, tuple[tuple[int, ...], ...]]:
    """(index of the answer's first token, token ids of every legal answer from there on)."""
    options, option = observation.request.options, decision.action.option
    make = getattr(player, "choice_answers", None) or player.legal_answers
    choices = tuple(make(observation))
    trace = decision.trace
    if trace is None:
        raise NoReasoning(f"decision {decision.seq} was made without a model")
    if choices:
        taken = choices[options.index(option)] if option in options else ()
        if taken and tuple(whole[len(whole) - len(taken) :]) == taken:
            return len(whole) - len(taken), choices
        raise NoReasoning(
            f"the answer of decision {decision.seq} is {trace.output_text[-40:]!r}, not the tokens of its option: it "
            "was not read as a bare choice"
        )
    text, asked = trace.output_text, player.builder(observation).ask(observation.request)
    end = player.turns.stop_ids or encoder.newline
    headed = player.factors.scratchpad or player.factors.beliefs
    try:
        part = chosen(take_apart(text, player.thinking, player.opened), asked.options, headed)[0]
    except Unreadable as error:
        raise NoReasoning(f"the choice of decision {decision.seq} cannot be found again: {error}") from error
    starts = token_starts(encoder, whole[n_prompt:])
    first = max(i for i in range(len(starts) - 1) if starts[i] <= part.start)
    gap = text[starts[first] : part.start]
    by_option = {o: (*encoder.encode(gap + label)[0], *end) for label, o in asked.options.items()}
    return n_prompt + first, tuple(by_option[o] for o in options)


def _stretches(
    player: Any, encoder: Encoder, ids: Sequence[int], spans: Sequence[Span]
) -> list[tuple[int, int]]:
    """Token ranges of the reasoning before the answer, without its delimiters, in order."""
    since = max((s.end for s in spans if s.kind in REJECTED), default=0)
    found = []
    for span in sorted((s for s in spans if s.kind == "reasoning"), key=lambda s: s.start):
        end = min(span.end, len(ids))
        if span.start < since or end <= span.start:
            continue
        stretch = ids[span.start : end]
        text, starts = encoder.decode(stretch), token_starts(encoder, stretch)
        a, b = inner(text, player.thinking if isinstance(player, ChatPlayer) else None)
        inside = [i for i in range(len(stretch)) if starts[i] < b and starts[i + 1] > a]
        if b > a and inside:
            found.append((span.start + inside[0], span.start + inside[-1] + 1))
    return found


def _questions(spans: Sequence[Span], end: int, hidden: set[int]) -> list[Span]:
    """The spans after the reasoning that are neither reasoning nor output, shifted by the omitted tokens."""
    moved = []
    for span in spans:
        if span.start >= end and span.kind in ("question", "template"):
            shift = sum(i < span.start for i in hidden)
            moved.append(msgspec.structs.replace(span, start=span.start - shift, end=span.end - shift))
    return moved
