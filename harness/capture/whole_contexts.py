"""The contexts of a run's model decisions, each token once: of those that continue one another only the last."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import msgspec

from harness.activations.sites import View, views
from harness.run.folder import Run


class Context(msgspec.Struct, frozen=True):
    """What is compared: a context that no other continues."""

    game_id: str
    view: View
    emitted: frozenset[int]
    """Indices of the tokens that the model gave as answers."""


def longest(game_id: str, found: Sequence[View]) -> list[Context]:
    """Of a game's contexts that continue one another the last alone, longest first."""
    kept: list[tuple[View, set[int]]] = []
    for view in sorted(found, key=lambda v: len(v.ids), reverse=True):
        own = range(view.n_prompt, len(view.ids))
        host = next(
            (
                emitted for v, emitted in kept
                if v.decision.seat == view.decision.seat and v.ids[: len(view.ids)] == view.ids
            ),
            None,
        )  # fmt: skip
        if host is None:
            kept.append((view, set(own)))
        else:
            host.update(own)
    return [Context(game_id, view, frozenset(emitted)) for view, emitted in kept]


def kinds_of(view: View) -> list[str]:
    """For each token the kind of the innermost span that holds it; `text` where none does."""
    kinds = ["text"] * len(view.ids)
    for span in sorted(view.spans, key=lambda s: s.start - s.end):
        for i in range(span.start, min(span.end, len(kinds))):
            kinds[i] = span.kind
    return kinds


def batches_of(
    run: Run, played: str, games: Sequence[str], batch_tokens: int, most: int
) -> Iterator[list[Context]]:
    """The contexts of the model `played` in some games, in batches of about `batch_tokens` cut between games.

    most: longer contexts are left out, as are those of a single token.
    """
    wanted, size = set(games), 0
    batch: list[Context] = []
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
