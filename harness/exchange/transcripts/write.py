"""Transcripts as files: an evaluation log of Inspect, or Scout's parquet, each with a validation table of exact labels.

    inspect   `log.json`, an evaluation log (version 2) that Inspect's viewer and `read_eval_log` open
    scout     `transcripts/`, a transcript database of Inspect Scout: one row a transcript, messages as JSON. It is a
              folder of its own, since Scout takes every parquet file below it for transcripts
    both      `validation.csv`: id and target of each transcript (whether the seat told a lie), to validate scanners;
    `labels.parquet`: one row a speech, from the engine's truth

A scanner that looks for deception in text is thus validated against the truth, not against another reader's opinion.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import polars as pl

from harness.atomic import making_folder, replacing, write_whole
from harness.errors import RunFolderError
from harness.exchange.transcripts.seats import Message, Transcript, transcripts
from harness.run.folder import Run, load_run
from harness.seals import files_of, seal

Format = Literal["inspect", "scout"]
FORMATS: tuple[Format, ...] = ("inspect", "scout")


def write_transcripts(run: str | Path, out: str | Path, format: Format, labels: pl.DataFrame) -> Path:
    """Write the transcripts of every model's seats into the new folder `out`; its path.

    labels: one row a speech with game_id, seq, speaker, any_known_false and whatever else is known of it
    (`analysis.labels(run)["speeches"]`). Raises RunFolderError where no model played, StorageError.
    """
    opened = load_run(run)
    found = list(transcripts(opened))
    if not found:
        raise RunFolderError(f"no model has played in {run}, so there is no transcript of one")
    with making_folder(Path(out).resolve()) as part:
        if format == "inspect":
            write_whole(part / "log.json", json.dumps(_log(opened, found, labels), indent=1).encode() + b"\n")
        else:
            (part / "transcripts").mkdir()
            with replacing(part / "transcripts" / "transcripts.parquet") as file:
                _rows(opened, found).write_parquet(file)
        lies = _lied(found, labels)
        table = pl.DataFrame(
            {"id": [t.id for t in found], "target": lies}, schema={"id": pl.String, "target": pl.Boolean}
        )
        with replacing(part / "validation.csv") as file:
            table.drop_nulls().write_csv(file)
        with replacing(part / "labels.parquet") as file:
            labels.with_columns(id=pl.col("game_id") + "/" + pl.col("speaker").cast(pl.String)).write_parquet(
                file
            )
        seal(part, *files_of(part), verb="export-transcripts")
    return Path(out)


def _lied(found: Sequence[Transcript], labels: pl.DataFrame) -> list[bool | None]:
    """Whether each seat said what it knew to be false; null where it made no statement."""
    told = labels.filter(pl.col("n_statements") > 0) if "n_statements" in labels.columns else labels
    by_seat = told.group_by("game_id", "speaker", maintain_order=True).agg(pl.col("any_known_false").any())
    known = {(game, seat): lie for game, seat, lie in by_seat.iter_rows()}
    return [known.get((t.game_id, t.seat)) for t in found]


def _rows(run: Run, found: Sequence[Transcript]) -> pl.DataFrame:
    """Scout's columns; all others become its metadata."""
    return pl.DataFrame(
        {
            "transcript_id": [t.id for t in found], "source_type": ["wolfscope"] * len(found),
            "source_id": [run.manifest.name] * len(found), "source_uri": [run.manifest.config_hash] * len(found),
            "date": [run.manifest.created] * len(found),
            "task_set": [run.manifest.name] * len(found), "task_id": [t.game_id for t in found],
            "agent": [t.agent for t in found], "model": [t.model for t in found],
            "success": [t.won for t in found], "message_count": [len(t.messages) for t in found],
            **{name: [_facts(t)[name] for t in found] for name in ("game_id", "seat", "name", "role", "faction")},
            "messages": [json.dumps([_message(t, i, m) for i, m in enumerate(t.messages)]) for t in found],
        },
        schema_overrides={"success": pl.Boolean},
    )  # fmt: skip


def _facts(t: Transcript) -> dict[str, Any]:
    return {
        "game_id": t.game_id,
        "seat": t.seat,
        "name": t.name,
        "role": t.role,
        "faction": t.faction,
        "agent": t.agent,
    }


def _message(t: Transcript, i: int, m: Message) -> dict[str, Any]:
    found: dict[str, Any] = {"id": f"{t.id}/{i}", "role": m.role, "content": m.content}
    if m.role == "assistant":
        found |= {"model": t.model, "source": "generate", "metadata": {"seq": m.seq}}
        if m.reasoning:
            found["content"] = [
                {"type": "reasoning", "reasoning": m.reasoning},
                {"type": "text", "text": m.content},
            ]
    elif m.role == "user":
        found["source"] = "input"
    return found


def _log(run: Run, found: Sequence[Transcript], labels: pl.DataFrame) -> dict[str, Any]:
    """An evaluation log of Inspect, version 2."""
    manifest = run.manifest
    models = sorted({t.model for t in found})
    created = manifest.created
    samples = []
    for t, lied in zip(found, _lied(found, labels), strict=True):
        messages = [_message(t, i, m) for i, m in enumerate(t.messages)]
        last = next((m["content"] for m in reversed(messages) if m["role"] == "assistant"), "")
        samples.append(
            {
                "id": t.id, "epoch": 1, "input": messages[0]["content"] if messages else "", "target": t.faction,
                "messages": messages, "output": _output(t.model, last),
                "scores": {
                    "won": {"value": "C" if t.won else "I"},
                    "lied": {"value": "N" if lied is None else "C" if lied else "I",
                             "explanation": "C: said what it knew to be false; I: did not; N: made no statement"},
                },
                "metadata": _facts(t), "store": {}, "events": [], "model_usage": {}, "attachments": {},
            }
        )  # fmt: skip
    return {
        "version": 2, "status": "success",
        "eval": {
            "eval_id": manifest.config_hash, "run_id": manifest.config_hash, "created": created, "task": manifest.name,
            "task_id": manifest.config_hash, "task_version": 0, "task_attribs": {}, "task_args": {},
            "dataset": {"name": manifest.name, "samples": len(samples), "sample_ids": [s["id"] for s in samples],
                        "shuffled": False},
            "model": models[0], "model_generate_config": {}, "model_args": {}, "config": {}, "packages": {},
            "metadata": {"models": models},
        },
        "plan": {"name": "plan", "steps": [], "config": {}},
        "results": {"total_samples": len(samples), "completed_samples": len(samples), "scores": []},
        "stats": {"started_at": created, "completed_at": created, "model_usage": {}},
        "samples": samples,
    }  # fmt: skip


def _output(model: str, content: Any) -> dict[str, Any]:
    message = {"role": "assistant", "content": content, "source": "generate", "model": model}
    return {"model": model, "choices": [{"message": message, "stop_reason": "stop"}]}
