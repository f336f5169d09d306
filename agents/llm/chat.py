"""An LLM player in `chat` style: instructions, private notes, public words, a choice, in the model's own chat template.

By default the model writes freely first and then chooses among the legal options alone (`choice = "constrained"`), so
that no grammar constrains the text that is probed. With `choice = "free"` it writes its choice in the same answer, and
what cannot be read is asked again with the reason, `retries` times. What is left is the game's fallback by policy.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import msgspec

from agents.backends.base import Backend, BackendError, Sampling
from agents.llm.beliefs import Question
from agents.llm.chat_context import Ask, ChatBuilder
from agents.llm.chat_prompt import Factors, prompts_hash, render, system_text
from agents.llm.chat_reply import Part, Unreadable, chosen, spoken, take_apart
from agents.llm.chat_turn import Turn
from agents.llm.dialogue import MessageDialogue, TokenDialogue
from agents.llm.encoder import Encoder, TokenizerError
from agents.llm.prompts.reading import narrowed
from agents.llm.template import Turns
from agents.llm.thinking import Thinking
from agents.llm.transcript_context import Context
from agents.replies import (
    FORFEITED,
    MALFORMED,
    check_policy,
    has_forfeited,
    silent,
    stand_in,
)
from games import chance, load_game
from games.base import Game, Observation
from games.records import Action, Reply

MAX_SESSIONS = 4096
"""Dialogues kept between decisions; an older one is rebuilt from its records."""
MAX_ANSWER = 100_000
"""Longer answers are not parsed but asked for again."""


class ChatPlayer:
    """Seats an instruction model."""

    multi_step = True
    """A decision's prompt may go on after `context(observation)`: notes first, choice second, or repairs."""

    def __init__(
        self,
        name: str,
        backend: Backend,
        tokenizer: Any | None,
        *,
        temperature: float = 1.0,
        top_p: float = 1.0,
        max_tokens: int = 512,
        retries: int = 2,
        backend_retries: int = 6,
        first_wait_s: float = 0.5,
        choice: Literal["free", "constrained"] = "constrained",
        fallback: str = "abstain",
        factors: Factors | dict[str, Any] | None = None,
        thinking: Thinking | dict[str, Any] | None = None,
        template: dict[str, Any] | None = None,
        clock: str | None = None,
    ) -> None:
        """tokenizer: None for a server that takes messages; then choices are free and no token ids are logged.

        template: variables of the model's chat template, e.g. `{"enable_thinking": False}`. clock: the time that it is
        told, ISO 8601 (None: now).
        Raises ValueError for settings that make no sense, TokenizerError for a tokenizer without a usable template.
        """
        if choice not in ("free", "constrained"):
            raise ValueError(f"choice = {choice!r} is not known; there are: free, constrained")
        self.name, self.backend = name, backend
        self.settings = {"temperature": temperature, "top_p": top_p, "max_tokens": max_tokens}
        self.retries, self.backend_retries, self.first_wait_s = retries, backend_retries, first_wait_s
        self.fallback = check_policy(fallback)
        self.factors = msgspec.convert(factors or Factors(), Factors, from_attributes=True)
        if self.factors.prefill and tokenizer is None:
            raise ValueError("factors.prefill needs prompts of token ids, and this server takes messages")
        self.thinking = msgspec.convert(thinking or Thinking(), Thinking, from_attributes=True)
        self.encoder = None if tokenizer is None else Encoder(tokenizer)
        self.turns = None if self.encoder is None else Turns(self.encoder, template, clock)
        self.constrained = choice == "constrained" and self.encoder is not None
        self.repairs = False
        self.close_ids = self._think_ids()
        self.prompts = prompts_hash(self.factors.version)
        """Version and hash of the templates."""
        self._sessions: OrderedDict[tuple[str, int], ChatBuilder] = OrderedDict()

    def _think_ids(self) -> tuple[int, ...]:
        wanted = self.thinking.budget is not None or self.thinking.given is not None
        if self.encoder is None:
            if wanted:
                raise ValueError("thinking can be cut off or given only where prompts are token ids")
            return ()
        ids = self.encoder.template(self.thinking.close)
        if self.thinking.budget is not None and len(ids) != 1:
            raise TokenizerError(
                f"thinking.budget needs {self.thinking.close!r} as one token; this tokenizer has {len(ids)} for it: "
                "name the model's own marker as thinking.close"
            )
        return ids

    @property
    def opened(self) -> bool:
        """Whether prompts end inside a block of thinking."""
        return self.thinking.opened if self.turns is None else bool(self.turns.markers.opener)

    @property
    def notes(self) -> bool:
        """Whether an answer begins with private notes, so that a constrained choice is asked in a call of its own."""
        return self.factors.scratchpad or self.factors.beliefs

    @property
    def prefill(self) -> bool:
        """Whether `SAY:` is written for the model: not where notes or thinking come first."""
        plain = self.turns is not None and not self.turns.closer and not self.opened
        return self.factors.prefill and plain and not self.notes

    # Contexts

    def builder(self, observation: Observation) -> ChatBuilder:
        """What is kept of the observation's seat between its decisions."""
        seat = observation.request.seat
        key = (observation.game_id, seat)
        builder = self._sessions.pop(key, None)
        if builder is None or builder.n_records > len(observation.records):
            game = load_game(observation.game)
            words = game.text.words_of(observation.config, observation.records)
            system = system_text(game, observation.config, words, seat, self.factors, not self.constrained)
            builder = ChatBuilder(
                MessageDialogue(system)
                if self.encoder is None or self.turns is None
                else TokenDialogue(self.encoder, self.turns, system, words.names),
                game,
                observation.config,
                seat,
                words,
                factors=self.factors,
                choose=not self.constrained,
                stage=self.stage,
                read=lambda asked, answer, words: self.read_answer(game, asked, answer, words)[0],
                thinking=self.thinking,
            )
        self._sessions[key] = builder
        if len(self._sessions) > MAX_SESSIONS:
            self._sessions.popitem(last=False)
        return builder

    def context(self, observation: Observation) -> Context:
        """The prompt of an observation's first question. Empty where prompts are messages."""
        fork, _ = self.builder(observation).prompt(observation.records, observation.request)
        return fork.context if isinstance(fork, TokenDialogue) else Context([])

    def legal_answers(self, observation: Observation) -> tuple[tuple[int, ...], ...]:
        """Token ids of every legal answer to a request's first question, in the order of its options.

        Empty where that question is not a bare choice: where notes or words come first, or prompts are messages.
        """
        asked = self.builder(observation).ask(observation.request)
        return self.choice_answers(observation) if self.stage(asked) == "choice" else ()

    def choice_answers(self, observation: Observation) -> tuple[tuple[int, ...], ...]:
        """As `legal_answers`, of the bare question for a choice, whether or not notes or words come before it.

        Empty where choices are written in free words, or prompts are messages.
        """
        asked = self.builder(observation).ask(observation.request)
        if not self.constrained or self.encoder is None or self.turns is None:
            return ()
        end = self.turns.stop_ids or self.encoder.newline
        answers = {option: (*self.encoder.encode(label)[0], *end) for label, option in asked.options.items()}
        return tuple(answers[option] for option in observation.request.options)

    def stage(self, asked: Ask) -> str:
        """Of a request's first question. A bare choice without notes is asked for at once where it is constrained."""
        return "choice" if self.constrained and not asked.speaks and not self.notes else "free"

    def belief_questions(
        self, observation: Observation, chain: Sequence[int], roles: Mapping[str, str], orders: int, key: int
    ) -> list[Question]:
        """A question with the roles as options, once for each of some orders of them."""
        builder = self.builder(observation)
        line = builder.text.belief(chain, builder.words)
        in_words = self.encoder is None or self.turns is None
        found = []
        for k in range(1 if in_words else max(1, orders)):
            options = chance.shuffled(list(roles.values()), chance.key(key, "order", k // 2))
            shown = options[::-1] if k % 2 else options  # each order and its reverse
            text = render(
                *("belief", self.factors.version),
                question=f'Complete the line "{line} ...".',
                options=shown,
                words=in_words,
            )
            fork = builder.fork(observation.records, text.strip())
            session = f"{observation.game_id}/{observation.request.seat}"
            sampling = Sampling(temperature=0.0, max_tokens=int(self.settings["max_tokens"]))
            choices: tuple[tuple[int, ...], ...] = ()
            if self.encoder is not None and self.turns is not None:
                end = self.turns.stop_ids or self.encoder.newline
                choices = self.encoder.choices(tuple(roles.values()), end)
                fork.close_thinking()
            spans = () if in_words else tuple(fork.context.spans)
            closed = self.turns is not None and bool(self.turns.closer)
            found.append(Question(fork.prompt(sampling, session), choices, spans, closed, self.opened))
        return found

    # Decisions

    async def act(self, observation: Observation) -> Reply:
        """Answer the request; a model or a backend that fails is a recorded fallback."""
        game = load_game(observation.game)
        if self.fallback == "forfeit" and has_forfeited(observation):
            return Reply(stand_in(game, "forfeit", observation), fallback=FORFEITED)
        builder = self.builder(observation)
        fork, asked = builder.prompt(observation.records, observation.request)
        turn = Turn(self, observation, builder, fork, asked, game)
        try:
            action = await turn.play()
        except BackendError as error:
            trace = turn.trace(None, error=str(error))
            return Reply(stand_in(game, self.fallback, observation), fallback=error.kind, trace=trace)
        if action is None:
            return Reply(
                stand_in(game, self.fallback, observation), fallback=MALFORMED, trace=turn.trace(turn.final)
            )
        return Reply(action, trace=turn.trace(turn.final))

    def read_answer(
        self, game: Game, asked: Ask, answer: str, words: Any, opened: bool | None = None
    ) -> tuple[Action, list[Part]]:
        """An answer's action and parts. Where the choice comes second, `option` is None. Raises Unreadable.

        opened: the prompt ends inside a block of thinking; None: as the template has it.
        """
        if len(answer) > MAX_ANSWER:
            raise Unreadable(f"it has {len(answer)} characters.")
        parts = take_apart(answer, self.thinking, self.opened if opened is None else opened)
        headed = self.factors.scratchpad or self.factors.beliefs
        option: int | None = None
        if asked.options and not self.constrained:
            option = chosen(parts, asked.options, headed or asked.speaks)[1]
            if asked.speaks and silent(game.text, asked.request, option, words):
                return Action(option=option), parts
        if not asked.speaks:
            return Action(option=option), parts
        part = spoken(parts, not self.prefill and (headed or (bool(asked.options) and not self.constrained)))
        if self.factors.version == "short":
            shorter = narrowed(part, words.names)
            parts, part = [shorter if one is part else one for one in parts], shorter
        acts = game.text.read_acts(part.text, words)
        return Action(option=option, text=part.text, acts=acts), parts


__all__ = ["ChatPlayer", "Thinking"]
