"""A human at the terminal: reads the same lines as any other seat, answers by typing."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from typing import TextIO

from agents.replies import labels, silent, speaks, stand_in
from games import load_game
from games.base import Observation
from games.printable import printable
from games.records import Action, Reply

GONE = "left"
"""The kind of fallback after a human has ended the input."""


class HumanPlayer:
    """One seat at the terminal. `source` and `sink` are its keyboard and screen."""

    def __init__(self, name: str, *, source: TextIO | None = None, sink: TextIO | None = None) -> None:
        self.name = name
        self._source, self._sink = source or sys.stdin, sink or sys.stdout
        self._shown: dict[tuple[str, int], int] = {}
        self._left = False

    async def act(self, observation: Observation) -> Reply:
        """Show what is new, ask until the answer can be used. After the end of the input, the recorded fallback."""
        game = load_game(observation.game)
        request = observation.request
        words = game.text.words_of(observation.config, observation.records)
        self._show(observation)
        options = labels(game.text, request, words)
        takes_words = speaks(game.text, request, words)
        line = game.text.question(request, words).rstrip('" ')
        option: int | None = None
        if options:
            shown = "  ".join(f"{i}) {label}" for i, label in enumerate(options, 1))
            picked = await self._ask(f"{line} ...   {shown}", lambda typed: _pick(typed, options))
            if picked is None:
                return Reply(stand_in(game, "abstain", observation), fallback=GONE)
            option = options[picked]
        text = ""
        if takes_words and (option is None or not silent(game.text, request, option, words)):
            said = await self._ask(f"{line}:", lambda typed: typed.strip())
            if said is None:
                return Reply(stand_in(game, "abstain", observation), fallback=GONE)
            text = said
        return Reply(Action(option=option, text=text, acts=game.text.read_acts(text, words) if text else ()))

    def _show(self, observation: Observation) -> None:
        key = (observation.game_id, observation.request.seat)
        game = load_game(observation.game)
        lines = game.transcript(observation.records, observation.request.seat, observation.config)
        for line in lines[self._shown.get(key, 0) :]:
            self._write(line)
        self._shown[key] = len(lines)

    async def _ask(self, question: str, read: Callable[[str], str | None]) -> str | None:
        """A usable answer; None after the end of the input."""
        while not self._left:
            self._write(question)
            typed = await asyncio.get_running_loop().run_in_executor(None, self._source.readline)
            if not typed:
                self._left = True
                break
            found = read(typed)
            if found is not None:
                return found
            self._write("That is none of the options; type its number or its word.")
        return None

    def _write(self, line: str) -> None:
        self._sink.write(printable(line) + "\n")
        self._sink.flush()


def _pick(typed: str, options: dict[str, int]) -> str | None:
    """The option's word: by its number in the list, or by the word itself."""
    typed = typed.strip()
    words = list(options)
    if typed in options:  # before numbers: a bid of 2 is the word 2
        return typed
    if typed.isdigit() and 1 <= int(typed) <= len(words):
        return words[int(typed) - 1]
    near = [word for word in words if word.casefold() == typed.casefold()]
    return near[0] if len(near) == 1 else None
