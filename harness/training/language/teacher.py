"""A backend that answers what was decided: through it a logged decision becomes the tokens of a model that plays.

The player that will play is asked, in its own code, and this backend answers in the model's place. So the prompt is
the one that it will be asked with, by construction, and what is learned is what was generated: the tokens of every
answer, the one that ends it included, and nothing else.
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
    """Answers each prompt with what `say` was told of the decision."""

    capabilities = Capabilities()

    def __init__(self, model: str) -> None:
        self.model = model
        self.emitted: list[Emission] = []
        """The answers to the decision that is being made, in order."""
        self._free: tuple[int, ...] = ()
        self._kind = "speech"
        self._option = -1

    def say(self, free: tuple[int, ...], kind: str, option: int) -> None:
        """What the next decision is: the ids of a free answer and its kind, and the index of the option chosen."""
        self.emitted, self._free, self._kind, self._option = [], free, kind, option

    async def generate(self, prompts: Sequence[Prompt]) -> list[Generation]:
        """The decision, said in the way that is asked for. Raises BackendError where it cannot be said so."""
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
    """(token ids, kind) of a decision as one free answer of the player's style, what ends it included."""
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
