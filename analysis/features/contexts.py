"""Where a latent is on: its top rows, random rows of those on which it is on, and what was said just before."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import islice
from typing import Any

import numpy as np
import polars as pl

from analysis.data.frames import GameLog
from analysis.features.material import Material
from games.printable import one_line
from games.records import Decision, Event

CONTEXTS: dict[str, Any] = {
    "latent": pl.Int32, "drawn": pl.String, "place": pl.Int32, "game_id": pl.String, "seq": pl.Int32,
    "seat": pl.Int16, "subject": pl.Int16, "activation": pl.Float64, "text": pl.String,
}  # fmt: skip
"""`top`: the rows on which a latent is largest; `random`: drawn among all rows on which it is on. `text`: who is
about to decide what about whom, with their true roles, and the last words that the viewer heard."""
SHOWN = 8
HEARD = 2
"""Number of utterances in a text."""
LONGEST = 110
"""Number of characters of an utterance."""


def contexts(material: Material, latents: Sequence[int], seed: int = 0) -> pl.DataFrame:
    """The contexts (schema `CONTEXTS`) of each latent, one latent after the other."""
    rng, parts = np.random.default_rng([seed, 9]), []
    columns = material.codes.tocsc()
    for latent in latents:
        column = columns[:, [latent]]
        where, value = column.indices, column.data
        top = np.argsort(-value, kind="stable")[:SHOWN]
        drawn = rng.choice(len(where), min(SHOWN, len(where)), replace=False)
        for kind, some in (("top", top), ("random", np.sort(drawn))):
            lines = material.lines[where[some]].select("game_id", "seq", "seat", "subject")
            parts.append(
                lines.with_columns(
                    latent=pl.lit(latent), drawn=pl.lit(kind), place=pl.int_range(1, len(some) + 1),
                    activation=pl.Series(value[some].astype(float)), text=pl.lit(None, pl.String),
                ).select(list(CONTEXTS)).cast(CONTEXTS)
            )  # fmt: skip
    if not parts:
        return pl.DataFrame(schema=CONTEXTS)
    table = pl.concat(parts)
    keys = [tuple(row) for row in table.select("game_id", "seq", "seat", "subject").iter_rows()]
    told = _told(material.logs.some({game for game, *_ in keys}), set(keys))
    return table.with_columns(text=pl.Series([told.get(key) for key in keys], dtype=pl.String))


def _told(logs: Iterable[GameLog], wanted: set[Any]) -> dict[Any, str]:
    """Key (game, seq, seat, subject) -> its text."""
    asked: dict[str, list[Any]] = {}
    for key in sorted(wanted, key=str):
        asked.setdefault(key[0], []).append(key)
    found = {}
    for log in logs:
        facts = log.game.seats(log.config, log.records)
        kinds = {r.seq: (r.kind, r.day) for r in log.records if isinstance(r, Decision)}
        said = [r for r in log.records if isinstance(r, Event) and r.text and r.actor is not None]
        for key in asked.get(log.game_id, ()):
            _, seq, seat, subject = key
            if seq not in kinds:
                continue
            kind, day = kinds[seq]
            about = "" if subject is None else f", about {facts[subject].name} ({facts[subject].role})"
            heard = (r for r in reversed(said) if r.seq < seq and (r.audience is None or seat in r.audience))
            lines = [
                f"{facts[r.actor or 0].name}: {one_line(r.text or '', LONGEST)}" for r in islice(heard, HEARD)
            ]
            head = f"day {day}, {kind.replace('_', ' ')} of {facts[seat].name} ({facts[seat].role}){about}"
            found[key] = " / ".join([head, *reversed(lines)])
    return found
