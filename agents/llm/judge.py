"""Asks a model, for each speech of a finished game, whether its speaker states something that it knows to be false.

The judge is none of the players. It reads what every seat could read by then and no more: the rules, the public events
in their order up to the speech itself, no decision, no private event, nothing that came later. Where the backend tells
log-probabilities, its answer is the model's own distribution over `yes` and `no`, averaged over orders of the two; a
server that tells only words is asked for percentages.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Collection, Iterator, Sequence
from hashlib import blake2b
from typing import Any, Literal

import msgspec

from agents.backends.base import Backend, BackendError, Prompt, Sampling
from agents.backends.retry import Patient
from agents.llm.beliefs import FAILED, STATED, WORDS, Question, distributions
from agents.llm.chat_prompt import FOLDER, render
from agents.llm.dialogue import Dialogue, MessageDialogue, TokenDialogue, Words
from agents.llm.encoder import Encoder, TokenizerError
from agents.llm.template import Turns
from games.base import Game
from games.records import Decision, Event, Record

VERSION = "judge-1"
"""Changes with the code around the templates; the templates themselves are in the hash."""
OPTIONS = {"yes": "yes", "no": "no"}
BLANK = "\n"
"""Separates the log from the question."""
ANSWER = "\nAnswer:"
"""Ends the prompt of a model without a chat template."""

Style = Literal["chat", "transcript"]


class Judgement(msgspec.Struct, frozen=True):
    """The judgement of one speech."""

    seq: int
    """seq of the decision that spoke."""
    p_lie: float | None
    """Probability that it states something that its speaker knows to be false; None without a usable answer."""
    source: str
    """`stated`, `stated_words` or `failed`, as for beliefs."""
    error: str = ""
    """The error of a backend that cannot answer this question."""


def public_until(records: Sequence[Record]) -> Iterator[tuple[int, list[Event]]]:
    """(seq of the decision, the public events up to the one that spoke its words) of every speech, in order."""
    spoken: dict[int, deque[int]] = {}
    events: list[Event] = []
    for record in records:
        if isinstance(record, Decision):
            if record.kind == "speech" and record.action.text:
                spoken.setdefault(record.seat, deque()).append(record.seq)
        elif record.audience is None:
            events.append(record)
            if record.kind == "speech" and record.actor is not None and spoken.get(record.actor):
                yield spoken[record.actor].popleft(), list(events)


class Judge:
    """A model that is asked. Its prompts are functions of the public log."""

    def __init__(
        self,
        backend: Backend,
        tokenizer: Any | None,
        *,
        prompt: Style = "chat",
        orders: int = 2,
        max_tokens: int = 256,
        template: dict[str, Any] | None = None,
        clock: str | None = None,
        retries: int = 6,
    ) -> None:
        """tokenizer: None for a server that takes messages. prompt: the model's own chat template, or for a model
        without one the same words as plain text. orders: 1 shows `yes, no`, 2 also the reverse. max_tokens: of an
        answer in words. template: variables of the chat template. clock: the time that it is told (`Turns`).

        Raises ValueError for a style that needs a tokenizer, TokenizerError for a tokenizer that cannot be used.
        """
        if tokenizer is None and prompt != "chat":
            raise ValueError('api = "chat" takes messages, which only prompt = "chat" makes')
        self.backend = Patient(backend, retries, "judge")
        self.encoder = None if tokenizer is None else Encoder(tokenizer)
        self.turns = (
            Turns(self.encoder, template, clock) if self.encoder is not None and prompt == "chat" else None
        )
        self.n_orders = 1 if self.encoder is None else orders
        self.sampling = Sampling(temperature=0.0, max_tokens=max_tokens)
        if self.encoder is not None:
            self._check_words(self.encoder, backend.model)

    def _check_words(self, encoder: Encoder, model: str) -> None:
        ids = encoder.encode(self._question("", tuple(OPTIONS)))[0]
        unknown = sum(1 for i in ids if i == encoder.tokenizer.unk_token_id)
        if unknown:
            raise TokenizerError(
                f"the tokenizer of {model} does not know {unknown} of the {len(ids)} tokens of the question, so its "
                "answer would be to something else; a judge needs a model with a general vocabulary"
            )

    def questions(
        self,
        game: Game,
        config: Any,
        records: Sequence[Record],
        game_id: str,
        only: Collection[int] | None = None,
    ) -> dict[int, list[Question]]:
        """By seq of the speech, the question in each order of the options. only: these speeches; None: all."""
        words = game.text.words_of(config, records)
        system = render("judge/system", names=words.names, rules=game.rules_text(config).strip()).strip()
        found = {}
        for seq, events in public_until(records):
            if only is not None and seq not in only:
                continue
            log = [
                Words(line + "\n", event.kind, event.actor)
                for event in events
                if (line := game.text.line(event, None, config, words)) is not None
            ]
            speaker = words.names[events[-1].actor or 0]
            shown = [tuple(OPTIONS), tuple(OPTIONS)[::-1]][: self.n_orders]
            found[seq] = [
                self._asked(system, words.names, log, self._question(speaker, options), f"{game_id}/judge")
                for options in shown
            ]
        return found

    async def judge(
        self,
        game: Game,
        config: Any,
        records: Sequence[Record],
        game_id: str,
        only: Collection[int] | None = None,
    ) -> list[Judgement]:
        """The model's judgement of each speech; without a usable answer (too long, or unreadable) it is `failed`.

        Raises BackendError where the backend still fails after all retries, EngineLost where it is gone.
        """
        asked = self.questions(game, config, records, game_id, only)
        return list(await asyncio.gather(*(self._answer(seq, some) for seq, some in asked.items())))

    async def _answer(self, seq: int, questions: Sequence[Question]) -> Judgement:
        try:
            answers = await distributions(self.backend, questions, OPTIONS)
        except BackendError as error:
            if error.retryable:
                raise
            return Judgement(seq, None, FAILED, str(error))
        told = [a.probabilities["yes"] for a in answers if a.probabilities]
        if not told:
            return Judgement(seq, None, FAILED, f"the answer cannot be read: {answers[0].note}")
        return Judgement(seq, sum(told) / len(told), STATED if questions[0].choices else WORDS)

    def _question(self, name: str, options: tuple[str, ...]) -> str:
        return render("judge/question", name=name, options=options, words=self.encoder is None).strip()

    def _asked(
        self, system: str, names: Sequence[str], log: Sequence[Words], question: str, session: str
    ) -> Question:
        if self.encoder is not None and self.turns is None:
            text = "".join((system, "\n\n", *(part.text for part in log), BLANK, question, ANSWER))
            ids = (*self.encoder.bos, *self.encoder.encode(text)[0])
            choices = self.encoder.choices([f" {option}" for option in OPTIONS], self.encoder.newline)
            return Question(Prompt(ids=ids, sampling=self.sampling, session=session), choices)
        fork: Dialogue
        choices = ()
        if self.encoder is None or self.turns is None:
            fork = MessageDialogue(system)
        else:
            fork = TokenDialogue(self.encoder, self.turns, system, names)
            choices = self.encoder.choices(tuple(OPTIONS), self.turns.stop_ids or self.encoder.newline)
        fork.user([*log, Words(BLANK + question, "question")])
        closed = isinstance(fork, TokenDialogue) and fork.close_thinking()
        return Question(fork.prompt(self.sampling, session), choices, closed=closed)


def question_hash(prompt: str, orders: int, template: dict[str, Any]) -> str:
    """`judge-1@hash`: the version, and a hash over the templates and how they are put."""
    digest = blake2b(msgspec.json.encode([prompt, orders, sorted(template.items())]), digest_size=6)
    for path in sorted((FOLDER / "judge").glob("*.jinja")):
        digest.update(f"{path.name}\0".encode() + path.read_bytes() + b"\0")
    return f"{VERSION}@{digest.hexdigest()}"
