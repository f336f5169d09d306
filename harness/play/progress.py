"""A run's progress: a live table on a terminal, plain lines elsewhere, JSON lines for scripts."""

from __future__ import annotations

import json
import math
import time
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from rich.console import Console
from rich.live import Live
from rich.table import Table

from harness.console import console as plain_console
from harness.console import say, shown, write_json
from harness.play.runner import Counts
from harness.run.journal import End

Mode = Literal["live", "plain", "quiet", "json"]

NAME = "progress.json"
"""File in the run folder with `Progress.facts`, about a second old."""
PUBLISH_S = 1.0


class Progress:
    """Collects what happens and shows it. Use as a context manager around the playing."""

    def __init__(self, mode: Mode | None = None, console: Console | None = None, every: float = 5.0) -> None:
        """mode None: a live table on a terminal, else plain lines. every: seconds between plain or JSON lines."""
        self.console = console or plain_console(error=mode == "json")
        self.mode: Mode = mode or ("live" if self.console.is_terminal else "plain")
        self.total = 0
        self.kept = 0
        """Games that earlier sessions had ended."""
        self.done = 0
        self.failed = 0
        self.losses = 0
        """Runners and engines that died and were replaced."""
        self.winners: Counter[str] = Counter()
        self.counts = Counts()
        self._every = every
        self._began = time.monotonic()
        self._shown = -math.inf
        self._live: Live | None = None
        self._path: Path | None = None
        self._published = -math.inf

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *error: object) -> None:
        self.pause()

    def say(self, text: str) -> None:
        """Print one line about the current activity."""
        if self.mode == "json":
            self._emit({"message": text})
        elif self.mode != "quiet":
            say(self.console, text)

    def lost(self, text: str) -> None:
        """Print one line about a runner or an engine that has died and is replaced."""
        self.losses += 1
        self.say(text)

    def begin(self, total: int, kept: list[End]) -> None:
        """Playing starts: `total` games are scheduled, `kept` are the ends of those that need not be played."""
        self.total, self.kept, self.done, self.failed = total, len(kept), 0, 0
        self.winners.clear()
        for end in kept:
            self._note(end)
        self._began = time.monotonic()
        if self.mode == "live":
            self._live = Live(table(self.facts()), console=self.console, refresh_per_second=4, transient=True)
            self._live.start()

    def ended(self, end: End) -> None:
        """A game has ended."""
        self.done += 1
        self._note(end)

    def _note(self, end: End) -> None:
        if end.status == "failed":
            self.failed += 1
        elif end.winner is not None:
            self.winners[end.winner] += 1

    def show(self, counts: Counts, force: bool = False) -> None:
        """Show the state; plain and JSON lines come at most every few seconds unless `force`d."""
        self.counts = counts
        if self._path is not None and (force or time.monotonic() - self._published >= PUBLISH_S):
            self._publish(self._path)
        if self._live is not None:
            self._live.update(table(self.facts()))
        elif self.mode != "quiet" and (force or time.monotonic() - self._shown >= self._every):
            self._shown = time.monotonic()
            if self.mode == "json":
                self._emit(self.facts())
            else:
                say(self.console, line(self.facts()))

    def publish(self, folder: Path) -> None:
        """From now on, keep the state in the run folder as well, for `harness.play.watch`."""
        self._path = folder / NAME

    def _publish(self, path: Path) -> None:
        self._published = time.monotonic()
        part = path.with_name(f".{NAME}.part")
        try:
            part.write_text(json.dumps(self.facts(), ensure_ascii=False))
            part.replace(path)  # atomic, without waiting for the disk
        except OSError as error:
            self._path = None
            self.say(f"{path} cannot be written ({error.strerror}): the run cannot be watched from elsewhere")

    def pause(self) -> None:
        """Take the live table away."""
        if self._live is not None:
            self._live.stop()
            self._live = None

    def facts(self) -> dict[str, Any]:
        """The state as numbers."""
        seconds = max(time.monotonic() - self._began, 1e-9)
        counts = self.counts
        left = self.total - self.kept - self.done - counts.in_flight / 2
        passed = self.done + counts.in_flight / 2  # a game in flight is half over, on average
        return {
            "games": self.total,
            "ended": self.kept + self.done,
            "in_flight": counts.in_flight,
            "failed": self.failed,
            "losses": self.losses,
            "winners": dict(self.winners.most_common()),
            "decisions": counts.decisions,
            "fallbacks": counts.fallbacks,
            "model_decisions": counts.model_decisions,
            "backend_errors": counts.backend_errors,
            "decisions_per_second": round(counts.decisions / seconds, 1),
            "prompt_tokens": counts.prompt_tokens,
            "cached_tokens": counts.cached_tokens,
            "output_tokens": counts.output_tokens,
            "tokens_per_second": round((counts.prompt_tokens + counts.output_tokens) / seconds, 1),
            "seconds": round(seconds, 1),
            "seconds_left": round(seconds * left / passed, 1) if self.done else None,
        }

    def _emit(self, facts: dict[str, Any]) -> None:
        write_json(facts)


def words(facts: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The state as rows of a table, from `Progress.facts`."""
    rows = [("games ended", f"{facts['ended']:,} of {facts['games']:,}")]
    if facts.get("in_flight"):
        rows.append(("being played", f"{facts['in_flight']:,}"))
    if facts.get("decisions"):
        rows.append(("decisions/s", f"{facts['decisions_per_second']:,}"))
    if facts.get("prompt_tokens"):
        cached = facts["cached_tokens"] / facts["prompt_tokens"]
        rows.append(("tokens/s", f"{facts['tokens_per_second']:,.0f}"))
        rows.append(("prompt tokens from the cache", f"{cached:.0%}"))
    n = sum(facts["winners"].values())
    for winner, won in sorted(facts["winners"].items()):
        low, high = wilson(won, n)
        rows.append((f"won by {winner}", f"{won / n:.0%} ({low:.0%} to {high:.0%})"))
    if facts.get("fallbacks"):
        share = facts["fallbacks"] / facts["decisions"]
        rows.append(("unusable replies replaced", f"{facts['fallbacks']:,} ({share:.1%})"))
    if facts.get("backend_errors"):
        share = facts["backend_errors"] / facts["model_decisions"]
        rows.append(("answers that a backend failed to give", f"{facts['backend_errors']:,} ({share:.1%})"))
    if facts["failed"]:
        rows.append(("failed games", f"{facts['failed']:,}"))
    if facts.get("losses"):
        rows.append(("runners and engines lost", f"{facts['losses']:,}"))
    if facts.get("seconds_left") is not None and facts["ended"] < facts["games"]:
        rows.append(("time left", f"about {clock(facts['seconds_left'])}"))
    return rows


def line(facts: Mapping[str, Any]) -> str:
    """The state in one line."""
    return "  ".join(f"{name}: {value}" for name, value in words(facts))


def table(facts: Mapping[str, Any]) -> Table:
    """The state as a table for the terminal."""
    made = Table(show_header=False, box=None)
    for name, value in words(facts):
        made.add_row(shown(name), shown(value))
    return made


def wilson(successes: int, n: int, z: float = 1.96) -> tuple[float, float]:
    """The Wilson score interval of a proportion (95% by default)."""
    if n == 0:
        return 0.0, 1.0
    p = successes / n
    middle = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n)) / (1 + z * z / n)
    return max(0.0, middle - half), min(1.0, middle + half)


def clock(seconds: float) -> str:
    """A duration in readable units: 40 s, 3 min, 2 h 5 min."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"
