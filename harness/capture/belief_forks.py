"""Belief questions as contexts to capture: a seat is asked about another seat, and its activations are read.

The question is appended on a fork of the decision's context that never entered the game; it is the question of
`[beliefs]` in its first wording. It needs no answer, as the site precedes one. To score the model's answers, callers
append the true answer.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Any

from agents.llm.beliefs import Believer, Question, chains, gone, questions, role_words
from agents.llm.transcript_context import mentions
from games.play import observe
from games.records import Decision, Record
from harness.activations.format import BELIEF_MENTION
from harness.activations.items import CaptureItem
from harness.activations.sites import DecisionContext
from harness.capture.contexts import Players, asked
from harness.run.folder import Run
from harness.schedule.branched import schedule_of

Variant = tuple[str, Callable[[DecisionContext], DecisionContext | None] | None]
"""A variant's name and the function that derives it from a context; None derives nothing."""
PLAIN: tuple[Variant, ...] = (("original", None),)


class BeliefForks:
    """The questions of a run's games about beliefs."""

    def __init__(self, run: Run) -> None:
        self._run, self._schedule = run, schedule_of(run.manifest)
        self._players = Players(self._schedule.configs)

    def items(
        self, game_id: str, records: Sequence[Record], model: str | None, variants: Sequence[Variant] = PLAIN,
        answered: bool = False,
    ) -> Iterator[CaptureItem]:  # fmt: skip
        """One item for each other living seat, at each decision before which `[beliefs]` asks, by the model
        `name@hash` or any, and for each variant of the question's context.

        answered: append the tokens of the true answer to the question; a question with no permitted answer is left
        out.
        """
        game, config, seed = self._run.game(game_id)
        facts = game.seats(config, records) if answered else ()
        cell = self._run.manifest.cells.index(self._run.cell(game_id))
        kinds = self._schedule.configs[cell].beliefs.before
        wanted = _asked_before(records, model, kinds)
        if not wanted:
            return
        for request, decision, before in asked(game, config, seed, records):
            player = self._players.get(cell, decision.agent) if decision.seq in wanted else None
            if isinstance(player, Believer):
                observation = observe(game, game_id, config, seed, before, request)
                about, roles = chains(observation, second_order=False), role_words(observation)
                put = questions(player, observation, about, roles, orders=1)
                for (_, subject), (question,) in zip(about, put, strict=True):
                    answer: tuple[int, ...] = ()
                    if answered:
                        keys, true = list(roles), facts[subject].role
                        if true not in keys or not question.choices:
                            continue
                        answer = question.choices[keys.index(true)]
                    yield from _items(game_id, decision, subject, question, variants, answer)


def _items(
    game_id: str, decision: Decision, subject: int, question: Question, variants: Sequence[Variant],
    answer: tuple[int, ...],
) -> Iterator[CaptureItem]:  # fmt: skip
    """None where the question has no token ids, as a server's has none."""
    ids = question.prompt.ids
    view = DecisionContext(decision, ids, len(ids), 0, question.spans)
    for name, change in variants if question.spans else ():
        asked_in = view if change is None else change(view)
        if asked_in is not None:
            at = mentions(asked_in.spans)[subject]
            start = max(span.start for span in asked_in.spans if span.kind == "question")
            yield CaptureItem(
                game_id, decision.seq, decision.seat, asked_in.ids + answer,
                {f"{BELIEF_MENTION}:{subject}": (subject, (at,))}, name, n_prompt=asked_in.n_prompt, fork=start,
            )  # fmt: skip


def n_questions(
    game: Any, n_seats: int, records: Sequence[Record], model: str, kinds: Collection[str]
) -> int:
    """The number of items of a game."""
    asked_before = _asked_before(records, model, kinds)
    return sum(n_seats - 1 - len(gone(game, records[:seq])) for seq in asked_before)


def _asked_before(records: Sequence[Record], model: str | None, kinds: Collection[str]) -> set[int]:
    """seq of the decisions of the model, or of any, before which a seat is asked."""
    return {
        r.seq
        for r in records
        if isinstance(r, Decision)
        and r.kind in kinds
        and r.trace is not None
        and model in (None, r.trace.model)
    }
