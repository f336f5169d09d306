"""The parquet tables of a run: their schemas, and the way from records to rows and back without loss."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import msgspec
import polars as pl

from games.records import Action, Decision, Event, Record, Span, SpeechAct, Trace
from harness.atomic import replacing, storage
from harness.errors import StorageError

Row = dict[str, Any]
_json = msgspec.json.Encoder().encode
Rows = dict[str, list[Row]]
"""Table name -> rows."""

SEAT = pl.Int16
ACTS = pl.List(pl.Struct({"kind": pl.String, "subject": SEAT, "role": pl.String}))
SPANS = pl.List(pl.Struct({"kind": pl.String, "start": pl.Int32, "end": pl.Int32, "seat": SEAT}))

SCHEMAS: dict[str, dict[str, Any]] = {
    "games": {
        "game_id": pl.String,
        "index": pl.Int64,  # place in the schedule
        "seed": pl.UInt64,
        "cell": pl.Int32,  # index into the manifest's cells
        "factors": pl.String,  # JSON: the cell's factors
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
        "probabilities": pl.String,  # JSON: role -> probability
    },
}
TABLES = tuple(SCHEMAS)


_WIDE = {
    "acts": pl.List(pl.Struct({"kind": pl.String, "subject": pl.Int64, "role": pl.String})),
    "spans": pl.List(pl.Struct({"kind": pl.String, "start": pl.Int64, "end": pl.Int64, "seat": pl.Int64})),
}
"""The columns of structures, as they are read from JSON."""


def frame(table: str, rows: Sequence[Row]) -> pl.DataFrame:
    """The rows under the table's schema; a missing column is null."""
    schema = SCHEMAS[table]
    return pl.DataFrame([_column(name, dtype, rows) for name, dtype in schema.items()], schema=schema)


def _column(name: str, dtype: Any, rows: Sequence[Row]) -> pl.Series:
    values = [row.get(name) for row in rows]
    if name not in _WIDE:
        return pl.Series(name, values, dtype=dtype, strict=True)
    # Through JSON: a list of structures a row, built value by value, would take five times as long.
    texts = [None if value is None else _json(value).decode() for value in values]
    return pl.Series(name, texts, dtype=pl.String).str.json_decode(_WIDE[name]).cast(dtype)


def record_rows(game_id: str, records: Iterable[Record]) -> Rows:
    """The `events` and `decisions` rows of one game."""
    rows: Rows = {"events": [], "decisions": []}
    for record in records:
        if isinstance(record, Event):
            rows["events"].append(_event_row(game_id, record))
        else:
            rows["decisions"].append(_decision_row(game_id, record))
    return rows


def _acts(acts: Sequence[SpeechAct]) -> list[Row]:
    return [{"kind": act.kind, "subject": act.subject, "role": act.role} for act in acts]


def _event_row(game_id: str, event: Event) -> Row:
    return {
        "game_id": game_id,
        "seq": event.seq,
        "kind": event.kind,
        "audience": None if event.audience is None else list(event.audience),
        "day": event.day,
        "phase": event.phase,
        "actor": event.actor,
        "target": event.target,
        "value": event.value,
        "text": event.text,
        "acts": _acts(event.acts),
        "data": None if event.data is None else json.dumps(event.data, ensure_ascii=False),
    }


def _decision_row(game_id: str, decision: Decision) -> Row:
    action, trace = decision.action, decision.trace
    row: Row = {
        "game_id": game_id,
        "seq": decision.seq,
        "day": decision.day,
        "phase": decision.phase,
        "seat": decision.seat,
        "kind": decision.kind,
        "options": list(decision.options),
        "option": action.option,
        "text": action.text,
        "acts": _acts(action.acts),
        "agent": decision.agent,
        "fallback": decision.fallback,
    }
    if trace is not None:
        row |= {
            "model": trace.model,
            "continues": trace.continues,
            "prompt_ids": list(trace.prompt_ids),
            "output_ids": list(trace.output_ids),
            "output_text": trace.output_text,
            "logprobs": list(trace.logprobs),
            "n_cached": trace.n_cached,
            "attempts": trace.attempts,
            "rejected": list(trace.rejected),
            "reasoning": trace.reasoning,
            "sampling": None if trace.sampling is None else json.dumps(trace.sampling, ensure_ascii=False),
            "spans": [msgspec.structs.asdict(span) for span in trace.spans],
        }
    return row


def _speech_acts(acts: Sequence[Row]) -> tuple[SpeechAct, ...]:
    return tuple(SpeechAct(**act) for act in acts)


def event_of(row: Row) -> Event:
    """The event that a row was made of."""
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
        data=None if row["data"] is None else json.loads(row["data"]),
    )


def decision_of(row: Row) -> Decision:
    """The decision that a row was made of."""
    trace = None
    if row["model"] is not None:
        trace = Trace(
            model=row["model"],
            prompt_ids=tuple(row["prompt_ids"]),
            output_ids=tuple(row["output_ids"]),
            output_text=row["output_text"],
            continues=row["continues"],
            spans=tuple(Span(**span) for span in row["spans"]),
            logprobs=tuple(row["logprobs"]),
            n_cached=row["n_cached"],
            attempts=row["attempts"],
            rejected=tuple(row["rejected"]),
            reasoning=row["reasoning"],
            sampling=None if row["sampling"] is None else json.loads(row["sampling"]),
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


def records_of(events: pl.DataFrame, decisions: pl.DataFrame) -> list[Record]:
    """One game's records in order, from its rows of the two tables."""
    records: list[Record] = [event_of(row) for row in events.iter_rows(named=True)]
    records += [decision_of(row) for row in decisions.iter_rows(named=True)]
    return sorted(records, key=lambda record: record.seq)


def frames_of(games: Iterable[Rows]) -> dict[str, pl.DataFrame]:
    """All tables in memory, for runs that are still being played."""
    rows: Rows = {table: [] for table in TABLES}
    for game in games:
        for table, more in game.items():
            rows[table] += more
    return {table: frame(table, rows[table]) for table in TABLES}


def write_tables(folder: Path, games: Iterable[Rows], games_a_part: int = 200) -> None:
    """Write all tables of a run, each file complete or absent; memory holds `games_a_part` games at a time.

    Rows keep the order of `games`, so the rows of one game stand together. Raises StorageError.
    """
    with storage(folder):
        parts = Path(tempfile.mkdtemp(prefix=".tables.", dir=folder))
    try:
        with storage(folder):
            counts = _write_parts(parts, games, games_a_part)
        for table in TABLES:
            files = [parts / f"{table}-{i:06d}.parquet" for i in range(counts)]
            with replacing(folder / f"{table}.parquet") as part:
                pl.scan_parquet(files).sink_parquet(part, compression="zstd")
    except pl.exceptions.PolarsError as error:
        raise StorageError(
            f"the tables of {folder} could not be written ({error}): the journal is whole, "
            "run the same command again once there is room"
        ) from error
    finally:
        shutil.rmtree(parts, ignore_errors=True)


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
