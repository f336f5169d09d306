"""One decision of a chat player in progress: free answers, repairs, a constrained choice, and their trace."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import msgspec

from agents.backends.base import WITHHELD, Backend, BackendError, Generation, Prompt, Sampling
from agents.backends.provenance import notes_on
from agents.backends.retry import ask as ask_backend
from agents.llm.chat_context import Ask, ChatBuilder
from agents.llm.chat_reply import UNCLOSED, Part, Unreadable, last, take_apart
from agents.llm.dialogue import TokenDialogue, Words
from agents.llm.encoder import Encoder
from agents.llm.template import Turns
from agents.llm.thinking import Thinking, opener
from agents.llm.transcript_context import Context
from agents.replies import silent
from games import chance
from games.base import Observation
from games.records import Action, Span, Trace


class Speaker(Protocol):
    """What a turn needs of the player whose decision it is."""

    backend: Backend
    encoder: Encoder | None
    turns: Turns | None
    thinking: Thinking
    settings: dict[str, Any]
    """temperature, top_p, max_tokens."""
    retries: int
    backend_retries: int
    first_wait_s: float
    prompts: str
    """Version and hash of the prompt templates."""
    close_ids: tuple[int, ...]
    """Token ids that end the thinking."""

    def stage(self, asked: Ask) -> str:
        """`free` where the request's first question is answered in free words, else `choice`."""
        ...

    @property
    def opened(self) -> bool:
        """Whether prompts end inside a block of thinking."""
        ...

    @property
    def prefill(self) -> bool:
        """Whether `SAY:` is written for the model before what it says."""
        ...

    def read_answer(
        self, game: Any, asked: Ask, answer: str, words: Any, opened: bool | None = None
    ) -> tuple[Action, list[Part]]:
        """An answer's action and parts. Raises Unreadable."""
        ...


