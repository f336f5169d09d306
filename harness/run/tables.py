"""The parquet tables of a run: their schemas, and the way from records to rows and back without loss."""

from __future__ import annotations

import itertools
import json
import shutil
import tempfile
from collections.abc import Callable, Iterable, Sequence
from operator import attrgetter
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import polars as pl

from games.records import Action, Decision, Event, Record, Span, SpeechAct, Trace
from harness.atomic import replacing, storage
from harness.digest import file_digest
from harness.errors import RunDamaged, StorageError
from harness.run.typed import FACTORS, PROBABILITIES

_json = msgspec.json.Encoder().encode
_json_text = json.JSONEncoder(ensure_ascii=False).encode


class Logged(NamedTuple):
    """One game's rows in `events` or `decisions`: one row per record, whose columns are read from it."""

    game_id: str
    records: Sequence[Record]


Row = dict[str, Any]
Rows = dict[str, list[Any]]
"""Table name -> rows as dictionaries; for `events` and `decisions` one `Logged` a game."""

SEAT = pl.Int16
ACTS = pl.List(pl.Struct({"kind": pl.String, "subject": SEAT, "role": pl.String, "team": pl.List(SEAT)}))
TEAMLESS = pl.List(pl.Struct({"kind": pl.String, "subject": SEAT, "role": pl.String}))
"""The type of `acts` in older run folders, before any game had acts about teams."""
SPANS = pl.List(pl.Struct({"kind": pl.String, "start": pl.Int32, "end": pl.Int32, "seat": SEAT}))

SCHEMAS: dict[str, dict[str, Any]] = {
    "games": {
        "game_id": pl.String,
        "index": pl.Int64,  # place in the schedule
        "seed": pl.UInt64,
        "cell": pl.Int32,  # index into the manifest's cells
        "factors": FACTORS,  # the cell's
        "preset": pl.String,
        "lexicon": pl.String,
        "n_players": pl.Int16,
        "winner": pl.String,
        "reason": pl.String,
        "n_days": pl.Int16,
        "n_decisions": pl.Int32,
        "n_fallbacks": pl.Int32,
        "status": pl.String,  # finished | failed
        "error": pl.String,
        "seconds": pl.Float64,
        "session": pl.Int32,  # index into the manifest's sessions, whose configuration played it; null: not known
    },
    "seats": {
        "game_id": pl.String,
        "seat": SEAT,
        "name": pl.String,
        "role": pl.String,
        "faction": pl.String,
        "agent": pl.String,
        "model": pl.String,
        "exit_day": pl.Int16,
        "exit_cause": pl.String,
        "won": pl.Boolean,
    },
    "events": {
        "game_id": pl.String,
        "seq": pl.Int32,
        "kind": pl.String,
        "audience": pl.List(SEAT),  # null: everyone; []: the moderator alone
        "day": pl.Int16,
        "phase": pl.String,
        "actor": SEAT,
        "target": SEAT,
        "value": pl.String,
        "text": pl.String,
        "acts": ACTS,
        "data": pl.String,  # JSON
    },
    "decisions": {
        "game_id": pl.String,
        "seq": pl.Int32,
        "day": pl.Int16,
        "phase": pl.String,
        "seat": SEAT,
        "kind": pl.String,
        "options": pl.List(SEAT),
        "option": SEAT,
        "text": pl.String,
        "acts": ACTS,
        "agent": pl.String,
        "fallback": pl.String,
        "forced": pl.Boolean,  # the model chose among the legal answers after its own could not be used
        "model": pl.String,  # null: no model was asked
        "continues": pl.Int32,
        "prompt_ids": pl.List(pl.Int32),
        "output_ids": pl.List(pl.Int32),
        "output_text": pl.String,
        "logprobs": pl.List(pl.Float64),
        "n_cached": pl.Int32,
        "attempts": pl.Int16,
        "rejected": pl.List(pl.String),
        "reasoning": pl.String,
        "sampling": pl.String,  # JSON
        "spans": SPANS,
    },
    "beliefs": {
        "game_id": pl.String,
        "seq": pl.Int32,
        "viewer": SEAT,
        "subject": SEAT,
        "about": SEAT,  # null: first order
        "source": pl.String,
        "p_werewolf": pl.Float64,
        "probabilities": PROBABILITIES,
        "option_mass": pl.Float64,  # of all options together, before normalisation
        "note": pl.String,  # why it failed, or a remark on how it was obtained
    },
}
TABLES = tuple(SCHEMAS)
TOKENS = ("prompt_ids", "output_ids")
"""The columns of decisions with token ids; `decision_of` accepts rows without them."""
LATER = {"games": ("session",), "decisions": ("forced",), "beliefs": ("option_mass", "note")}
"""Columns that folders of older versions lack; they are read as null there."""


