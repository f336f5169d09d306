"""What a chat player has read and answered in one game, rebuilt from records alone and only ever extended."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from agents.llm.chat_prompt import Factors, question_text, render
from agents.llm.chat_reply import Unreadable, without_notes
from agents.llm.dialogue import MessageDialogue, TokenDialogue, Words, without_thinking
from agents.llm.prompts.digest import digest
from agents.llm.thinking import Thinking
from agents.replies import labels, speaks
from games.base import Game
from games.records import Action, Decision, Record, Request

NOTED = "Your answer could not be used. Noted instead: "


class Ask(msgspec.Struct, frozen=True):
    """A request as a chat player is asked it."""

    request: Request
    options: dict[str, int]
    """Word -> option, in the order shown."""
    speaks: bool


class ChatBuilder:
    """The dialogue of one seat of one game."""

    def __init__(
        self,
        fresh: TokenDialogue | MessageDialogue,
        game: Game,
        config: Any,
        seat: int,
        words: Any,
        *,
        factors: Factors,
        choose: bool,
        stage: Callable[[Ask], str],
        read: Callable[[Ask, str, Any], Action],
        thinking: Thinking,
    ) -> None:
        """fresh: a dialogue without turns. choose: whether the first answer holds the choice. stage: of a request's
        first question. read: an answer to its action, raises Unreadable (to repeat what a seat was told)."""
        self.dialogue = fresh
        self.game, self.text = game, game.text
        self.config, self.seat, self.words = config, seat, words
        self.factors, self.choose, self.stage, self.read_answer = factors, choose, stage, read
        self.thinking = thinking
        self.hide_reasoning = thinking.history == "hide"
        self.n_records = 0
        self.past: Sequence[Record] = ()
        """The records before the one that is read, or all of them; kept where a digest is made of them."""
        self.pending: list[Words] = []
        """What has happened since the last answer."""

    def read(self, records: Sequence[Record]) -> None:
        """Take in the records that the seat may see; earlier ones are not read again."""
        for number, record in enumerate(records[self.n_records :], self.n_records):
            if self.factors.digest and isinstance(record, Decision):
                self.past = records[:number]
            if isinstance(record, Decision):
                self._own(record)
                continue
            line = self.text.line(record, self.seat, self.config, self.words)
            if line is not None:
                kind = "role_line" if record.kind == "role" else record.kind
                self.pending.append(Words(line + "\n", kind, record.actor))
        self.n_records, self.past = len(records), records

    def ask(self, request: Request) -> Ask:
        """The request in words."""
        return Ask(request, labels(self.text, request, self.words), speaks(self.text, request, self.words))

    def question(self, asked: Ask, stage: str | None = None) -> str:
        """The question that is put; a request's first has the digest of the table before it, where there is one."""
        shown = self.factors.digest and stage is None
        return question_text(
            self.game,
            asked.request,
            self.words,
            factors=self.factors,
            options=tuple(asked.options),
            speaks=asked.speaks,
            stage=stage or self.stage(asked),
            choose=self.choose,
            digest=digest(self.game, self.config, self.words, self.seat, self.past) if shown else "",
        )

    def prompt(self, records: Sequence[Record], request: Request) -> tuple[Any, Ask]:
        """A fork of the dialogue with the request's first question put, and the request in words."""
        self.read(records)
        asked = self.ask(request)
        fork = self.dialogue.copy()
        fork.user([*self.pending, Words(_gap(self.pending) + self.question(asked), "question", self.seat)])
        return fork, asked

    def fork(self, records: Sequence[Record], question: str) -> Any:
        """A fork of the dialogue in which something else is asked, which never enters the game."""
        self.read(records)
        fork = self.dialogue.copy()
        fork.user([*self.pending, Words(_gap(self.pending) + question, "question", self.seat)])
        return fork

    def repair(self, asked: Ask, reason: str) -> list[Words]:
        """What is said about an answer that could not be used."""
        text = render(
            "repair",
            self.factors.version,
            reason=reason,
            speaks=asked.speaks,
            options=tuple(asked.options) if self.choose else (),
        )
        return [Words(text.strip(), "repair", self.seat)]

    def _own(self, record: Decision) -> None:
        trace = record.trace
        request = Request(record.seat, record.kind, record.options, day=record.day, phase=record.phase)
        if trace is None:
            line = self.text.own_line(record, self.words)
            self.pending.append(Words(line + "\n", "recorded", self.seat))
            return
        asked = self.ask(request)
        base = self.dialogue
        fork = base.copy()
        fork.user([*self.pending, Words(_gap(self.pending) + self.question(asked), "question", self.seat)])
        if isinstance(fork, TokenDialogue) and isinstance(base, TokenDialogue):
            self._own_tokens(base, fork, record)
        else:
            for rejected in trace.rejected:
                fork.answer((), self._kept(rejected), "rejected", self.seat)
                try:
                    self.read_answer(asked, rejected, self.words)
                    reason = ""
                except Unreadable as error:
                    reason = str(error)
                fork.user(self.repair(asked, reason))
            fork.answer((), self._kept(trace.output_text), "output", self.seat)
        self.dialogue, self.pending = fork, []
        if record.fallback is not None:
            line = self.text.own_line(record, self.words)
            self.pending.append(Words(f"{NOTED}{line}\n", "recorded", self.seat))

    def _kept(self, answer: str) -> str:
        """An answer as later messages hold it."""
        return without_notes(answer, self.thinking) if self.hide_reasoning else answer

    def _own_tokens(self, base: TokenDialogue, fork: TokenDialogue, record: Decision) -> None:
        """Put a decision's tokens into `fork`, which holds its first question."""
        trace, c = record.trace, fork.context
        if trace is None:
            return
        before = base.context.ids[: base.context.own] if trace.continues is not None else []
        logged = [*before, *trace.prompt_ids]
        first = len(c.ids)
        if (
            logged[:first] == c.ids
        ):  # otherwise the past was changed since: what followed the question is lost
            c.ids += logged[first:]
            c.spans += [s for s in trace.spans if s.start >= first]
            if fork.encoder.fits(trace.output_ids, trace.output_text):
                c.ids += trace.output_ids
                fork.last = tuple(trace.output_ids)
                c.own, c.continues = len(c.ids), record.seq
            else:
                c.own, c.continues = len(c.ids), record.seq
                fork.answer((), trace.output_text, "output", self.seat)
        else:
            fork.answer((), trace.output_text, "output", self.seat)
        if self.hide_reasoning:
            fork.context = without_thinking(fork, first)
            fork.context.own, fork.context.continues = 0, None


def _gap(pending: Sequence[Words]) -> str:
    return "\n" if pending else ""