class Turn:
    """One decision in the making."""

    def __init__(
        self,
        player: Speaker,
        observation: Observation,
        builder: ChatBuilder,
        fork: Any,
        asked: Ask,
        game: Any,
    ) -> None:
        self.player, self.observation, self.builder = player, observation, builder
        self.fork, self.asked, self.game = fork, asked, game
        self.seat = observation.request.seat
        self.rejected: list[str] = []
        self.reasoning: list[str] = []
        self.final: Generation | None = None
        self.withheld: list[str] = []
        """Errors of the backend's failed answers that were asked for again."""
        self.opened = player.opened
        """Whether the prompt ends inside a block of thinking."""
        self.n_asked = 0
        self.sampling: dict[str, Any] = {}
        self.output_spans: list[Span] = []

    async def play(self) -> Action | None:
        """The action; None when the retries are used up. Raises BackendError."""
        player, words = self.player, self.builder.words
        if player.stage(self.asked) == "choice":
            return Action(option=await self._choose())
        await self._think()
        for attempt in range(player.retries + 1):
            try:
                generation = await self._write()
            except BackendError as error:
                if error.kind not in WITHHELD or attempt == player.retries:
                    raise
                self.withheld.append(str(error))
                continue
            text = self._text(generation)
            try:
                self._check_whole(generation)
                action, parts = player.read_answer(self.game, self.asked, text, words, self.opened)
            except Unreadable as error:
                if attempt == player.retries:
                    return None
                self._reject(generation, text)
                self.fork.user(self.builder.repair(self.asked, str(error)))
                self.final = None
                await self._think()
                continue
            self._note(generation, text, parts)
            if not self.asked.options or action.option is not None:
                return action
            self._keep(generation, text)
            self.fork.user([Words(self.builder.question(self.asked, "choice"), "question", self.seat)])
            option = await self._choose()
            if self.asked.speaks and silent(self.game.text, self.asked.request, option, words):
                return Action(option=option)
            return Action(option=option, text=action.text, acts=action.acts)
        return None

    async def _think(self) -> None:
        """Handle the thinking of the next free answer: given, bounded, or left to the model."""
        player, thinking, fork = self.player, self.player.thinking, self.fork
        if player.prefill and self.asked.speaks and thinking.given is None and thinking.budget is None:
            fork.force(player.encoder.encode("SAY:")[0] if player.encoder else (), "prefill", self.seat)
        self.answered: Generation | None = None
        self.opened = player.opened
        if not isinstance(fork, TokenDialogue) or player.encoder is None or player.turns is None:
            return
        encode, whole = player.encoder.encode, thinking.given is not None and thinking.given_whole
        if thinking.given is not None:
            if not opener(player.turns.markers.ask, thinking):
                open_ids = player.encoder.template(thinking.open)
                fork.force((*open_ids, *encode("\n")[0]), "reasoning", self.seat)
            fork.force(encode(thinking.given)[0], "reasoning", self.seat)
            self._reason(thinking.given)
            if whole:
                closing = (*encode("\n")[0], *player.close_ids, *encode("\n\n")[0])
                fork.force(closing, "reasoning", self.seat)
            self.opened = not whole
        if thinking.budget is not None and not whole:
            stops = player.turns.stop_ids
            thought = await self._ask((*stops, *player.close_ids), thinking.budget)
            if thought.output_ids and thought.output_ids[-1] in stops:
                self.answered = thought  # it answered without thinking
                return
            fork.force(thought.output_ids, "reasoning", self.seat)
            self._reason(player.encoder.decode(thought.output_ids).removesuffix(thinking.close))
            if not thought.output_ids or thought.output_ids[-1] not in player.close_ids:
                fork.force((*player.close_ids, *encode("\n\n")[0]), "reasoning", self.seat)
            self.opened = False

    async def _write(self) -> Generation:
        """A free answer."""
        if (answered := self.answered) is not None:
            self.answered = None
            return answered
        stops = self.player.turns.stop_ids if self.player.turns else ()
        return await self._ask(stops, int(self.player.settings["max_tokens"]))

    def _check_whole(self, generation: Generation) -> None:
        """Raises Unreadable for a truncated answer of a server whose thinking marks are unknown: all of it may be
        thinking."""
        cut = generation.finish_reason == "length" and not isinstance(self.fork, TokenDialogue)
        if cut and generation.reasoning is None:
            raise Unreadable("it was cut off at the most tokens that it may have.")

    def _reject(self, generation: Generation, text: str) -> None:
        """Keep an answer that cannot be used, its thinking marked as such."""
        self.rejected.append(text)
        encoder, ids, spans = self.player.encoder, generation.output_ids, []
        if encoder is not None and ids and isinstance(self.fork, TokenDialogue):
            at = len(self.fork.context.ids)
            for part in take_apart(text, self.player.thinking, self.opened):
                if part.kind in ("thinking", UNCLOSED):
                    start, end = _tokens_of(encoder, ids, part)
                    spans.append(Span("reasoning", at + start, at + end, self.seat))
        self.fork.answer(ids, text, "rejected", self.seat)
        if spans:
            self.fork.context.spans += spans

    async def _choose(self) -> int:
        """A choice among the legal options alone."""
        player = self.player
        if player.encoder is None or player.turns is None:
            raise BackendError(
                'choices among token sequences need token ids; set choice = "free"', retryable=False
            )
        end = player.turns.stop_ids or player.encoder.newline
        sequences = {
            (*player.encoder.encode(label)[0], *end): option for label, option in self.asked.options.items()
        }
        closed = self.fork.close_thinking(self.seat)
        generation = await self._ask((), 0, tuple(sequences))
        if closed:
            self.sampling["thinking"] = "closed before the options"
        at = len(self.fork.context.ids)
        self.output_spans = [Span("own_act", at, at + len(generation.output_ids), self.seat)]
        return sequences[tuple(generation.output_ids)]

    async def _ask(
        self, stops: tuple[int, ...], max_tokens: int, choices: tuple[tuple[int, ...], ...] = ()
    ) -> Generation:
        player = self.player
        seed = chance.key(self.observation.seed, "sampling", self.n_asked) >> 33
        self.n_asked += 1
        self.sampling = {**player.settings, "seed": seed, "prompts": player.prompts}
        if choices:
            self.sampling["choices"] = len(choices)
        sampling = Sampling(
            temperature=player.settings["temperature"],
            top_p=player.settings["top_p"],
            max_tokens=max(1, max_tokens),
            seed=seed,
            stop_ids=stops,
            choices=choices,
        )
        prompt: Prompt = self.fork.prompt(sampling, f"{self.observation.game_id}/{self.seat}")
        if isinstance(self.fork, TokenDialogue) and player.backend.capabilities.wants_spans:
            prompt = msgspec.structs.replace(prompt, spans=tuple(self.fork.context.spans))
        self.final = await ask_backend(
            player.backend,
            prompt,
            retries=player.backend_retries,
            key=self.observation.seed,
            first_wait_s=player.first_wait_s,
        )
        self.sampling |= notes_on(self.final)
        return self.final

    def _text(self, generation: Generation) -> str:
        """The answer's words without what ended the turn."""
        encoder, turns = self.player.encoder, self.player.turns
        ids = generation.output_ids
        if encoder is None or turns is None or not ids:
            return generation.text
        return encoder.decode(ids[:-1] if ids[-1] in turns.stop_ids else ids)

    def _reason(self, text: str) -> None:
        if text.strip():
            self.reasoning.append(text)

    def _note(self, generation: Generation, text: str, parts: list[Part]) -> None:
        """Keep what was thought, and where in the answer each part stands."""
        thinking = self.player.thinking
        if generation.reasoning:
            self._reason(generation.reasoning)
        for part in parts:
            if part.kind in ("thinking", UNCLOSED):
                self._reason(part.text.removeprefix(thinking.open).removesuffix(thinking.close).strip())
            elif part.kind in ("private", "beliefs") or (part.kind == "plain" and not self.asked.speaks):
                self._reason(part.text)
        encoder, ids = self.player.encoder, generation.output_ids
        if encoder is None or not ids or not isinstance(self.fork, TokenDialogue):
            return
        kinds = {"say": "own_speech", "choice": "own_act", "thinking": "reasoning", "private": "reasoning",
                 "beliefs": "reasoning", UNCLOSED: "reasoning"}  # fmt: skip
        plain = "own_speech" if self.asked.speaks else "reasoning"
        at, said = len(self.fork.context.ids), last(parts, "say")
        for part in parts:
            kind = kinds.get(part.kind, plain if said is None else "reasoning")
            start, end = _tokens_of(encoder, ids, part)
            if end > start:
                self.output_spans.append(Span(kind, at + start, at + end, self.seat))

    def _keep(self, generation: Generation, text: str) -> None:
        """Make the answer part of the prompt of what is asked next."""
        if isinstance(self.fork, TokenDialogue):
            self.fork.context.spans += self.output_spans
        self.output_spans = []
        self.fork.answer(generation.output_ids, text, "answer", self.seat)

    def trace(self, generation: Generation | None, error: str | None = None) -> Trace:
        """How the decision came about, the last answer as its output."""
        player = self.player
        c = self.fork.context if isinstance(self.fork, TokenDialogue) else Context([])
        ids = generation.output_ids if generation is not None and player.encoder is not None else ()
        text = ""
        if generation is not None:
            text = player.encoder.decode(ids) if ids and player.encoder is not None else generation.text
        sampling = self.sampling | ({"error": error} if error else {})
        if self.withheld:
            sampling = sampling | {"withheld": list(self.withheld)}
        if generation is not None and not ids:
            sampling["token_ids"] = "the server tells none"
        if player.encoder is not None and (unknown := player.encoder.count_unknown(c.delta())):
            sampling["unknown"] = unknown
        spans = list(c.own_spans())
        if ids:
            spans.append(Span("output", len(c.ids), len(c.ids) + len(ids), self.seat))
            spans += self.output_spans
        return Trace(
            model=player.backend.model,
            prompt_ids=c.delta(),
            output_ids=ids,
            output_text=text,
            continues=c.continues,
            spans=tuple(spans),
            logprobs=generation.logprobs if generation is not None else (),
            n_cached=generation.n_cached if generation is not None else 0,
            attempts=len(self.rejected) + len(self.withheld) + 1,
            rejected=tuple(self.rejected),
            reasoning="\n".join(self.reasoning) if self.reasoning and player.thinking.log else None,
            sampling=sampling,
        )


def _within(ids: tuple[int, ...], context: tuple[int, ...]) -> bool:
    return any(context[i : i + len(ids)] == ids for i in range(len(context) - len(ids) + 1))


def _tokens_of(encoder: Encoder, ids: tuple[int, ...], part: Part) -> tuple[int, int]:
    """The tokens, from the first to after the last, that hold any character of a part."""

    def first(enough: Callable[[int], bool]) -> int:
        """The least number of tokens whose decoded length is enough."""
        low, high = 0, len(ids)
        while low < high:
            middle = (low + high) // 2
            low, high = (low, middle) if enough(len(encoder.decode(ids[:middle]))) else (middle + 1, high)
        return low

    return max(0, first(lambda n: n > part.start) - 1), first(lambda n: n >= part.end)
