"""An LLM player in `transcript` style: reads the bare log, completes its own next line."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import msgspec

from agents.backends.base import WITHHELD, Backend, BackendError, Generation, Prompt, Sampling
from agents.backends.provenance import notes_on
from agents.backends.retry import ask
from agents.llm.beliefs import Question, living_others
from agents.llm.encoder import Encoder, control_ids
from agents.llm.transcript_context import NEWLINE, Builder, Context
from agents.llm.transcript_context import ask as question_of
from agents.llm.written.line import Line, opening, written
from agents.llm.written.private import Private, check_private
from agents.replies import FORFEITED, MALFORMED, check_policy, has_forfeited, stand_in
from games import chance, load_game
from games.base import Game, GameError, Observation
from games.records import Action, Reply, Request, Span, Trace

MAX_SESSIONS = 4096
"""Contexts kept between decisions; an older one is rebuilt from its records."""

Choice = Literal["free", "repair", "constrained"]
CHOICES: tuple[Choice, ...] = ("free", "repair", "constrained")


class TranscriptPlayer:
    """Seats a model that completes the game's log: base models and the small model.

    A reply that cannot be read is asked for again, `retries` times, each with its own seed. Then, where there is
    something to choose, `choice = "repair"` lets the model choose among the legal answers alone, token by token
    (`"constrained"` does so at once, `"free"` never). What is left is the game's legal fallback, by the policy
    `fallback`, and the decision says so.

    Where `thinks` says so, it first writes a private line (`agents.llm.written.line`). The decision is asked for after
    it; later prompts do not contain it, so each decision logs its full prompt.
    """

    multi_step = False
    notes = False

    def __init__(
        self,
        name: str,
        backend: Backend,
        tokenizer: Any,
        *,
        temperature: float = 1.0,
        top_p: float = 1.0,
        max_tokens: int = 64,
        retries: int = 2,
        backend_retries: int = 6,
        first_wait_s: float = 0.5,
        choice: Choice = "free",
        fallback: str = "abstain",
        thinks: Private | dict[str, Any] | None = None,
    ) -> None:
        """Raises ValueError for an unknown choice, policy or kind of thinking, TokenizerError for a tokenizer that
        cannot be used."""
        if choice not in CHOICES:
            raise ValueError(f"choice = {choice!r} is not known; there are: {', '.join(CHOICES)}")
        self.name = name
        self.backend = backend
        self.encoder = Encoder(tokenizer)
        self.settings = {"temperature": temperature, "top_p": top_p, "max_tokens": max_tokens}
        self.retries, self.backend_retries, self.first_wait_s = retries, backend_retries, first_wait_s
        self.choice, self.fallback = choice, check_policy(fallback)
        private = msgspec.convert(thinks or Private(), Private, from_attributes=True)
        self.thinks = check_private(private, tokenizer.get_vocab().keys()) if thinks else private
        self.multi_step = self.thinks.writes
        """Whether a decision is asked for in more than one step: then `context` is the prompt of the first."""
        self.constrained, self.repairs = choice == "constrained", choice == "repair"
        self.stop_ids = newline_ids(tokenizer)
        self.ends = tuple(str(tokenizer.convert_ids_to_tokens(i)) for i in sorted(self.encoder.control))
        self._sessions: OrderedDict[tuple[str, int], Builder] = OrderedDict()

    def builder(self, observation: Observation) -> Builder:
        """The builder of the observation's seat, kept between its decisions."""
        seat = observation.request.seat
        key = (observation.game_id, seat)
        builder = self._sessions.pop(key, None)
        if builder is None or builder.n_records > len(observation.records):
            builder = Builder(self.encoder, load_game(observation.game).text, observation.config, seat)
        self._sessions[key] = builder
        if len(self._sessions) > MAX_SESSIONS:
            self._sessions.popitem(last=False)
        return builder

    def context(self, observation: Observation) -> Context:
        """The prompt of the first thing that the seat is asked; its earlier lines are not encoded again."""
        builder, private = self.builder(observation), self.thinks
        if private.kind == "none":
            return builder.prompt(observation.records, observation.request)
        whole = builder.read(observation.records).copy()
        whole.own, whole.continues = 0, None
        names = builder.words.names
        others = chance.shuffled(
            living_others(observation), chance.key(observation.seed, "order of a thought")
        )
        start = opening(names[observation.request.seat], private.kind, [names[i] for i in others])
        builder.write(whole, start, "question", observation.request.seat)
        if private.writes:
            return whole
        builder.write(
            whole,
            written("filler", Line(), private.n_filler) + NEWLINE,
            "reasoning",
            observation.request.seat,
        )
        return self.asked(whole, observation)

    def belief_questions(
        self, observation: Observation, chain: Sequence[int], roles: Mapping[str, str], orders: int, key: int
    ) -> list[Question]:
        """`Ada believes Ben`, to be completed by a role word; there is only one wording."""
        builder = self.builder(observation)
        builder.read(observation.records)
        fork = builder.fork(observation.records, builder.text.belief(chain, builder.words))
        answers = [self.encoder.encode(f" {word}.")[0] for word in roles.values()]
        first = {answer[:1] for answer in answers}
        single = len(first) == len(answers) and all(
            self.encoder.encode(f" {word}")[0] == answer[:1]
            for word, answer in zip(roles.values(), answers, strict=True)
        )
        choices = tuple(answer[:1] for answer in answers) if single else tuple(answers)
        session = f"{observation.game_id}/{observation.request.seat}"
        prompt = Prompt(ids=tuple(fork.ids), sampling=Sampling(), session=session)
        return [Question(prompt, choices, tuple(fork.spans))]

    def asked(self, context: Context, observation: Observation) -> Context:
        """The context followed by the request."""
        builder, request = self.builder(observation), observation.request
        builder.read(observation.records)
        builder.write(context, question_of(builder.text, request, builder.words), "question", request.seat)
        return context

    def legal_answers(self, observation: Observation) -> tuple[tuple[int, ...], ...]:
        """Token ids of every legal answer to the first question of a request, what ends it included, in the order of
        its options.

        Empty where that question is no choice: where the reply is words, or a private line comes first.
        """
        return () if self.multi_step else self.choice_answers(observation)

    def choice_answers(self, observation: Observation) -> tuple[tuple[int, ...], ...]:
        """As `legal_answers`, whether or not a private line comes first."""
        game = load_game(observation.game)
        words = game.text.words_of(observation.config, observation.records)
        return self._legal(game, observation.request, words)

    async def act(self, observation: Observation) -> Reply:
        """Generate a line and read it; a model or a backend that fails is a recorded fallback."""
        game = load_game(observation.game)
        if self.fallback == "forfeit" and has_forfeited(observation):
            return Reply(stand_in(game, "forfeit", observation), fallback=FORFEITED)
        request = observation.request
        context = self.context(observation)
        try:
            thought = await self._think(context, observation) if self.thinks.writes else None
        except BackendError as error:
            failed = self._trace(context, None, 0, [], {**self.settings, "error": str(error)})
            return Reply(stand_in(game, self.fallback, observation), fallback=error.kind, trace=failed)
        words = game.text.words_of(observation.config, observation.records)
        legal = () if self.choice == "free" else self._legal(game, request, words)
        plan = ["free"] * (self.retries + 1)
        if legal:
            plan = ["constrained"] if self.choice == "constrained" else [*plan, "constrained"]
        rejected: list[str] = []
        withheld: list[str] = []
        trace: Trace | None = None
        unknown = self.encoder.count_unknown(context.delta())
        noted = {"unknown": unknown} if unknown else {}
        noted |= {} if thought is None else {"thought_seed": self._thought_seed(observation)}
        for attempt, how in enumerate(plan):
            seed = chance.key(observation.seed, "sampling", attempt) >> 33
            sampling = self._sampling(
                seed, int(self.settings["max_tokens"]), legal if how == "constrained" else ()
            )
            settings = {**self.settings, "seed": seed, **noted}
            settings |= {"choices": len(legal)} if sampling.choices else {}
            if sampling.choices and self.choice != "constrained":
                settings["forced"] = True  # its own answers could not be used
            try:
                generation = await self._generate(context, observation, sampling)
            except BackendError as error:
                if error.kind in WITHHELD and attempt + 1 < len(plan):
                    withheld.append(str(error))
                    continue
                trace = self._trace(context, None, attempt, rejected, settings | {"error": str(error)})
                return Reply(stand_in(game, self.fallback, observation), fallback=error.kind, trace=trace)
            settings = settings | notes_on(generation) | ({"withheld": withheld} if withheld else {})
            trace = self._trace(context, generation, attempt, rejected, settings)
            try:
                action = game.text.parse(request, self._line(trace.output_text), words)
            except GameError:
                rejected.append(trace.output_text)
                continue
            return Reply(action, trace=_with_output_spans(trace, context, action, request.seat))
        return Reply(stand_in(game, self.fallback, observation), fallback=MALFORMED, trace=trace)

    def _sampling(self, seed: int, max_tokens: int, choices: tuple[tuple[int, ...], ...] = ()) -> Sampling:
        return Sampling(
            temperature=self.settings["temperature"],
            top_p=self.settings["top_p"],
            max_tokens=max_tokens,
            seed=seed,
            stop_ids=self.stop_ids,
            choices=choices,
        )

    async def _generate(self, context: Context, observation: Observation, sampling: Sampling) -> Generation:
        session = f"{observation.game_id}/{observation.request.seat}"
        spans = tuple(context.spans) if self.backend.capabilities.wants_spans else ()
        return await ask(
            self.backend,
            Prompt(ids=tuple(context.ids), sampling=sampling, session=session, spans=spans),
            retries=self.backend_retries,
            key=observation.seed,
            first_wait_s=self.first_wait_s,
        )

    def _thought_seed(self, observation: Observation) -> int:
        return chance.key(observation.seed, "thought") >> 33

    async def _think(self, context: Context, observation: Observation) -> Generation:
        """Let the model write its private line, and put it and the request behind the context. Raises BackendError."""
        sampling = self._sampling(self._thought_seed(observation), self.thinks.budget)
        thought = await self._generate(context, observation, sampling)
        seat, ids = observation.request.seat, thought.output_ids
        context.write(ids or self.encoder.encode(thought.text)[0], "reasoning", seat)
        if not self.encoder.decode(context.ids[-1:]).endswith(NEWLINE):
            context.write(self.encoder.newline, "reasoning", seat)
        self.asked(context, observation)
        return thought

    def _reasoning(self, context: Context) -> str | None:
        """The private line before the request, as logged."""
        if self.thinks.kind == "none" or not self.thinks.log:
            return None
        spans = [s for s in context.spans if s.kind == "reasoning"]
        return self.encoder.decode(context.ids[spans[0].start : spans[-1].end]).strip() if spans else None

    def _legal(self, game: Game, request: Request, words: Any) -> tuple[tuple[int, ...], ...]:
        """The legal answers as token sequences, in the order shown; none where the reply is words."""
        if request.speaks or not request.options:
            return ()
        answers = [game.text.answer(request, Action(option=o), words) + NEWLINE for o in request.options]
        return tuple(self.encoder.encode(answer)[0] for answer in answers)

    def _line(self, output: str) -> str:
        """The output up to the token that ended it."""
        line = output.partition(NEWLINE)[0]
        ended = next((end for end in self.ends if line.endswith(end)), "")
        return line.removesuffix(ended)

    def _trace(
        self,
        context: Context,
        generation: Generation | None,
        attempt: int,
        rejected: list[str],
        sampling: dict[str, Any],
    ) -> Trace:
        ids = generation.output_ids if generation else ()
        text = ""
        if generation is not None:
            text = self.encoder.decode(ids) if ids else generation.text
            if not ids:
                sampling = sampling | {"token_ids": "the server tells none"}
        spans = context.own_spans()
        if ids:
            spans += (Span("output", len(context.ids), len(context.ids) + len(ids)),)
        return Trace(
            model=self.backend.model,
            prompt_ids=context.delta(),
            output_ids=ids,
            output_text=text,
            continues=context.continues,
            spans=spans,
            logprobs=generation.logprobs if generation else (),
            n_cached=generation.n_cached if generation else 0,
            attempts=attempt + 1,
            rejected=tuple(rejected),
            reasoning=self._reasoning(context) or (generation.reasoning if generation else None),
            sampling=sampling,
        )


def _with_output_spans(trace: Trace, context: Context, action: Action, seat: int) -> Trace:
    """The trace with its output named as what it was read as: own speech or own act."""
    from msgspec.structs import replace

    if not trace.output_ids:
        return trace
    kind = "own_speech" if action.text else "own_act"
    start = len(context.ids)
    return replace(trace, spans=(*trace.spans, Span(kind, start, start + len(trace.output_ids), seat)))


def newline_ids(tokenizer: Any) -> tuple[int, ...]:
    """Ids of all tokens whose text contains a line break: any of them ends a line."""
    control = control_ids(tokenizer)
    texts = tokenizer.batch_decode([[i] for i in range(len(tokenizer))])
    return tuple(i for i, text in enumerate(texts) if "\n" in text and i not in control)
