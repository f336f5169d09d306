"""A model's own chat template as turn markers: rendered once, then a context is extended turn by turn.

Templates are programs that render a whole conversation; rendering again for each turn would change earlier tokens
(thinking is dropped, the system text moves) and re-read everything. Here the markers around the contents are read off
by rendering placeholders. Contents never pass through the template.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from agents.llm.encoder import Encoder, TokenizerError
from agents.llm.thinking import closer_of, closes, opener
from agents.models.rendering import TemplateRefused, render

SLOTS = ("Wsystemslot", "Wfirstslot", "Wanswerslot", "Wsecondslot")
OFF = ("enable_thinking", "thinking")
"""Template variables that switch thinking off."""


class Markers(msgspec.Struct, frozen=True):
    """The text of a template around the contents of a conversation."""

    head: str
    """Before the first content."""
    after_system: str | None
    """Between the system text and the first user turn; None where the template takes no system text, which then stands
    at the beginning of the first user turn."""
    ask: str
    """After a user turn, up to where the model writes."""
    answered: str
    """After the model's words, up to the next user turn; begins with what ends a turn."""
    opener: str = ""
    """The end of `ask` from the mark on that opens thinking; empty where the template opens none."""
    closer: str = ""
    """What is written between `ask` and an answer that no thinking precedes, by the template's own form: it closes the
    block that `ask` has opened, or names the channel of answers. Empty for most templates."""


def read_markers(
    tokenizer: Any, settings: Mapping[str, Any] | None = None, clock: str | None = None
) -> Markers:
    """The markers of a tokenizer's chat template. `settings` go to the template (`enable_thinking`, ...).

    clock: the time that the template is told, ISO 8601 (None: now), so that one which renders the date renders the
    same on another day. Raises TokenizerError where there is no template, it does not keep the contents in order, or it
    does not end within the bounds of `agents.models.rendering`.
    """
    if not getattr(tokenizer, "chat_template", None):
        raise TokenizerError(
            'the tokenizer has no chat template, so this is no instruction model: use prompt = "transcript", or put '
            "the model's chat_template.jinja into its folder"
        )
    system, first, answer, second = SLOTS
    user, reply, again = _turn("user", first), _turn("assistant", answer), _turn("user", second)
    thought = _turn("assistant", answer) | {"reasoning_content": second}
    asked: list[tuple[list[dict[str, str]], dict[str, Any]]] = [
        ([user], {}),
        ([user, reply, again], {}),
        ([_turn("system", system), user], {}),
        ([user, thought], {}),
        *(([user], {name: False}) for name in OFF),
    ]
    alone, longer, *tried = _rendered(tokenizer, asked, settings, clock)
    whole, reasoned, *without = [text or "" for text, _ in tried]  # empty where the template refuses
    head, ask = _cut(_text(alone), first)
    after_system = None
    if 0 <= whole.find(system) < whole.find(first):
        head, rest = _cut(whole, system)
        after_system, ask = _cut(rest, first)
    before, middle = _cut(_text(longer), answer)
    answered, ask_again = _cut(middle, second)
    if ask_again != ask:
        raise TokenizerError(
            f"the chat template asks for the first answer by {ask!r} and for the second by {ask_again!r}: a context "
            'that grows turn by turn cannot be made with it; use prompt = "transcript"'
        )
    opened = opener(ask)
    if opened:
        closer = _closer(ask, opened, without, reasoned.partition(second)[2].partition(answer)[0])
    else:
        prefix = before.partition(first)[2]
        closer = prefix.removeprefix(ask) if prefix.startswith(ask) else ""
        closer = closer if closes(closer) else ""
    return Markers(head, after_system, ask, answered, opened, closer)


def _closer(ask: str, opened: str, without: Sequence[str], between: str) -> str:
    """`Markers.closer` of a template that opens thinking. without: as rendered with thinking off; between: what stands
    between thinking and answer."""
    for text in without:  # the template's own way to go without
        after = text.partition(SLOTS[1])[2]
        if after.startswith(ask) and closes(after[len(ask) :]):
            return after[len(ask) :]
    return between if closes(between) else f"\n{closer_of(opened)}\n\n"


def _turn(role: str, content: str) -> dict[str, str]:
    return {"role": role, "content": content}


Rendering = tuple[str | None, str | None]
"""(text, None), or (None, the template's own error)."""


def _rendered(
    tokenizer: Any,
    asked: Sequence[tuple[list[dict[str, str]], dict[str, Any]]],
    settings: Mapping[str, Any] | None,
    clock: str | None,
) -> list[Rendering]:
    """As `tokenizer.apply_chat_template` renders each (conversation, settings of its own)."""
    special = {key: value for key, value in tokenizer.special_tokens_map.items() if isinstance(value, str)}
    common = (
        special | {"tools": None, "documents": None, "add_generation_prompt": True} | dict(settings or {})
    )
    try:
        wanted = [common | more | {"messages": turns} for turns, more in asked]
        return render(tokenizer.get_chat_template(), wanted, clock)
    except (TemplateRefused, TypeError, ValueError) as error:
        raise TokenizerError(f'{error}; use prompt = "transcript", or another template') from error


def _text(rendering: Rendering) -> str:
    text, error = rendering
    if text is None:
        raise TokenizerError(f'the chat template cannot be rendered ({error}); use prompt = "transcript"')
    return text


def _cut(text: str, slot: str) -> tuple[str, str]:
    before, found, after = text.partition(slot)
    if not found or slot in after:
        raise TokenizerError(
            f"the chat template does not show each turn once and in order (rendered: {text[:200]!r}); "
            'use prompt = "transcript"'
        )
    return before, after


class Turns:
    """The token ids of a template's markers."""

    def __init__(
        self, encoder: Encoder, settings: Mapping[str, Any] | None = None, clock: str | None = None
    ) -> None:
        """As `read_markers`. Raises TokenizerError."""
        self.markers = read_markers(encoder.tokenizer, settings, clock)
        self.head = encoder.template(self.markers.head)
        self.after_system = (
            None if self.markers.after_system is None else encoder.template(self.markers.after_system)
        )
        self.ask = encoder.template(self.markers.ask)
        self.answered = encoder.template(self.markers.answered)
        self.closer = encoder.template(self.markers.closer)
        opener = encoder.template(self.markers.opener)
        self.n_opener = len(opener) if opener and self.ask[-len(opener) :] == opener else 0
        """Number of tokens at the end of `ask` that open thinking."""
        eos = encoder.tokenizer.eos_token_id
        first = self.answered[0] if self.answered else None
        self._channels = bool(self.markers.closer) and not self.markers.opener
        self.end: int | None = first if first in encoder.control and not self._channels else eos
        """The token that ends the model's turn; None where the template has none. Where answers have channels, what
        ends one of them does not end the turn, and the end of the sequence stands in its place."""

    @property
    def stop_ids(self) -> tuple[int, ...]:
        """What ends an output."""
        return () if self.end is None else (self.end,)

    def close(self, ids: Sequence[int]) -> tuple[int, ...]:
        """What stands between these last ids of an answer and the next user turn: the end of turn is not repeated."""
        if ids and self.answered and ids[-1] == self.end and (self._channels or self.end == self.answered[0]):
            return self.answered[1:]
        return self.answered
