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

SLOTS = ("Wsystemslot", "Wfirstslot", "Wanswerslot", "Wsecondslot")


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


def read_markers(tokenizer: Any, settings: Mapping[str, Any] | None = None) -> Markers:
    """The markers of a tokenizer's chat template. `settings` go to the template (`enable_thinking`, ...).

    Raises TokenizerError where there is no template or it does not keep the contents in order.
    """
    if not getattr(tokenizer, "chat_template", None):
        raise TokenizerError(
            'the tokenizer has no chat template, so this is no instruction model: use prompt = "transcript", or put '
            "the model's chat_template.jinja into its folder"
        )
    system, first, answer, second = SLOTS
    user, reply, again = _turn("user", first), _turn("assistant", answer), _turn("user", second)
    head, ask = _cut(_render(tokenizer, [user], settings), first)
    after_system = None
    try:
        whole = _render(tokenizer, [_turn("system", system), user], settings)
    except (ValueError, TypeError, KeyError, TokenizerError):  # the template refuses the role
        whole = ""
    except Exception as error:  # jinja2's own, which is not imported for its name alone
        if type(error).__module__.partition(".")[0] != "jinja2":
            raise
        whole = ""
    if 0 <= whole.find(system) < whole.find(first):
        head, rest = _cut(whole, system)
        after_system, ask = _cut(rest, first)
    middle = _cut(_render(tokenizer, [user, reply, again], settings), answer)[1]
    answered, ask_again = _cut(middle, second)
    if ask_again != ask:
        raise TokenizerError(
            f"the chat template asks for the first answer by {ask!r} and for the second by {ask_again!r}: a context "
            'that grows turn by turn cannot be made with it; use prompt = "transcript"'
        )
    return Markers(head, after_system, ask, answered)


def _turn(role: str, content: str) -> dict[str, str]:
    return {"role": role, "content": content}


def _render(tokenizer: Any, turns: Sequence[dict[str, str]], settings: Mapping[str, Any] | None) -> str:
    return str(
        tokenizer.apply_chat_template(
            list(turns), tokenize=False, add_generation_prompt=True, **dict(settings or {})
        )
    )


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

    def __init__(self, encoder: Encoder, settings: Mapping[str, Any] | None = None) -> None:
        """Raises TokenizerError."""
        self.markers = read_markers(encoder.tokenizer, settings)
        self.head = encoder.template(self.markers.head)
        self.after_system = (
            None if self.markers.after_system is None else encoder.template(self.markers.after_system)
        )
        self.ask = encoder.template(self.markers.ask)
        self.answered = encoder.template(self.markers.answered)
        eos = encoder.tokenizer.eos_token_id
        first = self.answered[0] if self.answered else None
        self.end: int | None = first if first in encoder.control else eos
        """The token that ends the model's turn; None where the template has none."""

    @property
    def stop_ids(self) -> tuple[int, ...]:
        """What ends an output."""
        return () if self.end is None else (self.end,)

    def close(self, ids: Sequence[int]) -> tuple[int, ...]:
        """What stands between these last ids of an answer and the next user turn: the end of turn is not repeated."""
        if ids and self.answered and ids[-1] == self.end == self.answered[0]:
            return self.answered[1:]
        return self.answered
