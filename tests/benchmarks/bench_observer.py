"""How fast the exact observer is, and how well each observer does.

python tests/benchmarks/bench_observer.py speed            # ms a game, all viewers, after every public event
python tests/benchmarks/bench_observer.py table 300        # AUROC by day of every observer and rung
python tests/benchmarks/bench_observer.py win 200          # the Bayesian player in the seats of a naive one
python tests/benchmarks/bench_observer.py speed 50 kaggle-8 secretmafia-8
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from agents.werewolf.bayesian import Bayesian
from agents.werewolf.observer import Observer, fit, trajectories
from agents.werewolf.scripted import Scripted
from agents.werewolf.styles import STYLES
from games import load_game
from games.play import Answer, observe, play
from games.records import Event, Reply
from games.werewolf.roles import faction_of
from tests.agents.test_observer import EVEN, auroc, event_counts, scores, scripted_game

GAME = load_game("werewolf")


def speed(n: int, presets: list[str]) -> None:
    """CPU time of `trajectories` a game, games made beforehand."""
    print(f"{'preset':15} {'events':>7} {'first order':>13} {'with second':>13}   1,000 games")
    for preset in presets or ["classic-7", "kaggle-8", "secretmafia-8", "arena-8", "secretmafia-9"]:
        config = GAME.configure(preset=preset)
        logs = [scripted_game(config, seed)[0] for seed in range(n)]
        trajectories(Observer("exact", config, EVEN), logs[0])
        times, events = [], 0
        for second, some in ((False, logs), (True, logs[: max(n // 10, 1)])):
            start = time.process_time()
            for log in some:
                t = trajectories(Observer("exact", config, EVEN), log, second_order=second)
                events += 0 if second else len(t.seq)
            times.append((time.process_time() - start) / len(some) * 1000)
        print(
            f"{preset:15} {events / n:7.1f} {times[0]:10.1f} ms {times[1]:10.1f} ms   {times[0]:.0f} s",
            flush=True,
        )


def table(n: int, presets: list[str]) -> None:
    """AUROC by day, Brier, ECE: plain villagers' views of living unrevealed subjects, after the day's ballots."""
    for preset in presets or ["classic-7"]:
        config = GAME.configure(preset=preset)
        logs = [scripted_game(config, seed)[0] for seed in range(n)]
        fitted = fit([(config, scripted_game(config, 1_000_000 + seed)[0]) for seed in range(min(n, 100))])
        observers = {
            "rules": lambda config=config: Observer("rules", config),
            **{
                f"rung {r}": (lambda r=r, config=config: Observer("exact", config, EVEN, rung=r))
                for r in (1, 2, 3)
            },
            "exact": lambda config=config: Observer("exact", config, EVEN),
            "fitted": lambda config=config, fitted=fitted: Observer("fitted", config, fitted=fitted),
        }
        truth, day, p = scores(observers, logs, config)
        others = [scripted_game(config, 2_000_000 + seed)[0] for seed in range(n)]
        p["counts"] = event_counts(others, logs, config)[0].clip(0, 1)
        print(f"{preset}, {n} games, {len(truth)} (game, day, viewer, subject)")
        for name, q in p.items():
            days = [
                f"day {d} {auroc(truth[day == d], q[day == d]):.3f}"
                for d in (1, 2, 3)
                if (day == d).sum() > 50
            ]
            bins = np.minimum((q * 10).astype(int), 9)
            ece = sum(abs((q - truth)[bins == b].sum()) for b in range(10)) / len(q)
            brier = ((q - truth) ** 2).mean()
            total = f"all {auroc(truth, q):.3f}  Brier {brier:.4f}  ECE {ece:.4f}"
            print(f"  {name:7} {'  '.join(days)}  {total}")


def won(config, seed: int, player, side: str) -> bool:
    """Whether `side` wins with `player` in all of its seats, against drawn characters."""
    drawn = np.random.default_rng(seed).choice(list(STYLES), config.n_players)
    loop = play(GAME, config, seed)
    step, log = next(loop), []
    log += step.new
    deal = next(r for r in log if isinstance(r, Event) and r.kind == "deal").data["roles"]
    seats = [
        player if (faction_of(role) == "werewolf") == (side == "werewolf") else Scripted(name, name)
        for role, name in zip(deal, drawn, strict=True)
    ]
    while step.requests:
        seen = [observe(GAME, f"game {seed}", config, seed, log, request) for request in step.requests]
        step = loop.send([Answer(Reply(seats[o.request.seat].choose(o))) for o in seen])
        log += step.new
    return log[-1].value == side


def win(n: int, presets: list[str]) -> None:
    """Win rates of the Bayesian, the naive and the random player in the same seats of the same games."""
    for preset in presets or ["classic-7"]:
        config = GAME.configure(preset=preset)
        for side in ("village", "werewolf"):
            for player in (Scripted("random", "random"), Scripted("naive", "naive"), Bayesian("bayesian")):
                rate = sum(won(config, 5_000_000 + seed, player, side) for seed in range(n)) / n
                half = 1.96 * (rate * (1 - rate) / n) ** 0.5
                print(f"{preset} {side:9} {player.name:9} {rate:.3f} +- {half:.3f} (n = {n})", flush=True)


if __name__ == "__main__":
    what = sys.argv[1] if len(sys.argv) > 1 else "speed"
    count = int(sys.argv[2]) if len(sys.argv) > 2 else 40
    {"speed": speed, "table": table, "win": win}[what](count, sys.argv[3:])
