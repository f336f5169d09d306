"""Reading configurations: TOML and overrides in, a validated model out, errors that name the remedy."""

from __future__ import annotations

import difflib
import json
import math
import tomllib
import types
import typing
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from games import load_game
from harness.config.sections import Config, GameSection, Section
from harness.errors import ConfigurationError
from harness.gate import Untrusted, check_name

MOST_CELLS = 10_000
"""Combinations of factors that a run may have."""
Table = TypeVar("Table", bound=Section)

EXAMPLES = Path(__file__).parent / "examples"
"""The configurations that ship; each is known by its name."""


def load_config(path: str | Path, overrides: Iterable[str] = ()) -> Config:
    """Read a TOML file, apply `key=value` overrides, validate. Raises ConfigurationError."""
    return parse_config(read_toml(path, overrides), str(path))


def read_toml(path: str | Path, overrides: Iterable[str] = ()) -> dict[str, Any]:
    """A TOML file, or one that ships by its name, with `key=value` overrides as plain data. Raises
    ConfigurationError."""
    path = find_config(path)
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ConfigurationError(f"there is no configuration {path}{_nearby(path)}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path} cannot be read: {error}") from error
    try:
        plain = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigurationError(f"{path} is not valid TOML: {error}") from error
    for one in overrides:
        override(plain, one)
    return plain


def _check_not_varied(plain: dict[str, Any], key: str, override: str) -> None:
    """Raises ConfigurationError for a key that a factor decides: its levels would replace the value in every game."""
    experiment = plain.get("experiment")
    factors = experiment.get("factors") if isinstance(experiment, dict) else None
    for factor, levels in (factors if isinstance(factors, dict) else {}).items():
        if f"{key}.".startswith(f"{factor}.") or f"{factor}.".startswith(f"{key}."):
            raise ConfigurationError(
                f"--set {override}: experiment.factors varies {factor!r} over {json.dumps(levels)}, which decides it "
                f"in every game: change the levels (--set 'experiment.factors={{\"{factor}\"=[...]}}') or remove the "
                "factor"
            )


def find_config(name: str | Path) -> Path:
    """The file of a configuration: the path itself, or the one that ships by its name (`first-tournament`)."""
    path = Path(name)
    shipped = EXAMPLES / f"{path.name}.toml"
    return shipped if str(name) == path.name and not path.is_file() and shipped.is_file() else path


def _with_moments(plain: dict[str, Any]) -> dict[str, Any]:
    """With the game's own `belief_moments` where `beliefs.before` is not given."""
    beliefs, game = plain.get("beliefs", {}), plain.get("game", {})
    if not isinstance(beliefs, dict) or "before" in beliefs or not isinstance(game, dict):
        return plain
    try:
        moments = load_game(game.get("name", GameSection().name)).belief_moments
    except (ValueError, TypeError):  # reported with the other errors when the game is configured
        return plain
    return {**plain, "beliefs": {**beliefs, "before": list(moments)}}


def parse_config(plain: dict[str, Any], source: str = "configuration") -> Config:
    """Validate a configuration given as plain data. Raises ConfigurationError naming every complaint."""
    config = validated(Config, _with_moments(plain), source)
    for section in ("agents", "backends"):
        for name in getattr(config, section):
            _check_name(name, f"{source}: one of [{section}.*]")
    for key in config.experiment.factors:
        _check_name(key, f"{source}: a factor of experiment.factors")
    n_cells = math.prod(len(levels) for levels in config.experiment.factors.values())
    if n_cells > MOST_CELLS:
        raise ConfigurationError(
            f"{source}: experiment.factors has {n_cells:,} combinations, at most {MOST_CELLS:,} are crossed; "
            "vary fewer keys in one run"
        )
    return config


def _check_name(name: str, what: str) -> None:
    try:
        check_name(name, what)
    except Untrusted as error:
        raise ConfigurationError(str(error)) from error


def validated(model: type[Table], plain: dict[str, Any], source: str) -> Table:
    """Plain data as a kind of configuration. Raises ConfigurationError naming every complaint."""
    try:
        return model.model_validate(plain)
    except ValidationError as error:
        complaints = [_complaint(model, dict(e)) for e in error.errors()]
        raise ConfigurationError(f"{source}: " + "; ".join(complaints)) from error


def set_key(plain: dict[str, Any], key: str, value: Any) -> None:
    """Set a dotted key in place, making the tables on the way. Raises ConfigurationError at a non-table."""
    *path, last = key.split(".")
    table = plain
    for i, part in enumerate(path):
        table = table.setdefault(part, {})
        if not isinstance(table, dict):
            raise ConfigurationError(
                f"{key} cannot be set: {'.'.join(path[: i + 1])} is a value, not a table"
            )
    table[last] = value


def with_agent_settings(config: Config, agent: str, settings: Mapping[str, Any], source: str) -> Config:
    """A configuration with some dotted keys of one agent set. Raises ConfigurationError."""
    plain = config.plain()
    for key, value in settings.items():
        set_key(plain["agents"][agent], key, value)
    return parse_config(plain, source)


def override(plain: dict[str, Any], one: str) -> None:
    """Apply `key=value` to plain data, in place. Raises ConfigurationError."""
    key, equals, text = one.partition("=")
    if not equals or not key.strip():
        raise ConfigurationError(f"--set {one!r}: write key=value, for instance --set run.games=20")
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        value = text.strip()  # a bare word is a string
    _check_not_varied(plain, key.strip(), one)
    set_key(plain, key.strip(), value)


def _complaint(model: type[BaseModel], error: dict[str, Any]) -> str:
    where = [str(part) for part in error["loc"]]
    key = ".".join(where) or "the file"
    if error["type"] == "extra_forbidden":
        known = _keys_at(model, where[:-1])
        near = difflib.get_close_matches(where[-1], known, n=1, cutoff=0.5)
        hint = f"did you mean {near[0]!r}?" if near else f"known here: {', '.join(known)}"
        return f"unknown key {key!r}; {hint}"
    if error["type"] == "missing":
        return f"{key} is missing"
    message = str(error["msg"]).removeprefix("Value error, ")
    if error["type"] == "value_error":
        return f"{key}: {message}" if where else message
    return f"{key} = {json.dumps(error['input'], default=str)}: {message}"


def _keys_at(model: Any, where: Sequence[str]) -> list[str]:
    """The keys that the table at a path may have."""
    for part in where:
        if isinstance(model, type) and issubclass(model, BaseModel):
            field = model.model_fields.get(part)
            model = None if field is None else field.annotation
        elif typing.get_origin(model) is dict:
            model = typing.get_args(model)[1]
        if isinstance(model, types.UnionType):
            model = next((m for m in typing.get_args(model) if m is not type(None)), None)
    return list(model.model_fields) if isinstance(model, type) and issubclass(model, BaseModel) else []


def _nearby(path: Path) -> str:
    """A hint that names existing configurations."""
    shipped = sorted(p.stem for p in EXAMPLES.glob("*.toml"))
    if path.stem in shipped:
        return f"; the one that ships is called {path.stem}, without a path and without .toml"
    here = sorted(p.name for p in path.parent.glob("*.toml")) if path.parent.is_dir() else []
    near = difflib.get_close_matches(path.name, [*here, *shipped], n=1, cutoff=0.5)
    return f"; did you mean {near[0]}?" if near else f"; those that ship are called: {', '.join(shipped)}"
