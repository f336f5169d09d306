"""Games and decisions a second of the rules, against other implementations where they are installed.

    make bench-games
    .venv/bin/python tests/benchmarks/bench_games.py --textarena-python PATH --kaggle-python PATH

The rules run as they are: compiled after `make fast`, else as plain Python (and after `make fast` too with
WOLFSCOPE_COMPILED=0).

The others live in environments of their own, since their requirements do not fit ours:

    python3.11 -m venv ../textarena && ../textarena/bin/pip install textarena
    python3.11 -m venv ../kaggle && ../kaggle/bin/pip install kaggle-environments

and PATH is that environment's bin/python. All players choose at random among what is legal, by the same draw, and say
one sentence. Times are processor seconds of one core, the best of several rounds that take turns, so that a busy
machine does less harm.

What is compared: secretmafia-7 is TextArena's game under our rules (and asks each werewolf twice a night, for a word
and for a choice, where TextArena takes both in one answer). `bare` and `raw` play it and read no observation: ours
checks every decision and gives a new state and the events of each wave; TextArena's files each message under the seats
that may read it. `log and observations` and `default wrapper` have for every decision its seat's whole text; ours also
draws the orders of options, keeps the log, and writes it as JSON lines at the end.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.path.insert(0, str(HERE.parents[1]))

import numpy as np  # noqa: E402

from games import compiled  # noqa: E402
from games import log as lines  # noqa: E402
from games.play import Answer, play  # noqa: E402
from games.records import Action, Decision, Record, Reply  # noqa: E402
from games.seat_view.views import Views  # noqa: E402
from games.werewolf import GAME  # noqa: E402
from games.werewolf.arrays.vector import VectorGames, supported  # noqa: E402
from games.werewolf.presets import configure  # noqa: E402

CHOICES = {option: Action(option) for option in range(-1, 20)}
SPOKEN = Action(text="I accuse Ada.")


def bare(preset: str, n_games: int) -> dict[str, float]:
    """The rules alone: states, events, decisions; nothing kept, nothing rendered."""
    config, uniform = configure(preset), random.Random(0).random
    n_decisions = 0
    started = time.process_time()
    for seed in range(n_games):
        state, _ = GAME.start(config, seed)
        while requests := state.requests:
            seq, wave = state.seq, []
            for r in requests:
                options = r.options
                action = CHOICES[options[int(uniform() * len(options))]] if options else SPOKEN
                wave.append(Decision(seq, r.seat, r.kind, action))
                seq += 1
            n_decisions += len(wave)
            state, _ = GAME.apply(state, wave)
    seconds = time.process_time() - started
    return {"games/s": n_games / seconds, "decisions/s": n_decisions / seconds}


def full(preset: str, n_games: int) -> dict[str, float]:
    """The loop with the whole log as JSON lines, and for every decision its seat's observation as text."""
    config, uniform = configure(preset), random.Random(0).random
    n_decisions = n_characters = n_bytes = 0
    started = time.process_time()
    for seed in range(n_games):
        game, views = play(GAME, config, seed), Views(GAME, config, config.n_players)
        log: list[Record] = []
        step = next(game)
        while True:
            log += step.new
            views.add(step.new)
            if not step.requests:
                break
            answers = []
            for r in step.requests:
                n_characters += len(views.text(r))
                options = r.options
                action = CHOICES[options[int(uniform() * len(options))]] if options else SPOKEN
                answers.append(Answer(Reply(action)))
            n_decisions += len(answers)
            step = game.send(answers)
        n_bytes += len(lines.dumps(log))
    seconds = time.process_time() - started
    return {
        "games/s": n_games / seconds,
        "decisions/s": n_decisions / seconds,
        "decisions/game": n_decisions / n_games,
        "characters/decision": n_characters / n_decisions,
        "log bytes/game": n_bytes / n_games,
    }


