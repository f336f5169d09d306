"""The verb that looks at a model's folder before anything starts: check-model."""

from __future__ import annotations

from pathlib import Path

from harness.cli.app import MODELS, Flag, app, last_line


@app.command(name="check-model", group=MODELS)
def check_model(
    folder: Path,
    *,
    game: str | None = None,
    preset: str | None = None,
    device: str = "auto",
    files_only: Flag = False,
) -> int:
    """Look at a model's folder before anything starts: files, size, tokenizer, names, template, layers, one row of
    activations against a plain pass, one decision. Exit status 1 where something is wrong.

    Parameters
    ----------
    folder
        The model's folder in Hugging Face format, an adapter's, or the name of a model in the repository.
    game
        Whose words are looked at, and of which one decision is played; the default game of configurations where it is
        left out.
    preset
        Its rules.
    device
        cpu, cuda or auto.
    files_only
        Load no weights: nothing from the layers on.
    """
    from agents.models.small import find_model
    from harness.check.model import check_model as look
    from harness.config.sections import GameSection

    wrong = 0
    for finding in look(
        find_model(folder), game or GameSection().name, preset, weights=not files_only, device=device
    ):
        last_line(finding)
        wrong += not finding.ok
    return 1 if wrong else 0


@app.command(name="model-size", group=MODELS)
def model_size(folder: Path, *, context: int = 2048, games: int = 8) -> int:
    """Print what a model needs, from its config.json alone: memory, cache, disk, an adapter's size.

    Parameters
    ----------
    folder
        A folder with a config.json; weights are not needed.
    context
        Tokens of a context.
    games
        Contexts at a time.
    """
    from harness.check.sizes import sizes_of

    for line in sizes_of(folder).lines(context, games):
        last_line(line)
    return 0
