"""What a second pass must compute: sites to read, contexts that serve one another, batches of like length.

Within a game a seat's contexts extend each other, so one forward pass over the longest of them holds the rows of
all: causal attention lets no token see what comes later. Tokens after the last site are not computed at all.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any

import msgspec
import numpy as np

from harness.activations.store import ActivationsError, split_site
from harness.activations.writer import RowKey

Site = tuple[int | None, tuple[int, ...]]
"""(seat that the site is about or None, token indices in the whole context, averaged)."""


class CaptureItem(msgspec.Struct, frozen=True):
    """One decision and where to read in it."""

    game_id: str
    seq: int
    seat: int
    ids: tuple[int, ...]
    """Token ids of the whole context: everything before, the prompt, the output."""
    sites: Mapping[str, Site]
    """Site name -> where. `mention:3` with subject 3 is stored as site `mention`, subject 3; `tokens:speech#17` as
    site `tokens:speech`, told from its neighbours by `token_index`."""
    variant: str = "original"
    n_prompt: int = 0
    """Tokens of the context before the output; interventions on generated tokens need it."""
    fork: int | None = None
    """Tokens of `ids` before it leaves the seat's own context, where it is a question asked on a fork."""


@dataclass
class Row:
    """One row to be read."""

    key: RowKey
    indices: tuple[int, ...]


@dataclass
class Tail:
    """What follows the first `at` tokens of a pass on a fork, and its rows, with indices in the fork's own context."""

    at: int
    ids: tuple[int, ...]
    rows: list[Row]


@dataclass
class Pass:
    """One context to compute, the forks of it, and the rows of all the decisions that it serves."""

    ids: tuple[int, ...]
    rows: list[Row] = field(default_factory=list)
    n_prompt: int = 0
    """Of the one decision that it serves, where prefixes are not shared."""
    tails: list[Tail] = field(default_factory=list)
    """Computed after `ids`, one after the other; each sees what it forks from and itself."""

    @property
    def n_tokens(self) -> int:
        """Of the context and all its tails."""
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


def wanted_rows(item: CaptureItem, stored: set[tuple[Any, ...]]) -> list[Row]:
    """The rows of an item that are not stored yet. Raises ActivationsError for an index outside the context."""
    rows: list[tuple[str, int | None, tuple[int, ...]]] = []
    for name, (subject, indices) in item.sites.items():
        if not indices or min(indices) < 0 or max(indices) >= len(item.ids):
            raise ActivationsError(
                f"site '{name}' of game {item.game_id} seq {item.seq} names token indices {tuple(indices)}, the "
                f"context has 0 to {len(item.ids) - 1}; the log and the sites do not belong together"
            )
        head, tail = split_site(name)
        site = head if tail is not None and tail == subject else name.partition("#")[0]
        if (item.game_id, item.seq, site, subject, item.variant, min(indices)) not in stored:
            rows.append((site, subject, indices))
    hashes = _prefix_hashes(item.ids, {max(indices) + 1 for _, _, indices in rows})
    return [
        Row(
            RowKey(
                game_id=item.game_id,
                seq=item.seq,
                seat=item.seat,
                site=site,
                subject=subject,
                token_index=min(indices),
                n_tokens=len(indices),
                token_hash=hashes[max(indices) + 1],
                variant=item.variant,
            ),
            indices,
        )
        for site, subject, indices in rows
    ]


def plan_passes(
    items: Iterable[tuple[CaptureItem, list[Row]]],
    *,
    share_prefixes: bool = True,
    whole: bool = False,
    fork_tokens: int = 0,
) -> list[Pass]:
    """The fewest contexts that hold all rows, longest first.

    whole: each decision's context by itself and to its end, as interventions need it. fork_tokens: forks become tails
    of a context while that makes the pass no longer than so many tokens; beyond, each is a context of its own.
    """
    if whole:
        alone = [Pass(item.ids, list(rows), item.n_prompt or len(item.ids)) for item, rows in items if rows]
        return sorted(alone, key=lambda one: len(one.ids), reverse=True)
    groups: dict[tuple[str, int, str], list[Pass]] = {}
    needed = [
        (item, rows, item.ids[: 1 + max(max(row.indices) for row in rows)]) for item, rows in items if rows
    ]
    # Forks come last, when what they fork from is there; the longest first, as it serves the others.
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
    """Whether a context of the group has room for what follows the first `fork` of `ids`; then it is there."""
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


def _prefix_hashes(ids: Sequence[int], ends: set[int]) -> dict[int, str]:
    """`token_hash(ids[:end])` for each end, reading the ids once."""
    data = np.asarray(ids, dtype="<i4").tobytes()
    digest, done, found = blake2b(digest_size=16), 0, {}
    for end in sorted(ends):
        digest.update(data[4 * done : 4 * end])
        found[end], done = digest.copy().hexdigest(), end
    return found
