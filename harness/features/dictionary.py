"""A sparse dictionary: stream vectors as sums of few directions. Needs only numpy.

    from harness.features.saved import load_dictionary
    found = load_dictionary("RUN/features/batchtopk-w1024-l16-s0")
    codes = found.encode(x)            # (n_rows, d_model) -> (n_rows, width), mostly zeros
    found.reconstruct(x)               # (n_rows, d_model)

A row's code never depends on other rows: a dictionary trained with the k largest of a whole batch is applied with a
threshold.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol, runtime_checkable

import msgspec
import numpy as np
from numpy.typing import NDArray

from harness.errors import WolfscopeError

SCHEMA_VERSION = 1
BLOCK = 4096
"""Rows encoded at a time."""
Floats = NDArray[np.float32]
Activation = Literal["relu", "threshold", "topk", "object"]
Norm = Literal["none", "scale", "row_norm", "layer_norm"]


class FeaturesError(WolfscopeError, ValueError):
    """A dictionary that cannot be read, does not fit, or cannot be trained; says why and what would help."""


class Card(msgspec.Struct, frozen=True, kw_only=True):
    """The content of `card.json`."""

    kind: str
    """`batchtopk`, `topk`, `matryoshka`; for others' dictionaries, the architecture that their own file names."""
    model: str
    """`name@hash` of the model whose stream it describes; a bare name where its file gives no hash; empty where it
    gives no name."""
    site: str
    """The site whose rows it was trained on (`harness.activations.sites`); `tokens` for every token of a text."""
    layer: str
    """The layer's name in the store: `resid_post.3`, where 0 is the output of block 0."""
    d_model: int
    width: int
    """Number of latents."""
    activation: Activation
    """`relu`; `threshold`: those above `threshold`; `topk`: the `k` largest of the row; `object`: the object decides
    (`harness.features.outside`)."""
    k: float
    """Target L0 of training (active latents of an average row); 0 where there was none."""
    normalisation: Norm
    """Normalisation of the input. `scale`: times `scale`. `row_norm`: each row to the length sqrt(d_model).
    `layer_norm`: each row to mean 0 and variance 1. The output is brought back."""
    scale: float = 1.0
    """Factor of the input, where `normalisation` is `scale`."""
    centred: bool = True
    """Whether `b_dec` is subtracted from the input before encoding."""
    variance_explained: float | None = None
    """1 - squared error / variance, on held-out rows; None where not stated."""
    l0: float | None = None
    """Active latents of an average held-out row."""
    dead: float | None = None
    """Share of latents that no held-out row activates."""
    n_rows: int = 0
    """Rows that it was trained on, each counted once."""
    n_held_out: int = 0
    """Number of rows behind the figures."""
    held_out: tuple[str, ...] = ()
    """Ids of the held-out games."""
    prefixes: tuple[int, ...] = ()
    """Matryoshka: sizes of the prefixes of latents that were trained to reconstruct alone."""
    seed: int = 0
    source: str = ""
    """The dictionary's origin, in words."""
    object: str = ""
    """`package.module:name` of the object that encodes, where `activation` is `object`."""
    stamps: tuple[str, ...] = ()
    """Warnings to print beside every figure made with it."""
    schema_version: int = SCHEMA_VERSION


@runtime_checkable
class Codec(Protocol):
    """Any dictionary: rows `(n_rows, d_model)` to codes `(n_rows, width)` and back."""

    def encode(self, x: Any) -> Any:
        """Codes, zero where a latent is off."""

    def decode(self, codes: Any) -> Any:
        """The rows decoded from codes."""


