"""One shard of activations: a safetensors file with one tensor (n_rows, d_model) per layer, and number formats.

A tensor per layer, not one for all, so that reading one layer touches only its own pages. Files are written by hand
from numpy (the format is a length, a JSON header and the raw bytes) because numpy has no bfloat16; any safetensors
reader opens them. This module holds bfloat16 as uint16.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.atomic import replacing, storage
from harness.digest import digest_of
from harness.errors import WolfscopeError

DTYPES: dict[str, tuple[str, type[np.generic]]] = {
    "float32": ("F32", np.float32),
    "float16": ("F16", np.float16),
    "bfloat16": ("BF16", np.uint16),
}
"""Store dtype -> safetensors name, numpy dtype of the raw values."""
CHOSEN = "(--dtype or activations.dtype, into a store of its own: move the one that is there away)"
"""Text for messages: where a store's number format is chosen."""


class ActivationsError(WolfscopeError, RuntimeError):
    """A store of activations cannot be used as asked."""


class ActivationsDamaged(ActivationsError):
    """A shard is truncated, changed, or missing."""

    status = 1


class ActivationOverflow(WolfscopeError, ValueError):
    """Values that the store's dtype cannot hold, or that are not numbers at all."""


def index_part(shard: Path) -> Path:
    """The path of a shard's index part."""
    return shard.parent.parent / "index" / f"{shard.stem}.parquet"


def shard_remedy(shard: Path) -> str:
    """The remedy for a damaged shard or index part, for messages."""
    return f"delete {shard} and {index_part(shard)}, then capture again as before: what is not there is read anew"


def narrow(
    values: NDArray[np.float32], dtype: str, layers: Sequence[str], name: Callable[[int], str]
) -> NDArray[Any]:
    """float32 (n_rows, n_layers, d_model) in the raw form of `dtype`, rounded to nearest even.

    Raises ActivationOverflow, with the count, for values that are not finite before or after; `name` names a row.
    """
    values = np.ascontiguousarray(values, dtype=np.float32)
    _refuse(
        ~np.isfinite(values),
        values,
        layers,
        name,
        "the model's activations are not finite",
        "check the weights, and the scale where they are steered",
    )
    if dtype == "float32":
        return values
    if dtype == "float16":
        with np.errstate(over="ignore"):
            half = values.astype(np.float16)
        bad = np.isinf(half)
        _refuse(bad, values, layers, name, "float16 ends at 65504", f"store bfloat16 or float32 {CHOSEN}")
        return half
    bits = values.view(np.uint32)
    raw = ((bits + (((bits >> 16) & 1) + np.uint32(0x7FFF))) >> 16).astype(np.uint16)
    bad = (raw & 0x7F80) == 0x7F80
    _refuse(bad, values, layers, name, "bfloat16 ends at 3.39e38", f"store float32 {CHOSEN}")
    return raw


def widen(raw: NDArray[Any], dtype: str) -> NDArray[np.float32]:
    """Raw values of any shape as float32 (a copy)."""
    if dtype == "bfloat16":
        return (raw.astype(np.uint32) << 16).view(np.float32)
    return raw.astype(np.float32)


def checksums(raw: NDArray[Any]) -> list[str]:
    """blake2b (16 hex digits) of each row's bytes over all layers; raw is (n_rows, n_layers, d_model)."""
    rows = np.ascontiguousarray(raw)
    return [blake2b(row.tobytes(), digest_size=8).hexdigest() for row in rows]


