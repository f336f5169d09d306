"""The digests of a store: one small file a shard, written with it, and one digest of them all for the run's manifest.

    digests/<writer>-<n>.json   of the shard's head, of each layer's bytes, and of its index part

A reader checks a layer of a shard against its digest at first use, so reading one layer still reads only that layer's
bytes. Older stores have no digests and are read unchecked.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec
import numpy as np

from harness.activations.shards import ActivationsDamaged, Shard, shard_remedy
from harness.atomic import write_whole
from harness.digest import digest_of, file_digest

_held: set[tuple[str, int, int, int, str]] = set()
"""(path, size, time of change, inode, layer) whose digest this process has verified."""

SEALED = "sealed"
"""The metadata key by which a shard states that it has digests."""


class ShardDigests(msgspec.Struct, frozen=True):
    """The content of `digests/<shard>.json`."""

    head: str
    """Digest of everything before the first tensor."""
    layers: dict[str, str]
    """Layer -> digest of its tensor's bytes."""
    index: str
    """Digest of the index part."""


def digests_file(shard: Path) -> Path:
    """The path of a shard's digests."""
    return shard.parent.parent / "digests" / f"{shard.stem}.json"


def write_digests(shard: Path, head: str, layers: dict[str, str], index: bytes) -> None:
    """Write a shard's digests, before its index part. Raises StorageError."""
    found = ShardDigests(head, layers, digest_of(index))
    write_whole(digests_file(shard), msgspec.json.encode(found) + b"\n")


def read_digests(shard: Path, sealed: bool = True) -> ShardDigests | None:
    """The digests of a shard; None where it was written without any. sealed: whether its head states that it has
    digests.

    Raises ActivationsDamaged.
    """
    file = digests_file(shard)
    if not file.is_file():
        if sealed:
            raise ActivationsDamaged(f"{file} is missing; {shard_remedy(shard)}")
        return None
    try:
        return msgspec.json.decode(file.read_bytes(), type=ShardDigests)
    except (msgspec.DecodeError, UnicodeDecodeError, OSError) as error:
        raise ActivationsDamaged(f"{file} cannot be read ({error}); {shard_remedy(shard)}") from error


def changed_parts(shard: Shard, layers: Sequence[str] | None = None) -> Iterator[str]:
    """The parts of a shard whose bytes differ from their digests, in words. layers: check only the head and these
    (None: all)."""
    written = read_digests(shard.path, SEALED in shard.metadata)
    if written is None:
        return
    if digest_of(shard.head) != written.head:
        yield "its head has changed"
    for layer in shard.layers if layers is None else layers:
        if digest_of(np.ascontiguousarray(shard.tensors[layer]).data) != written.layers.get(layer):
            yield f"layer {layer} has changed"


def hold(shard: Shard, layer: str) -> None:
    """Check one layer against its digest, once per process while the file's size and modification time stay the same.

    Raises ActivationsDamaged.
    """
    place = shard.path.stat()
    key = (str(shard.path.resolve()), place.st_size, place.st_mtime_ns, place.st_ino, layer)
    if key in _held:
        return
    for what in changed_parts(shard, [layer]):
        raise ActivationsDamaged(f"shard {shard.path} is damaged: {what}; {shard_remedy(shard.path)}")
    _held.add(key)


def check_index(part: Path) -> None:
    """Raises ActivationsDamaged where an index part differs from its digest."""
    shard = part.parent.parent / "shards" / f"{part.stem}.safetensors"
    written = read_digests(shard, sealed=False)
    if written is not None and file_digest(part) != written.index:
        raise ActivationsDamaged(f"index part {part} has changed; {shard_remedy(shard)}")


def store_digest(path: Path) -> str:
    """One digest of a whole store: of its settings, its vocabulary and the digests of every shard."""
    files = [
        *(file for file in (path / "store.json", path / "vocabulary.parquet") if file.is_file()),
        *sorted((path / "digests").glob("[!.]*.json")),
    ]
    return digest_of("".join(f"{file.name} {file_digest(file, afresh=True)}\n" for file in files).encode())
