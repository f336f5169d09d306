"""Plays one game of Kaggle's werewolf with its own random agent and keeps the replay; needs kaggle-environments.

    python make_kaggle.py 2 role kaggle-7.json.gz
    python make_kaggle.py 1 no_reveal kaggle-8-no-reveal.json.gz     # an odd seed: one villager more

made the replays in this folder, with kaggle-environments 1.33.2.
"""

import contextlib
import gzip
import io
import json
import logging
import sys
from pathlib import Path

logging.disable(logging.CRITICAL)
with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
    from kaggle_environments import make

    seed, reveal, out = int(sys.argv[1]), sys.argv[2], Path(sys.argv[3])
    roles = ["Werewolf"] * 2 + ["Seer", "Doctor"] + ["Villager"] * (3 + seed % 2)
    players = [
        {"id": f"player_{i}", "role": role, "agent_id": "random", "display_name": f"bot-{i % 3}"}
        for i, role in enumerate(roles)
    ]
    settings = {
        "agents": players,
        "seed": seed,
        "randomize_roles": True,
        "night_elimination_reveal_level": reveal,
        "day_exile_reveal_level": reveal,
    }
    env = make("werewolf", configuration=settings)
    env.run(["random"] * len(roles))
out.write_bytes(gzip.compress(json.dumps(env.toJSON()).encode(), 9, mtime=0))
