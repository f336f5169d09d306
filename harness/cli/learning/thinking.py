"""Verbs for the small thinking model: train-thinking-model, eval-thinking."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from harness.cli.app import MODELS, Flag, app, last_line, progress_of


@app.command(name="train-thinking-model", group=MODELS)
def train_thinking_model(
    out: Path,
    *,
    model: str = "small",
    tokens: int | None = None,
    seed: int = 0,
    layers: int | None = None,
    hidden: int = 128,
    preset: str | None = None,
    depths: str | None = None,
    games: int = 40,
    compiled: Flag = False,
    quiet: Flag = False,
) -> int:
    """Train the small thinking model from a small model; resumes where an earlier call stopped.

    Parameters
    ----------
    out
        The model's folder, in Hugging Face format.
    model
        The model to continue from: a folder, a shipped model's name, or `none` for one from scratch.
    tokens
        How many tokens to train on; as many as the shipped model had where it is left out.
    seed
        Of the games and of the new words' embeddings.
    layers
        How many of the model's first layers to keep, or how many a model from scratch has.
    hidden
        Width of a model from scratch.
    preset
        The only rule set of its games; those of the small model's last training where it is left out.
    depths
        Train one model of each of these depths instead (`1,2,4,8`), each into a folder of its own under `out`, and
        measure them: `out/depth.md`, `out/depth.parquet` and the figure `out/depth.svg`.
    games
        With `depths`: held-out games that they are measured on.
    compiled
        Fuse the model's kernels by torch.compile, where there is a C++ compiler.
    """
    from agents.models.small import find_model
    from harness.model_evaluation.thinking.depth import depth_series
    from harness.training.thinking.train import SHIPPED_TOKENS, train

    start = None if model == "none" else find_model(model)
    n, say = SHIPPED_TOKENS if tokens is None else tokens, progress_of(quiet, False).say
    if depths is not None:
        counts = [int(part) for part in depths.split(",")]
        table = depth_series(
            out,
            counts,
            start=start,
            tokens=n,
            seed=seed,
            hidden=hidden,
            preset=preset,
            n_games=games,
            say=say,
        )
        draw_depth(table, out)
    else:
        train(
            out,
            start=start,
            tokens=n,
            seed=seed,
            layers=layers,
            hidden=hidden,
            preset=preset,
            compiled=compiled,
            say=say,
        )
    last_line(out)
    return 0


def draw_depth(table: Any, out: Path) -> None:
    """The figure of a depth series. Raises StorageError."""
    from analysis.report.figures import standalone
    from analysis.report.reasoning_charts import thinking_depth
    from harness.atomic import write_whole

    drawing = thinking_depth(table, "Distance from the exact posterior by depth and by tokens of thinking")
    write_whole(out / "depth.svg", standalone(str(drawing)).encode())


@app.command(name="eval-thinking", group=MODELS)
def eval_thinking(
    folder: Path = Path("small-thinking"),
    *,
    out: Path = Path("runs/thinking"),
    games: int = 60,
    play: int = 0,
    preset: str = "classic-7",
    temperature: float = 0.0,
    course: Flag = False,
) -> int:
    """Measure what thinking does for a small thinking model: beliefs and ballots after each kind of thought, against
    the exact observer; written and probed beliefs; and the effect of editing the words.

    Parameters
    ----------
    folder
        The model's folder, or `small-thinking` for the one in the repository.
    out
        Where the tables go.
    games
        Held-out games of scripted players before whose ballots it thinks; 0 leaves these tables out.
    play
        Games that it plays in each way of thinking, for the form of its answers and for win rates; 0 leaves them out.
    preset
        The rule set of the held-out games.
    temperature
        Of the lines that it writes; 0 is greedy.
    course
        Also every checkpoint that was kept in training.
    """
    from agents.models.small import find_model
    from harness.model_evaluation.thinking.evaluate import evaluate

    evaluate(
        find_model(folder), out, n_games=games, n_play=play, preset=preset, temperature=temperature, course=course,
        say=last_line,
    )  # fmt: skip
    return 0