def write_shard(
    path: Path, raw: NDArray[Any], layers: Sequence[str], dtype: str, metadata: Mapping[str, str]
) -> tuple[str, dict[str, str]]:
    """Write raw (n_rows, n_layers, d_model) atomically; returns the digests of its head and of each layer's bytes.

    Raises StorageError.
    """
    n_rows, _, d_model = raw.shape
    name = DTYPES[dtype][0]
    size = n_rows * d_model * raw.itemsize
    header: dict[str, Any] = {"__metadata__": dict(metadata)}
    for i, layer in enumerate(layers):
        header[layer] = {
            "dtype": name,
            "shape": [n_rows, d_model],
            "data_offsets": [i * size, (i + 1) * size],
        }
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # keeps the tensors aligned
    head, digests = struct.pack("<Q", len(text)) + text, dict[str, str]()
    with replacing(path) as part, storage(path), part.open("wb") as file:
        file.write(head)
        for i, layer in enumerate(layers):
            values = np.ascontiguousarray(raw[:, i]).data
            file.write(values)
            digests[layer] = digest_of(values)
    return digest_of(head), digests


@dataclass(frozen=True)
class Shard:
    """An open shard: memory-mapped, nothing read yet."""

    path: Path
    dtype: str
    layers: tuple[str, ...]
    n_rows: int
    d_model: int
    tensors: dict[str, NDArray[Any]]
    """Layer -> raw (n_rows, d_model), mapped read-only."""
    metadata: dict[str, str]
    head: bytes
    """Everything before the first tensor."""

    def row_raw(self, row: int) -> NDArray[Any]:
        """Raw (n_layers, d_model) of one row."""
        return np.stack([self.tensors[layer][row] for layer in self.layers])


def open_shard(path: Path) -> Shard:
    """Map a shard. Raises ActivationsDamaged, naming the file and the damage."""
    if not path.is_file():
        raise ActivationsDamaged(f"shard {path} is missing; restore it, or {shard_remedy(path)}")
    found = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(8)
        length = struct.unpack("<Q", head)[0] if len(head) == 8 else 0
        if len(head) < 8 or length > found - 8:
            raise ActivationsDamaged(
                f"shard {path} is truncated: {found} bytes, its header alone needs {length + 8}; "
                f"{shard_remedy(path)}"
            )
        text = file.read(length)
    try:
        header = json.loads(text)
        metadata = dict(header.pop("__metadata__", {}))
        layers = tuple(header)
        end = max(int(h["data_offsets"][1]) for h in header.values())
        names = {h["dtype"] for h in header.values()}
        n_rows, d_model = next(iter(header.values()))["shape"]
        starts = {layer: int(h["data_offsets"][0]) for layer, h in header.items()}
        dtype = next(d for d, (name, _) in DTYPES.items() if {name} == names)
    except (ValueError, KeyError, TypeError, StopIteration, UnicodeDecodeError) as error:
        raise ActivationsDamaged(
            f"shard {path} has a broken header ({type(error).__name__}: {error}); {shard_remedy(path)}"
        ) from error
    if found != 8 + length + end:
        raise ActivationsDamaged(
            f"shard {path} is {'truncated' if found < 8 + length + end else 'too long'}: {found} bytes, "
            f"expected {8 + length + end}; {shard_remedy(path)}"
        )
    whole = np.memmap(path, mode="r", dtype=np.uint8, offset=8 + length) if end else np.zeros(0, np.uint8)
    kind = np.dtype(DTYPES[dtype][1])
    size = n_rows * d_model * kind.itemsize
    tensors = {
        layer: whole[start : start + size].view(kind).reshape(n_rows, d_model)
        for layer, start in starts.items()
    }
    return Shard(path, dtype, layers, n_rows, d_model, tensors, metadata, head + text)


def _refuse(
    bad: NDArray[np.bool_],
    values: NDArray[np.float32],
    layers: Sequence[str],
    name: Callable[[int], str],
    why: str,
    remedy: str,
) -> None:
    n = int(bad.sum())
    if n == 0:
        return
    row, layer, _ = np.argwhere(bad)[0]
    largest = float(np.abs(values[bad]).max())
    raise ActivationOverflow(
        f"{n} of {values.size} values cannot be stored ({why}): largest |x| = {largest:g}, first at "
        f"{layers[layer]} of {name(int(row))}; {remedy}"
    )
