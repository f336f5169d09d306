"""The verb planted-diff: does the comparison of two models find a planted change, and none in a control."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from harness.cli.app import MODELS, Flag, app, last_line, progress_of


@app.command(name="planted-diff", group=MODELS)
def planted_diff(
    out: Path,
    *,
    on: str = "small",
    recipe: str = "confess",
    games: int = 160,
    contexts: int = 40,
    tokens: int | None = None,
    backend: Literal["vllm", "transformers"] = "vllm",
    quiet: Flag = False,
) -> int:
    """Plant a change in a small model and in a control of as many unchanged tokens, compare each with what it came
    from and with the other, and print what was found as a table (out/planted.md). Resumes where it was stopped.

    Parameters
    ----------
    out
        The folder for weights, runs and the table.
    on
        The weights that both are trained from.
    recipe
        A recipe that plants confessions, as the one that ships.
    games
        That each of the three models plays, all seats its own, on the same deals.
    contexts
        So many of those games are read through both models, for words, inside and features.
    tokens
        Of training; the recipe's where it is left out.
    backend
        What the models play through.
    """
    import polars as pl

    from analysis.change.acts import acts_of
    from analysis.change.planted import PLANTED, confession, planted_lines, planted_row
    from analysis.change.read import read_change
    from harness.atomic import replacing, write_whole
    from harness.compare.run import PARTS, diff_models
    from harness.play.tournament import run_tournament
    from harness.run.folder import load_run
    from harness.seals import seal
    from harness.training.finetune import finetune
    from harness.training.recipes import load_recipe

    progress = progress_of(quiet, False)
    chosen = load_recipe(recipe)
    models = {"before": on}
    for name, control in (("changed", False), ("control", True)):
        folder = out / name
        if not (folder / "recipe.json").is_file():
            progress.say(f"training {folder}")
            finetune(folder, on, chosen, control=control, tokens=tokens, say=progress.say)
        models[name] = str(folder.resolve())
    runs = {}
    for name, model in models.items():
        runs[name] = out / "runs" / name
        if not (runs[name] / "decisions.parquet").is_file():
            run_tournament(played_by(model, games, backend), runs[name], progress)
    rows: list[dict[str, Any]] = []
    for a, b, planted in (
        ("before", "changed", True),
        ("before", "control", False),
        ("control", "changed", True),
    ):
        progress.say(f"comparing {a} and {b}")
        null = models["control"] if a == "before" else None
        folder = diff_models(
            runs[a],
            models[b],
            models[a],
            parts=PARTS,
            null=null,
            games=contexts,
            device="cpu",
            say=progress.say,
        )
        with replacing(folder / "acts.parquet") as file:
            acts_of([load_run(runs[a]), load_run(runs[b])]).write_parquet(file)
        seal(folder, folder / "acts.parquet", verb="planted-diff")
        rows.append(planted_row(f"{a} to {b}", read_change(folder), planted, *confession()))
    table = pl.DataFrame(rows, schema=PLANTED)
    lines = planted_lines(table, "confessions of werewolves")
    with replacing(out / "planted.parquet") as file:
        table.write_parquet(file)
    write_whole(out / "planted.md", ("\n".join(lines) + "\n").encode())
    seal(out, out / "planted.parquet", out / "planted.md", verb="planted-diff")
    last_line("\n".join(lines))
    return 0


def played_by(model: str, games: int, backend: str) -> Any:
    """The configuration of a run in which one model sits in every seat, asked for its beliefs before ballots."""
    from harness.config.files import parse_config

    player = {
        "kind": "llm",
        "backend": "player",
        "prompt": "transcript",
        "sampling": {"temperature": 1.0, "max_tokens": 48},
    }
    return parse_config(
        {
            "run": {"name": "planted", "games": games, "seed": 25, "in_flight": 64},
            "game": {"preset": "classic-7"},
            "agents": {"player": player},
            "roster": {"mix": {"player": 7}},
            "backends": {"player": {"kind": backend, "model": model}},
            "beliefs": {"enabled": True, "before": ["ballot"]},
        }
    )
