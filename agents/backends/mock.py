"""The one backend without a model, registered like any other (`kind = "mock"`): for dry runs, for players of whom only
the prompts are wanted, and for tests."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

from agents.backends.base import BackendError, Capabilities, Generation, Prompt
from agents.backends.registry import SettingsError, Spec
from games import chance

Say = Callable[[str, Prompt], str]
"""(the prompt's text, the prompt) -> the answer's text."""


class MockBackend:
    """Answers by a function of the prompt's text and keeps every prompt; without a function every call is an error."""

    def __init__(
        self,
        tokenizer: Any = None,
        say: Say | None = None,
        end: str = "",
        *,
        model: str = "mock@000000000000",
        capabilities: Capabilities | None = None,
    ) -> None:
        """tokenizer: None where prompts are messages. end: for subclasses, the text after each answer."""
        self.model, self.capabilities = model, capabilities or Capabilities()
        self.tokenizer, self.say, self.end = tokenizer, say, end
        self.prompts: list[Prompt] = []
        """All prompts so far."""
        self.fail: list[BackendError] = []
        """Errors that the next calls raise."""

    async def generate(self, prompts: Sequence[Prompt]) -> list[Generation]:
        """One of the choices drawn by the prompt's seed, or what `say` says. Raises BackendError."""
        if self.fail:
            raise self.fail.pop(0)
        await asyncio.sleep(0)
        return [self._one(prompt) for prompt in prompts]

    def _one(self, prompt: Prompt) -> Generation:
        self.prompts.append(prompt)
        if self.say is None:
            raise BackendError("this backend has no model: it is not meant to be asked", retryable=False)
        if prompt.sampling.choices:
            ids = chance.choice(prompt.sampling.choices, key_of(prompt))
            return Generation(ids, self.text(ids), self.logprobs(prompt, ids), finish_reason="choice")
        ids = self.ids(self.say(self.text(prompt.ids), prompt))
        stops = [k for k, token in enumerate(ids) if token in prompt.sampling.stop_ids]
        ids = ids[: stops[0] + 1] if stops else ids
        ids = ids[: prompt.sampling.max_tokens]
        stopped = bool(stops) and len(ids) == stops[0] + 1
        text = self.text(ids[:-1] if stopped else ids)
        return Generation(
            ids, text, self.logprobs(prompt, ids), finish_reason="stop" if stopped else "length"
        )

    def logprobs(self, prompt: Prompt, ids: Sequence[int]) -> tuple[float, ...]:
        """Log-probabilities that depend on the tokens alone."""
        return tuple(-1.0 - (token % 7) / 10 for token in ids)

    def text(self, ids: Sequence[int]) -> str:
        """Token ids in words."""
        return str(
            self.tokenizer.decode(list(ids), skip_special_tokens=False, clean_up_tokenization_spaces=False)
        )

    def ids(self, text: str) -> tuple[int, ...]:
        """Words as token ids."""
        return tuple(self.tokenizer(text, add_special_tokens=False)["input_ids"])

    async def close(self) -> None:
        """Nothing is open."""


class FirstChoice(MockBackend):
    """Answers every prompt with the first of its choices, with probability 1, in no time."""

    def _one(self, prompt: Prompt) -> Generation:
        ids = prompt.sampling.choices[0] if prompt.sampling.choices else (0,)
        return Generation(ids, "", logprobs=(0.0,) * len(ids), read=(0.0,) * len(prompt.sampling.read))


def key_of(prompt: Prompt) -> int:
    """A draw that depends on the prompt and its seed alone."""
    return chance.key(prompt.sampling.seed or 0, "fake", len(prompt.ids))


def holds(spec: Spec) -> None:
    """There is nothing to keep."""


def check(spec: Spec) -> None:
    """Whether the settings make sense: a mock has one, `text`."""
    unknown = [key for key in spec.settings if key != "text"]
    if unknown:
        raise SettingsError(f"a mock has no setting {unknown[0]!r}; it has: text")


def start(spec: Spec) -> MockBackend:
    """A backend that always says `settings.text` (by default nothing that a game can use), and draws its choices, with
    the tokenizer of the model's folder."""
    from agents.models.folder import load_tokenizer, model_name

    check(spec)
    folder, text = spec.need_folder(), str(spec.settings.get("text", "...\n"))
    return MockBackend(load_tokenizer(folder), lambda prompt, _: text, model=model_name(folder))
