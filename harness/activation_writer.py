"""Writing activations: rows are gathered in memory and leave as whole shards, each followed by its index part.

Any number of writers, in any processes, may fill one store: each has its own shard names. A killed writer loses at
most the rows it had not yet flushed.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any

import msgspec
import numpy as np
import polars as pl
from numpy.typing import NDArray

from harness.activation_shards import DTYPES, checksums, narrow, write_shard
from harness.activations import INDEX_SCHEMA, ActivationsError, StoreInfo, read_info
from harness.atomic import replacing, storage


class RowKey(msgspec.Struct, frozen=True):
    """Which row: the index columns that the writer does not fill in itself."""

    game_id: str
    seq: int
    seat: int
    site: str
    subject: int | None
    token_index: int
    n_tokens: int
    token_hash: str
    variant: str = "original"


class ActivationWriter:
    """Appends to a store, which it creates if there is none. Use as a context manager, or call `flush` at the end."""

    def __init__(
        self, path: str | Path, info: StoreInfo, *, name: str = "w", shard_bytes: int = 64 << 20
    ) -> None:
        """name: begins this writer's shard names. shard_bytes: rows are flushed when they take this much.

        Raises ActivationsError when the store was made with another model, layers, width or dtype.
        """
        if info.dtype not in DTYPES:
            raise ActivationsError(f"store dtype '{info.dtype}' is not known; give {', '.join(DTYPES)}")
        self.path = Path(path)
        self.info = info
        self.n_rows = 0
        """Rows written to disk so far."""
        self.n_bytes = 0
        _agree(self.path, info)
        self._name = f"{name}-{secrets.token_hex(4)}"
        self._limit = shard_bytes
        self._n_shards = 0
        self._keys: list[RowKey] = []
        self._raw: list[NDArray[Any]] = []
        self._held = 0

    def add(self, keys: Sequence[RowKey], values: NDArray[np.float32]) -> None:
        """Take rows, values float32 (n_rows, n_layers, d_model). Raises ActivationOverflow; then none is taken."""
        shape = (len(keys), len(self.info.layers), self.info.d_model)
        if values.shape != shape:
            raise ActivationsError(
                f"activations of shape {values.shape} were given for {shape} (rows, layers, width)"
            )
        if not keys:
            return
        what = f"game {keys[0].game_id} seq {keys[0].seq} to game {keys[-1].game_id} seq {keys[-1].seq}"
        raw = narrow(values, self.info.dtype, self.info.layers, what)
        self._keys.extend(keys)
        self._raw.append(raw)
        self._held += raw.nbytes
        if self._held >= self._limit:
            self.flush()

    def flush(self) -> None:
        """Write what is held as one shard and its index part. Raises StorageError; the rows are then still held."""
        if not self._keys:
            return
        raw = np.concatenate(self._raw)
        stem = f"{self._name}-{self._n_shards:05d}"
        metadata = {
            "model": self.info.model,
            "schema_version": str(self.info.schema_version),
            "layers": " ".join(self.info.layers),
        }
        shard = self.path / "shards" / f"{stem}.safetensors"
        write_shard(shard, raw, self.info.layers, self.info.dtype, metadata)
        lines = pl.DataFrame(
            {
                **{field: [getattr(key, field) for key in self._keys] for field in RowKey.__struct_fields__},
                "shard": [shard.name] * len(self._keys),
                "row": range(len(self._keys)),
                "checksum": checksums(raw),
            },
            schema_overrides=INDEX_SCHEMA,
        ).select(INDEX_SCHEMA.names())
        part = self.path / "index" / f"{stem}.parquet"
        with replacing(part) as temporary, storage(part):
            lines.write_parquet(temporary)
        self.n_rows += len(self._keys)
        self.n_bytes += raw.nbytes
        self._n_shards += 1
        self._keys, self._raw, self._held = [], [], 0

    def __enter__(self) -> ActivationWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.flush()  # after an error too: the rows taken are whole


def _agree(path: Path, info: StoreInfo) -> None:
    """Create store.json, or check that the one there says the same."""
    with storage(path):
        for folder in (path, path / "shards", path / "index"):
            folder.mkdir(parents=True, exist_ok=True)
    file = path / "store.json"
    if not file.exists():
        part = path / f".store.{secrets.token_hex(4)}.part"
        with storage(file):
            part.write_bytes(msgspec.json.format(msgspec.json.encode(info), indent=2) + b"\n")
            with suppress(FileExistsError):  # another writer was first; its file is read and compared below
                os.link(part, file)  # never shows half a file
            part.unlink()
    there = read_info(path)
    for field in StoreInfo.__struct_fields__:
        found, given = getattr(there, field), getattr(info, field)
        if found != given:
            raise ActivationsError(
                f"{path} holds activations with {field} = {_short(found)}, this capture has {_short(given)}; "
                "give another folder, or capture with the same settings"
            )


def _short(value: object) -> str:
    return f"{' '.join(value)}" if isinstance(value, tuple) else str(value)
