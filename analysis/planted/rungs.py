"""Planted truth for every rung: players whose beliefs, activations and ballots follow a known process.

A row is (game, viewer, turn, subject). Public counts are higher for werewolves (the surface). An order of events is
informative too, but no count shows it: the ideal reader's posterior uses both. Activations carry, along one direction,
nothing, the surface, the posterior, or a private noisy copy of the answer; ballots follow the surface or what the
activations carry.

| kind | carried | ballots follow | outcome |
| --- | --- | --- | --- |
| nothing | nothing | the surface | rung 0 |
| surface | the surface's log-odds | the surface | stops at 1 |
| unused | the posterior's log-odds | the surface | stops at 3 |
| used | the posterior's log-odds, with the viewer's own error | what is carried | reaches 4 |
| private | the answer with noise | the surface | 2 holds, 3 does not, rung 5 gives alarm |

The kinds of one seed differ in nothing but what is carried and, for `used`, the ballots.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy import sparse

from analysis.data.frames import rows_schema
from analysis.data.targets import SiteActivations, Target
from analysis.planted.planted import Planted
from games import DEFAULT, load_game

Carried = Literal["nothing", "surface", "unused", "used", "private"]
KINDS: tuple[Carried, ...] = ("nothing", "surface", "unused", "used", "private")
EXPECTED = {"nothing": 0, "surface": 1, "unused": 3, "used": 4, "private": 2}
"""The highest rung of 1 to 4 that should hold with all below it."""
PLAYERS, WOLVES, VIEWERS, TURNS = 7, 2, 2, 2


def rung_target(
    kind: Carried, n_games: int, seed: int = 0, d_model: int = 24, strength: float = 1.5
) -> Target:
    """A data set as a target of the report, with an exact posterior and ballots. `strength`: size of the carried
    signal, in noise units."""
    # The carried quantity has its own random stream: the kinds of one seed then share deal, events and names.
    rng, own = np.random.default_rng(seed), np.random.default_rng([seed, 1])
    columns: dict[str, list[Any]] = {
        name: [] for name in ("game_id", "viewer", "subject", "seq", "turn", "name")
    }
    wolf, counts, posterior, surface, chose = [], [], [], [], []
    carried: list[float] = []
    for game in range(n_games):
        wolves = rng.choice(PLAYERS, WOLVES, replace=False)
        is_wolf = np.isin(np.arange(PLAYERS), wolves)
        names = rng.permutation(20)[:PLAYERS]
        villagers = [int(s) for s in rng.permutation(PLAYERS) if not is_wolf[s]][:VIEWERS]
        accused, hidden = np.zeros(PLAYERS), np.zeros(PLAYERS)
        for turn in range(TURNS):
            rate = np.where(is_wolf, 1.5, 0.8)
            accused = accused + rng.poisson(rate)
            hidden = hidden + np.where(is_wolf, 0.9, -0.9) / 2 + 1.2 * rng.normal(size=PLAYERS) / np.sqrt(2)
            seen = accused * np.log(1.5 / 0.8) - (turn + 1) * 0.7
            all_of_it = seen + hidden * 0.9 / 0.72
            for v in villagers:
                others = np.array([s for s in range(PLAYERS) if s != v])
                by_surface, by_all = seen[others] - np.log(2), all_of_it[others] - np.log(2)
                if kind == "private":
                    level = np.where(is_wolf[others], 1.0, -1.0) + 1.2 * own.normal(size=len(others))
                elif kind == "used":
                    level = by_all + 0.8 * own.normal(size=len(others))
                elif kind == "unused":
                    level = by_all
                else:
                    level = by_surface if kind == "surface" else np.zeros(len(others))
                # A belief moves the vote beyond what is public; the noise is Gumbel, so the choice is a logit.
                drive = level if kind == "used" else by_surface
                vote = int(np.argmax(drive + rng.gumbel(size=len(others))))
                for at, s in enumerate(others):
                    columns["game_id"].append(f"g{game:05d}")
                    columns["viewer"].append(v)
                    columns["subject"].append(int(s))
                    columns["seq"].append(turn * PLAYERS + v)
                    columns["turn"].append(turn)
                    columns["name"].append(f"name{names[s]}")
                    wolf.append(bool(is_wolf[s]))
                    counts.append(int(accused[s]))
                    posterior.append(by_all[at])
                    surface.append(by_surface[at])
                    chose.append(float(at == vote))
                    carried.append(float(level[at]))
    frame = pl.DataFrame({**columns, "is_werewolf": wolf, "was_accused": counts})
    level = np.asarray(carried)
    x = _stream(rng, frame, level / max(1e-9, level.std()) * strength, d_model)
    y = np.asarray(wolf, dtype=float)
    return as_target(
        frame,
        x,
        y,
        1 / 3,
        chose=np.asarray(chose),
        stated={"exact": 1 / (1 + np.exp(-np.asarray(posterior)))},
    )


def _stream(
    rng: np.random.Generator, frame: pl.DataFrame, level: NDArray[Any], d: int
) -> NDArray[np.float32]:
    """Activations `(n_rows, 3, d)` with marks of name, seat and turn; `level` along a direction of layer 1."""
    x = rng.normal(size=(len(frame), 3, d)).astype(np.float32)
    for column in ("name", "subject", "turn"):
        code = np.unique(frame[column].to_numpy(), return_inverse=True)[1]
        x += 0.7 * rng.normal(size=(int(code.max()) + 1, 3, d)).astype(np.float32)[code]
    direction = rng.normal(size=d)
    x[:, 1] += np.outer(level, 1.6 * direction / np.linalg.norm(direction)).astype(np.float32)
    return x


def as_target(
    frame: pl.DataFrame, x: NDArray[np.float32], y: NDArray[np.float64], prior: float, *,
    chose: NDArray[np.float64] | None = None, stated: dict[str, NDArray[np.float64]] | None = None,
) -> Target:  # fmt: skip
    """Planted rows as a target of the report; missing columns of the schema are filled in."""
    known = {
        "day": frame["turn"] + 1, "viewer_role": "villager", "kind": "ballot", "n_living": PLAYERS,
        "length": frame["turn"] * 10 + 9, "agent": "planted", "model": "planted", "p_rules": prior,
        "preset": "planted",
    }  # fmt: skip
    columns: dict[str, Any] = {}
    game = load_game(DEFAULT)
    reading, sought = game.reading(game.configure()), game.belief_targets[0].name
    schema = rows_schema(game, () if reading is None else reading.features)
    for name in schema:
        value = frame[name] if name in frame.columns else known.get(name, 0)
        columns[name] = value if isinstance(value, pl.Series) else pl.Series([value] * len(frame))
    columns["subject_role"] = np.where(y > 0, sought, "villager")
    typed = pl.DataFrame(columns).cast(pl.Schema(schema))
    layers = tuple(str(i) for i in range(x.shape[1]))
    return Target(
        "subject_is_werewolf", "planted", typed, y, typed["subject"].to_numpy(),
        sparse.csr_matrix((len(frame), 0), dtype="f4"), [],
        (SiteActivations("mention", layers, x, np.arange(len(frame))),),
        stated=stated or {}, role=sought, chose=chose,
    )  # fmt: skip


def target_of(data: Planted, prior: float = 1 / 3) -> Target:
    """A data set of `analysis.planted.planted` as a target of the report, its public count among the public
    features."""
    frame = data.frame.rename({"accused": "was_accused"})
    return as_target(frame, data.x, data.y, prior)
