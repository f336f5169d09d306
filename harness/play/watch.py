"""Watching a run from another terminal, by its folder alone."""

from __future__ import annotations

import json
import sys
import time
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.live import Live

from harness.play.progress import NAME, clock, line, table
from harness.run.folder import Run, load_run

OLD_S = 15.0
"""A playing run says something about once a second; after so many seconds of silence it has probably been stopped."""


def state(path: Path) -> dict[str, Any]:
    """What a run is doing: `Progress.facts`, `status`, and `age`, how many seconds old that is.

    A run that is not being played is told by its games alone. Raises RunFolderError.
    """
    run = load_run(path)
    published = path / NAME
    try:
        facts = json.loads(published.read_text())
        age = time.time() - published.stat().st_mtime
    except FileNotFoundError:
        facts, age = _from_games(run), None
    if run.finished:
        facts, age = _from_games(run), None
    return facts | {"status": run.manifest.status, "age": None if age is None else round(max(age, 0.0), 1)}


def _from_games(run: Run) -> dict[str, Any]:
    if run.finished:
        ends: Iterable[tuple[str, str | None]] = run.games.select("status", "winner").collect().iter_rows()
    else:
        ends = ((end.status, end.winner) for end in run.journal.ends.values())
    ends = list(ends)
    winners = Counter(winner for _, winner in ends if winner is not None)
    failed = sum(status == "failed" for status, _ in ends)
    return {
        "games": run.manifest.n_games,
        "ended": len(ends),
        "failed": failed,
        "winners": dict(winners.most_common()),
    }


def remark(facts: dict[str, Any]) -> str | None:
    """What has to be said besides the numbers."""
    if facts["status"] == "finished":
        return "finished"
    if facts["age"] is None:
        return "not playing yet, or stopped"
    if facts["age"] > OLD_S:
        return (
            f"no news for {clock(facts['age'])}: it has probably been stopped, and the same command goes on"
        )
    return None


def watch(path: Path, *, as_json: bool = False, once: bool = False, every: float = 1.0) -> None:
    """Show the state until the run is finished: a live table on a terminal, else lines. Raises RunFolderError."""
    console = Console(highlight=False)
    live = None
    if console.is_terminal and not as_json and not once:
        live = Live(console=console, refresh_per_second=4, transient=True)
        live.start()
    try:
        while True:
            facts = state(path)
            done = once or facts["status"] == "finished"
            if live is not None and not done:
                shown = table(facts)
                if (said := remark(facts)) is not None:
                    shown.add_row("", said)
                live.update(shown)
            else:
                if live is not None:
                    live.stop()
                text = json.dumps(facts, ensure_ascii=False) if as_json else _plain(facts)
                sys.stdout.write(text + "\n")
                sys.stdout.flush()
            if done:
                return
            time.sleep(every)
    finally:
        if live is not None:
            live.stop()


def _plain(facts: dict[str, Any]) -> str:
    said = remark(facts)
    return line(facts) + (f"  ({said})" if said else "")
