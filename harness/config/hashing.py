"""Hashes of plain data: the same on every machine."""

from __future__ import annotations

import hashlib
import json
from typing import Any


def hash_of(value: Any) -> str:
    """A 16-digit hash of plain data, the same on every machine."""
    return hash_of_text(canonical(value))


def canonical(value: Any) -> str:
    """The JSON of plain data that is hashed."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def hash_of_text(text: str) -> str:
    """The hash of data whose `canonical` JSON this is."""
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()
