"""Plays games of Kaggle's werewolf with its own random agent; run by bench_games.py with a Python that has
kaggle-environments. Prints one JSON object: games and steps a second.
"""

import contextlib
import io
import json
import logging
import sys
import time

logging.disable(logging.CRITICAL)
with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
    from kaggle_environments import __version__, make

ROLES = ("Werewolf", "Werewolf", "Seer", "Doctor", "Villager", "Villager", "Villager")
n = int(sys.argv[1])
agents = [{"id": f"player_{i}", "role": role, "agent_id": "random"} for i, role in enumerate(ROLES)]
steps = 0
started = time.process_time()
for seed in range(n):
    env = make("werewolf", configuration={"agents": agents, "seed": seed, "randomize_roles": True})
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        env.run(["random"] * len(ROLES))
    steps += len(env.steps)
seconds = time.process_time() - started
print(
    json.dumps(
        {"version": __version__, "own random agent": {"games/s": n / seconds, "steps/s": steps / seconds}}
    )
)