_WIDE = {
    "acts": pl.List(
        pl.Struct({"kind": pl.String, "subject": pl.Int64, "role": pl.String, "team": pl.List(pl.Int64)})
    ),
    "spans": pl.List(pl.Struct({"kind": pl.String, "start": pl.Int64, "end": pl.Int64, "seat": pl.Int64})),
    "factors": FACTORS,
    "probabilities": PROBABILITIES,
    **dict.fromkeys(("audience", "options", "prompt_ids", "output_ids"), pl.List(pl.Int64)),
}
"""The list columns, as read from JSON."""


def frame(table: str, rows: Sequence[Any]) -> pl.DataFrame:
    """The rows under the table's schema; a missing column is null."""
    schema = SCHEMAS[table]
    if table not in ("events", "decisions"):
        columns = {name: [row.get(name) for row in rows] for name in schema}
    else:
        columns = {"game_id": [game.game_id for game in rows for _ in game.records]}
        records = list(itertools.chain.from_iterable(game.records for game in rows))
        untraced = table == "decisions" and all(decision.trace is None for decision in records)
        for name in schema:
            if untraced and (name in Trace.__struct_fields__ or name == "forced"):
                columns[name] = [None] * len(records)
            elif name != "game_id":
                columns[name] = list(map(_reader(table, name), records))
    return pl.DataFrame(
        [_column(name, schema[name], values) for name, values in columns.items()], schema=schema
    )


def _column(name: str, dtype: Any, values: list[Any]) -> pl.Series:
    if values.count(None) == len(values):  # for instance token columns where no model plays
        return pl.Series(name, dtype=dtype).clear(len(values))
    if name not in _WIDE:
        return pl.Series(name, values, dtype=dtype, strict=True)
    # Through JSON: building the lists value by value would take five times as long.
    texts = [None if value is None else _json(value).decode() for value in values]
    return pl.Series(name, texts, dtype=pl.String).str.json_decode(_WIDE[name]).cast(dtype)


def _reader(table: str, name: str) -> Callable[[Any], Any]:
    """A getter of a column's value from a record."""
    if name == "forced":
        return lambda decision: (
            None if decision.trace is None else "forced" in (decision.trace.sampling or {})
        )
    if table == "decisions" and name in Trace.__struct_fields__:
        of_trace = _text_of(name) if name == "sampling" else attrgetter(name)
        return lambda decision: None if decision.trace is None else of_trace(decision.trace)
    if table == "decisions" and name in Action.__struct_fields__:
        return attrgetter(f"action.{name}")
    return _text_of(name) if name == "data" else attrgetter(name)


def _text_of(name: str) -> Callable[[Any], str | None]:
    """A field that holds JSON, as text."""
    get = attrgetter(name)
    return lambda record: None if (value := get(record)) is None else _json_text(value)


def record_rows(game_id: str, records: Sequence[Record]) -> Rows:
    """The `events` and `decisions` of one game."""
    return {
        "events": [Logged(game_id, [r for r in records if isinstance(r, Event)])],
        "decisions": [Logged(game_id, [r for r in records if isinstance(r, Decision)])],
    }


def _speech_acts(acts: Sequence[Row]) -> tuple[SpeechAct, ...]:
    return tuple(
        SpeechAct(act["kind"], act["subject"], act["role"], tuple(act.get("team") or ())) for act in acts
    )


