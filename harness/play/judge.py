"""A judge over a run: every speech with a statement, asked of a model, into the table that the report reads.

    RUN/derived/judge.parquet     one row a judge and speech

The speeches are those with automatic labels; the judge does not see these labels.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl

from agents.backends.base import Backend, BackendError
from agents.llm.encoder import TokenizerError
from agents.llm.judge import Judge, question_hash
from games.records import Decision
from harness.config.files import read_toml, validated
from harness.config.judge import JudgeConfig, JudgeSection
from harness.config.models import model_folder, model_names
from harness.config.sections import BackendSection
from harness.errors import ConfigurationError
from harness.play.engines import close_backends, start_backends
from harness.play.pools.cluster import ray_for_now
from harness.play.pools.workplace import workplace
from harness.play.preflight.backends import check_backends
from harness.play.preflight.keys import keys_apart
from harness.play.progress import Progress
from harness.run.derived import inputs_of, mark_stale, read_table, write_table
from harness.run.folder import Run, load_run
from harness.run.held import RunFolder

WHERE = Path("derived") / "judge.parquet"
JUDGEMENTS: dict[str, Any] = {
    "game_id": pl.String, "seq": pl.Int32,  # of the decision that spoke
    "judge": pl.String,
    "p_lie": pl.Float64,  # probability of a known falsehood; null: no usable answer
    "source": pl.String,  # stated, stated_words, failed
    "model": pl.String,  # name@hash of the judge's weights, or a served model's name
    "question": pl.String,  # version and hash of the question and its format
}  # fmt: skip
INPUTS = ("events.parquet", "decisions.parquet")
"""The tables of a run that are read."""
GAMES_AT_ONCE = 8
"""Games that are judged concurrently; the table is written after each group."""


def judge_run(path: str | Path, config: str | Path, overrides: tuple[str, ...], progress: Progress) -> Path:
    """Ask the judge of a TOML file about a run's speeches; returns the table's path. Resumes where an earlier call
    stopped.

    Raises ConfigurationError, RunFolderError, ModelFilesError, BackendError, EngineLost, StorageError.
    """
    settings = validated(JudgeConfig, read_toml(config, overrides), str(config))
    source = settings.backends[settings.judge.backend]
    check_backends({settings.judge.backend: source})
    run = load_run(path)
    with RunFolder.hold(run.path), contextlib.ExitStack() as stack:
        table = JudgeTable(run.path / WHERE, settings.judge, model_names({"": source})[""])
        if not any(True for _ in _unasked(run, table, settings.judge.games)):
            progress.say(
                f"{table.name} has {len(table.answered()):,} answers: no speech with a statement is left"
            )
            return table.path
        stack.enter_context(keys_apart([source]))
        stack.enter_context(workplace())
        if source.kind != "openai":
            stack.enter_context(ray_for_now(None, progress))
        backends = start_backends({settings.judge.backend: source}, progress.say)

        async def ask() -> None:
            try:
                judge = _judge(backends[settings.judge.backend], settings.judge, source, run.manifest.created)
                await ask_about(run, judge, table, settings.judge.games, progress)
            finally:
                await close_backends(backends)

        asyncio.run(ask())
        mark_stale(run.path)
    return table.path


async def ask_about(run: Run, judge: Judge, table: JudgeTable, games: int | None, progress: Progress) -> None:
    """Ask about all speeches that the table has no answer for, and write it after every few games.

    Raises BackendError where the first games bring no answer at all, or the backend fails for good.
    """
    todo = list(_unasked(run, table, games))
    failures: list[str] = []
    n = 0
    for at in range(0, len(todo), GAMES_AT_ONCE):
        batch = todo[at : at + GAMES_AT_ONCE]
        found = await asyncio.gather(
            *(judge.judge(*run.game(g)[:2], run.records(g), g, only) for g, only in batch)
        )
        rows = [
            {"game_id": game_id, "seq": one.seq, "p_lie": one.p_lie, "source": one.source}
            for (game_id, _), some in zip(batch, found, strict=True)
            for one in some
        ]
        n += len(rows)
        failures += [one.error for some in found for one in some if one.p_lie is None]
        if len(failures) == n:
            raise BackendError(
                f"{table.model} answered on none of {n:,} speeches: {failures[0]}", retryable=False
            )
        table.add(rows)
        progress.say(f"{min(at + GAMES_AT_ONCE, len(todo)):,} of {len(todo):,} games judged")
    if failures:
        progress.say(
            f"{len(failures):,} of {n:,} speeches have no answer ({failures[0]}); the same command asks again"
        )


class JudgeTable:
    """`derived/judge.parquet`: the answers of this judge so far, and those of others, which are kept."""

    def __init__(self, path: Path, section: JudgeSection, model: str) -> None:
        """Raises ConfigurationError where the name has answers of another model, or to another question."""
        self.path, self.name, self.model = path, section.name or section.backend, model
        self.question = question_hash(section.prompt, section.orders, section.template)
        self.frame = pl.DataFrame(schema=JUDGEMENTS)
        if path.is_file():
            self.frame = pl.concat([self.frame, read_table(path)], how="diagonal_relaxed")
        mine = self.frame.filter(pl.col("judge") == self.name)
        for column, wanted in (("model", self.model), ("question", self.question)):
            other = [found for found in mine[column].unique(maintain_order=True) if found != wanted]
            if other:
                raise ConfigurationError(
                    f"{path} holds {len(mine):,} answers of judge {self.name!r} whose {column} is {other[0]}, here it "
                    f"is {wanted}: give this judge another judge.name, or remove the file"
                )

    def answered(self) -> set[tuple[str, int]]:
        """(game_id, seq) of the speeches that have an answer."""
        mine = self.frame.filter((pl.col("judge") == self.name) & pl.col("p_lie").is_not_null())
        return set(mine.select("game_id", "seq").iter_rows())

    def add(self, rows: list[dict[str, Any]]) -> None:
        """Write the table with these rows. Raises StorageError and leaves the earlier table."""
        same = {"judge": self.name, "model": self.model, "question": self.question}
        new = pl.DataFrame([row | same for row in rows], schema=JUDGEMENTS)
        kept = self.frame.join(new, on=["game_id", "seq", "judge"], how="anti")
        self.frame = pl.concat([kept, new], how="diagonal_relaxed")
        write_table(self.path, self.frame, inputs_of([self.path.parents[1]], INPUTS))


def _unasked(run: Run, table: JudgeTable, games: int | None) -> Iterator[tuple[str, set[int]]]:
    """(game id, seqs of its speeches with a statement that are to be asked about), of games that have any."""
    answered = table.answered()
    for number, (game_id, records) in enumerate(run.logs()):
        if games is not None and number >= games:
            return
        game, config, _ = run.game(game_id)
        speeches = {r.seq for r in records if isinstance(r, Decision) and r.kind == "speech"}
        stated = {s.seq for s in game.statements(config, records) if s.is_false is not None}
        left = {seq for seq in stated & speeches if (game_id, seq) not in answered}
        if left:
            yield game_id, left


def _judge(backend: Backend, section: JudgeSection, source: BackendSection, begun: str) -> Judge:
    """The judge; a chat template that renders the time gets the run's start time, whenever it is asked."""
    from agents.models.folder import load_tokenizer

    words_only = source.kind == "openai" and not source.serve and source.settings.get("api") == "chat"
    tokenizer = None if words_only else load_tokenizer(model_folder(source))
    try:
        return Judge(
            backend, tokenizer, prompt=section.prompt, orders=section.orders, max_tokens=section.max_tokens,
            template=section.template, clock=begun,
        )  # fmt: skip
    except (TokenizerError, ValueError) as error:
        raise ConfigurationError(f"judge: {error}") from error
