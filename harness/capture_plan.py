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

from harness.activation_writer import RowKey
from harness.activations import ActivationsError, split_site

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


@dataclass
class Row:
    """One row to be read."""

    key: RowKey
    indices: tuple[int, ...]


@dataclass
class Pass:
    """One context to compute, and the rows of all the decisions that it serves."""

    ids: tuple[int, ...]
    rows: list[Row] = field(default_factory=list)
    n_prompt: int = 0
    """Of the one decision that it serves, where prefixes are not shared."""


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
    items: Iterable[tuple[CaptureItem, list[Row]]], *, share_prefixes: bool = True, whole: bool = False
) -> list[Pass]:
    """The fewest contexts that hold all rows, longest first.

    whole: each decision's context by itself and to its end, as interventions need it.
    """
    if whole:
        alone = [Pass(item.ids, list(rows), item.n_prompt or len(item.ids)) for item, rows in items if rows]
        return sorted(alone, key=lambda one: len(one.ids), reverse=True)
    groups: dict[tuple[str, int, str], list[Pass]] = {}
    needed = [
        (item, rows, item.ids[: 1 + max(max(row.indices) for row in rows)]) for item, rows in items if rows
    ]
    needed.sort(key=lambda one: len(one[2]), reverse=True)
    passes: list[Pass] = []
    for item, rows, ids in needed:
        group = groups.setdefault((item.game_id, item.seat, item.variant), [])
        host = next((p for p in group if share_prefixes and p.ids[: len(ids)] == ids), None)
        if host is None:
            host = Pass(ids)
            group.append(host)
            passes.append(host)
        host.rows.extend(rows)
    return passes


def batches(passes: Sequence[Pass], max_tokens: int) -> Iterator[list[Pass]]:
    """Passes (longest first) in batches of at most `max_tokens` tokens, padding included; at least one each."""
    start = 0
    while start < len(passes):
        n = max(1, max_tokens // len(passes[start].ids))
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