def event_of(row: Row) -> Event:
    """The event that a row encodes."""
    return Event(
        seq=row["seq"],
        kind=row["kind"],
        audience=None if row["audience"] is None else tuple(row["audience"]),
        day=row["day"],
        phase=row["phase"],
        actor=row["actor"],
        target=row["target"],
        value=row["value"],
        text=row["text"],
        acts=_speech_acts(row["acts"]),
        data=_parsed(row, "data"),
    )


def _parsed(row: Row, column: str) -> Any:
    text = row[column]
    try:
        return None if text is None else json.loads(text)
    except (ValueError, RecursionError) as error:
        raise RunDamaged(
            f"column {column!r} of record {row['seq']} of game {row.get('game_id', '')} holds no JSON ({error}): the "
            "table was edited; `wolfscope repair RUN` writes it anew from the journal"
        ) from error


def decision_of(row: Row) -> Decision:
    """The decision that a row encodes."""
    trace = None
    if row["model"] is not None:
        trace = Trace(
            model=row["model"],
            prompt_ids=tuple(row.get("prompt_ids", ())),
            output_ids=tuple(row.get("output_ids", ())),
            output_text=row["output_text"],
            continues=row["continues"],
            spans=tuple(Span(**span) for span in row["spans"]),
            logprobs=tuple(row.get("logprobs", ())),
            n_cached=row["n_cached"],
            attempts=row["attempts"],
            rejected=tuple(row["rejected"]),
            reasoning=row["reasoning"],
            sampling=_parsed(row, "sampling"),
        )
    return Decision(
        seq=row["seq"],
        seat=row["seat"],
        kind=row["kind"],
        action=Action(option=row["option"], text=row["text"], acts=_speech_acts(row["acts"])),
        options=tuple(row["options"]),
        day=row["day"],
        phase=row["phase"],
        agent=row["agent"],
        fallback=row["fallback"],
        trace=trace,
    )


def records_of(events: Iterable[Row], decisions: Iterable[Row]) -> list[Record]:
    """One game's records in order, from its rows of the two tables."""
    records: list[Record] = [*map(event_of, events), *map(decision_of, decisions)]
    return sorted(records, key=lambda record: record.seq)


def frames_of(games: Iterable[Rows]) -> dict[str, pl.DataFrame]:
    """All tables in memory, for runs that are still being played."""
    rows: Rows = {table: [] for table in TABLES}
    for game in games:
        for table, more in game.items():
            rows[table] += more
    return {table: frame(table, rows[table]) for table in TABLES}


def write_tables(folder: Path, games: Iterable[Rows], games_a_part: int = 200) -> dict[str, str]:
    """Write all tables of a run, each file complete or absent; memory holds `games_a_part` games at a time. Returns
    their digests, by file name.

    Rows keep the order of `games`, so the rows of one game are contiguous. Raises StorageError.
    """
    with storage(folder):
        parts = Path(tempfile.mkdtemp(prefix=".tables.", dir=folder))
    try:
        with storage(folder):
            counts = _write_parts(parts, games, games_a_part)
        digests: dict[str, str] = {}
        for table in TABLES:
            files = [parts / f"{table}-{i:06d}.parquet" for i in range(counts)]
            with replacing(folder / f"{table}.parquet") as part:
                pl.scan_parquet(files).sink_parquet(part, compression="zstd")
                digests[f"{table}.parquet"] = file_digest(part)
    except pl.exceptions.PolarsError as error:
        raise StorageError(
            f"the tables of {folder} could not be written ({error}): the journal is whole, "
            "run the same command again once there is room"
        ) from error
    finally:
        shutil.rmtree(parts, ignore_errors=True)
    return digests


def _write_parts(parts: Path, games: Iterable[Rows], games_a_part: int) -> int:
    rows: Rows = {table: [] for table in TABLES}
    count = 0

    def write() -> None:
        for table in TABLES:
            frame(table, rows[table]).write_parquet(parts / f"{table}-{count:06d}.parquet")
            rows[table].clear()

    for i, game in enumerate(games):
        if i and i % games_a_part == 0:
            write()
            count += 1
        for table, more in game.items():
            rows[table] += more
    write()
    return count + 1
