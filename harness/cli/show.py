"""Verbs that show games: replay, view."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from harness.cli.app import LOOK, Flag, app, last_line, progress_of
from harness.errors import WolfscopeError

if TYPE_CHECKING:
    pass


@app.command(group=LOOK)
def replay(
    run: Path,
    game: str,
    *,
    seat: Annotated[str | None, Parameter(name="--as")] = None,
    mode: Annotated[Literal["step", "timed", "all"] | None, Parameter(name="--mode")] = None,
    delay: float = 0.6,
    start: int = 0,
) -> int:
    """Read a game again in the terminal, as the moderator or as exactly one seat.

    Parameters
    ----------
    run
        The run folder.
    game
        The game's number, its id, or the beginning of its id.
    seat
        See what this seat saw and nothing else: player_3, 3, or the player's name. Default: the moderator.
    mode
        step (a key for each line), timed, or all at once. Default: step in a terminal, all in a pipe.
    delay
        Seconds between the lines of a timed replay.
    start
        Begin at this record.
    """
    from harness.replay.replay import open_replay
    from harness.replay.terminal import show

    opened = open_replay(run, game)
    show(opened, None if seat is None else opened.seat_of(seat), mode=mode, delay=delay, start=start)
    return 0


@app.command(group=LOOK)
def view(
    run: Path,
    *,
    out: Path | None = None,
    game: Annotated[tuple[str, ...], Parameter(name="--game", negative="")] = (),
    seat: Annotated[str | None, Parameter(name="--as")] = None,
    posterior: Annotated[Literal["auto", "yes", "no"], Parameter(name="--posterior")] = "auto",
    portable: Flag = False,
    quiet: Flag = False,
) -> int:
    """Write static pages of a run: an index of its games and a page for each, to be opened from the disk.

    Parameters
    ----------
    run
        The run folder.
    out
        Where to write them (default: RUN/view).
    game
        Only this game gets a page (number, id, or the beginning of its id). May be given again.
    seat
        With one --game: a single page that holds what this seat may know and nothing else (player_3, 3, or the name).
        Every other page holds the moderator's log, whatever it shows.
    posterior
        Compute the Bayesian posteriors that stand beside stated beliefs: about half a second a game; auto: for up to
        100 games.
    portable
        Every page holds its own scripts and can be sent on alone.
    """
    from harness.run.folder import load_run
    from harness.view import write_view

    if seat is not None:
        from harness.view.seat_page import write_seat_page

        if len(game) != 1:
            raise WolfscopeError(
                f"--as shows one game to one seat: name it by --game (found {len(game)} of them)"
            )
        last_line(write_seat_page(run, game[0], seat, out))
        return 0
    say = progress_of(quiet, False).say
    opened = load_run(run)
    n = len(game) or len(opened.game_ids)
    posteriors = None
    if posterior == "yes" or (posterior == "auto" and n <= 100):
        from harness.replay.posteriors import posteriors_of

        posteriors = posteriors_of(opened)
    elif posterior == "auto":
        say(
            f"{n:,} games: posteriors are left out; --posterior yes computes them, about half a second a game"
        )
    last_line(write_view(run, out, game, portable, posteriors, say))
    return 0
