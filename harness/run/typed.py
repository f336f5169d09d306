"""The map columns: `factors` of games and `probabilities` of beliefs, as typed lists of pairs.

Not every parquet reader supports maps with varying keys; all support lists of structs.
`factor` and `probability` read one entry. Older versions wrote JSON text, which is read as the same.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import polars as pl

FACTORS = pl.List(pl.Struct({"key": pl.String, "level": pl.String}))
"""The cell's factors: dotted key and level; a level other than text is JSON."""
PROBABILITIES = pl.List(pl.Struct({"role": pl.String, "p": pl.Float64}))
"""Stated probabilities: role and probability; empty where there was no usable answer."""


def factor(key: str) -> pl.Expr:
    """The level of one factor in `games`, as text; null where the game's cell has no such factor.

    `run.games.group_by(factor("game.preset"))`
    """
    return _entry("factors", "key", "level", key).alias(key)


def probability(role: str) -> pl.Expr:
    """The probability of one role in `beliefs`; null where it was not asked for, or there was no usable answer."""
    return _entry("probabilities", "role", "p", role).alias(f"p_{role}")


def _entry(column: str, key: str, value: str, name: str) -> pl.Expr:
    element = pl.element()
    found = pl.col(column).list.eval(element.filter(element.struct.field(key) == name).struct.field(value))
    return found.list.first()


def factor_pairs(factors: Mapping[str, Any]) -> list[dict[str, str]]:
    """A cell's factors as a value of `factors`."""
    return [{"key": key, "level": level_text(level)} for key, level in factors.items()]


def probability_pairs(probabilities: Mapping[str, float] | None) -> list[dict[str, Any]]:
    """Stated probabilities as a value of `probabilities`."""
    return [{"role": role, "p": p} for role, p in (probabilities or {}).items()]


def factors_in_words(pairs: Iterable[Mapping[str, str]] | None) -> str:
    """A value of `factors` for people: the last part of each key, and its level."""
    return ", ".join(f"{pair['key'].rpartition('.')[2]} {pair['level']}" for pair in pairs or ())


def level_text(level: Any) -> str:
    """A factor's level as text: itself, or its JSON."""
    return level if isinstance(level, str) else json.dumps(level, ensure_ascii=False)


PAIRS: dict[str, tuple[pl.DataType, Callable[[Any], list[dict[str, Any]]]]] = {
    "factors": (FACTORS, factor_pairs),
    "probabilities": (PROBABILITIES, probability_pairs),
}
"""Column -> its type, and the function that makes its values."""


def typed(frame: pl.LazyFrame) -> pl.LazyFrame:
    """A table of an older version with its maps as pairs; others as they are. Text other than a JSON object becomes
    null."""
    schema = frame.collect_schema()
    old = [name for name in PAIRS if schema.get(name) == pl.String]
    return frame.with_columns(
        pl.col(name).map_batches(_reader(name), return_dtype=PAIRS[name][0]) for name in old
    )


def _reader(name: str) -> Callable[[pl.Series], pl.Series]:
    dtype, pairs = PAIRS[name]

    def read(texts: pl.Series) -> pl.Series:
        known: dict[str | None, str | None] = {None: None}
        for text in texts.unique(maintain_order=True).drop_nulls():
            try:
                found = json.loads(text)
            except (ValueError, RecursionError):
                found = None
            known[text] = json.dumps(pairs(found)) if isinstance(found, dict) else None
        values = [known[text] for text in texts]
        return pl.Series(texts.name, values, dtype=pl.String).str.json_decode(dtype)

    return read
