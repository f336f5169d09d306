"""Integrity check of a store of activations: every row's bytes, every index line, every token hash."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from hashlib import blake2b
from pathlib import Path

import msgspec
import numpy as np
import polars as pl

from harness.activations.format import BELIEF_MENTION, KEY, ContextKey, read_part
from harness.activations.seal import SEALED, changed_parts, check_index
from harness.activations.shards import (
    ActivationsDamaged,
    Shard,
    checksums,
    index_part,
    open_shard,
    shard_remedy,
)
from harness.activations.store import Activations

Contexts = Mapping[ContextKey, Sequence[int]]
"""The token ids of contexts."""


def verify(store: Activations, contexts: Contexts | None = None) -> list[Damage]:
    """Read everything of a store and name all that is wrong; an empty list is a sound store.

    contexts: the token ids of contexts and forks; token hashes of their rows are checked against these.
    """
    written = sorted((store.path / "shards").glob("[!.]*.safetensors"))
    found: list[Damage] = []
    frames: list[pl.DataFrame] = []
    for part in store.parts():
        try:
            check_index(part)
            lines = read_part(part)
        except ActivationsDamaged as error:
            found.append(Damage("broken_index", part.name, str(error)))
            continue
        frames.append(lines)
        for (name,), group in lines.group_by("shard", maintain_order=True):
            found += _shard(store, str(name), group)
    found += [_unindexed(shard) for shard in written if not index_part(shard).exists()]
    if frames:
        found += _duplicates(pl.concat(frames))
        for frame in frames:
            found += _tokens(frame, contexts or {})
    return found


def _shard(store: Activations, name: str, lines: pl.DataFrame) -> list[Damage]:
    """Damage of one shard; `lines` is its index part."""
    path = store.path / "shards" / name
    if not path.is_file():
        message = (
            f"shard {path} is missing: {lines.height} rows are lost; restore it, or {shard_remedy(path)}"
        )
        return [Damage("missing_shard", name, message)]
    try:
        shard = open_shard(path)
    except ActivationsDamaged as error:
        return [Damage("broken_shard", name, str(error))]
    if (shard.layers, shard.dtype, shard.d_model) != (store.layers, store.info.dtype, store.d_model):
        message = (
            f"shard {path} holds {len(shard.layers)} layers of {shard.d_model} {shard.dtype}, "
            f"store.json says {len(store.layers)} of {store.d_model} {store.info.dtype}; {shard_remedy(path)}"
        )
        return [Damage("broken_shard", name, message)]
    try:
        changed = list(changed_parts(shard))
    except ActivationsDamaged as error:
        return [Damage("broken_shard", name, str(error))]
    whole = SEALED in shard.metadata and not changed
    if whole and lines["row"].sort().equals(pl.Series("row", range(shard.n_rows), pl.Int32)):
        return []  # the bytes match the checksum
    found = _rows(shard, name, lines)
    if changed and not found:
        message = f"shard {path} is damaged: {'; '.join(changed)}; {shard_remedy(path)}"
        found = [Damage("broken_shard", name, message)]
    return found


def _unindexed(shard: Path) -> Damage:
    message = (
        f"shard {shard} has no index part, so its rows cannot be found: its writer was killed, or the part was lost; "
        "capture again as before: the shard is removed and its rows are read anew"
    )
    return Damage("unindexed_shard", shard.name, message)


def _rows(shard: Shard, name: str, lines: pl.DataFrame, step: int = 1024) -> list[Damage]:
    found: list[Damage] = []
    expected = dict(zip(lines["row"].to_list(), lines.select("checksum", *KEY).to_dicts(), strict=True))
    for start in range(0, shard.n_rows, step):
        raw = np.stack([shard.tensors[layer][start : start + step] for layer in shard.layers], axis=1)
        for row, checksum in enumerate(checksums(raw), start):
            line = expected.pop(row, None)
            if line is None:
                message = f"row {row} of {shard.path} has no index line; {shard_remedy(shard.path)}"
                found.append(Damage("unindexed_row", f"{name} row {row}", message))
            elif line["checksum"] != checksum:
                message = (
                    f"row {row} of {shard.path} ({_key(line)}) has changed: checksum {checksum}, "
                    f"written {line['checksum']}; {shard_remedy(shard.path)}"
                )
                found.append(Damage("changed_bytes", f"{name} row {row}", message))
    for row, line in expected.items():
        message = (
            f"row {row} of {shard.path} ({_key(line)}) is missing: the shard has {shard.n_rows} rows; "
            f"{shard_remedy(shard.path)}"
        )
        found.append(Damage("missing_row", f"{name} row {row}", message))
    return found


def _duplicates(lines: pl.DataFrame) -> list[Damage]:
    twice = (
        lines.group_by(KEY, maintain_order=True)
        .len()
        .filter(pl.col("len") > 1)
        .sort(KEY, maintain_order=True)
    )
    return [
        Damage("duplicate_key", str(key), f"{key} is stored {n} times; keep one capture's shards")
        for *key, n in twice.iter_rows()
    ]


def _tokens(lines: pl.DataFrame, contexts: Contexts) -> list[Damage]:
    """Rows whose hash is not that of their context up to the row's token."""
    found: list[Damage] = []
    for line in lines.iter_rows(named=True):
        fork = line["subject"] if line["site"] == BELIEF_MENTION else None
        ids = contexts.get((line["game_id"], line["seq"], line["variant"], fork))
        if ids is None:
            continue
        low = line["token_index"] + line["n_tokens"]
        high = low if line["n_tokens"] == 1 else len(ids)  # tokens of a mean may lie apart
        if line["token_hash"] not in _hashes(ids, low, high):
            message = (
                f"row {line['row']} of {line['shard']} ({_key(line)}) was read on other token ids than the "
                f"{len(ids)} given (hash {line['token_hash']}); capture again on this log"
            )
            found.append(Damage("wrong_tokens", f"{line['shard']} row {line['row']}", message))
    return found


def _hashes(ids: Sequence[int], low: int, high: int) -> Iterator[str]:
    """`token_hash` of `ids[:low]`, `ids[:low + 1]`, up to `ids[:high]`, reading the ids once."""
    data = np.asarray(ids, dtype="<i4").tobytes()
    digest = blake2b(data[: 4 * low], digest_size=16)
    for end in range(low, min(high, len(ids)) + 1):
        yield digest.copy().hexdigest()
        digest.update(data[4 * end : 4 * end + 4])


def _key(line: Mapping[str, object]) -> str:
    return ", ".join(f"{name}={line[name]}" for name in KEY)


class Damage(msgspec.Struct, frozen=True):
    """One thing that `verify` found."""

    kind: str
    """missing_shard | broken_shard | unindexed_shard | broken_index | changed_bytes | missing_row | unindexed_row |
    duplicate_key | wrong_tokens."""
    where: str
    """The shard or index part, with the row where there is one."""
    message: str
