"""Watching a run from another terminal, by its folder alone."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from rich.live import Live

from harness.console import console, shown, write, write_json
from harness.gate import TooLarge, parse_json, read_bounded
from harness.play.progress import NAME, clock, line, table
from harness.run.folder import Run, load_run

MOST_BYTES = 2**20
"""Largest size of a published state."""
OLD_S = 15.0
"""A playing run publishes about once a second; after this many silent seconds it has probably been stopped."""


def state(path: Path) -> dict[str, Any]:
    """A run's state: `Progress.facts`, `status`, and `age`, its age in seconds.

    For a run that is not being played, the state comes from its games alone. Raises RunFolderError.
    """
    run = load_run(path)
    published = path / NAME
    try:
        facts = _read(published)
        age = time.time() - published.stat().st_mtime
    except (OSError, ValueError, TooLarge):  # missing, or not ours
        facts, age = _from_games(run), None
    if run.finished:
        facts, age = _from_games(run), None
    facts |= {"status": run.manifest.status, "age": None if age is None else round(max(age, 0.0), 1)}
    if run.finished and (found := run.failing()):
        facts["failing"] = [str(one) for one in found]
    return facts


def _read(path: Path) -> dict[str, Any]:
    """The published state. Raises OSError, TooLarge, and ValueError where it is malformed."""
    facts = parse_json(read_bounded(path, MOST_BYTES), path)
    if not isinstance(facts, dict) or not {"games", "ended", "failed", "winners"} <= facts.keys():
        raise ValueError(f"{path} holds no state of a run")
    for key, value in facts.items():
        numbers = value.values() if key == "winners" and isinstance(value, dict) else (value,)
        if not all(number is None or isinstance(number, int | float) for number in numbers):
            raise ValueError(f"{path}: {key} is no number")
    return facts


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
    """A remark to show beside the numbers."""
    if facts["status"] == "finished":
        return "; ".join(["finished", *facts.get("failing", ())])
    if facts.get("backend_errors", 0) > facts.get("max_backend_errors", 1) * facts.get("model_decisions", 0):
        return f"the backend failed on {facts['backend_errors']:,} of {facts['model_decisions']:,} decisions of models"
    if facts["age"] is None:
        return "not playing yet, or stopped"
    if facts["age"] > OLD_S:
        return (
            f"no news for {clock(facts['age'])}: it has probably been stopped, and the same command goes on"
        )
    return None


def watch(path: Path, *, as_json: bool = False, once: bool = False, every: float = 1.0) -> None:
    """Show the state until the run is finished: a live table on a terminal, else lines. Raises RunFolderError."""
    out = console()
    live = None
    if out.is_terminal and not as_json and not once:
        live = Live(console=out, refresh_per_second=4, transient=True)
        live.start()
    try:
        while True:
            facts = state(path)
            done = once or facts["status"] == "finished"
            if live is not None and not done:
                rows = table(facts)
                if (said := remark(facts)) is not None:
                    rows.add_row("", shown(said))
                live.update(rows)
            else:
                if live is not None:
                    live.stop()
                if as_json:
                    write_json(facts)
                else:
                    write(_plain(facts))
            if done:
                return
            time.sleep(every)
    finally:
        if live is not None:
            live.stop()


def _plain(facts: dict[str, Any]) -> str:
    said = remark(facts)
    return line(facts) + (f"  ({said})" if said else "")
