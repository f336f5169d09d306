"""Plays random-legal games of TextArena's SecretMafia; run by bench_games.py with a Python that has textarena.

Prints one JSON object: games and decisions a second, raw (no wrapper, no observation asked for) and with the default
text wrapper (every observation asked for).
"""

import json
import random
import sys
import time

import textarena as ta


def play(env_id, n_games, n_players, observe):
    decisions = characters = 0
    uniform = random.Random(0).random

    def pick(seats):
        return seats[int(uniform() * len(seats))]  # as bench_games.py draws

    started = time.process_time()
    for seed in range(n_games):
        env = ta.make(env_id)
        env.reset(num_players=n_players, seed=seed)
        inner = env
        while hasattr(inner, "env"):
            inner = inner.env
        state, done = inner.state, False
        while not done:
            if observe:
                seat, observation = env.get_observation()
                characters += len(observation)
            else:
                seat = state.current_player_id
            game = state.game_state
            phase, alive = game["phase"].value, game["alive_players"]
            if phase == "Day-Discussion":
                action = "I accuse Player 3."
            elif phase == "Night-Mafia":
                action = f"[{pick([p for p in alive if game['player_roles'][p] != 'Mafia'])}]"
            else:
                action = f"[{pick([p for p in alive if p != seat])}]"
            done, _ = env.step(action)
            decisions += 1
        env.close()
    seconds = time.process_time() - started
    return {
        "games/s": n_games / seconds,
        "decisions/s": decisions / seconds,
        "decisions/game": decisions / n_games,
        "characters/decision": characters / decisions,
    }


n = int(sys.argv[1])
print(
    json.dumps(
        {
            "version": getattr(ta, "__version__", "?"),
            "raw": play("SecretMafia-v0-raw", n, 7, observe=False),
            "default wrapper": play("SecretMafia-v0", n, 7, observe=True),
        }
    )
)
