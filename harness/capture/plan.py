"""The plan of an offline extraction: sites to read, contexts that share a pass, batches of similar length.

Within a game a seat's contexts extend each other, so one forward pass over the longest yields the rows of all: with
causal attention no token sees later ones. Tokens after the last site are not computed at all.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from harness.activations.items import CaptureItem, Row
from harness.activations.writer import RowKey


@dataclass
class Tail:
    """The tokens of a fork after the first `at` tokens of a pass, and its rows, with indices in the fork's own
    context."""

    at: int
    ids: tuple[int, ...]
    rows: list[Row]


@dataclass
class Pass:
    """One context to compute, the forks of it, and the rows of all the decisions that it serves."""

    ids: tuple[int, ...]
    rows: list[Row] = field(default_factory=list)
    n_prompt: int = 0
    """Prompt tokens of its one decision, where prefixes are not shared."""
    tails: list[Tail] = field(default_factory=list)
    """Computed after `ids`, one after the other; each attends to the context that it forks from and to itself."""

    @property
    def n_tokens(self) -> int:
        """Tokens of the context and all its tails."""
        return len(self.ids) + sum(len(tail.ids) for tail in self.tails)

    def reads(self) -> Iterator[tuple[RowKey, tuple[int, ...]]]:
        """The keys of all rows, in order, and the tokens of each by their place in the pass."""
        for row in self.rows:
            yield row.key, row.indices
        start = len(self.ids)
        for tail in self.tails:
            for row in tail.rows:
                yield row.key, tuple(i if i < tail.at else start + i - tail.at for i in row.indices)
            start += len(tail.ids)


def plan_passes(
    items: Iterable[tuple[CaptureItem, list[Row]]],
    *,
    share_prefixes: bool = True,
    whole: bool = False,
    fork_tokens: int = 0,
) -> list[Pass]:
    """The fewest contexts that hold all rows, longest first.

    whole: compute each decision's context alone and to its end, as interventions require. fork_tokens: forks become
    tails of a context while the pass has at most this many tokens; others are contexts of their own.
    """
    if whole:
        alone = [Pass(item.ids, list(rows), item.n_prompt or len(item.ids)) for item, rows in items if rows]
        return sorted(alone, key=lambda one: len(one.ids), reverse=True)
    groups: dict[tuple[str, int, str], list[Pass]] = {}
    needed = [
        (item, rows, item.ids[: 1 + max(max(row.indices) for row in rows)]) for item, rows in items if rows
    ]
    # Forks come last, after the contexts they branch from; longest first, as it covers the others.
    needed.sort(key=lambda one: (one[0].fork is not None, -len(one[2])))
    passes: list[Pass] = []
    for item, rows, ids in needed:
        group = groups.setdefault((item.game_id, item.seat, item.variant), [])
        if item.fork is not None and share_prefixes and _add_tail(item.fork, ids, rows, group, fork_tokens):
            continue
        host = next((p for p in group if share_prefixes and p.ids[: len(ids)] == ids), None)
        if host is None:
            host = Pass(ids)
            group.append(host)
            passes.append(host)
        host.rows.extend(rows)
    return sorted(passes, key=lambda one: one.n_tokens, reverse=True)


def _add_tail(
    fork: int, ids: tuple[int, ...], rows: list[Row], group: Sequence[Pass], fork_tokens: int
) -> bool:
    """Adds the tokens after the first `fork` of `ids` to a context of the group; False where none has room."""
    tail = ids[fork:]
    for host in group:
        if host.ids[:fork] == ids[:fork] and host.n_tokens + len(tail) <= fork_tokens:
            host.tails.append(Tail(fork, tail, list(rows)))
            return True
    return False


def batches(passes: Sequence[Pass], max_tokens: int) -> Iterator[list[Pass]]:
    """Passes (longest first) in batches of at most `max_tokens` tokens, padding included; at least one each."""
    start = 0
    while start < len(passes):
        n = max(1, max_tokens // passes[start].n_tokens)
        yield list(passes[start : start + n])
        start += n
