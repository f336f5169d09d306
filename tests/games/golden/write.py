"""Write the golden logs: one random-legal game of every preset.

    .venv/bin/python tests/games/golden/write.py

Do so only where a rule was changed on purpose, and look at the difference before committing it.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

FOLDER = Path(__file__).parent / "werewolf"


def main() -> None:
    """Write one file a preset: a line with preset and seed, then the log."""
    from games import log
    from games.werewolf.presets import NAMES, configure
    from tests.fixtures.random_games import random_game

    FOLDER.mkdir(exist_ok=True)
    for preset in NAMES:
        config = configure(preset)
        # The shortest of some games that see a second day.
        games = {seed: random_game(config, seed) for seed in range(12)}
        seed = min(games, key=lambda i: (games[i][-1].day < 2, len(games[i])))
        head = json.dumps({"preset": preset, "seed": seed}) + "\n"
        (FOLDER / f"{preset}.jsonl").write_bytes(head.encode() + log.dumps(games[seed]))
        print(f"{preset}: seed {seed}, {len(games[seed])} records")


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[3]))
    main()
