"""Questions about beliefs as contexts to read: what a seat holds of another where it is asked about that one.

The question stands on a fork of the decision's context, which never entered the game; it is the one that `[beliefs]`
asks, in the first of its wordings. It needs no answer: what is read comes before any.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Any

from agents.beliefs import gone, living_others, questions
from games.play import observe
from games.records import Record
from harness.activation_format import BELIEF_MENTION
from harness.branch_schedule import schedule_of
from harness.capture_plan import CaptureItem
from harness.contexts import Players, asked
from harness.run_folder import Run
from harness.sites import View, views


class BeliefForks:
    """The questions of a run's games about beliefs."""

    def __init__(self, run: Run) -> None:
        self._run, self._schedule = run, schedule_of(run.manifest)
        self._players = Players(self._schedule.configs)

    def items(self, game_id: str, records: Sequence[Record], model: str | None) -> Iterator[CaptureItem]:
        """One for each living other before each decision, before which `[beliefs]` asks, of the model `name@hash`,
        or of any."""
        game, config, seed = self._run.game(game_id)
        cell = self._run.manifest.cells.index(self._run.cell(game_id))
        return belief_items(
            game_id, game, config, seed, records, model, self._schedule.configs[cell].beliefs.before,
            lambda name: self._players.get(cell, name),
        )  # fmt: skip


def belief_items(
    game_id: str,
    game: Any,
    config: Any,
    seed: int,
    records: Sequence[Record],
    model: str | None,
    kinds: Collection[str],
    player: Callable[[str], Any],
) -> Iterator[CaptureItem]:
    """An item for each living other before each decision of one of `kinds` of the model `name@hash`, or of any.

    player: agent name -> the player that builds its contexts, or None; one that cannot be asked, or whose questions
    have no token ids, gives nothing.
    """
    contexts = {view.decision.seq: view for view in views(records, model)}
    if not any(view.decision.kind in kinds for view in contexts.values()):
        return
    for request, decision, before in asked(game, config, seed, records):
        view = contexts.get(decision.seq)
        if view is None or decision.kind not in kinds:
            continue
        believer = player(decision.agent)
        if believer is None or not hasattr(believer, "belief_questions"):
            continue
        observation = observe(game, game_id, config, seed, before, request)
        for subject in living_others(observation):
            question = questions(believer, observation, (decision.seat, subject), orders=1)[0]
            if question.subject_at is not None:
                ids, at = question.prompt.ids, question.subject_at
                yield CaptureItem(
                    game_id, decision.seq, decision.seat, ids, {f"{BELIEF_MENTION}:{subject}": (subject, (at,))},
                    n_prompt=len(ids), fork=_shared(ids, view),
                )  # fmt: skip


def n_questions(
    game: Any, n_seats: int, records: Sequence[Record], model: str, kinds: Collection[str]
) -> int:
    """How many items a game gives."""
    asked_before = [view.decision.seq for view in views(records, model) if view.decision.kind in kinds]
    return sum(n_seats - 1 - len(gone(game, records[:seq])) for seq in asked_before)


def _shared(ids: Sequence[int], view: View) -> int:
    """How many tokens a question's context has in common with the decision's."""
    both = zip(ids, view.ids, strict=False)
    return next((i for i, (a, b) in enumerate(both) if a != b), min(len(ids), len(view.ids)))