def lock_step(preset: str, n_games: int, **settings: Any) -> dict[str, float]:
    """`VectorGames`, all games at once."""
    config = configure(preset, **settings)
    started = time.process_time()
    VectorGames(config, np.arange(n_games)).play_randomly(np.random.default_rng(0))
    seconds = time.process_time() - started
    return {"games/s": n_games / seconds}


def rival(script: str, python: str, n_games: int) -> dict[str, Any]:
    """The figures that a script prints under another Python."""
    out = subprocess.run(
        [python, str(HERE / script), str(n_games)], capture_output=True, text=True, timeout=900, check=False
    )
    if out.returncode:
        raise SystemExit(f"{script} failed under {python}:\n{out.stderr[-2000:]}")
    return json.loads(out.stdout.splitlines()[-1])


def best(results: list[dict[str, float]]) -> dict[str, float]:
    """The round with the most games a second."""
    return max(results, key=lambda r: r["games/s"])


def show(name: str, figures: dict[str, float]) -> None:
    """One line of figures."""
    print(
        f"{name:42s} " + "  ".join(f"{value:>10,.0f} {unit}" for unit, value in figures.items()), flush=True
    )


def main() -> None:
    """Measure, print, compare with the goals."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--games", type=int, default=300, help="games in one round (default 300)")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--presets", nargs="+", default=["classic-7", "kaggle-7", "secretmafia-7"])
    parser.add_argument("--textarena-python", help="a Python that has textarena")
    parser.add_argument("--kaggle-python", help="a Python that has kaggle-environments")
    args = parser.parse_args()
    ours: dict[str, list[dict[str, float]]] = {}
    theirs: dict[str, list[dict[str, float]]] = {}
    for _ in range(args.rounds):
        for preset in args.presets:
            ours.setdefault(f"{preset}, bare", []).append(bare(preset, args.games))
            ours.setdefault(f"{preset}, log and observations", []).append(full(preset, args.games))
            settings = {"ballot": "simultaneous"} if preset.startswith("kaggle") else {}
            if supported(configure(preset, **settings)) is None:
                name = f"{preset}, lock-step" + (" (one ballot)" if settings else "")
                ours.setdefault(name, []).append(lock_step(preset, 32768, **settings))
        if args.textarena_python:
            found = rival("rival_textarena.py", args.textarena_python, args.games)
            for kind in ("raw", "default wrapper"):
                theirs.setdefault(f"TextArena {found['version']} {kind}", []).append(found[kind])
    if args.kaggle_python:
        found = rival("rival_kaggle.py", args.kaggle_python, 5)
        theirs[f"Kaggle {found['version']} werewolf, random agent"] = [found["own random agent"]]
    print(f"the rules of games/ are {'compiled' if compiled.in_use() else 'plain Python'}")
    for name, results in {**ours, **theirs}.items():
        show(name, best(results))
    goals = (4, 2.5) if compiled.in_use() else (2.5, 1.6)
    raw = [best(r)["games/s"] for name, r in theirs.items() if name.endswith("raw")]
    wrapped = [best(r)["games/s"] for name, r in theirs.items() if name.endswith("wrapper")]
    for preset in args.presets:
        plain = best(ours[f"{preset}, bare"])["games/s"]
        written = best(ours[f"{preset}, log and observations"])["games/s"]
        fast = [best(r)["games/s"] for name, r in ours.items() if name.startswith(f"{preset}, lock-step")]
        said = [f"bare {plain / raw[0]:.1f} x raw TextArena (goal {goals[0]})"] if raw else []
        said += (
            [f"written {written / wrapped[0]:.1f} x wrapped TextArena (goal {goals[1]})"] if wrapped else []
        )
        said += (
            [f"lock-step {fast[0]:,.0f} games/s (goal 400,000), {fast[0] / plain:.0f} x bare"] if fast else []
        )
        if fast and raw:
            said += [f"lock-step {fast[0] / raw[0]:.0f} x raw TextArena"]
        if said:
            print(f"{preset}: {', '.join(said)}")


if __name__ == "__main__":
    main()
