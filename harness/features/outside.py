"""Any object with `encode` and `decode` as a dictionary: `wolfscope features load MODULE:NAME RUN --site S --layer L`.

Its decoder must be linear, so that every latent has a direction; the encoder is free, but a row's code may not depend
on other rows. Its folder keeps the directions and the object's module path, which is imported whenever the dictionary
is loaded. A torch module is given tensors on its own device, anything else numpy rows.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.extensions import EXTENSIONS, named_extensions
from harness.features.dictionary import BLOCK, Card, Codec, Dictionary, FeaturesError, Floats

TRIED = 64
"""Rows on which an object is tested."""


@dataclass(frozen=True)
class Outside(Dictionary):
    """A dictionary whose codes an external object computes."""

    codec: Codec

    def encode(self, x: NDArray[Any]) -> Floats:
        """Codes `(..., width)` of rows `(..., d_model)`. Raises FeaturesError for another width of rows."""
        rows = self._rows(x)
        out = np.empty((len(rows), self.card.width), dtype=np.float32)
        for at in range(0, len(rows), BLOCK):
            out[at : at + BLOCK] = asked(self.codec, "encode", rows[at : at + BLOCK])
        return out.reshape(*x.shape[:-1], self.card.width)

    def reconstruct(self, x: NDArray[Any]) -> Floats:
        """Reconstructions of rows `(..., d_model)`."""
        return self.decode(self.encode(x))

    def part(self, x: NDArray[Any], latents: Any) -> Floats:
        """What some latents contribute to rows `(..., d_model)`. Raises FeaturesError for an unknown latent."""
        chosen = list(latents)
        for latent in chosen:
            self.direction(latent)
        return np.asarray(self.encode(x)[..., chosen] @ self.w_dec[chosen], dtype=np.float32)


def outside_dictionary(where: str, rows: NDArray[Any], *, site: str, layer: str) -> Outside:
    """The dictionary of the object that `package.module:name` names, tried on rows `(n_rows, d_model)`.

    Raises FeaturesError where the object does not take such rows, where the code of a row depends on others, or where
    its decoder is not linear.
    """
    codec = codec_of(where)
    some = np.ascontiguousarray(rows[:TRIED], dtype=np.float32)
    codes, made = tabulate(codec, some)
    width, d = codes.shape[1], some.shape[1]
    zero = asked(codec, "decode", np.zeros((1, width), dtype=np.float32))[0]
    w_dec = np.concatenate(
        [
            asked(codec, "decode", np.eye(width, dtype=np.float32)[at : at + BLOCK])
            for at in range(0, width, BLOCK)
        ]
    )
    w_dec = w_dec - zero
    off = float(np.linalg.norm(codes @ w_dec + zero - made) / max(1e-12, float(np.linalg.norm(made))))
    if not off < 1e-3:
        raise FeaturesError(
            f"{where} decodes {len(some)} rows otherwise than by a sum of one direction a latent (relative difference "
            f"{off:.1e}): latents without a direction can be neither judged nor moved; give an object with a linear "
            "decoder"
        )
    card = Card(
        kind="object", model="", site=site, layer=layer, d_model=d, width=width, activation="object", k=0,
        normalisation="none", centred=False, source=f"the object {where}", object=where,
    )  # fmt: skip
    return opened(card, {"w_dec": w_dec, "b_dec": zero}, codec)


def opened(card: Card, tensors: Mapping[str, NDArray[Any]], codec: Codec | None = None) -> Outside:
    """The dictionary of a card and its directions; the object is imported where none is given.

    A card is untrusted: raises FeaturesError where the user's WOLFSCOPE_EXTENSIONS does not name its module.
    """
    module = card.object.partition(":")[0]
    if codec is None and module not in named_extensions():
        raise FeaturesError(
            f"the dictionary names code to be run ({card.object!r}): where you trust it as a program of your own, put "
            f"{module} into the environment variable {EXTENSIONS}"
        )
    d, width = card.d_model, card.width
    empty = {"w_enc": np.zeros((d, width), np.float32), "b_enc": np.zeros(width, np.float32)}
    kept = {name: tensors[name] for name in ("w_dec", "b_dec")}
    found = codec_of(card.object) if codec is None else codec
    return Outside(card, **empty, **kept, threshold=np.zeros(width, np.float32), codec=found)


def codec_of(where: str) -> Codec:
    """The object that `package.module:name` names, or that the function there returns. Raises FeaturesError."""
    module, _, name = where.partition(":")
    try:
        found = getattr(import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise FeaturesError(
            f"{where!r} cannot be imported ({error}); is its folder on PYTHONPATH? Write it as package.module:name"
        ) from error
    made = found() if callable(found) and not hasattr(found, "encode") else found
    if isinstance(made, type):
        made = made()
    if not isinstance(made, Codec):
        raise FeaturesError(
            f"{where!r} is {type(made).__name__}, which has not both encode and decode: rows (n_rows, d_model) to "
            "codes (n_rows, width) and back"
        )
    return made


def tabulate(codec: Codec, rows: NDArray[Any]) -> tuple[Floats, Floats]:
    """(codes `(n_rows, width)`, reconstructions `(n_rows, d_model)`) of any object, as numpy.

    Raises FeaturesError where shapes do not fit, or where a row's code depends on other rows.
    """
    codes = asked(codec, "encode", rows)
    made = asked(codec, "decode", codes)
    if codes.ndim != 2 or len(codes) != len(rows) or made.shape != rows.shape:
        raise FeaturesError(
            f"rows of shape {rows.shape} became codes {codes.shape} and rows {made.shape}: encode and decode must keep "
            "the number of rows, and decode the width"
        )
    alone = asked(codec, "encode", rows[:1])
    if not np.allclose(alone, codes[:1], rtol=1e-3, atol=1e-4):
        raise FeaturesError(
            "the code of a row by itself is not its code among others: a dictionary that keeps the largest of a batch "
            "must be read with its threshold"
        )
    return codes, made


def asked(codec: Codec, what: str, rows: NDArray[Any]) -> Floats:
    """The output of an object's `encode` or `decode` on rows, as numpy. Raises FeaturesError where it fails."""
    try:
        values = getattr(codec, what)(_given(codec, rows))
    except (TypeError, ValueError, RuntimeError, IndexError) as error:
        raise FeaturesError(
            f"{type(codec).__name__}.{what} fails on rows of shape {rows.shape}: {error}; it must take rows of the "
            "layer that is named"
        ) from error
    plain = values.detach().float().cpu().numpy() if hasattr(values, "detach") else values
    return np.asarray(plain, dtype=np.float32)


def _given(codec: Any, rows: NDArray[Any]) -> Any:
    """The rows in the type that the object expects."""
    parameters = getattr(codec, "parameters", None)
    first = None if parameters is None else next(iter(parameters()), None)
    return rows if first is None else first.new_tensor(rows)
