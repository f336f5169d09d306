"""Writing activations: rows are buffered in memory and written as whole shards, each followed by its index part.

Any number of writers, in any processes, may fill one store: each has its own shard names. A killed writer loses only
the rows it had not yet flushed, about a minute's worth; `remove_unfinished` removes its unfinished files.
"""

from __future__ import annotations

import io
import os
import secrets
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any

import msgspec
import numpy as np
import polars as pl
from numpy.typing import NDArray

from harness.activations.format import INDEX_SCHEMA, StoreInfo, read_info
from harness.activations.seal import SEALED, digests_file, write_digests
from harness.activations.shards import (
    DTYPES,
    ActivationsError,
    checksums,
    index_part,
    narrow,
    open_shard,
    write_shard,
)
from harness.atomic import storage, write_whole
from harness.digest import digest_of


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
    """Appends to a store, which the first rows create. Use as a context manager, or call `flush` at the end."""

    def __init__(
        self,
        path: str | Path,
        info: StoreInfo,
        *,
        name: str = "w",
        shard_bytes: int = 64 << 20,
        shard_seconds: float = 60.0,
    ) -> None:
        """name: prefix of this writer's shard names. Rows are flushed once they take `shard_bytes`, or on an `add`
        when the oldest buffered row is `shard_seconds` old.

        Raises ActivationsError when the store was made with another model, layers, width or dtype.
        """
        if info.dtype not in DTYPES:
            raise ActivationsError(f"store dtype '{info.dtype}' is not known; give {', '.join(DTYPES)}")
        self.path = Path(path)
        self.info = info
        self.n_rows = 0
        """Rows written to disk so far."""
        self.n_bytes = 0
        _agree(self.path, info)  # checks before anything is computed; creates nothing
        self._name = f"{name}-{secrets.token_hex(4)}"
        self._limit, self._patience, self._since = shard_bytes, shard_seconds, 0.0
        self._n_shards = 0
        self._keys: list[RowKey] = []
        self._raw: list[NDArray[Any]] = []
        self._held = 0

    def add(self, keys: Sequence[RowKey], values: NDArray[np.float32]) -> None:
        """Buffer rows, values float32 (n_rows, n_layers, d_model). Raises ActivationOverflow, and then buffers
        none."""
        shape = (len(keys), len(self.info.layers), self.info.d_model)
        if values.shape != shape:
            raise ActivationsError(
                f"activations of shape {values.shape} were given for {shape} (rows, layers, width)"
            )
        if not keys:
            return

        def name(row: int) -> str:
            one = keys[row]
            return f"game {one.game_id} seq {one.seq} site {one.site} (variant {one.variant})"

        raw = narrow(values, self.info.dtype, self.info.layers, name)
        if not self._keys:
            self._since = time.monotonic()
        self._keys.extend(keys)
        self._raw.append(raw)
        self._held += raw.nbytes
        if self._held >= self._limit or time.monotonic() - self._since >= self._patience:
            self.flush()

    def flush(self) -> None:
        """Write the buffered rows as one shard and its index part. Raises StorageError, and then keeps the rows."""
        if not self._keys:
            return
        self.create()
        raw = np.concatenate(self._raw)
        stem = f"{self._name}-{self._n_shards:05d}"
        shard = self.path / "shards" / f"{stem}.safetensors"
        index = self._index(shard.name, raw)
        metadata = {
            "model": self.info.model,
            "schema_version": str(self.info.schema_version),
            "layers": " ".join(self.info.layers),
            "index": digest_of(index),
            SEALED: "1",
        }
        head, layers = write_shard(shard, raw, self.info.layers, self.info.dtype, metadata)
        write_digests(shard, head, layers, index)
        write_whole(index_part(shard), index)
        self.n_rows += len(self._keys)
        self.n_bytes += raw.nbytes
        self._n_shards += 1
        self._keys, self._raw, self._held = [], [], 0

    def create(self) -> None:
        """Make the folders and `store.json` if they are not there. Raises StorageError, ActivationsError."""
        with storage(self.path):
            for folder in (self.path, *(self.path / name for name in ("shards", "index", "digests"))):
                folder.mkdir(parents=True, exist_ok=True)
        file = self.path / "store.json"
        if not file.exists():
            _agree(self.path, self.info)
            part = self.path / f".store.{secrets.token_hex(4)}.part"
            with storage(file):
                part.write_bytes(msgspec.json.format(msgspec.json.encode(self.info), indent=2) + b"\n")
                with suppress(FileExistsError):  # another writer was first; compared below
                    os.link(part, file)  # never exposes half a file
                part.unlink()
        _agree(self.path, self.info)

    def _index(self, shard: str, raw: NDArray[Any]) -> bytes:
        """The index part of the rows held, as parquet."""
        fields = {field: [getattr(key, field) for key in self._keys] for field in RowKey.__struct_fields__}
        lines = pl.DataFrame(
            {
                **fields,
                "shard": [shard] * len(self._keys),
                "row": range(len(self._keys)),
                "checksum": checksums(raw),
            },
            schema_overrides=INDEX_SCHEMA,
        )
        file = io.BytesIO()
        lines.select(INDEX_SCHEMA.names()).write_parquet(file)
        return file.getvalue()

    def __enter__(self) -> ActivationWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.flush()  # after an error too: buffered rows are complete


def remove_unfinished(path: Path) -> list[str]:
    """Remove what killed writers have left in a store, if there is one: temporary files, and shards without an index
    part, whose names are returned.

    Call it only while nobody writes: a running writer has such files for a moment. Raises StorageError.
    """
    shards = path / "shards"
    found = [shard for shard in sorted(shards.glob("[!.]*.safetensors")) if not index_part(shard).exists()]
    with storage(path):
        for file in (
            *found,
            *shards.glob(".*.part"),
            *(digests_file(shard) for shard in found),
            *(path / "digests").glob(".*.part"),
            *(path / "index").glob(".*.part"),
            *path.glob(".*.part"),
        ):
            file.unlink(missing_ok=True)
    return [shard.name for shard in found]


def _agree(path: Path, info: StoreInfo) -> None:
    """Raises ActivationsError where a store at `path` was made with other settings."""
    there = _info_of(path)
    for field in StoreInfo.__struct_fields__ if there is not None else ():
        found, given = getattr(there, field), getattr(info, field)
        if found != given:
            raise ActivationsError(
                f"{path} holds activations with {field} = {_short(found)}, this capture has {_short(given)}; "
                f"capture with the same settings, or move {path} away and capture anew"
            )


def _info_of(path: Path) -> StoreInfo | None:
    """The contents of store.json; where it is lost, the settings that the shards record; None where there is
    neither."""
    if (path / "store.json").exists():
        return read_info(path)
    for shard in sorted((path / "shards").glob("[!.]*.safetensors")):
        opened = open_shard(shard)
        return StoreInfo(opened.metadata.get("model", ""), opened.layers, opened.d_model, opened.dtype)
    return None


def _short(value: object) -> str:
    return f"{' '.join(value)}" if isinstance(value, tuple) else str(value)
