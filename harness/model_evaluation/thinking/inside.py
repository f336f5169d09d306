"""Beliefs inside the model, read by a linear probe before and after the thinking, and the ballot where the written
and the probed belief disagree.

The probe is a ridge on the residual stream after each layer at the token of a living other's name: before the
thinking in the opening of the line (`Ada thinks belief (Ben Cal):`), after it among the names that may be voted for.
It is fitted on games with an even number and measured on the others.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import polars as pl

from analysis.stats.bootstrap import r2_interval
from analysis.stats.metrics import log_odds
from analysis.stats.ridge import Ridge, chosen_ridge
from analysis.stats.splits import game_folds
from harness.model_evaluation.thinking.arms import Thought
from harness.model_evaluation.thinking.cells import Cell, slopes
from harness.model_evaluation.thinking.moments import Moment
from harness.model_evaluation.thinking.scores import CLIP, Scored

LAYERS = {
    "place": pl.String, "layer": pl.Int64, "r2": pl.Float64, "low": pl.Float64, "high": pl.Float64, "n": pl.Int64,
}  # fmt: skip
"""One row a place and layer: R2 of the exact posterior's log-odds, with the 95% interval over games. place: `before`
the thinking, or the arm after whose thought it is read."""
CONFLICTS = {
    "moment": pl.Int64, "game": pl.Int64, "subject": pl.Int64, "words": pl.Float64, "inside": pl.Float64,
    "exact": pl.Float64, "vote": pl.Float64,
}  # fmt: skip
"""One row a subject of a measured game: the log-odds that the words say and that the probe reads before them, the exact
ones, and the log of the probability of a vote for the subject; each less the mean over the moment's subjects."""
N_FOLDS = 4


def streams_at(
    scored: Scored, moment: Moment, ids: Sequence[int], start: int, layers: Sequence[int]
) -> np.ndarray:
    """The residual stream at each subject's last mention from token `start` on: `(n_subjects, n_layers, hidden)`."""
    encoder = scored.thinkers.encoder
    tokens = [encoder.encode(f" {moment.names[j]}")[0][-1] for j in moment.subjects]
    tail = list(ids[start:])
    at = [start + len(tail) - 1 - tail[::-1].index(token) for token in tokens]
    found: np.ndarray = scored.scorer.streams(ids, at, layers).numpy()
    return found


def inside(
    scored: Scored,
    moments: Sequence[Moment],
    found: Mapping[str, Sequence[Thought]],
    questions: pl.DataFrame,
    n_layers: int,
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """`LAYERS` of the places before the thinking and after each arm's thought, and `CONFLICTS` of the arm
    `belief`."""
    layers = range(n_layers)
    games = np.array([m.game for m in moments for _ in m.subjects])
    target = log_odds([p for m in moments for p in m.exact], CLIP)
    behind = {arm: {t.moment: t for t in found.get(arm, ())} for arm in ("none", "filler", "belief", "steps")}
    places = ["before", *(arm for arm, thoughts in behind.items() if len(thoughts) == len(moments))]
    streams: dict[str, list[np.ndarray]] = {place: [] for place in places}
    for m in moments:  # one after the other, so that shared context is computed once
        for place in places:
            thought = None if place == "before" else behind[place][m.id]
            streams[place].append(streams_at(scored, m, *_place(scored, m, thought), layers))
    stacked = {place: np.concatenate(rows) for place, rows in streams.items()}
    rows = []
    for place, x in stacked.items():
        for layer in layers:
            cell = _read(x[:, layer], target, games)
            rows.append({"place": place, "layer": layer, "n": cell.n, "r2": cell.value, "low": cell.low,
                         "high": cell.high})  # fmt: skip
    table = pl.DataFrame(rows, schema=LAYERS)
    return table, conflicts(stacked["before"], target, games, moments, questions)


def _place(scored: Scored, moment: Moment, thought: Thought | None) -> tuple[Sequence[int], int]:
    """(the context in which the subjects are named, the token from which on they are)."""
    if thought is None:
        before = len(scored.thinkers.opened(moment, "none").ids)
        return scored.thinkers.opened(moment, "belief").ids, before
    return scored.ballot(moment, thought), len(thought.context.ids)


def _read(x: np.ndarray, target: np.ndarray, games: np.ndarray) -> Cell:
    fit, rest = games % 2 == 0, games % 2 == 1
    model = _ridge([x], target, games, fit)
    found = r2_interval(target[rest], model.predict(x[rest])[:, 0], games[rest])
    return Cell(found.value, found.low, found.high, int(rest.sum()))


def _ridge(layers: Sequence[np.ndarray], target: np.ndarray, games: np.ndarray, fit: np.ndarray) -> Ridge:
    folds = game_folds(games[fit], min(N_FOLDS, len(np.unique(games[fit]))))
    return chosen_ridge([x[fit] for x in layers], target[fit][:, None], folds)


def conflicts(
    x: np.ndarray, target: np.ndarray, games: np.ndarray, moments: Sequence[Moment], questions: pl.DataFrame
) -> pl.DataFrame:
    """`CONFLICTS`; the probe's layer is chosen by cross-validation inside the games that it is fitted on.

    x: the streams before the thinking `(n, n_layers, hidden)`, in the order of the moments' subjects."""
    fit, rest = games % 2 == 0, games % 2 == 1
    model = _ridge([x[:, k] for k in range(x.shape[1])], target, games, fit)
    guess = model.predict(x[rest, model.layer])[:, 0]
    keys = [(m.id, m.game, j, q) for m in moments for j, q in zip(m.subjects, m.exact, strict=True)]
    kept = [key for key, measured in zip(keys, rest, strict=True) if measured]
    said = {
        (row["moment"], row["subject"]): (row["written"], row["vote"])
        for row in questions.filter(pl.col("arm") == "belief").iter_rows(named=True)
    }
    rows = []
    for (moment, game, subject, exact), read in zip(kept, guess, strict=True):
        written, vote = said.get((moment, subject), (None, 0.0))
        if written is not None:
            rows.append({
                "moment": moment, "game": game, "subject": subject, "words": float(log_odds(written / 10, CLIP)),
                "inside": float(read), "exact": float(log_odds(exact, CLIP)), "vote": float(np.log(max(vote, 1e-6))),
            })  # fmt: skip
    table = pl.DataFrame(rows, schema=CONFLICTS)
    centred = [
        pl.col(name) - pl.col(name).mean().over("moment") for name in ("words", "inside", "exact", "vote")
    ]
    return table.with_columns(centred)


def follows(table: pl.DataFrame) -> dict[str, Cell]:
    """How the ballot (log-probability) depends on the written and on the probed belief, each with the other held
    fixed: least-squares slopes."""
    names = ("words", "inside")
    found = slopes(table.select(names).to_numpy(), table["vote"].to_numpy(), table["game"].to_numpy())
    return dict(zip(names, found, strict=True))
