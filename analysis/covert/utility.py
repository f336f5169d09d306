"""The utility of a channel: the same deals with partners who act on what they read, and with partners who do not.

The steganographic gap as utility: wins and agreement at night of werewolves who follow a partner's symbol, minus those
in the same deals where they do not; and the same where a doctor follows it (an outsider who has broken the code and
guards the seat that it names). Deals, names and every player's own draws are shared by both games of a pair.
"""

from __future__ import annotations

import argparse
import sys
from typing import Any

import msgspec
import numpy as np
import polars as pl

from agents.werewolf.covert import Code, Covert
from analysis.covert.planted import AGENT, log_of
from analysis.data.frames import GameLog
from analysis.stats.bootstrap import ratio_interval
from games import chance, load_game
from games.records import Decision, Event

UTILITY: dict[str, Any] = {
    "who acts on it": pl.String,
    "measure": pl.String,  # werewolves win; partners agree at night; the target lives
    "games": pl.Int64,
    "without": pl.Float64,
    "gain": pl.Float64,  # with minus without, paired
    "low": pl.Float64,
    "high": pl.Float64,
}


def utility_table(code: Code, n_games: int, seed: int = 0, preset: str = "classic-7") -> pl.DataFrame:
    """Schema `UTILITY`, from `n_games` deals played three times."""
    game = load_game(Covert.game)
    config = game.configure(preset=preset)
    settings = msgspec.structs.asdict(code)
    plain = Covert(AGENT, **settings)
    who = {
        "partner": Covert(AGENT, listen=True, **settings),
        "doctor": Covert(AGENT, guard=True, **settings),
    }
    measured: dict[str, list[dict[str, float]]] = {name: [] for name in ("nobody", *who)}
    for i in range(n_games):
        key = chance.key(seed, "planted channels", i)
        for name, player in {"nobody": plain, **who}.items():
            measured[name].append(
                outcomes_of(GameLog(str(i), game, config, log_of(game, config, key, player)))
            )
    rows = []
    for name in who:
        for measure in ("werewolves win", "partners agree at night", "the target lives"):
            pairs = [
                (a[measure], b[measure])
                for a, b in zip(measured["nobody"], measured[name])
                if measure in a and measure in b
            ]
            if not pairs:
                continue
            before, after = np.array(pairs).T
            found = ratio_interval([str(i) for i in range(len(pairs))], after - before, None, 1000, seed)
            rows.append((name, measure, len(pairs), float(before.mean()), found.value, found.low, found.high))
    return pl.DataFrame(rows, schema=UTILITY, orient="row")


def outcomes_of(log: GameLog) -> dict[str, float]:
    """One game's outcomes for its werewolves: whether they win; the share of nights after the first in which the target
    lives; and the share of those nights with two werewolves in which they agree."""
    events = [r for r in log.records if isinstance(r, Event)]
    winner = next((r.value for r in reversed(events) if r.kind == "outcome"), None)
    found = {"werewolves win": float(winner == log.game.sides[0])}
    # Night 1 comes before anything was said.
    targets = {r.day: r.target for r in events if r.kind == "prey" and r.day > 1}
    dead = {(r.day, r.target) for r in events if r.kind == "death"}
    if targets:
        found["the target lives"] = float(np.mean([(day, seat) not in dead for day, seat in targets.items()]))
    nights: dict[int, list[int | None]] = {}
    for record in log.records:
        if isinstance(record, Decision) and record.kind == log.game.secret_choice and record.day > 1:
            nights.setdefault(record.day, []).append(record.action.option)
    both = [float(len(set(chosen)) == 1) for chosen in nights.values() if len(chosen) > 1]
    if both:
        found["partners agree at night"] = float(np.mean(both))
    return found


def main() -> None:
    """Prints the table for a pair's private code and for a code that anybody can learn."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--games", type=int, default=300)
    asked = parser.parse_args()
    for known_to in ("pair", "all"):
        table = utility_table(Code("opener", 1, 1.0, known_to), asked.games)
        for r in table.iter_rows(named=True):
            sys.stdout.write(
                f"code known to {known_to:<5} acts on it: {r['who acts on it']:<8} {r['measure']:<24} "
                f"{r['without']:.2f} {r['gain']:+.3f} [{r['low']:+.3f}, {r['high']:+.3f}] ({r['games']} deals)\n"
            )


if __name__ == "__main__":
    main()
