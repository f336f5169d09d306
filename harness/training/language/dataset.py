"""Lessons as files: parquet with token ids for trainers that take them, and JSON lines with words for all others."""

from __future__ import annotations

import json
from collections.abc import Sequence
from hashlib import blake2b
from pathlib import Path
from typing import Any

import msgspec
import polars as pl

from harness.atomic import making_folder
from harness.seals import files_of, seal
from harness.training.language.lessons import Lesson

PIECE = pl.Struct({"start": pl.Int32, "end": pl.Int32, "kind": pl.String, "seq": pl.Int32})
FORK = pl.Struct({"at": pl.Int32, "ids": pl.List(pl.Int32), "start": pl.Int32, "seq": pl.Int32})
SCHEMA: dict[str, Any] = {
    "run": pl.String, "game_id": pl.String, "seat": pl.Int16, "agent": pl.String, "role": pl.String,
    "ids": pl.List(pl.Int32),
    "pieces": pl.List(PIECE),  # token ranges that are learned; the rest is context
    "forks": pl.List(FORK),  # questions: ids that follow the first `at` tokens; the answer is ids[start:]
}  # fmt: skip


def table_of(lessons: Sequence[Lesson]) -> pl.DataFrame:
    """One row a lesson."""
    rows = [{k: v for k, v in msgspec.to_builtins(lesson).items() if k in SCHEMA} for lesson in lessons]
    return pl.DataFrame(rows, schema=SCHEMA)


def hash_of_lessons(lessons: Sequence[Lesson]) -> str:
    """A 16-digit hash of all that is learned and read, the same on every machine."""
    digest = blake2b(digest_size=8)
    encoder = msgspec.json.Encoder()
    for lesson in lessons:
        digest.update(encoder.encode(lesson) + b"\n")
    return digest.hexdigest()


def in_words(lesson: Lesson, tokenizer: Any) -> dict[str, Any]:
    """A lesson as a line of JSON: `messages` where a chat template separates the turns (`learned`: whether each is
    learned), else `text` and the character ranges that are learned."""

    def text(start: int, end: int) -> str:
        ids = list(lesson.ids[start:end])
        return str(tokenizer.decode(ids, skip_special_tokens=False, clean_up_tokenization_spaces=False))

    named = {"run": lesson.run, "game_id": lesson.game_id, "seat": lesson.seat, "agent": lesson.agent}
    if not lesson.template:
        ranges = [[len(text(0, p.start)), len(text(0, p.end))] for p in lesson.pieces]
        return named | {"text": text(0, len(lesson.ids)), "learned": ranges}
    edges = [0, *(edge for pair in lesson.template for edge in pair), len(lesson.ids)]
    gaps = [(a, b) for a, b in zip(edges[::2], edges[1::2], strict=True) if b > a]
    end = tokenizer.eos_token or ""
    messages = []
    for i, (a, b) in enumerate(gaps):
        learned = any(p.start < b and p.end > a for p in lesson.pieces)
        ours = (len(gaps) - 1 - i) % 2 == 0  # a lesson ends with the model's words
        role = "assistant" if ours else "user"
        role = "system" if i == 0 and len(gaps) % 2 else role
        content = text(a, b)
        messages.append(
            {"role": role, "content": content.removesuffix(end) if ours else content, "learned": learned}
        )
    return named | {"messages": messages}


def write_dataset(out: Path, lessons: Sequence[Lesson], tokenizer: Any, facts: dict[str, Any]) -> Path:
    """Write the folder `out`: `lessons.parquet`, `lessons.jsonl`, `dataset.json`. Raises StorageError."""
    with making_folder(out) as part:
        table_of(lessons).write_parquet(part / "lessons.parquet")
        with (part / "lessons.jsonl").open("w", encoding="utf-8") as file:
            for lesson in lessons:
                file.write(json.dumps(in_words(lesson, tokenizer), ensure_ascii=False) + "\n")
        (part / "dataset.json").write_text(json.dumps(facts, indent=2) + "\n")
        seal(part, *files_of(part), verb="dataset")
    return out
