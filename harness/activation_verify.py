"""Is a store of activations what was written? Every row's bytes, every index line, every token hash."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import polars as pl

from harness.activation_shards import ActivationsDamaged, Shard, checksums, open_shard
from harness.activations import INDEX_SCHEMA, KEY, Activations, Damage, token_hash

Contexts = Mapping[tuple[str, int, str], Sequence[int]]


def verify(store: Activations, contexts: Contexts) -> list[Damage]:
    """All damage found in `store`; see `Activations.verify`."""
    found: list[Damage] = []
    frames: list[pl.DataFrame] = []
    for part in store.parts():
        lines = _lines(part, found)
        if lines is None:
            continue
        frames.append(lines)
        for (name,), group in lines.group_by("shard", maintain_order=True):
            found += _shard(store, str(name), group)
    found += _missing_parts(store)
    if frames:
        found += _duplicates(pl.concat(frames))
        for frame in frames:
            found += _tokens(frame, contexts)
    return found


def _lines(part: Path, found: list[Damage]) -> pl.DataFrame | None:
    try:
        lines = pl.read_parquet(part)
    except (pl.exceptions.PolarsError, OSError) as error:
        found.append(
            Damage("broken_index", part.name, f"index part {part} cannot be read ({error}); capture again")
        )
        return None
    if lines.schema != INDEX_SCHEMA:
        message = f"index part {part} has columns {lines.schema}, expected {INDEX_SCHEMA}"
        found.append(Damage("broken_index", part.name, message))
        return None
    return lines


def _shard(store: Activations, name: str, lines: pl.DataFrame) -> list[Damage]:
    path = store.path / "shards" / name
    if not path.is_file():
        message = (
            f"shard {path} is missing: {lines.height} rows are lost; delete its index part and capture again"
        )
        return [Damage("missing_shard", name, message)]
    try:
        shard = open_shard(path)
    except ActivationsDamaged as error:
        return [Damage("broken_shard", name, str(error))]
    if (shard.layers, shard.dtype, shard.d_model) != (store.layers, store.info.dtype, store.d_model):
        message = (
            f"shard {path} holds {len(shard.layers)} layers of {shard.d_model} {shard.dtype}, "
            f"store.json says {len(store.layers)} of {store.d_model} {store.info.dtype}"
        )
        return [Damage("broken_shard", name, message)]
    return _rows(shard, name, lines)


def _rows(shard: Shard, name: str, lines: pl.DataFrame, step: int = 1024) -> list[Damage]:
    found: list[Damage] = []
    expected = dict(zip(lines["row"].to_list(), lines.select("checksum", *KEY).to_dicts(), strict=True))
    for start in range(0, shard.n_rows, step):
        raw = np.stack([shard.tensors[layer][start : start + step] for layer in shard.layers], axis=1)
        for row, checksum in enumerate(checksums(raw), start):
            line = expected.pop(row, None)
            if line is None:
                message = f"row {row} of {shard.path} has no index line; delete shard and part, capture again"
                found.append(Damage("unindexed_row", f"{name} row {row}", message))
            elif line["checksum"] != checksum:
                message = (
                    f"row {row} of {shard.path} ({_key(line)}) has changed: checksum {checksum}, "
                    f"written {line['checksum']}; delete the shard with its index part and capture again"
                )
                found.append(Damage("changed_bytes", f"{name} row {row}", message))
    for row, line in expected.items():
        message = f"row {row} of {shard.path} ({_key(line)}) is missing: the shard has {shard.n_rows} rows"
        found.append(Damage("missing_row", f"{name} row {row}", message))
    return found


def _missing_parts(store: Activations) -> list[Damage]:
    """A writer numbers its shards without gaps, so a gap is a lost part."""
    numbers: dict[str, set[int]] = {}
    for part in store.parts():
        match = re.fullmatch(r"(.+)-(\d+)", part.stem)
        if match:
            numbers.setdefault(match[1], set()).add(int(match[2]))
    found: list[Damage] = []
    for writer, seen in numbers.items():
        for n in sorted(set(range(max(seen))) - seen):
            name = f"{writer}-{n:05d}.parquet"
            message = f"index part {name} is missing: its rows cannot be found; restore it or capture again"
            found.append(Damage("missing_part", name, message))
    return found


def _duplicates(lines: pl.DataFrame) -> list[Damage]:
    counts = Counter(lines.select(KEY).iter_rows())
    return [
        Damage("duplicate_key", str(key), f"{key} is stored {n} times; keep one capture's shards")
        for key, n in counts.items()
        if n > 1
    ]


def _tokens(lines: pl.DataFrame, contexts: Contexts) -> list[Damage]:
    """Rows whose hash is not that of any prefix of their context."""
    found: list[Damage] = []
    for line in lines.iter_rows(named=True):
        ids = contexts.get((line["game_id"], line["seq"], line["variant"]))
        if ids is None:
            continue
        low = line["token_index"] + line["n_tokens"]  # the last token is at least here
        if not any(token_hash(ids[:end]) == line["token_hash"] for end in range(low, len(ids) + 1)):
            message = (
                f"row {line['row']} of {line['shard']} ({_key(line)}) was read on other token ids than the "
                f"{len(ids)} given (hash {line['token_hash']}); capture again on this log"
            )
            found.append(Damage("wrong_tokens", f"{line['shard']} row {line['row']}", message))
    return found


def _key(line: Mapping[str, object]) -> str:
    return ", ".join(f"{name}={line[name]}" for name in KEY)
