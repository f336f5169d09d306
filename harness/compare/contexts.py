"""The contexts of a run's model decisions, each token once: where one context continues another, only the longest."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

import msgspec
import numpy as np

from games.records import Decision
from harness.activations.sites import DecisionContext, views
from harness.run.folder import Run

READ = "read"
"""The segment of a token that the model did not emit."""


class Compared(msgspec.Struct, frozen=True):
    """One context to compare, which no other continues."""

    game_id: str
    view: DecisionContext
    emitted: Mapping[int, Decision]
    """Index of a token that the model emitted -> its decision."""
    thought: frozenset[int] = frozenset()
    """Indices of the emitted tokens that are reasoning."""

    def segment(self, index: int) -> str:
        """A token's segment: `speech`, `ballot`, `night`, `thinking`, another kind of decision, or `read`."""
        if index in self.thought:
            return "thinking"
        return segment_of(self.emitted[index]) if index in self.emitted else READ


def segment_of(decision: Decision) -> str:
    """The segment of a decision: `night`, `ballot`, `speech`, or else its own kind."""
    if decision.phase == "night" or decision.kind == "whisper":
        return "night"
    if "ballot" in decision.kind or decision.kind in ("tie_break", "vote", "team_vote"):
        return "ballot"
    return "speech" if decision.kind in ("speech", "last_words") else decision.kind


def longest(game_id: str, found: Sequence[DecisionContext]) -> list[Compared]:
    """A game's contexts, longest first, without those that another one continues."""
    kept: list[tuple[DecisionContext, dict[int, Decision], set[int]]] = []
    for view in sorted(found, key=lambda v: len(v.ids), reverse=True):
        own = dict.fromkeys(range(view.n_prompt, len(view.ids)), view.decision)
        reasons = {
            i
            for s in view.spans
            if s.kind == "reasoning" and s.start >= view.own
            for i in range(s.start, s.end)
        }
        host = next(
            (
                (emitted, thought) for v, emitted, thought in kept
                if v.decision.seat == view.decision.seat and v.ids[: len(view.ids)] == view.ids
            ),
            None,
        )  # fmt: skip
        if host is None:
            kept.append((view, own, reasons))
        else:
            host[0].update(own)
            host[1].update(reasons)
    return [Compared(game_id, view, emitted, frozenset(thought)) for view, emitted, thought in kept]


def kinds_of(view: DecisionContext) -> list[str]:
    """For each token the kind of the innermost span that holds it; `text` where none does."""
    kinds = ["text"] * len(view.ids)
    for span in sorted(view.spans, key=lambda s: s.start - s.end):
        for i in range(span.start, min(span.end, len(kinds))):
            kinds[i] = span.kind
    return kinds


def batches_of(
    run: Run, played: str, games: Sequence[str], batch_tokens: int, most: int
) -> Iterator[list[Compared]]:
    """The contexts of the model `played` in some games, in batches of about `batch_tokens` cut between games.

    most: longer contexts are left out, as are those of a single token.
    """
    wanted, size = set(games), 0
    batch: list[Compared] = []
    for game_id, records in run.logs():
        if game_id not in wanted:
            continue
        for one in longest(game_id, list(views(records, played))):
            if 1 < len(one.view.ids) <= most:
                batch.append(one)
                size += len(one.view.ids)
        if size >= batch_tokens:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def one_of_each_game(
    batches: Iterable[Sequence[Compared]], most: int, seed: int, side: int = 8
) -> list[list[Compared]]:
    """One context of each game, drawn from the seed, until they hold `most` tokens; in batches of `side`."""
    rng = np.random.default_rng(seed)
    kept: list[Compared] = []
    for batch in batches:
        for game in dict.fromkeys(one.game_id for one in batch):
            mine = [one for one in batch if one.game_id == game]
            kept.append(mine[int(rng.integers(len(mine)))])
        if sum(len(one.view.ids) for one in kept) >= most:
            break
    return [kept[i : i + side] for i in range(0, len(kept), side)]
