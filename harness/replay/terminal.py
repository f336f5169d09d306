"""A game in the terminal: step by step, timed, or all at once into a pipe.

What agents said is untrusted: control characters and characters that reorder or hide text are made visible, so that
no speech can move the cursor, change colours or disguise itself.
"""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Literal

from rich.console import Console
from rich.text import Text

from games.printable import printable
from games.records import EVERYONE, Event, seat_id
from harness.console import console as plain_console
from harness.replay.replay import Moment, Replay

Mode = Literal["step", "timed", "all"]

COLOURS = ("cyan", "magenta", "yellow", "green", "blue", "bright_red", "bright_cyan", "bright_magenta")
LABELS = {
    "lie": ("bold red", "lie"),
    "honest mistake": ("yellow", "honest mistake"),
    "truth": ("green", "truth"),
}
PLAIN_KINDS = {"death": "bold red", "exile": "bold red", "shoot": "bold red", "outcome": "bold"}
KEYS = "space next   n next phase   g go on to the end   q quit"


class Stage:
    """Writes moments to a console."""

    def __init__(self, replay: Replay, seat: int | None, console: Console, max_chars: int = 2000) -> None:
        """max_chars: a longer reasoning or speech is cut here, with its length (the log keeps all of it)."""
        self.replay, self.seat, self.console, self.max_chars = replay, seat, console, max_chars
        self._colour = {
            fact.name: COLOURS[i % len(COLOURS)] for i, fact in enumerate(replay.seats) if fact.name
        }
        names = sorted(map(re.escape, self._colour), key=len, reverse=True)
        self._names = re.compile(rf"\b({'|'.join(names)})\b" if names else r"(?!)")

    def title(self) -> None:
        """Print the title: game, reader, cast (the cast for the moderator only)."""
        replay = self.replay
        reader = "the moderator" if self.seat is None else f"{seat_id(self.seat)}, {self._name(self.seat)}"
        head = Text(f"game {replay.game_id}", style="bold")
        head.append(f"  as {reader} sees it", style="dim")
        self._print(head)
        if self.seat is None:
            width = max(6, *(len(self._name(seat)) for seat in range(len(replay.seats))))
            asked = replay.game.belief_targets[0].roles
            hidden = {fact.faction for fact in replay.seats if fact.role in asked}
            for seat, fact in enumerate(replay.seats):
                row = Text(f"  {seat_id(seat):<10}")
                row.append(f"{self._name(seat):<{width}}  ", style=self._colour.get(fact.name, ""))
                row.append(f"{printable(fact.role):<10}", style="red" if fact.faction in hidden else "")
                self._print(row)

    def show(self, moment: Moment) -> None:
        """One moment, with what the moderator alone may know below it."""
        if moment.kind == "phase":
            self._print(Text(""))
            self._print(Text(printable(moment.line), style="bold reverse"))
            return
        row = Text(f"{moment.seq:>5}  ", style="dim")
        line = self._coloured(printable(self._cut(moment.line)).replace("\n", "<U+000A>"))
        if style := PLAIN_KINDS.get(moment.kind):
            line.stylize(style)
        row.append_text(line)
        if self.seat is None and isinstance(moment.record, Event) and moment.record.audience is not EVERYONE:
            row.append(f"  {self._audience(moment.record)}", style="dim italic")
        self._print(row)
        if moment.decision is not None:
            self._behind(moment)

    def _behind(self, moment: Moment) -> None:
        decision = moment.decision
        if decision is None:
            return
        trace = decision.trace
        if trace is not None and trace.reasoning:
            self._note("thinks", self._cut(trace.reasoning), "italic dim")
        for statement in moment.statements:
            if statement.label == "none":
                continue
            act = decision.action.acts[statement.act]
            style, word = LABELS[statement.label]
            subject = "" if act.subject is None else f" {self._name(act.subject)}"
            self._note(word, f"{act.kind}{subject}{f' {act.role}' if act.role else ''}", style)
        if decision.fallback is not None:
            self._note("fallback", f"{decision.fallback}: the reply could not be used", "bold yellow")
        if trace is not None:
            for reply in trace.rejected:
                self._note("rejected", self._cut(reply), "yellow")

    def _note(self, word: str, text: str, style: str) -> None:
        row = Text(" " * 9)
        row.append(f"{printable(word)}: ", style=style)
        row.append(printable(" ".join(text.split())), style="dim")
        self._print(row)

    def _audience(self, event: Event) -> str:
        seats = event.audience or ()
        return f"[only {', '.join(self._name(i) for i in seats)}]" if seats else "[moderator]"

    def _name(self, seat: int) -> str:
        return printable(self.replay.seats[seat].name)

    def _cut(self, text: str) -> str:
        if len(text) <= self.max_chars:
            return text
        return f"{text[: self.max_chars]} [... {len(text):,} characters]"

    def _coloured(self, text: str) -> Text:
        out = Text(text)
        for match in self._names.finditer(text):
            out.stylize(self._colour[match[0]], match.start(), match.end())
        return out

    def _print(self, text: Text) -> None:
        self.console.print(text, highlight=False, soft_wrap=not self.console.is_terminal)


def show(
    replay: Replay,
    seat: int | None = None,
    *,
    mode: Mode | None = None,
    delay: float = 0.6,
    start: int = 0,
    console: Console | None = None,
    read_key: Callable[[], str] | None = None,
) -> None:
    """Show a game from the record `start` on.

    mode None: step by step where both input and output are a terminal, else everything at once. delay: seconds between
    the lines of a timed replay. Outside a terminal nothing is coloured and nothing waits.
    """
    out = console or plain_console()
    stage = Stage(replay, seat, out)
    interactive = out.is_terminal and (read_key is not None or sys.stdin.isatty())
    if mode is None:
        mode = "step" if interactive else "all"
    if (mode == "step" and not interactive) or not out.is_terminal:
        mode = "all"
    stage.title()
    if mode == "step":
        out.print(KEYS, style="dim")
    moments = (m for m in replay.moments(seat) if m.seq >= start)
    if mode == "step":
        with _keys(read_key) as read:
            _step(stage, moments, read)
        return
    for moment in moments:
        stage.show(moment)
        if mode == "timed":
            time.sleep(delay)


def _step(stage: Stage, moments: Iterator[Moment], read: Callable[[], str]) -> None:
    waiting, until_phase = True, False
    for moment in moments:
        if moment.kind == "phase" and until_phase:
            until_phase = False
        stage.show(moment)
        if not waiting or until_phase:
            continue
        key = read()
        if key in ("q", "\x03", "\x04", ""):
            return
        if key == "g":
            waiting = False
        elif key == "n":
            until_phase = True


@contextmanager
def _keys(read_key: Callable[[], str] | None) -> Iterator[Callable[[], str]]:
    """A reader of single keys without echo, the terminal restored afterwards."""
    if read_key is not None:
        yield read_key
        return
    import termios
    import tty

    handle = sys.stdin.fileno()
    before = termios.tcgetattr(handle)
    try:
        tty.setcbreak(handle)
        yield lambda: sys.stdin.read(1)
    finally:
        termios.tcsetattr(handle, termios.TCSADRAIN, before)
