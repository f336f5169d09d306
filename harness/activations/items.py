"""What capture reads of a decision: sites in a context, and the store rows that they become."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
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
    site `tokens:speech`, rows distinguished by `token_index`."""
    variant: str = "original"
    n_prompt: int = 0
    """Tokens of the context before the output; interventions on generated tokens need it."""
    fork: int | None = None
    """For a question asked on a fork: how many leading tokens of `ids` belong to the seat's own context."""


@dataclass
class Row:
    """One row to be read."""

    key: RowKey
    indices: tuple[int, ...]


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


def _prefix_hashes(ids: Sequence[int], ends: set[int]) -> dict[int, str]:
    """`token_hash(ids[:end])` for each end, reading the ids once."""
    data = np.asarray(ids, dtype="<i4").tobytes()
    digest, done, found = blake2b(digest_size=16), 0, {}
    for end in sorted(ends):
        digest.update(data[4 * done : 4 * end])
        found[end], done = digest.copy().hexdigest(), end
    return found
