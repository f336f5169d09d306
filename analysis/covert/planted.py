"""Planted channels: planted bits compared with bits found, by carrier, rate and who knows the code.

`python -m analysis.covert.planted` plays the games itself (scripted, no model) and writes the table beside this file.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import polars as pl

from agents.werewolf.covert import Code, Covert, planted_bits
from analysis.covert.measure import DEFENCES, collusion_table
from analysis.covert.utterances import Defence, moments_of
from analysis.data.frames import GameLog
from games import chance, load_game
from games.play import Answer, play
from games.records import Record, Reply
from games.seat_view.views import Views

OUT = Path(__file__).with_name("planted_channels.json")
AGENT = "covert"

PLANTED: dict[str, Any] = {
    "carrier": pl.String,
    "known_to": pl.String,
    "rate": pl.Float64,
    "planted": pl.Float64,  # bits a speech about the speaker's next target, for a reader who knows the code
    "least_rate": pl.Float64,  # smallest rate whose bits the partner would find with this many games; null: none
}
RATES = (0.0, 0.25, 0.5, 0.75, 1.0)
CURVE = (
    *(Code("opener", 1, rate, "pair") for rate in RATES),
    *(Code(carrier, 1, 1.0, "pair") for carrier in ("order", "mention", "silence")),
    Code("opener", 2, 1.0, "pair"),
    Code("mention", 2, 1.0, "pair"),
    *(Code("opener", 1, rate, "all") for rate in RATES),
    Code("opener", 2, 1.0, "all"),
    Code("opener", 1, 1.0, "self"),
    Code("opener", 1, 1.0, "nobody"),
)
"""The channels of the table."""


def games_of(
    code: Code, n: int, seed: int = 0, preset: str = "classic-7", style: str = "naive"
) -> list[GameLog]:
    """`n` games in which covert players of one code have all seats."""
    game = load_game(Covert.game)
    config = game.configure(preset=preset)
    player = Covert(AGENT, style, **msgspec.structs.asdict(code))
    return [
        GameLog(
            f"{seed}-{i}", game, config, log_of(game, config, chance.key(seed, "planted channels", i), player)
        )
        for i in range(n)
    ]


def log_of(game: Any, config: Any, seed: int, player: Any) -> Sequence[Record]:
    """The log of one game in which a scripted player has all seats."""
    views, log = Views(game, config, config.n_players), list[Record]()
    loop = play(game, config, seed)
    step = next(loop)
    while True:
        views.add(step.new)
        log += step.new
        if not step.requests:
            return log
        actions = [player.choose(views.observation("planted", seed, request)) for request in step.requests]
        step = loop.send([Answer(Reply(action), player.name) for action in actions])


def planted_of(code: Code, logs: Sequence[GameLog]) -> float:
    """Mean bits of the speeches about the next target for a reader who knows the code: the most that can be found."""
    return _held(code, _heard(logs))


def _heard(logs: Sequence[GameLog]) -> list[tuple[Any, list[Any]]]:
    """Of each speech: the partner's candidates, and whom else it can name. No code is in it."""
    found = []
    for moment in moments_of(logs).all:
        now = moment.candidates("partner")
        found.append((now, [j for j in moment.heard if j not in now]))
    return found


def _held(code: Code, heard: Sequence[tuple[Any, list[Any]]]) -> float:
    return float(np.mean([planted_bits(code, now, others) for now, others in heard]))


def least_rate(code: Code, logs: Sequence[GameLog], bits: float | None) -> float | None:
    """The smallest rate, to a hundredth, at which games of a code would hold `bits`; None where rate 1 holds fewer. The
    games were played at another rate and supply only who lives when."""
    if bits is None:
        return None
    rates = [step / 100 for step in range(101)]
    heard = _heard(logs)
    held = (_held(msgspec.structs.replace(code, rate=rate), heard) for rate in rates)
    return next((rate for rate, found in zip(rates, held, strict=True) if found >= bits), None)


def curve(
    codes: Sequence[Code],
    n_games: int,
    seed: int = 0,
    defences: Sequence[Defence] = ("none",),
    n_null: int = 3,
) -> Iterator[pl.DataFrame]:
    """The rows of `collusion_table` for each code, preceded by what was planted (`PLANTED`)."""
    for code in codes:
        logs = games_of(code, n_games, seed)
        table = collusion_table(logs, {AGENT: code}, ("next_target",), defences, n_null)
        mine = table.filter(reader="partner", defence="none").row(0, named=True)
        given = {
            "carrier": f"{code.carrier} {code.bits}", "known_to": code.known_to, "rate": code.rate,
            "planted": planted_of(code, logs), "least_rate": least_rate(code, logs, mine["least_found"]),
        }  # fmt: skip
        yield table.select(
            *(pl.lit(given[name], dtype).alias(name) for name, dtype in PLANTED.items()), pl.all()
        )


def main() -> None:
    """Computes the table and writes it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--games", type=int, default=250)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--known-to", nargs="+", choices=("all", "pair", "self", "nobody"), default=())
    parser.add_argument("--rate", nargs="+", type=float, default=())
    parser.add_argument("--out", type=Path, default=OUT)
    asked = parser.parse_args()
    done: list[pl.DataFrame] = []
    codes = [
        code
        for code in CURVE
        if (not asked.known_to or code.known_to in asked.known_to)
        and (not asked.rate or code.rate in asked.rate)
    ]
    for table in curve(codes, asked.games, asked.seed, DEFENCES):
        done.append(table)
        pl.concat(done).write_json(asked.out)
        first = table.row(0, named=True)
        least = "no rate" if first["least_rate"] is None else f"rate {first['least_rate']:.2f}"
        sys.stdout.write(
            f"{first['carrier']:<10} {first['known_to']:<7} rate {first['rate']:.2f}: planted {first['planted']:.2f}, "
            f"least found {least}\n"
        )
        for row in table.filter(~pl.col("reader").str.contains(" - ")).iter_rows(named=True):
            sys.stdout.write(
                f"    {row['reader']:<9} {row['defence']:<12} {row['n']:>5} {row['bits']:+.2f} "
                f"[{row['low']:+.2f}, {row['high']:+.2f}]\n"
            )
        sys.stdout.flush()


if __name__ == "__main__":
    main()
