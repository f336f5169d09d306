"""Interventions from a configuration: a saved vector, the point where it is applied, and its scale."""

from __future__ import annotations

import json
import tomllib
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError
from safetensors import SafetensorError, safe_open

from agents.hooks.intervention import Intervention
from harness.activations.format import block_of
from harness.config.sections import SteeringSection
from harness.errors import ConfigurationError
from harness.seals import hold


def intervention_of(section: SteeringSection) -> Intervention:
    """The intervention of a `steering` table. Raises ConfigurationError where its vector cannot be read, is not finite,
    or is zero and needed for its direction."""
    vector = read_vector(section)
    if section.kind != "patch" and not vector.any():
        raise ConfigurationError(
            f"the vector {section.vector} is zero: it has no direction to {section.kind}"
        )
    return Intervention(
        kind=section.kind,
        layer=section.layer,
        vector=vector,
        positions=section.positions,
        scale=section.scale,
        point=section.point,
    )


def read_vector(section: SteeringSection) -> NDArray[np.float32]:
    """The saved vector, float32 (d_model,) or for a patch (n_positions, d_model), finite. Raises ConfigurationError,
    RunDamaged where the verb that wrote it left another digest."""
    run, hash_sign, row = section.vector.partition("#")
    if hash_sign:
        return _captured(section, run, row)
    path = Path(section.vector).expanduser()
    remedy = "give a .safetensors or .npy file with one vector (d_model,)"
    hold(path.parent, path.name)
    try:
        values = (
            _tensor(path, section.key) if path.suffix == ".safetensors" else np.load(path, allow_pickle=False)
        )
    except FileNotFoundError:
        raise ConfigurationError(f"there is no vector {path}: {remedy}") from None
    except (OSError, ValueError, SafetensorError) as error:
        raise ConfigurationError(f"the vector {path} cannot be read ({error}): {remedy}") from error
    if not isinstance(values, np.ndarray) or values.dtype.kind not in "fiu":
        raise ConfigurationError(
            f"the vector {path} holds {getattr(values, 'dtype', 'several arrays')}, real numbers are needed: {remedy}"
        )
    with np.errstate(over="ignore"):  # overflow of float32 is detected below
        vector = values.astype(np.float32)
    wrong = int((~np.isfinite(vector)).sum())
    if wrong:
        raise ConfigurationError(
            f"{wrong} of the {vector.size} numbers of the vector {path} are not finite in float32"
        )
    return vector


def layer_of_card(vector: Path) -> int | None:
    """The block whose output a saved probe reads, from the card beside its file; None where there is no card."""
    try:
        card = json.loads(vector.with_suffix(".json").read_bytes())
    except (OSError, ValueError, RecursionError):
        return None
    return block_of(str(card.get("layer", "") if isinstance(card, dict) else ""))


def _tensor(path: Path, key: str | None) -> NDArray[Any]:
    """One tensor of a safetensors file: the one named, the one that its metadata calls its direction, or the only one.

    bfloat16, which numpy lacks, as float32.
    """
    with safe_open(path, framework="numpy") as file:
        names = sorted(file.keys())
        key = key or (file.metadata() or {}).get("direction")
        if key is None and len(names) != 1:
            raise ConfigurationError(
                f"{path} holds {len(names)} tensors ({', '.join(names)}): name one as steering.key"
            )
        key = names[0] if key is None else key
        if key not in names:
            raise ConfigurationError(f"{path} has no tensor {key!r}; it holds: {', '.join(names)}")
        if file.get_slice(key).get_dtype() != "BF16":
            return file.get_tensor(key)
    with safe_open(path, framework="pt") as file:
        return file.get_tensor(key).float().numpy()


def _captured(section: SteeringSection, run: str, row: str) -> NDArray[np.float32]:
    """The row that a run's store has of GAME/SEQ/SITE at the point and layer of the intervention."""
    from harness.activations.store import ActivationsError, open_activations

    game, _, rest = row.partition("/")
    seq, _, site = rest.partition("/")
    if not seq.isdigit() or not site:
        raise ConfigurationError(f"steering.vector = {section.vector!r}: write it as RUN#GAME/SEQ/SITE")
    try:
        store = open_activations(Path(run).expanduser() / "activations")
        lines = store.index(games=[game], site=site).filter(seq=int(seq))
        if lines.height != 1:
            raise ConfigurationError(
                f"steering.vector = {section.vector!r} names {lines.height} captured rows, exactly one is needed"
            )
        where = "embed" if section.point == "embed" else f"{section.point}.{section.layer}"
        return store.read(lines, where)[0]
    except ActivationsError as error:
        raise ConfigurationError(f"steering.vector = {section.vector!r}: {error}") from error


def read_steering(path: str | Path) -> SteeringSection:
    """A `steering` table in a TOML file of its own; a relative vector lies beside it. Raises ConfigurationError."""
    path = Path(path)
    try:
        plain = tomllib.loads(path.read_text(encoding="utf-8"))
        section = SteeringSection.model_validate(plain)
    except FileNotFoundError:
        raise ConfigurationError(f"there is no file {path}: write vector, layer and scale into it") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as error:
        raise ConfigurationError(f"{path} cannot be read as TOML: {error}") from error
    except ValidationError as error:
        known = ", ".join(SteeringSection.model_fields)
        what = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
        raise ConfigurationError(f"{path}: {what}; known keys: {known}") from error
    return section.model_copy(update={"vector": str(path.parent / Path(section.vector).expanduser())})


def steering_key(section: SteeringSection) -> str:
    """The key of a steered variant: 8 hex digits of a hash over every setting and the vector's values."""
    plain = section.model_dump_json(exclude={"vector", "key", "seats"}).encode()
    return blake2b(plain + read_vector(section).tobytes(), digest_size=4).hexdigest()
