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
    opener: str = ""
    """The end of `ask` from the mark on that opens thinking; empty where the template opens none."""
    closer: str = ""
    """What is written between `ask` and an answer that no thinking precedes, by the template's own form: it closes the
    block that `ask` has opened, or names the channel of answers. Empty for most templates."""


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
    whole = _tried(tokenizer, [_turn("system", system), user], settings)  # empty where the role is refused
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
    prefix = _cut(_render(tokenizer, [user, reply, again], settings), answer)[0].partition(first)[2]
    opened = opener(ask)
    return Markers(
        head, after_system, ask, answered, opened, _closer(tokenizer, ask, prefix, opened, settings)
    )


def _closer(tokenizer: Any, ask: str, prefix: str, opened: str, settings: Mapping[str, Any] | None) -> str:
    """`Markers.closer`. prefix: what the template puts between an earlier user turn and its answer."""
    if not opened:
        after = prefix.removeprefix(ask)
        return after if prefix.startswith(ask) and closes(after) else ""
    user = _turn("user", SLOTS[1])
    for name in ("enable_thinking", "thinking"):  # the template's own way to go without
        without = _tried(tokenizer, [user], {**(settings or {}), name: False}).partition(SLOTS[1])[2]
        if without.startswith(ask) and closes(without[len(ask) :]):
            return without[len(ask) :]
    thought = _turn("assistant", SLOTS[2]) | {"reasoning_content": SLOTS[3]}
    between = _tried(tokenizer, [user, thought], settings).partition(SLOTS[3])[2].partition(SLOTS[2])[0]
    if closes(between):
        return between
    return f"\n{closer_of(opened)}\n\n"


def _tried(tokenizer: Any, turns: Sequence[dict[str, str]], settings: Mapping[str, Any] | None) -> str:
    """As `_render`; empty where the template refuses these turns or settings."""
    try:
        return _render(tokenizer, turns, settings)
    except (ValueError, TypeError, KeyError, TokenizerError):
        return ""
    except Exception as error:  # jinja2's own, which is not imported for its name alone
        if type(error).__module__.partition(".")[0] != "jinja2":
            raise
        return ""


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
        self.closer = encoder.template(self.markers.closer)
        opener = encoder.template(self.markers.opener)
        self.n_opener = len(opener) if opener and self.ask[-len(opener) :] == opener else 0
        """So many tokens at the end of `ask` open thinking."""
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
