"""API keys: read from the environment, checked, known to the gate of secrets, and kept where they are used."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterable, Iterator, Mapping

from agents.backends.secrets import know
from harness.config.sections import BackendSection
from harness.errors import ConfigurationError

_HELD: dict[str, str] = {}
"""Variable -> key, of variables that were taken out of the environment."""
TRACKERS = (
    "WANDB_API_KEY",
    "MLFLOW_TRACKING_PASSWORD",
    "MLFLOW_TRACKING_TOKEN",
    "HF_TOKEN",
    "HUGGING_FACE_HUB_TOKEN",
)
"""Further variables whose values are masked where they are set."""
_EDGES = " \t\r\n\v\f\u00a0\ufeff\u200b"
_SECRET_NAMES = re.compile(r"(?i)(?:^|_)(?:api_?key|key|token|secret|password|authorization|credentials?)$")


def read_key(backend: str, variable: str) -> str:
    """The key in an environment variable, white space around it left out.

    Raises ConfigurationError for one that is missing or that no HTTP header can hold. No message shows it.
    """
    where = f"backends.{backend}.api_key_env"
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", variable):
        raise ConfigurationError(
            f"{where} is the name of an environment variable that holds the key, such as MY_KEY, and not the key itself"
        )
    key = (_HELD.get(variable) or os.environ.get(variable, "")).strip(_EDGES)
    if not key:
        raise ConfigurationError(
            f"{where}: the environment variable {variable} is not set; export the key in it, or remove api_key_env for "
            "a server that asks for none"
        )
    know(key, variable)
    wrong = next((c for c in key if not "!" <= c <= "~"), None)
    if wrong is not None:
        at, kind = key.index(wrong), "white space" if wrong.isspace() else "a control character"
        if wrong.isprintable() and not wrong.isspace():
            kind = f"{wrong!r}, which is no ASCII character"
        raise ConfigurationError(
            f"{where}: the key in {variable} has {kind} at place {at + 1} of {len(key)}, and no server takes that in a "
            "key: copy it again, as plain text"
        )
    return key


def check_no_secrets(backend: str, settings: Mapping[str, object]) -> None:
    """Raises ConfigurationError where a setting seems to hold a secret, which would be kept in the run's manifest."""
    for name, value in settings.items():
        if isinstance(value, Mapping):
            check_no_secrets(backend, value) if name != "fields" else None
        elif isinstance(value, str) and _SECRET_NAMES.search(name):
            raise ConfigurationError(
                f"backends.{backend}.settings.{name} seems to be a secret, and settings are kept with the run: put it "
                "into an environment variable and name that as api_key_env"
            )


@contextlib.contextmanager
def keys_apart(backends: Iterable[BackendSection]) -> Iterator[None]:
    """For the block, removes the keys of these backends from the environment that child processes inherit."""
    for variable in TRACKERS:
        know(os.environ.get(variable, "").strip(), variable)
    taken = {}
    for variable in {b.api_key_env for b in backends if b.api_key_env is not None}:
        if variable in os.environ:
            taken[variable] = _HELD[variable] = os.environ.pop(variable)
    try:
        yield
    finally:
        for variable, value in taken.items():
            os.environ.setdefault(variable, value)
            _HELD.pop(variable, None)
