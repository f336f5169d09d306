"""Interventions as a configuration gives them: a saved vector, where it goes, and by how much."""

from __future__ import annotations

import tomllib
from hashlib import blake2b
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from agents.intervention import Intervention
from harness.config import SteeringSection
from harness.errors import ConfigurationError


def intervention_of(section: SteeringSection) -> Intervention:
    """The intervention of a `steering` table. Raises ConfigurationError where its vector cannot be read."""
    return Intervention(
        kind=section.kind,
        layer=section.layer,
        vector=read_vector(section),
        positions=section.positions,
        scale=section.scale,
        point=section.point,
    )


def read_vector(section: SteeringSection) -> NDArray[np.float32]:
    """The saved vector, float32 (d_model,) or for a patch (n_positions, d_model). Raises ConfigurationError."""
    run, hash_sign, row = section.vector.partition("#")
    if hash_sign:
        return _captured(section, run, row)
    path = Path(section.vector).expanduser()
    try:
        if path.suffix == ".safetensors":
            from safetensors.numpy import load_file

            tensors = load_file(path)
            if section.key is None and len(tensors) != 1:
                raise ConfigurationError(
                    f"{path} holds {len(tensors)} tensors ({', '.join(sorted(tensors))}): name one as steering.key"
                )
            key = section.key if section.key is not None else next(iter(tensors))
            if key not in tensors:
                raise ConfigurationError(
                    f"{path} has no tensor {key!r}; it holds: {', '.join(sorted(tensors))}"
                )
            values = tensors[key]
        else:
            values = np.load(path, allow_pickle=False)
    except FileNotFoundError:
        raise ConfigurationError(
            f"there is no vector {path}: give a .safetensors or .npy file with one vector (d_model,)"
        ) from None
    except (OSError, ValueError) as error:
        raise ConfigurationError(f"the vector {path} cannot be read: {error}") from error
    return np.asarray(values, dtype=np.float32)


def _captured(section: SteeringSection, run: str, row: str) -> NDArray[np.float32]:
    """The row that a run's store has of GAME/SEQ/SITE at the point and layer of the intervention."""
    from harness.activations import ActivationsError, open_activations

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
    """What names a steered variant: 8 hex digits of everything that decides it, the vector's values included."""
    plain = section.model_dump_json(exclude={"vector", "key", "seats"}).encode()
    return blake2b(plain + read_vector(section).tobytes(), digest_size=4).hexdigest()
