"""Reasoning written on by the model itself: from a prefix of the played one, n times, and then the answer as before."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import msgspec

from agents.backends.base import Backend, Prompt, Sampling
from agents.llm.chat import ChatPlayer
from agents.llm.chat_reply import MARK
from agents.llm.encoder import Encoder
from agents.llm.thinking import closing
from harness.reasoning.categories import category_of
from harness.reasoning.played import subjects_of
from harness.reasoning.steps import Cut, Step, cut_tokens, token_starts


class Rollout(msgspec.Struct, frozen=True):
    """One continuation of a prefix."""

    body: tuple[int, ...]
    """The tokens of the reasoning after the prefix, marks that end it left out."""
    steps: tuple[Step, ...]
    """Steps of the body, with token indices in the whole context."""
    finished: bool
    """Whether the reasoning ended before the token limit."""
    output: tuple[int, ...]
    """All tokens as they were drawn."""


class Writer:
    """Continues a reasoning with the backend and the sampling of the player that reasoned."""

    def __init__(self, backend: Backend, max_tokens: int) -> None:
        self.backend, self.max_tokens = backend, max_tokens

    def write(
        self,
        player: Any,
        prefix: Sequence[int],
        how: Cut,
        seeds: Sequence[int],
        session: str | None,
        sampling: dict[str, Any] | None = None,
        names: Sequence[str] = (),
        roles: tuple[str | None, Sequence[str]] = (None, ()),
    ) -> list[Rollout]:
        """A continuation for each seed. session: the backend's cache key; None: no caching.

        Raises BackendError.
        """
        settings = {**player.settings, **(sampling or {})}
        prompts = [
            Prompt(
                ids=tuple(prefix), session=session,
                sampling=Sampling(
                    temperature=settings["temperature"], top_p=settings["top_p"], max_tokens=self.max_tokens,
                    seed=seed, stop_ids=stops_of(player),
                ),
            )
            for seed in seeds
        ]  # fmt: skip
        answers = self._answers(prompts, warm=session is not None and len(prompts) > 1)
        return [self._rollout(player, prefix, how, tuple(ids), names, roles) for ids in answers]

    def _answers(self, prompts: list[Prompt], warm: bool) -> list[tuple[int, ...]]:
        """The outputs. warm: run the first alone, so that the others find the prefix cached."""

        async def ask() -> list[Any]:
            parts = [prompts[:1], prompts[1:]] if warm else [prompts]
            return [g for part in parts for g in await self.backend.generate(part)]

        with ThreadPoolExecutor(1) as thread:  # the caller may run its own event loop
            return [g.output_ids for g in thread.submit(lambda: asyncio.run(ask())).result()]

    def _rollout(
        self, player: Any, prefix: Sequence[int], how: Cut, output: tuple[int, ...], names: Sequence[str],
        roles: tuple[str | None, Sequence[str]],
    ) -> Rollout:  # fmt: skip
        n, finished = reasoning_end(player, output, how)
        ids = (*prefix, *output[:n])
        steps = [
            msgspec.structs.replace(step, subjects=(who := subjects_of(step.text, names)),
                                    category=category_of(step.text, who, *roles))
            for step in cut_tokens(player.encoder, ids, len(prefix), len(ids), how)
        ]  # fmt: skip
        return Rollout(output[:n], tuple(steps), finished, output)


def stops_of(player: Any) -> tuple[int, ...]:
    """Token ids at which a reasoning surely ends: the end of the turn, the mark that closes thinking where it is one
    token, a line break of the typed language."""
    if not isinstance(player, ChatPlayer) or player.turns is None or player.encoder is None:
        return tuple(player.stop_ids)
    turns = player.turns
    close = player.encoder.template(player.thinking.close)
    return (*turns.stop_ids, *(close if len(close) == 1 else ()))


def reasoning_end(player: Any, output: Sequence[int], how: Cut) -> tuple[int, bool]:
    """(how many tokens of an output are reasoning, whether it ended): up to a mark that closes thinking, a heading of
    what is said or chosen, the end of the turn, or in the typed language the end of the line."""
    encoder: Encoder = player.encoder
    stopped = bool(output) and output[-1] in stops_of(player)
    text, starts = encoder.decode(output), token_starts(encoder, output)
    until = len(text)
    if stopped:
        until = starts[len(output) - 1]
    finished = stopped
    thinking = player.thinking if isinstance(player, ChatPlayer) else None
    for found in (closing(text, thinking), _heading(text), "\n" if how == "items" else None):
        at = found if isinstance(found, int) else text.find(found) if found else -1
        if 0 <= at < until:
            until, finished = at, True
    if until == starts[-1] and not stopped:
        return len(output), False
    words = text[:until].rstrip()
    n = sum(1 for i in range(len(output)) if starts[i] < len(words))
    return n, finished


def _heading(text: str) -> int | None:
    """Index where the private notes end."""
    for match in MARK.finditer(text):
        if match[1].upper() in ("SAY", "CHOICE"):
            return match.start()
    return None


def same_words(a: str, b: str) -> bool:
    """Whether two steps are the same words, ignoring case, punctuation and spaces."""
    return re.findall(r"\w+", a.casefold()) == re.findall(r"\w+", b.casefold())
