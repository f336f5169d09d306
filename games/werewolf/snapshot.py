"""States as JSON: a snapshot of a game at any point, from which it can be gone on with or branched.

A snapshot holds everything hidden. `restore(snapshot(state)) == state`, and the two go on alike.
"""

from __future__ import annotations

from typing import Any

import msgspec

from games.base import ReplayError
from games.werewolf.config import WerewolfConfig, build
from games.werewolf.state import State


def snapshot(state: State) -> bytes:
    """The state as JSON."""
    return _ENCODER.encode(state)


def restore(data: bytes | str) -> State:
    """The state of a snapshot. Raises ReplayError where the data is none or its rules are refused."""
    try:
        return _DECODER.decode(data)
    except msgspec.DecodeError as error:
        raise ReplayError(f"this is no snapshot of a game of werewolf: {error}") from error


def _encode(value: Any) -> Any:
    if isinstance(value, WerewolfConfig):
        return value.model_dump(mode="json")
    raise NotImplementedError(f"a state holds no {type(value)}")


def _decode(kind: type, value: Any) -> Any:
    if kind is WerewolfConfig:
        return build(**value)
    raise NotImplementedError(f"a state holds no {kind}")


_ENCODER = msgspec.json.Encoder(enc_hook=_encode)
_DECODER = msgspec.json.Decoder(State, dec_hook=_decode)
