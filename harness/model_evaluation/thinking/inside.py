"""Beliefs inside the model, read by a linear probe before and behind the thinking, and the ballot where the written
and the probed belief disagree.

The probe is a ridge on the residual stream after each layer, fitted and measured on different games. Where it reads
decides what it finds, so it reads in four places (`PLACES`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import polars as pl
from numpy.typing import NDArray

from analysis.stats.bootstrap import r2_interval
from analysis.stats.metrics import log_odds
from analysis.stats.ridge import chosen_ridge
from analysis.stats.splits import game_folds
from harness.model_evaluation.thinking.arms import Thought
from harness.model_evaluation.thinking.cells import NOTHING, Cell, Floats, mean, slopes
from harness.model_evaluation.thinking.moments import Moment
from harness.model_evaluation.thinking.scores import CLIP, Scored

PLACES = ("question", "number", "offer", "ballot")
"""question: the subject's name at the end of `Ada believes Ben`, which the model answers by its belief; the site
`belief_mention` of a capture. number: the subject's name in the written line, before its number. offer: its name among
those that may be voted for. ballot: the last token before the vote, by the unembedding of the subject's name (one
number, nothing else fitted but its scale), within the decision. Behind the line of each arm; arm `none`: before any."""
ARMS = ("none", "filler", "belief", "steps")
LAYERS = {
    "place": pl.String, "arm": pl.String, "layer": pl.Int64, "r2": pl.Float64, "low": pl.Float64,
    "high": pl.Float64, "n": pl.Int64,
}  # fmt: skip
"""One row a place, arm and layer: R2 of the exact posterior's log-odds, with the 95% interval over games."""
CONFLICTS = {
    "moment": pl.Int64, "game": pl.Int64, "subject": pl.Int64, "layer": pl.Int64, "words": pl.Float64,
    "inside": pl.Float64, "exact": pl.Float64, "vote": pl.Float64,
}  # fmt: skip
"""One row a subject and layer: the log-odds that the words of the arm `belief` say, those that a probe fitted on other
games reads at the question before any words, the exact ones, and the log of the probability of a vote for the subject
behind the words."""
N_FOLDS, N_INNER = 5, 4

LEAST = 2
"""Rows of the smallest fit."""


