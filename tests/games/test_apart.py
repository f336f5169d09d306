"""No module outside a game's own room knows the game: it asks `games.base.Game` and the room that the game names."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
ROOMS = (
    "games/werewolf",
    "agents/werewolf",
    "harness/exchange/imports/werewolf",
    "analysis/beliefs/werewolf",
)
"""Where Werewolf is at home. `games/werewolf_v0.py` is its PettingZoo environment."""


def naming() -> dict[str, list[str]]:
    """File -> its lines that name Werewolf, of all that are in no room of its own."""
    found: dict[str, list[str]] = {}
    for package in ("agents", "harness", "analysis"):
        for path in sorted((ROOT / package).rglob("*.py")):
            name = path.relative_to(ROOT).as_posix()
            if name.startswith(tuple(f"{room}/" for room in ROOMS)):
                continue
            lines = [
                line.strip()
                for line in path.read_text(encoding="utf-8").splitlines()
                if re.search(r"""["']werewolf["']|\bgames\.werewolf\b""", line)
            ]
            if lines:
                found[name] = lines
    return found


def test_no_module_outside_the_rooms_of_a_game_names_it() -> None:
    assert naming() == {}


def test_every_room_names_its_game() -> None:
    for room in ROOMS:
        assert any("werewolf" in path.read_text(encoding="utf-8") for path in (ROOT / room).rglob("*.py")), (
            room
        )
