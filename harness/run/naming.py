"""Finding a game by a user's word: its number, its id, or the beginning of its id."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from harness.errors import RunFolderError


class NoSuchGame(RunFolderError, KeyError):
    """The run has no game, or several, of that name."""

    __str__ = Exception.__str__  # a KeyError would put the message in quotes


def find_game(word: str | int, numbers: Mapping[str, int | None], run: Path) -> str:
    """The id of the game that is named. numbers: id -> number in the schedule, None while it is not known.

    Raises NoSuchGame.
    """
    text = str(word)
    if text in numbers:
        return text
    number = text.removeprefix("#")
    if number.isdigit():
        for game_id, index in numbers.items():
            if index == int(number):
                return game_id
    fits = [game_id for game_id in numbers if text and isinstance(word, str) and game_id.startswith(text)]
    if len(fits) == 1:
        return fits[0]
    if len(fits) > 1:
        raise NoSuchGame(
            f"{len(fits)} games of {run} begin with {word!r} ({', '.join(fits[:4])}): write more of "
            "the id, or the game's number"
        )
    raise NoSuchGame(
        f"{run} has no game {word!r}: name it by its id, the beginning of its id, or its number, "
        f"0 to {len(numbers) - 1} (for instance {', '.join(list(numbers)[:3]) or 'there are none yet'})"
    )
