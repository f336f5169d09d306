"""Write the golden logs: one random-legal game of every preset of every game.

    .venv/bin/python tests/games/golden/write.py

Do so only where a rule was changed on purpose, and look at the difference before committing it.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent


def write(game: str, presets: Sequence[str], configure: Callable[..., Any], play: Callable[..., Any]) -> None:
    """Write one file a preset: a line with preset and seed, then the log."""
    from games import log

    (FOLDER / game).mkdir(exist_ok=True)
    for preset in presets:
        config = configure(preset)
        # The shortest of some games that see a second day.
        games = {seed: play(config, seed) for seed in range(12)}
        seed = min(games, key=lambda i: (games[i][-1].day < 2, len(games[i])))
        head = json.dumps({"preset": preset, "seed": seed}) + "\n"
        (FOLDER / game / f"{preset}.jsonl").write_bytes(head.encode() + log.dumps(games[seed]))
        print(f"{game} {preset}: seed {seed}, {len(games[seed])} records")


def main() -> None:
    """Write those of all games."""
    from games.avalon import presets as avalon
    from games.werewolf import presets as werewolf
    from tests.fixtures import avalon_games, random_games

    write("werewolf", werewolf.NAMES, werewolf.configure, random_games.random_game)
    write("avalon", avalon.NAMES, avalon.configure, avalon_games.random_game)


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[3]))
    main()
