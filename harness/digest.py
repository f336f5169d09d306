"""Digests of written files, by which later changes are detected."""

from __future__ import annotations

from hashlib import blake2b
from pathlib import Path

_known: dict[tuple[str, int, int, int], str] = {}
"""(path, size, time of change, inode) -> digest, of files that this process has read."""


def digest_of(data: bytes | memoryview) -> str:
    """blake2b (32 hex digits) of some bytes."""
    return blake2b(data, digest_size=16).hexdigest()


def file_digest(path: Path, afresh: bool = False) -> str:
    """`digest_of` a file's content, read in pieces. Read once per process while its size and modification time stay
    the same; afresh: read again in any case. Raises OSError."""
    place = path.stat()
    key = (str(path.resolve()), place.st_size, place.st_mtime_ns, place.st_ino)
    if afresh or key not in _known:
        digest = blake2b(digest_size=16)
        with path.open("rb", buffering=0) as file:
            while piece := file.read(1 << 20):
                digest.update(piece)
        _known[key] = digest.hexdigest()
    return _known[key]
