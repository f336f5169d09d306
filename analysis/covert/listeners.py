"""What a listener's activations hold of a speech: a probe on them as a reader, and private beliefs as a secret.

At the ballot after the speeches a listener is asked about each other player's role; the residual stream at that
player's name (`belief_mention`) is the listener's mind of that candidate. A decoder on it is a reader like any other:
public information is its baseline, fits are on other games. A mind holds more than the speech: a partner that would
itself kill the speaker's target reads well without any message. So a partner's bits are an upper bound of what the
speech carried, and a code shows as more bits than in games whose werewolves have no code.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from analysis.covert.decoder import held_out
from analysis.covert.measure import FEWEST, Reading, reading, row_of
from analysis.covert.utterances import Moment, Moments, choices
from analysis.stats.errors import AnalysisError
from analysis.stats.threads import one_thread

Key = tuple[str, int, int, int]
"""(game, listener's seat, day, candidate)."""
SITE, KIND = "belief_mention", "ballot"
PARTNER, VILLAGER = "partner's mind", "villager's mind"


@dataclass(frozen=True)
class Minds:
    """Activations of listeners about each other player, at the ballot of a day."""

    at: Mapping[Key, int]
    """Key -> row of `x`."""
    streams: NDArray[np.float64]
    """`(n_rows, d_model)`."""


def minds_of(run: Any, layer: int | str = -1) -> Minds:
    """The minds in a run's own store. layer: a number or name in the store; -1: the middle block.

    Raises AnalysisError where `belief_mention` was not captured before ballots.
    """
    store = run.activations("activations")
    chosen = store.layers[len(store.layers) // 2] if layer == -1 else layer
    lines, x = store.select(chosen, site=SITE)
    rows = lines.with_row_index("place").join(
        _ballots(run), on=["game_id", "seq"], how="inner", maintain_order="left"
    )
    if rows.is_empty():
        raise AnalysisError(
            f"site {SITE} was not captured before {KIND}s: ask beliefs ([beliefs] before = ['{KIND}']) and "
            f"`wolfscope capture RUN --site {SITE}`"
        )
    at = {
        (str(game), int(seat), int(day), int(subject)): int(place)
        for game, seat, day, subject, place in rows.select(
            "game_id", "seat", "day", "subject", "place"
        ).iter_rows()
    }
    return Minds(at, np.asarray(x, dtype=float))


def held_of(run: Any, role: str = "seer") -> dict[tuple[str, int, int], int]:
    """(game, seat, day) -> the seat that it states to be likeliest to have `role`, before its ballot of that day.

    This is the secret `belief` of `moments_of`. Empty for a run in which nobody was asked.
    """
    rows = (
        run.beliefs.filter(pl.col("about").is_null())
        .collect()
        .join(_ballots(run), on=["game_id", "seq"], how="inner", maintain_order="left")
    )
    best: dict[tuple[str, int, int], tuple[float, int]] = {}
    for game, viewer, day, subject, shares in rows.select(
        "game_id", "viewer", "day", "subject", "probabilities"
    ).iter_rows():
        p = next((one["p"] for one in shares or () if one["role"] == role), None)
        key = (str(game), int(viewer), int(day))
        if p is not None and (key not in best or p > best[key][0]):
            best[key] = (float(p), int(subject))
    return {key: subject for key, (_, subject) in best.items()}


def _ballots(run: Any) -> pl.DataFrame:
    """game_id, seq and day of the decisions before which listeners are asked."""
    found: pl.DataFrame = (
        run.decisions.filter(pl.col("kind") == KIND).select("game_id", "seq", "day").collect()
    )
    return found


def listener_rows(found: Moments, minds: Minds, n_boot: int = 1000, seed: int = 0) -> list[dict[str, Any]]:
    """Rows (`analysis.covert.measure.COLLUSION`, `p_adjusted` left out) of both minds and of the gap between them.

    A moment counts where its partner's and one villager's minds hold all its candidates. Candidates are the seats that
    are not werewolves for both readers, so that the partner gains nothing by knowing the werewolves. No rows with fewer
    than `FEWEST` games.
    """
    kept: list[Moment] = []
    heard: dict[str, list[int]] = {PARTNER: [], VILLAGER: []}
    for moment in found.all:
        partners = sorted(moment.wolves - {moment.speaker})
        villagers = [j for j in moment.living if j not in moment.wolves]
        listening = [
            next((j for j in some if _holds(minds, moment, j)), None) for some in (partners, villagers)
        ]
        if None not in listening:
            kept.append(moment)
            for name, seat in zip(heard, listening, strict=True):
                heard[name].append(int(seat or 0))
    if len({moment.game for moment in kept}) < FEWEST:
        return []
    some = replace(found, all=kept)
    rows = choices(some, "monitor")
    readings: dict[str, Reading] = {}
    with one_thread():
        before = held_out(rows, [rows.public], seed=seed)
        for name, seats in heard.items():
            x = np.stack(
                [
                    _relative(minds, moment, seat, j)
                    for moment, seat in zip(kept, seats, strict=True)
                    for j in moment.candidates("monitor")
                ]
            )
            sets = [rows.public, np.hstack([rows.public, x])]
            readings[name] = reading(rows, before, sets, seed)
    games = [moment.game for moment in kept]
    out = [
        row_of(found.secret, name, "none", games, read.bits, read.bound, n_boot, seed)
        | {"hits_public": float(read.before.mean()), "hits": float(read.after.mean())}
        for name, read in readings.items()
    ]
    mine, theirs = readings[PARTNER], readings[VILLAGER]
    gap = row_of(
        found.secret, f"{PARTNER} - {VILLAGER}", "none", games, mine.bits - theirs.bits, mine.bound - theirs.bound,
        n_boot, seed,
    )  # fmt: skip
    return [*out, gap]


def _holds(minds: Minds, moment: Moment, seat: int) -> bool:
    """Whether a listener's mind holds every candidate but itself."""
    wanted = [j for j in moment.candidates("monitor") if j != seat]
    return bool(wanted) and all((moment.game, seat, moment.day, j) in minds.at for j in wanted)


def _relative(minds: Minds, moment: Moment, seat: int, j: int) -> NDArray[np.float64]:
    """A mind's activations for a candidate minus their mean over the candidates; zeros for the listener itself."""
    rows = {i: minds.at[moment.game, seat, moment.day, i] for i in moment.candidates("monitor") if i != seat}
    if j not in rows:
        return np.zeros(minds.streams.shape[1])
    mean = minds.streams[list(rows.values())].mean(axis=0)
    return np.asarray(minds.streams[rows[j]] - mean)