def inside(
    scored: Scored,
    moments: Sequence[Moment],
    found: Mapping[str, Sequence[Thought]],
    questions: pl.DataFrame,
    n_layers: int,
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """`LAYERS` of every place and arm, and `CONFLICTS`."""
    games = np.array([m.game for m in moments for _ in m.subjects])
    decisions = np.array([m.id for m in moments for _ in m.subjects])
    target = log_odds([p for m in moments for p in m.exact], CLIP)
    centred = within(target, decisions)
    streams = read_streams(scored, moments, found, n_layers)
    rows, guesses = list[dict[str, object]](), np.full((n_layers, len(target)), np.nan)
    for (place, arm), x in streams.items():
        y = centred if place == "ballot" else target
        for layer in range(n_layers):
            guess = out_of_fold(x[:, layer], y, games)
            cell = _r2(y, guess, games)
            rows.append({"place": place, "arm": arm, "layer": layer, "r2": cell.value, "low": cell.low,
                         "high": cell.high, "n": cell.n})  # fmt: skip
            if (place, arm) == ("question", "none"):
                guesses[layer] = guess
    return pl.DataFrame(rows, schema=LAYERS), conflicts(guesses, moments, questions)


def read_streams(
    scored: Scored, moments: Sequence[Moment], found: Mapping[str, Sequence[Thought]], n_layers: int
) -> dict[tuple[str, str], NDArray[np.float32]]:
    """What is read for each (place, arm): `(n_subjects of all moments, n_layers, d)`, d = 1 of the place `ballot`; NaN
    where the line does not state a number. Arms without a thought for every moment are left out."""
    behind = {arm: {t.moment: t for t in found.get(arm, ())} for arm in ARMS}
    behind = {arm: thoughts for arm, thoughts in behind.items() if len(thoughts) == len(moments)}
    read: dict[tuple[str, str], list[NDArray[np.float32]]] = {}
    layers = range(n_layers)
    for m in moments:  # one after the other, so that shared context is computed once
        for arm, thoughts in behind.items():
            thought = thoughts[m.id]
            asked = [scored.question(m, thought, j) for j in m.subjects]
            at_end = [scored.scorer.streams(ids, [len(ids) - 1], layers).numpy() for ids in asked]
            read.setdefault(("question", arm), []).append(np.concatenate(at_end))
            prompt, names = scored.ballot(m, thought), name_tokens(scored, m)
            places = [_last(prompt, token, len(thought.context.ids)) for token in names]
            there = scored.scorer.streams(prompt, [*places, len(prompt) - 1], layers).numpy()
            read.setdefault(("offer", arm), []).append(there[:-1])
            lens = scored.unembedding(names).numpy() @ there[-1].T  # (n_subjects, n_layers)
            read.setdefault(("ballot", arm), []).append(lens - lens.mean(0))
            if arm in ("belief", "steps"):
                read.setdefault(("number", arm), []).append(
                    _before_numbers(scored, m, thought, names, layers)
                )
    return {
        key: np.concatenate([x[:, :, None] if x.ndim == 2 else x for x in parts])
        for key, parts in read.items()
    }


def name_tokens(scored: Scored, moment: Moment) -> list[int]:
    """The token of each subject's name."""
    return [scored.thinkers.encoder.encode(f" {moment.names[j]}")[0][-1] for j in moment.subjects]


def _before_numbers(
    scored: Scored, moment: Moment, thought: Thought, names: Sequence[int], layers: Sequence[int]
) -> NDArray[np.float32]:
    belief = {} if thought.line is None else thought.line.belief
    stated = [i for i, j in enumerate(moment.subjects) if moment.names[j] in belief]
    width = scored.scorer.hooked.layout.d_model
    found = np.full((len(names), len(layers), width), np.nan, dtype=np.float32)
    if stated:
        ids = tuple(thought.context.ids)
        at = [_last(ids, names[i], 0) for i in stated]
        found[stated] = scored.scorer.streams(ids, at, layers).numpy()
    return found


def _last(ids: Sequence[int], token: int, start: int) -> int:
    """The index of a token's last occurrence from `start` on."""
    return len(ids) - 1 - list(reversed(ids[start:])).index(token)


def out_of_fold(x: NDArray[np.float32], target: Floats, games: NDArray[np.int64]) -> Floats:
    """The ridge's prediction `(n,)` of each row of x `(n, d)` from other games; NaN where x is, with fewer than three
    games, and where a fit would have fewer than `LEAST` rows."""
    guess = np.full(len(target), np.nan)
    known = np.flatnonzero(np.isfinite(x).all(1))
    n_games = len(np.unique(games[known]))
    if n_games < 3:
        return guess
    folds = game_folds(games[known], min(N_FOLDS, n_games))
    for fold in range(folds.n_folds):
        fit, rest = known[folds.fold != fold], known[folds.fold == fold]
        inner = game_folds(games[fit], min(N_INNER, len(np.unique(games[fit]))))
        if len(fit) - np.bincount(inner.fold).max() < LEAST:
            continue
        guess[rest] = chosen_ridge([x[fit]], target[fit][:, None], inner).predict(x[rest])[:, 0]
    return guess


def within(values: Floats, groups: NDArray[np.int64]) -> Floats:
    """The values less the mean of their group."""
    code = np.unique(groups, return_inverse=True)[1]
    return np.asarray(values - (np.bincount(code, values) / np.bincount(code))[code])


def _r2(target: Floats, guess: Floats, games: NDArray[np.int64]) -> Cell:
    done = np.isfinite(guess)
    if not done.any():
        return NOTHING
    found = r2_interval(target[done], guess[done], games[done])
    return Cell(found.value, found.low, found.high, int(done.sum()))


def conflicts(guesses: Floats, moments: Sequence[Moment], questions: pl.DataFrame) -> pl.DataFrame:
    """`CONFLICTS`, of subjects whose number was written.

    guesses: the log-odds that are read before the words `(n_layers, n)`, in the order of the moments' subjects."""
    keys = [(m.id, m.game, j, q) for m in moments for j, q in zip(m.subjects, m.exact, strict=True)]
    said = {
        (row["moment"], row["subject"]): (row["written"], row["vote"])
        for row in questions.filter(pl.col("arm") == "belief").iter_rows(named=True)
    }
    rows = []
    for i, (moment, game, subject, exact) in enumerate(keys):
        written, vote = said.get((moment, subject), (None, 0.0))
        if written is None:
            continue
        rows += [
            {"moment": moment, "game": game, "subject": subject, "layer": layer,
             "words": float(log_odds(written / 10, CLIP)), "inside": float(guess),
             "exact": float(log_odds(exact, CLIP)), "vote": float(np.log(max(vote, 1e-6)))}
            for layer, guess in enumerate(guesses[:, i]) if np.isfinite(guess)
        ]  # fmt: skip
    return pl.DataFrame(rows, schema=CONFLICTS)


def follows(table: pl.DataFrame) -> dict[str, Cell]:
    """Of `CONFLICTS` of one layer, all within the decision.

    said: the share of the words' variance that the inside explains. off: how much farther the words are from the exact
    probability than the inside is. words, inside: how the ballot (log-probability) depends on the written and on the
    probed belief, each with the other held fixed (least-squares slopes).
    """
    games, decisions = table["game"].to_numpy(), table["moment"].to_numpy()
    if not len(table):
        return dict.fromkeys(("said", "off", "words", "inside"), NOTHING)
    p = {name: 1 / (1 + np.exp(-table[name].to_numpy())) for name in ("words", "inside", "exact")}
    words, read, vote = (within(table[name].to_numpy(), decisions) for name in ("words", "inside", "vote"))
    both = np.stack([words, read], axis=1)
    found = dict(zip(("words", "inside"), slopes(both, vote, games), strict=True))
    slope = float(words @ read / max(float(read @ read), 1e-12))
    off = np.abs(p["words"] - p["exact"]) - np.abs(p["inside"] - p["exact"])
    return {"said": _r2(words, slope * read, games), "off": mean(off, games)} | found
