"""The protocol of model backends: prompt token ids in, token ids out, and activations from backends that can.

The protocol is small on purpose. It has no text of the game and no prompt style; a backend decodes tokens only for the
reader's convenience. Token indices count from 0 in the whole prompt. Nothing heavy is imported here, so agents, harness
and tests can use these records without torch, Ray or vLLM.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

import msgspec

from games.records import Span

OUTPUT_LAST = "output_last"
"""Capture site: the residual stream at the last generated token."""

OUTPUT_MEAN = "output_mean"
"""Capture site: the mean of the residual stream over all generated tokens."""

OUTPUT_TOKENS = "output_tokens"
"""Capture site: every generated token by itself, (n_output, n_layers, d_model)."""

OUTPUT_SITES = (OUTPUT_LAST, OUTPUT_MEAN, OUTPUT_TOKENS)


FAILED = "backend_error"
"""Kind of failure: the backend could not answer."""
CONTENT_FILTER = "content_filter"
"""Kind of failure: the server withheld the answer."""
REFUSED = "refused"
"""Kind of failure: the server reports that the model refuses to answer."""
UNUSABLE = "malformed"
"""Kind of failure: an answer that cannot be a reply, such as half a character."""
WITHHELD = (CONTENT_FILTER, REFUSED, UNUSABLE)
"""Failures of one answer and not of the backend: the same question may be answered under another seed."""


class BackendError(RuntimeError):
    """A backend could not answer. The message names what failed, the values, and the remedy."""

    def __init__(
        self,
        message: str,
        *,
        retryable: bool = True,
        wait_s: float | None = None,
        kind: str = FAILED,
        everybody: bool = False,
    ) -> None:
        """wait_s: how long the backend asks to be left alone, in seconds. kind: `FAILED` or one of `WITHHELD`.

        everybody: as far as the backend knows, the failure concerns every prompt, not this one alone.
        """
        super().__init__(message)
        self.retryable = retryable
        self.wait_s = wait_s
        self.kind = kind
        self.everybody = everybody

    def __reduce__(self) -> tuple[Any, ...]:  # keyword arguments survive the way through Ray
        return (
            _rebuild_error,
            (type(self), str(self), self.retryable, self.wait_s, self.kind, self.everybody),
        )


class EngineLost(RuntimeError):
    """The engine or server behind a backend is gone; the failure says nothing about the prompt.

    It is not a BackendError, so that no caller treats it as a failed prompt and records a fallback: the game stops and
    can be resumed with a new engine.
    """


class ModelBroken(EngineLost):
    """The model computes NaN: its answers are meaningless, and a restart does not help."""


class ServerRefuses(EngineLost):
    """The server refuses every request: a key, a credit, an address or a setting has to be fixed first."""


def _rebuild_error(
    made: type[BackendError], message: str, retryable: bool, wait_s: float | None, kind: str, everybody: bool
) -> BackendError:
    return made(message, retryable=retryable, wait_s=wait_s, kind=kind, everybody=everybody)


class Sampling(msgspec.Struct, frozen=True):
    """How to choose the output tokens."""

    temperature: float = 1.0
    """0 is greedy."""
    top_p: float = 1.0
    max_tokens: int = 64
    seed: int | None = None
    """Seeds this request alone. Exact only for the same batch composition; the log is what reproduces a game."""
    stop_ids: tuple[int, ...] = ()
    """Token ids that end the output besides the checkpoint's own end-of-sequence ids; the one hit is kept in
    `Generation.output_ids` and left out of `Generation.text`."""
    choices: tuple[tuple[int, ...], ...] = ()
    """If given, the output is exactly one of these token sequences (none of them a prefix of another), sampled
    token by token from the model's distribution over what can still become one; `max_tokens` and stop ids do
    not apply."""
    read: tuple[int, ...] = ()
    """Token ids whose log-probabilities at the first output token are wanted, `Generation.read`; for backends that can
    (`Capabilities.reads`)."""


class Capture(msgspec.Struct, frozen=True):
    """Which activations to return with the generation."""

    sites: dict[str, tuple[int, ...]]
    """Site name -> token indices in the prompt, averaged (one index: that row). Negative indices are refused.
    `output_last`, `output_mean`, `output_tokens` are computed over the generated tokens; their indices are ignored."""


class Message(msgspec.Struct, frozen=True):
    """One turn of a conversation in words."""

    role: str
    """`system`, `user` or `assistant`."""
    content: str


class Prompt(msgspec.Struct, frozen=True):
    """One request."""

    ids: tuple[int, ...]
    """Token ids; empty only where `messages` are given."""
    sampling: Sampling
    session: str | None = None
    """Prompts of one session usually extend its earlier ids + output; a key-value cache may be reused."""
    capture: Capture | None = None
    interventions: tuple[Any, ...] = ()
    """`agents.hooks.intervention.Intervention`s, for backends that can (`Capabilities.steers`)."""
    spans: tuple[Span, ...] = ()
    """Spans of the tokens, for backends that use them (`Capabilities.wants_spans`)."""
    messages: tuple[Message, ...] = ()
    """The prompt as a conversation, for servers that take no token ids (`agents.backends.openai.client`)."""


class Generation(msgspec.Struct, frozen=True):
    """One answer."""

    output_ids: tuple[int, ...]
    """Empty where a server returns only the text."""
    text: str
    """`output_ids` decoded, special tokens included, without the stop token that ended it."""
    logprobs: tuple[float, ...] = ()
    """Log-probability (nats) of each output token under the model's own distribution, before temperature,
    top-p and any constraint. Empty where the backend gives none."""
    n_cached: int = 0
    """Prompt tokens whose keys and values were taken from a cache."""
    finish_reason: str = "stop"
    """`stop`, `length`, or `choice`."""
    activations: dict[str, Any] | None = None
    """Site -> float32 array (n_layers, d_model), layers in the order of the backend's layer selection."""
    read: tuple[float, ...] = ()
    """Log-probability (nats) of each of `Sampling.read` as the first output token, under the model's own
    distribution."""
    touched: int = 0
    """Number of positions changed, summed over the interventions."""
    reasoning: str | None = None
    """Thinking that a server returned apart from the text."""
    n_prompt: int | None = None
    """Number of prompt tokens reported by a server; None where it reports none, or the ids are known."""
    n_generated: int | None = None
    """Number of generated tokens reported by a server."""
    n_broken: int = 0
    """Number of chat-template markers in the prompt's words that were broken up before sending."""
    option_mass: float | None = None
    """With `Sampling.choices`: the probability that a free draw, token by token along the option that was drawn, would
    have stayed among the options. None where the backend does not give it."""


