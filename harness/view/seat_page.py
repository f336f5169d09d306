"""A page of one game that holds only what one seat may know, to show to people in experiments.

It has no script, no data beside the lines, and loads nothing: its source holds only what it shows.
"""

from __future__ import annotations

from html import escape
from pathlib import Path

from games.printable import printable
from games.records import seat_id
from harness.atomic import storage, write_whole
from harness.gate import check_links
from harness.replay.replay import open_replay
from harness.run.folder import load_run

STYLE = "body{font:16px/1.6 system-ui,sans-serif;max-width:46rem;margin:2rem auto;padding:0 1rem}li{margin:.2rem 0}"


def write_seat_page(run: str | Path, game: str, seat: str, out: str | Path | None = None) -> Path:
    """Write the page of a game as one seat read it; its path.

    out: the folder (default: `view/seats` in the run folder). seat: `3`, `player_3` or the player's name. Raises
    RunFolderError where there is no such game or seat, StorageError.
    """
    opened = load_run(run)
    replay = open_replay(opened, game)
    number = replay.seat_of(seat)
    index = opened.game_ids.index(replay.game_id) if replay.game_id in opened.game_ids else 0
    folder = Path(out) if out is not None else opened.path / "view" / "seats"
    if folder.is_dir():
        check_links(folder)
    with storage(folder):
        folder.mkdir(parents=True, exist_ok=True)
    title = f"Game {index}, as {seat_id(number)} sees it"
    items = "\n".join(f"<li>{escape(printable(line))}</li>" for line in replay.lines(number))
    page = (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">\n'
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n"
        f'<meta name="viewport" content="width=device-width, initial-scale=1"><title>{title}</title>\n'
        f"<style>{STYLE}</style></head><body>\n<h1>{title}</h1>\n<ol>\n{items}\n</ol>\n</body></html>\n"
    )
    path = folder / f"game-{index}-{seat_id(number)}.html"
    write_whole(path, page.encode("utf-8", "replace"))
    return path
