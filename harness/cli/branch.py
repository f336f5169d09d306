"""Verbs that play on from a recorded moment: branch, resample."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from harness.cli.app import PLAY, Flag, app, last_line, progress_of, status_of

if TYPE_CHECKING:
    from harness.play.progress import Progress


@app.command(group=PLAY)
def branch(
    run: Path,
    game: str,
    *,
    at: int,
    out: Path | None = None,
    n: int = 50,
    say: str | None = None,
    act: Annotated[tuple[str, ...], Parameter(name="--act", negative="")] = (),
    choose: str | None = None,
    swap_roles: str | None = None,
    seat: str | None = None,
    agent: str | None = None,
    set: Annotated[tuple[str, ...], Parameter(name="--set", negative="")] = (),
    prefix: str | None = None,
    steer: Path | None = None,
    layer: int | None = None,
    scale: float = 1.0,
    ray_address: str | None = None,
    trust_policies: Flag = False,
    quiet: Flag = False,
) -> int:
    """Play a recorded game on from one decision with one thing changed, n times, and n times without the change.

    Parameters
    ----------
    run
        The run folder that holds the game.
    game
        The game's number, its id, or the beginning of its id.
    at
        The record: a decision, or the event that repeats it (`wolfscope replay` shows the numbers).
    out
        The branch's run folder (default: beside the parent's, <parent>-branch-<game>-<at>-<hash of the change>).
    n
        Continuations with the change, and as many without.
    say
        Other words at this speech; their typed acts are read from them, unless --act gives them.
    act
        A typed act at this speech: accuse:player_3, claim_role:seer, report_inspection:player_3:werewolf. May be given
        again. Without --say it is put into words.
    choose
        Another choice at this ballot or night act: player_3, a name, nobody, or an option's number.
    swap_roles
        Two seats with each other's role from the deal on, player_1,player_4, where nothing yet contradicts it.
    seat
        Whose player is changed by --agent, --set or --steer (default: the seat that decides at --at).
    agent
        Another player of the run's configuration takes the seat from here on.
    set
        Another setting of the seat's player from here on: policy=loud, sampling.temperature=0.5, backend.model=FOLDER.
    prefix
        The model's output at this decision begins with these words.
    steer
        A .npy or .safetensors file with one vector (d_model,), added at --layer from here on.
    layer
        The layer for --steer, 0 = output of block 0 (default: that of a saved probe's own card).
    scale
        Multiples of the residual's own length for --steer.
    trust_policies
        Run the code of players that the run folder names from outside the repository (policy = "module:name").
    """
    from harness.activations.steering import layer_of_card
    from harness.branch.branch import branch as play_branch
    from harness.branch.change_words import change_of
    from harness.replay.replay import open_replay

    replay = open_replay(run, game)
    change = change_of(
        replay,
        at,
        say=say,
        acts=act,
        choose=choose,
        swap_roles=swap_roles,
        seat=seat,
        agent=agent,
        settings=set,
        prefix=prefix,
        steer=steer,
        layer=layer,
        scale=scale,
    )
    path = out or _branch_folder(run, replay.game_id, at, str(change))
    progress = progress_of(quiet, False)
    own = layer_of_card(steer) if steer is not None and layer is not None else None
    if own not in (None, layer):
        progress.say(f"steered at layer {layer}; by its card the probe reads at layer {own}")
    made = play_branch(run, replay.game_id, at, change, n, path, progress, ray_address, trust_policies)
    return _done(made, progress, quiet)


@app.command(group=PLAY)
def resample(
    run: Path,
    game: str,
    *,
    at: int,
    out: Path | None = None,
    n: int = 50,
    keep: Flag = False,
    ray_address: str | None = None,
    trust_policies: Flag = False,
    quiet: Flag = False,
) -> int:
    """Play a recorded game on from one decision n times without any change: how determined was this moment?

    Parameters
    ----------
    run
        The run folder that holds the game.
    game
        The game's number, its id, or the beginning of its id.
    at
        The record: a decision, or the event that repeats it. The decision itself is made again.
    out
        The run folder of the continuations.
    n
        How many.
    keep
        Keep the decision itself, and replay only what follows.
    trust_policies
        Run the code of players that the run folder names from outside the repository (policy = "module:name").
    """
    from harness.branch.branch import resample as play_resample
    from harness.replay.replay import open_replay

    replay = open_replay(run, game)
    path = out or _branch_folder(run, replay.game_id, at, f"resample {keep}")
    progress = progress_of(quiet, False)
    made = play_resample(run, replay.game_id, at, n, path, keep, progress, ray_address, trust_policies)
    return _done(made, progress, quiet)


def _done(made: Path, progress: Progress, quiet: bool) -> int:
    """Print the result; returns the exit status."""
    from harness.branch.branch import effects, effects_table

    status = status_of(made, progress.say)
    if not quiet:
        last_line(effects_table(effects(made)))
    last_line(made)
    return status


def _branch_folder(run: Path, game_id: str, at: int, change: str) -> Path:
    """Beside the parent, a name of its own for each change."""
    from harness.config.hashing import hash_of

    return run.resolve().parent / f"{run.resolve().name}-branch-{game_id[:6]}-{at}-{hash_of(change)[:4]}"