class Capabilities(msgspec.Struct, frozen=True):
    """What a backend can do besides answering prompts."""

    reads: bool = False
    """Return the log-probabilities of several first tokens at once (`Sampling.read`)."""
    steers: bool = False
    """Put interventions into its forward passes (`Prompt.interventions`)."""
    wants_spans: bool = False
    """Use the spans of a prompt's tokens (`Prompt.spans`)."""
    layers: tuple[str, ...] = ()
    """Names of the streams whose activations it can give (`Prompt.capture`), empty where it gives none."""
    d_model: int = 0
    """Width of those streams."""


@runtime_checkable
class Backend(Protocol):
    """A model that answers prompts. `generate` may be called concurrently; calls in flight are batched."""

    model: str
    """Name and content hash of the weights, `name@hash`."""
    capabilities: Capabilities

    async def generate(self, prompts: Sequence[Prompt]) -> list[Generation]:
        """Answer all prompts, in order. Raises BackendError, and EngineLost where the engine or server is gone."""
        ...

    async def close(self) -> None:
        """Free the model; calling it twice is harmless."""
        ...


@runtime_checkable
class OnActors(Protocol):
    """A backend whose engines are Ray actors with a health check; test with `isinstance`."""

    @property
    def actors(self) -> tuple[Any, ...]:
        """The engine actors, one per replica."""
        ...


def check_prompt(prompt: Prompt, max_context: int, vocab_size: int) -> None:
    """Raise BackendError for a prompt no backend could answer.

    max_context: the most tokens that prompt and output may have together.
    vocab_size: token ids are 0 <= id < vocab_size.
    """
    sampling, n = prompt.sampling, len(prompt.ids)
    for what, ids in (("prompt", prompt.ids), *(("choice", c) for c in sampling.choices)):
        if ids and not (min(ids) >= 0 and max(ids) < vocab_size):
            raise BackendError(
                f"the {what} has token ids from {min(ids)} to {max(ids)}, the model knows 0 to {vocab_size - 1}; "
                "tokenise with the tokenizer of the same model folder",
                retryable=False,
            )
    if n == 0:
        raise BackendError(
            "the prompt has no tokens; give at least one (a begin-of-sequence token)", retryable=False
        )
    room = max((len(choice) for choice in sampling.choices), default=sampling.max_tokens)
    if n + room > max_context:
        raise BackendError(
            f"the prompt has {n} tokens and asks for up to {room} more, but the model's context is {max_context}; "
            "shorten the game (fewer rounds or players), lower max_tokens, or use a model with a longer context",
            retryable=False,
        )
    if room < 1:
        raise BackendError(f"max_tokens is {sampling.max_tokens}, at least 1 is needed", retryable=False)
    for i, choice in enumerate(sampling.choices):
        for j, other in enumerate(sampling.choices):
            if i != j and other[: len(choice)] == choice:
                raise BackendError(
                    f"choice {i} {choice} is a prefix of choice {j} {other}, so the output could not be told apart; "
                    "end every choice with the same stop token",
                    retryable=False,
                )
    if prompt.capture is not None:
        for site, indices in prompt.capture.sites.items():
            if site in OUTPUT_SITES:
                continue
            wrong = [i for i in indices if not 0 <= i < n]
            if wrong or not indices:
                raise BackendError(
                    f"capture site '{site}' names token indices {tuple(indices)}, the prompt has indices 0..{n - 1}; "
                    "count from the start of the whole prompt",
                    retryable=False,
                )


def next_choices(choices: Sequence[tuple[int, ...]], so_far: Sequence[int]) -> tuple[int, ...]:
    """Token ids that can follow `so_far` inside one of `choices`, ascending; empty when a choice is complete."""
    k = len(so_far)
    head = tuple(so_far)
    return tuple(sorted({c[k] for c in choices if len(c) > k and c[:k] == head}))
