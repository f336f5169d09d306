"""The folder of a dictionary.

It holds `dictionary.safetensors` (`w_enc` (d_model, width), `b_enc` (width,), `w_dec` (width, d_model), `b_dec`
(d_model,), `threshold` (width,); for an external object only the directions) and `card.json` (`Card`).
"""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from harness.atomic import replacing, storage, write_whole
from harness.features.dictionary import SCHEMA_VERSION, Card, Dictionary, FeaturesError
from harness.features.outside import opened
from harness.seals import hold, seal

CARD, WEIGHTS = "card.json", "dictionary.safetensors"


def save_dictionary(found: Dictionary, folder: str | Path) -> Path:
    """Write the folder of a dictionary; its path. Raises StorageError."""
    place = Path(folder)
    with storage(place):
        place.mkdir(parents=True, exist_ok=True)
    names: tuple[str, ...] = ("w_dec", "b_dec")
    if found.card.activation != "object":
        names += ("w_enc", "b_enc", "threshold")
    tensors = {name: np.ascontiguousarray(getattr(found, name), dtype=np.float32) for name in names}
    with replacing(place / WEIGHTS) as part:
        save_file(tensors, part)
    write_whole(place / CARD, msgspec.json.format(msgspec.json.encode(found.card), indent=1) + b"\n")
    seal(place, place / CARD, place / WEIGHTS, verb="features")
    return place


def load_dictionary(folder: str | Path) -> Dictionary:
    """The dictionary of a folder that `save_dictionary` wrote. Raises FeaturesError."""
    place = Path(folder)
    card = read_card(place)
    hold(place, WEIGHTS)
    try:
        tensors = load_file(place / WEIGHTS)
        if card.activation == "object":
            return opened(card, tensors)
        return Dictionary(card, **tensors)
    except (OSError, SafetensorError, TypeError, ValueError, KeyError) as error:
        if isinstance(error, FeaturesError):
            raise
        raise FeaturesError(
            f"{place / WEIGHTS} cannot be read ({error}): restore it, or train the dictionary again"
        ) from error


def read_card(folder: Path) -> Card:
    """The card of a dictionary's folder. Raises FeaturesError."""
    path = folder / CARD
    hold(folder, CARD)
    try:
        card = msgspec.json.decode(path.read_bytes(), type=Card)
    except FileNotFoundError:
        raise FeaturesError(
            f"{folder} holds no dictionary (no {CARD}): `wolfscope features train RUN` makes one, "
            "`wolfscope features load` takes those of others"
        ) from None
    except (OSError, ValueError) as error:  # msgspec's errors are ValueErrors
        raise FeaturesError(
            f"{path} cannot be read ({error}): restore it, or train the dictionary again"
        ) from error
    if card.schema_version != SCHEMA_VERSION:
        raise FeaturesError(
            f"{path} has schema version {card.schema_version}, this version reads {SCHEMA_VERSION}: "
            "train the dictionary again, or use the version that wrote it"
        )
    return card
