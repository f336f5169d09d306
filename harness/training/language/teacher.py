"""A backend that returns logged decisions: it turns a logged decision into the tokens that a playing model would
emit.

The player's own code asks, and this backend answers in the model's place. So the prompt is by construction the one of
play, and exactly the generated tokens are learned: those of every answer, its end token included.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from agents.backends.base import BackendError, Capabilities, Generation, Prompt
from agents.llm.transcript import TranscriptPlayer
from agents.llm.transcript_context import NEWLINE
from agents.replies import labels, silent, speaks
from games.records import Action, Request
from games.text import Text


class Emission(msgspec.Struct, frozen=True):
    """One answer."""

    prompt: tuple[int, ...]
    """Token ids of the whole prompt."""
    output: tuple[int, ...]
    kind: str
    """`speech`, `choice`, `reasoning`."""


class Teacher:
    """Answers each prompt with the decision given to `say`."""

    capabilities = Capabilities()

    def __init__(self, model: str) -> None:
        self.model = model
        self.emitted: list[Emission] = []
        """The answers of the current decision, in order."""
        self._free: tuple[int, ...] = ()
        self._kind = "speech"
        self._option = -1

    def say(self, free: tuple[int, ...], kind: str, option: int) -> None:
        """Set the next decision: the ids of a free answer and its kind, and the index of the option chosen."""
        self.emitted, self._free, self._kind, self._option = [], free, kind, option

    async def generate(self, prompts: Sequence[Prompt]) -> list[Generation]:
        """The decision in the requested form. Raises BackendError where it has no such form."""
        return [self._one(prompt) for prompt in prompts]

    def _one(self, prompt: Prompt) -> Generation:
        choices = prompt.sampling.choices
        if choices and not 0 <= self._option < len(choices):
            raise BackendError(f"there is no option {self._option} among {len(choices)}", retryable=False)
        ids = choices[self._option] if choices else self._free
        if not ids:
            raise BackendError("the decision has no words for a free answer", retryable=False)
        self.emitted.append(Emission(prompt.ids, ids, "choice" if choices else self._kind))
        return Generation(ids, "", finish_reason="choice" if choices else "stop")

    async def close(self) -> None:
        """Nothing is open."""


def free_answer(
    player: Any, text: Text, request: Request, action: Action, words: Any, notes: str, silence: str
) -> tuple[tuple[int, ...], str]:
    """(token ids, kind) of a decision as one free answer in the player's style, end token included."""
    speaking = speaks(text, request, words)
    if isinstance(player, TranscriptPlayer):
        ids = player.encoder.encode(text.answer(request, action, words) + NEWLINE)[0]
        return ids, "speech" if speaking and action.text else "choice"
    lines = [f"PRIVATE: {notes}"] if player.notes and notes else []
    aloud = speaking and not (action.option is not None and silent(text, request, action.option, words))
    if speaking and (aloud or player.constrained):
        said = action.text.strip() or silence
        lines.append(f" {said}" if player.prefill else f"SAY: {said}")
    if request.options and not player.constrained:
        label = next(word for word, o in labels(text, request, words).items() if o == action.option)
        lines.append(f"CHOICE: {label}")
    encode, turns = player.encoder.encode, player.turns
    thought = encode(notes)[0] if turns.markers.opener and notes and not player.notes else ()
    ids = (*thought, *turns.closer, *encode("\n".join(lines))[0], *turns.stop_ids)
    return ids, "speech" if speaking else "reasoning" if player.constrained else "choice"