@dataclass(frozen=True)
class Dictionary:
    """A sparse dictionary in numpy."""

    card: Card
    w_enc: Floats
    """`(d_model, width)`."""
    b_enc: Floats
    w_dec: Floats
    """`(width, d_model)`: each latent's direction."""
    b_dec: Floats
    threshold: Floats
    """`(width,)`: a latent is on where it would be above this."""

    def __post_init__(self) -> None:
        """Raises FeaturesError where shapes and card differ."""
        d, width = self.card.d_model, self.card.width
        shapes = {
            "w_enc": (d, width), "b_enc": (width,), "w_dec": (width, d), "b_dec": (d,), "threshold": (width,),
        }  # fmt: skip
        for name, wanted in shapes.items():
            found = getattr(self, name).shape
            if found != wanted:
                raise FeaturesError(
                    f"{name} has shape {found}, the card says {wanted} (d_model {d}, width {width}): "
                    "weights and card belong to different dictionaries"
                )
            if not np.isfinite(getattr(self, name)).all():
                raise FeaturesError(f"{name} holds numbers that are not finite: take a file that is whole")

    def encode(self, x: NDArray[Any]) -> Floats:
        """Codes `(..., width)` of rows `(..., d_model)`. Raises FeaturesError for another width of rows."""
        rows = self._rows(x)
        out = np.empty((len(rows), self.card.width), dtype=np.float32)
        for at in range(0, len(rows), BLOCK):
            z, _, _ = self._normalised(rows[at : at + BLOCK])
            out[at : at + BLOCK] = self._on(self.before(z))
        return out.reshape(*x.shape[:-1], self.card.width)

    def decode(self, codes: NDArray[Any]) -> Floats:
        """Rows `(..., d_model)` decoded from codes `(..., width)`.

        Raises FeaturesError where the input is normalised row by row, which needs the rows: use `reconstruct`.
        """
        if self.card.normalisation in ("row_norm", "layer_norm"):
            raise FeaturesError(
                f"this dictionary normalises each row ({self.card.normalisation}), so codes alone do not say how long "
                "the row was; use reconstruct(x)"
            )
        return np.asarray(self._decoded(codes) / np.float32(self.card.scale), dtype=np.float32)

    def reconstruct(self, x: NDArray[Any]) -> Floats:
        """Reconstructions of rows `(..., d_model)`, in the rows' units."""
        rows = self._rows(x)
        out = np.empty(rows.shape, dtype=np.float32)
        for at in range(0, len(rows), BLOCK):
            z, mean, length = self._normalised(rows[at : at + BLOCK])
            out[at : at + BLOCK] = self._decoded(self._on(self.before(z))) * length + mean
        return out.reshape(x.shape)

    def part(self, x: NDArray[Any], latents: Sequence[int]) -> Floats:
        """The contribution of some latents to rows `(..., d_model)`, in the rows' own units: subtracting it keeps the
        rest of a row, including the reconstruction error. Raises FeaturesError for an unknown latent."""
        chosen = list(latents)
        for latent in chosen:
            self.direction(latent)
        rows = self._rows(x)
        z, _, length = self._normalised(rows)
        made = self._on(self.before(z))[:, chosen] @ self.w_dec[chosen] * length
        return np.asarray(made, dtype=np.float32).reshape(x.shape)

    def direction(self, latent: int) -> Floats:
        """`(d_model,)`: what one unit of a latent adds to a row. Raises FeaturesError for one that does not exist."""
        if not 0 <= latent < self.card.width:
            raise FeaturesError(
                f"latent {latent} does not exist: there are {self.card.width:,}, from 0 to {self.card.width - 1:,}"
            )
        return np.asarray(self.w_dec[latent] / np.float32(self.card.scale), dtype=np.float32)

    def before(self, z: Floats) -> Floats:
        """Pre-activations `(n_rows, width)` of normalised rows, which decide the active latents."""
        moved = z - self.b_dec if self.card.centred else z
        return np.asarray(moved @ self.w_enc + self.b_enc, dtype=np.float32)

    def _on(self, before: Floats) -> Floats:
        codes = np.maximum(before, 0)
        if self.card.activation == "threshold":
            codes[before <= self.threshold] = 0
        elif self.card.activation == "topk":
            k = int(self.card.k)
            if k < self.card.width:
                kept = np.argpartition(-codes, k - 1, axis=1)[:, :k]
                only = np.zeros_like(codes)
                np.put_along_axis(only, kept, np.take_along_axis(codes, kept, axis=1), axis=1)
                codes = only
        return codes

    def _decoded(self, codes: NDArray[Any]) -> Floats:
        return np.asarray(codes @ self.w_dec + self.b_dec, dtype=np.float32)

    def _normalised(self, rows: Floats) -> tuple[Floats, Any, Any]:
        """(normalised rows, offset, factor); offset and factor undo the normalisation."""
        kind = self.card.normalisation
        if kind in ("none", "scale"):
            scale = np.float32(self.card.scale)
            return rows * scale, np.float32(0), 1 / scale
        if kind == "layer_norm":
            mean = rows.mean(axis=1, keepdims=True)
            spread = rows.std(axis=1, ddof=1, keepdims=True)
            return (rows - mean) / (spread + np.float32(1e-5)), mean, spread
        length = np.linalg.norm(rows, axis=1, keepdims=True) / np.sqrt(np.float32(rows.shape[1]))
        length = np.maximum(length, np.float32(1e-12))
        return rows / length, np.float32(0), length

    def _rows(self, x: NDArray[Any]) -> Floats:
        if x.ndim < 1 or x.shape[-1] != self.card.d_model:
            raise FeaturesError(
                f"rows have shape {x.shape}, the dictionary reads width {self.card.d_model}: it belongs to "
                f"{self.card.model or 'another model'}, {self.card.layer}"
            )
        return np.ascontiguousarray(x, dtype=np.float32).reshape(-1, self.card.d_model)
