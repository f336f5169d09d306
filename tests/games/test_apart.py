"""No module outside a game's own room knows the game: it asks `games.base.Game` and the room that the game names."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
ROOMS = ("games/werewolf", "agents/werewolf", "harness/exchange/imports/werewolf")
"""Where Werewolf is at home. `games/werewolf_v0.py` is its PettingZoo environment."""

EXCEPTIONS = {
    "harness/model_evaluation": "the shipped small models play Werewolf",
    "harness/training/selfplay/partners.py": "pairs of werewolves and what they coordinate",
    "harness/training/transfer": "the trait that a teacher shows is an act of Werewolf's speeches",
    "analysis/beliefs": "which observer follows which game, and what it was told by Werewolf's seers",
    "analysis/covert": "who has a partner and a next target among werewolves",
}
"""Folder or file that names the game, and why; an entry that is needed no more has to go."""


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


def excused(name: str) -> str | None:
    return next((entry for entry in EXCEPTIONS if name == entry or name.startswith(f"{entry}/")), None)


def test_no_module_names_the_game_but_those_listed_with_a_reason() -> None:
    strangers = {name: lines for name, lines in naming().items() if excused(name) is None}
    assert strangers == {}


@pytest.mark.parametrize("entry", EXCEPTIONS)
def test_every_exception_is_still_needed(entry: str) -> None:
    assert any(excused(name) == entry for name in naming()), (
        f"{entry} names no game any more: take it off the list"
    )
