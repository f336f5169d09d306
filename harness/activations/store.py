"""The store of activations of one model on one run: safetensors shards and a parquet index, read lazily.

    store.json                  schema version, model, layers, d_model, dtype; the same for every writer
    shards/<writer>-<n>.safetensors     one tensor (n_rows, d_model) per layer
    digests/<writer>-<n>.json           of the shard's bytes (`harness.activations.seal`), written after it
    index/<writer>-<n>.parquet          one line per row, written last

A row is one site of one decision: (game_id, seq, site, subject, variant, token_index). A site whose name ends in the
seat that it is about, such as `mention:3`, is stored as site `mention`, subject 3. `token_hash` binds the row to the
token ids of its context; each shard's metadata holds the hash of its index part. A shard without its index part was
not finished or has lost it: it is never read, and `verify` names it. Needs only numpy and polars.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray
from safetensors.numpy import load_file

from harness.activations.format import (
    INDEX_SCHEMA,
    KEY,
    NAMES,
    SCHEMA_VERSION,
    SITES,
    StoreInfo,
    layer_name,
    no_site,
    read_info,
    read_part,
    split_site,
    store_folders,
    token_hash,
)
from harness.activations.seal import check_index, hold
from harness.activations.shards import (
    ActivationOverflow,
    ActivationsDamaged,
    ActivationsError,
    Shard,
    open_shard,
    shard_remedy,
    widen,
)
from harness.gate import check_links, segment

__all__ = [
    "INDEX_SCHEMA",
    "KEY",
    "SCHEMA_VERSION",
    "ActivationOverflow",
    "Activations",
    "ActivationsDamaged",
    "ActivationsError",
    "StoreInfo",
    "layer_name",
    "open_activations",
    "split_site",
    "store_folders",
    "token_hash",
]


def open_activations(path: str | Path) -> Activations:
    """Open a store for reading. Raises ActivationsError where there is none or its schema is another."""
    return Activations(Path(path))


class Activations:
    """A store open for reading. It loads nothing until a layer is requested, and then only that layer's bytes."""

    def __init__(self, path: Path) -> None:
        self.path = path
        if path.is_dir():
            check_links(path)
        self.info = read_info(path)
        self._open = lru_cache(maxsize=512)(open_shard)
        self._held: set[tuple[str, str]] = set()
        """Shards and layers whose digests have been verified."""

    def __repr__(self) -> str:
        return (
            f"<Activations {self.path}: {self.info.model}, {len(self.info.layers)} layers, {self.info.dtype}>"
        )

    @property
    def layers(self) -> tuple[str, ...]:
        return self.info.layers

    @property
    def d_model(self) -> int:
        return self.info.d_model

    def scan(self) -> pl.LazyFrame:
        """The index, one line per row (`INDEX_SCHEMA`), in no particular order of games. Raises ActivationsDamaged."""
        parts = self.parts()
        if not parts:
            return pl.LazyFrame(schema=INDEX_SCHEMA)
        for part in parts:
            check_index(part)
        return pl.scan_parquet(parts, schema=INDEX_SCHEMA)

    def parts(self) -> list[Path]:
        """The index parts, by name."""
        return sorted((self.path / "index").glob("[!.]*.parquet"))

    def index(
        self,
        *,
        site: str | None = None,
        games: Iterable[str] | None = None,
        seat: int | None = None,
        variant: str | None = "original",
    ) -> pl.DataFrame:
        """Index lines of some rows, sorted by game, seq, site, subject, variant, token.

        site: `mention` for all subjects, `mention:3` for one. variant: None for all. Raises ActivationsError for a site
        that does not exist; one that was not captured has no lines.
        """
        lines = self.scan()
        if site is not None:
            name, subject = split_site(site)
            if name not in SITES and name not in self.sites():
                raise ActivationsError(no_site(site))
            lines = lines.filter(pl.col("site") == name)
            if subject is not None:
                lines = lines.filter(pl.col("subject") == subject)
        if games is not None:
            lines = lines.filter(pl.col("game_id").is_in(list(games)))
        if seat is not None:
            lines = lines.filter(pl.col("seat") == seat)
        if variant is not None:
            lines = lines.filter(pl.col("variant") == variant)
        return self._collect(lines.sort(*KEY, nulls_last=False, maintain_order=True))

    def sites(self) -> list[str]:
        """The names of the sites that are stored, without subjects, sorted."""
        return self._collect(
            self.scan().select("site").unique(maintain_order=True).sort("site", maintain_order=True)
        )["site"].to_list()

    def names(self) -> dict[str, NDArray[np.float32]] | None:
        """The unembedding of each player's name, `(d_model,)`; None where the capture kept none."""
        path = self.path / NAMES
        return load_file(path) if path.is_file() else None

    def read(self, lines: pl.DataFrame, layer: int | str) -> NDArray[np.float32]:
        """Values of one layer for index lines, in their order: float32 (n_rows, d_model).

        Raises ActivationsDamaged for a missing or truncated shard, ActivationsError for an unknown layer.
        """
        name = self._known(layer)
        out = np.empty((lines.height, self.d_model), dtype=np.float32)
        for shard, where, rows in self._by_shard(lines):
            out[where] = widen(self._tensor(shard, name)[rows], shard.dtype)
        return out

    def read_rows(
        self, lines: pl.DataFrame, layers: Sequence[int | str] | None = None
    ) -> NDArray[np.float32]:
        """Values of several layers (None: all) for index lines: float32 (n_rows, n_layers, d_model)."""
        names = self.layers if layers is None else [self._known(layer) for layer in layers]
        out = np.empty((lines.height, len(names), self.d_model), dtype=np.float32)
        for shard, where, rows in self._by_shard(lines):
            for i, name in enumerate(names):
                out[where, i] = widen(self._tensor(shard, name)[rows], shard.dtype)
        return out

    def select(
        self,
        layer: int | str,
        *,
        site: str | None = None,
        games: Iterable[str] | None = None,
        seat: int | None = None,
        variant: str | None = "original",
    ) -> tuple[pl.DataFrame, NDArray[np.float32]]:
        """Index lines and their values at one layer: `index` and `read` together."""
        lines = self.index(site=site, games=games, seat=seat, variant=variant)
        return lines, self.read(lines, layer)

    def batches(
        self, lines: pl.DataFrame, layer: int | str, size: int = 65_536
    ) -> Iterator[tuple[pl.DataFrame, NDArray[np.float32]]]:
        """`read` in pieces of at most `size` rows, for stores larger than memory."""
        for piece in lines.iter_slices(size):
            yield piece, self.read(piece, layer)

    def tensor(self, shard: str, layer: int | str) -> NDArray[np.generic]:
        """The memory-mapped tensor (n_rows, d_model) of one shard, raw (bfloat16 as uint16), read-only."""
        return self._tensor(self._shard(shard), self._known(layer))

    def keys(self, games: Iterable[str] | None = None) -> set[tuple[Any, ...]]:
        """The keys of the stored rows, of some games or all: (game_id, seq, site, subject, variant, token_index)."""
        lines = self.scan().select(KEY)
        if games is not None:
            lines = lines.filter(pl.col("game_id").is_in(list(games)))
        return set(self._collect(lines).iter_rows())

    def check_readable(self) -> None:
        """Read every index part and the head of its shard. Raises ActivationsDamaged for the first that is damaged;
        only `verify` finds a changed byte in the rows."""
        for part in self.parts():
            for name in read_part(part)["shard"].unique(maintain_order=True):
                self._shard(name)

    def vocabulary(self) -> dict[int, str]:
        """The text of each token id, where a capture of single tokens stored it; else empty."""
        path = self.path / "vocabulary.parquet"
        return dict(pl.read_parquet(path).iter_rows()) if path.is_file() else {}

    def _known(self, layer: int | str) -> str:
        name = layer_name(layer)
        if name not in self.info.layers:
            raise ActivationsError(
                f"layer '{name}' is not in {self.path}; it holds {', '.join(self.info.layers)}. "
                "Capture again with that layer into a new folder"
            )
        return name

    def _collect(self, lines: pl.LazyFrame) -> pl.DataFrame:
        """Index lines. Raises ActivationsDamaged naming the part that cannot be read."""
        try:
            return lines.collect()
        except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError) as error:
            for part in self.parts():
                read_part(part)
            raise ActivationsDamaged(f"the index of {self.path} cannot be read ({error})") from error

    def _shard(self, name: str) -> Shard:
        return self._open(self.path / "shards" / segment(name, f"a shard in the index of {self.path}"))

    def _tensor(self, shard: Shard, layer: str) -> NDArray[Any]:
        """One layer of a shard, checked against its digest at first use. Raises ActivationsDamaged."""
        if (shard.path.name, layer) not in self._held:
            hold(shard, layer)
            self._held.add((shard.path.name, layer))
        return shard.tensors[layer]

    def _by_shard(self, lines: pl.DataFrame) -> Iterator[tuple[Shard, NDArray[np.int64], NDArray[np.int64]]]:
        """For each shard: (shard, positions in `lines`, rows in the shard), rows ascending."""
        numbered = lines.select("shard", "row").with_row_index("where").sort("row", maintain_order=True)
        for (name,), group in numbered.group_by("shard", maintain_order=True):
            shard = self._shard(str(name))
            rows = group["row"].to_numpy().astype(np.int64)
            if len(rows) and rows[-1] >= shard.n_rows:
                raise ActivationsDamaged(
                    f"the index names row {rows[-1]} of {shard.path}, which has {shard.n_rows} rows; "
                    f"{shard_remedy(shard.path)}"
                )
            yield shard, group["where"].to_numpy().astype(np.int64), rows
