"""Verbs of learning from outcomes: train-by-outcome, eval-outcome, eval-monitor, eval-partners."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from harness.cli.app import MODELS, Flag, app, last_line, progress_of


@app.command(name="train-by-outcome", group=MODELS)
def train_by_outcome(
    config: str,
    out: Path,
    *,
    set: Annotated[tuple[str, ...], Parameter(name="--set", negative="")] = (),
    quiet: Flag = False,
) -> int:
    """Train a model on who wins its games, and on nothing else; resumes where an earlier call stopped.

    Parameters
    ----------
    config
        A TOML file, or the name of a configuration that ships: werewolves, village, ...
    out
        The model's folder, in Hugging Face format. `checkpoints` holds its earlier states, `training/curve.jsonl` the
        curves.
    set
        Change a setting, for instance --set games=500. May be given again.
    """
    from harness.training.selfplay.settings import load_settings
    from harness.training.selfplay.train import train_by_outcome as train

    train(load_settings(config, set), out, say=progress_of(quiet, False).say)
    last_line(out)
    return 0


@app.command(name="eval-monitor", group=MODELS)
def eval_monitor(
    model: Path,
    *,
    side: str = "",
    before: Path = Path("small"),
    games: int = 200,
    layer: int | None = None,
    out: Path = Path("runs/partners"),
) -> int:
    """Tell how a model that was trained under a monitor responded: old and new speeches scored by old and new
    monitors.

    Parameters
    ----------
    model
        The model's folder.
    side
        The side whose speeches are read: werewolf or village; the first where none is named.
    before
        The model that it started from.
    games
        Games of each, in the same deals; monitors are fitted on half of them and measured on the other half.
    layer
        Whose output is read; that of the middle block where it is left out.
    out
        Where the games are kept; existing ones are not played again.
    """
    from harness.training.selfplay.monitored import four_cells, in_words
    from harness.training.selfplay.settings import first_side

    for line in in_words(four_cells(before, model, side or first_side(), games, out=out, layer=layer)):
        last_line(line)
    return 0


@app.command(name="eval-partners", group=MODELS)
def eval_partners(
    *models: Path,
    before: Path = Path("small"),
    than: Path | None = None,
    games: int = 120,
    preset: str = "classic-7",
    out: Path = Path("runs/partners"),
) -> int:
    """Tell whether pairs of werewolves have come to signal in public: bits a speech, agreement, wins, lies, detectors,
    for each model with a partner of its own kind and with the next of MODELS as a stranger, in the same deals.

    Parameters
    ----------
    models
        Folders, or names of models that ship.
    before
        The model that they started from: it has the villagers' seats.
    than
        The model whose own pair others are compared with; `before` where it is left out.
    games
        Deals of each pair.
    preset
        The rule set; werewolves must have no talk of their own in it.
    out
        Where the games are kept, and the table `partners.parquet`; existing ones are not played again.
    """
    import polars as pl

    from analysis.covert.partners import carriers, partner_lines, partners_table
    from analysis.data.frames import GameLog
    from games import DEFAULT, load_game
    from harness.run.derived import OF_NO_RUN, write_table
    from harness.training.selfplay.partners import pairs_of, play_pair

    game = load_game(DEFAULT)
    rules = game.configure(preset=preset)
    first = than or before
    wanted = [(first, first), *(pair for pair in pairs_of(models) if pair != (first, first))]
    cells = {
        (one.name, two.name): [
            GameLog(p.planned.game_id, game, rules, p.log)
            for p in play_pair(one, two, out, games=games, others=before, preset=preset)
        ]
        for one, two in wanted
    }
    table: pl.DataFrame = partners_table(cells, (first.name, first.name))
    write_table(out / "partners.parquet", table, OF_NO_RUN)
    for line in partner_lines(table):
        last_line(line)
    for (one, two), logs in cells.items():
        if one == two:
            last_line(f"{one}: a decoder of the next target leans on {'; '.join(carriers(logs))}")
    return 0


@app.command(name="eval-outcome", group=MODELS)
def eval_outcome(
    model: Path,
    *,
    side: str = "",
    before: Path = Path("small"),
    deals: int = 200,
    out: Path = Path("runs/held-out"),
    opponents: tuple[str, ...] = (),
    quiet: Flag = False,
) -> int:
    """Measure how much more often a model wins than its predecessor, against opponents held out from training.

    Parameters
    ----------
    model
        The model's folder, or the name of one that ships.
    side
        The side whose seats it has: werewolf or village; the first where none is named.
    before
        The model that it is compared with, in the same deals.
    deals
        Games against each opponent.
    out
        Where the tables of games go; existing ones are not played again.
    opponents
        Held-out opponents, or models by folder or name (whom a best response was trained against); all held-out ones
        where none is named.
    """
    import polars as pl

    from analysis.behaviour.held_out import gains, in_words
    from harness.run.derived import read_table
    from harness.training.selfplay.held_out import HELD_OUT, play_held_out
    from harness.training.selfplay.settings import first_side

    say = progress_of(quiet, False).say
    games, games_before = (
        read_table(
            play_held_out(
                one, side or first_side(), out, deals=deals, opponents=opponents or HELD_OUT, say=say
            )
        ).filter(pl.col("deal") < deals)
        for one in (model, before)
    )
    table = gains(games, games_before)
    for line in in_words(table):
        last_line(line)
    return 0
