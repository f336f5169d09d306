"""The fields of a settings class: name, type, default, range, and the docstring under each."""

from __future__ import annotations

import ast
import inspect
import itertools
import json
import textwrap
import types
import typing
from collections.abc import Iterator
from typing import Any, Literal, cast

import msgspec
from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

REQUIRED = "required"
_BOUNDS = {"ge": "at least {}", "gt": "more than {}", "le": "at most {}", "lt": "less than {}"}


class Key(msgspec.Struct, frozen=True):
    """One key of a table of the configuration."""

    name: str
    type: str
    default: str
    """The default in TOML; `required`, or `none` for a key that is left out."""
    range: str
    """Bounds and patterns in words; empty where there are none."""
    doc: str


def keys_of(cls: type, leave_out: tuple[str, ...] = ()) -> list[Key]:
    """The keys that a settings class has, in its order."""
    docs = attribute_docs(cls)
    if issubclass(cls, BaseModel):
        fields = cls.model_fields.items()
        hints = typing.get_type_hints(cls)
        return [
            Key(name, words_of(hints[name]), _default(field), _range(field, hints[name]), docs.get(name, ""))
            for name, field in fields
            if name not in leave_out
        ]
    hints = typing.get_type_hints(cls)
    return [
        Key(f.name, words_of(hints[f.name]), _plain(_struct_default(f)), "", docs.get(f.name, ""))
        for f in msgspec.structs.fields(cast(Any, cls))
        if f.name not in leave_out
    ]


def attribute_docs(cls: type) -> dict[str, str]:
    """The docstring under each annotated attribute of a class and its bases."""
    found: dict[str, str] = {}
    for base in reversed(cls.__mro__):
        if base.__module__.partition(".")[0] in ("games", "agents", "harness"):
            found |= _docs_in(base)
    return found


def _docs_in(cls: type) -> dict[str, str]:
    (tree,) = ast.parse(textwrap.dedent(inspect.getsource(cls))).body
    body = tree.body if isinstance(tree, ast.ClassDef) else []
    found = {}
    for statement, after in itertools.pairwise(body):
        if not (isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name)):
            continue
        if isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant):
            found[statement.target.id] = " ".join(inspect.cleandoc(str(after.value.value)).split())
    return found


def words_of(hint: Any) -> str:
    """A type in the words of a configuration."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is typing.Annotated:
        return words_of(arguments[0])
    if origin is Literal:
        return " | ".join(json.dumps(value) for value in arguments)
    if origin in (types.UnionType, typing.Union):
        return " or ".join(dict.fromkeys(words_of(a) for a in arguments if a is not type(None)))
    if origin in (tuple, list):
        return f"list of {_several(words_of(arguments[0]))}"
    if origin is dict:
        return f"table: {words_of(arguments[0])} -> {words_of(arguments[1])}"
    if isinstance(hint, type) and issubclass(hint, (BaseModel, msgspec.Struct)):
        return "table"
    return {bool: "true or false", int: "integer", float: "number", str: "text", Any: "anything"}.get(
        hint, str(hint)
    )


def _several(word: str) -> str:
    return {"text": "texts", "integer": "integers", "number": "numbers"}.get(word, f"({word})")


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return REQUIRED
    value = field.get_default(call_default_factory=True)
    return "none" if value is PydanticUndefined else _plain(value)


def _struct_default(field: Any) -> Any:
    if field.default is not msgspec.NODEFAULT:
        return field.default
    if field.default_factory is not msgspec.NODEFAULT:
        return field.default_factory()
    return msgspec.NODEFAULT


def _plain(value: Any) -> str:
    if value is msgspec.NODEFAULT:
        return REQUIRED
    if value is None:
        return "none"
    if isinstance(value, (BaseModel, msgspec.Struct)) or value == {}:
        return "{}"
    return json.dumps(value, ensure_ascii=False)


def _range(field: FieldInfo, hint: Any) -> str:
    return "; ".join(_bounds([*field.metadata, *_inner(hint)]))


def _inner(hint: Any) -> Iterator[Any]:
    """Constraints inside a type, such as those of a list's elements."""
    if typing.get_origin(hint) is typing.Annotated:
        for one in typing.get_args(hint)[1:]:
            yield from getattr(one, "metadata", [one])
    for argument in typing.get_args(hint):
        if not isinstance(argument, (str, int, float, bool)):
            yield from _inner(argument)


def _bounds(metadata: list[Any]) -> Iterator[str]:
    for one in metadata:
        for name, words in _BOUNDS.items():
            if (value := getattr(one, name, None)) is not None:
                yield words.format(f"2^{value.bit_length() - 1}" if value == 2**63 else value)
        if (least := getattr(one, "min_length", None)) is not None:
            yield f"not empty ({least} or more)" if least == 1 else f"{least} or more"
        if (pattern := getattr(one, "pattern", None)) is not None:
            yield f"as {pattern}"
