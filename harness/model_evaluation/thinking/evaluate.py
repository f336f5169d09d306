"""Measure a thinking model on held-out games; run it with `wolfscope eval-thinking`."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec
import polars as pl
import torch

from agents.backends.hooked.backend import HookedBackend, load_hooked_backend
from agents.exam import lexicon_of
from agents.hooks.model import HookedModel, load_hooked_model
from agents.llm.transcript import TranscriptPlayer
from agents.models.folder import load_tokenizer
from agents.werewolf import GAME
from harness.atomic import storage, write_whole
from harness.model_evaluation.playing import print_competence, print_form
from harness.model_evaluation.thinking.arms import ARMS, Thinkers, thoughts
from harness.model_evaluation.thinking.course import course_tables
from harness.model_evaluation.thinking.edits import edits
from harness.model_evaluation.thinking.inside import inside
from harness.model_evaluation.thinking.moments import Moment, moments
from harness.model_evaluation.thinking.scores import Scored, score_all
from harness.model_evaluation.thinking.tables import (
    Table,
    arms_table,
    conflicts_table,
    doses_table,
    edits_table,
    layers_tables,
    rungs_table,
    words_table,
)


class Measured(msgspec.Struct, frozen=True):
    """All measurements of one model on some moments."""

    questions: pl.DataFrame
    ballots: pl.DataFrame
    edits: pl.DataFrame
    layers: pl.DataFrame
    conflicts: pl.DataFrame


def measure(
    hooked: HookedModel, tokenizer: object, found: Sequence[Moment], temperature: float = 0.0,
    arms: Sequence[str] = ARMS, deep: bool = True,
) -> Measured:  # fmt: skip
    """Score all arms. deep: also the edits and the probed beliefs."""
    backend = HookedBackend(hooked)
    try:
        thinkers = Thinkers(backend, tokenizer, temperature)
        of = thoughts(thinkers, found, arms)
    finally:
        asyncio.run(backend.close())
    scored = Scored(hooked, thinkers)
    questions, ballots = score_all(scored, found, of)
    if not deep:
        none = pl.DataFrame()
        return Measured(questions, ballots, none, none, none)
    layers, conflicts = inside(scored, found, of, questions, hooked.layout.n_layers)
    return Measured(questions, ballots, edits(scored, found, of["belief"]), layers, conflicts)


def tables(m: Measured, arms: Sequence[str] = ARMS) -> list[Table]:
    """The tables of a measurement."""
    own = [arm for arm in arms if not arm.startswith("exact")]
    lines = [arm for arm in arms if arm not in ("none", "filler", "short filler")]
    told = [arm for arm in lines if arm not in ("shuffled", "corrupted")]
    pairs = ("moment", "subject")
    return [
        arms_table(m.questions, m.ballots, arms),
        rungs_table(m.questions, "bits", "bits a question by the rung that answers it", own),
        rungs_table(m.questions, "bits", "bits, less filler's, by that rung", told, pairs),
        rungs_table(m.ballots, "regret", "regret a ballot by the rung that votes as well", own),
        rungs_table(m.ballots, "regret", "regret, less filler's, by that rung", told, ("moment",)),
        words_table(m.questions, m.ballots, lines),
        *layers_tables(m.layers),
        conflicts_table(m.conflicts),
        doses_table(m.edits),
        edits_table(m.edits),
    ]


def evaluate(
    folder: Path,
    out: Path,
    *,
    n_games: int = 60,
    n_play: int = 0,
    preset: str = "classic-7",
    temperature: float = 0.0,
    course: bool = False,
    say: Callable[[str], None] = print,
) -> None:
    """Print all tables, and write them with their rows to `out` (`thinking.md`, `*.parquet`).

    n_games: held-out games before whose ballots it thinks. n_play: games that it plays in each way of thinking, for
    form and competence; 0 leaves those out. course: also every checkpoint kept in training. Raises FileNotFoundError
    where none was kept.
    """
    torch.set_num_threads(1)
    tokenizer = load_tokenizer(folder)
    found = list(moments(preset, n_games, lexicon_of(GAME, tokenizer)))
    made: list[Table] = []
    with storage(out):
        out.mkdir(parents=True, exist_ok=True)
    if n_games:
        hooked = load_hooked_model(folder, dtype="float32", device="cpu")
        m = measure(hooked, tokenizer, found, temperature)
        made = tables(m)
        for name in ("questions", "ballots", "edits", "layers", "conflicts"):
            with storage(out):
                getattr(m, name).write_parquet(out / f"{name}.parquet")
    if course:
        made += course_tables(
            folder, out, found, lambda model, arms: measure(model, tokenizer, found, temperature, arms)
        )
    for table in made:
        say(table.plain())
    if made:
        write_whole(out / "thinking.md", "\n".join(table.markdown() for table in made).encode())
    if n_play:
        play(folder, tokenizer, n_play, say)


def play(folder: Path, tokenizer: object, n_games: int, say: Callable[[str], None]) -> None:
    """Form and competence of the model that thinks in each way, as `wolfscope eval-small-model` measures them."""
    for kind in ("none", "belief", "steps"):
        backend = load_hooked_backend(folder, dtype="float32", device="cpu")
        player = TranscriptPlayer("small", backend, tokenizer, retries=2, thinks={"kind": kind})
        say(f"thinking: {kind}")
        print_form(player, GAME, n_games, say)
        print_competence(player, GAME, n_games, say)
        asyncio.run(backend.close())
