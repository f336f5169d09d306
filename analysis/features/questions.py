"""The questions of a fight about one dictionary: targets on its rows, and their sources."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy import sparse

from analysis.data.frames import counts_in, subject_rows
from analysis.data.labels import label
from analysis.data.levels import levels_of
from analysis.data.targets import Target, targets_of
from analysis.data.words import word_features
from analysis.features.fight import KS, LATENTS, PROBE, Question
from analysis.features.material import Material, joined, untrained_codes, untrained_folder
from analysis.features.readers import Columns
from analysis.features.regimes import later_days, shift_of
from analysis.stats.errors import AnalysisError
from harness.features.saved import load_dictionary

FEWEST = 40
"""A target with fewer rows of its rarer class is left out."""
SHIFTS = ("preset", "model", "agent", "viewer_role", "kind")
"""Columns of the rows whose levels a shift may be between."""


def sources_of(
    x: NDArray[Any],
    codes: sparse.csr_matrix,
    made: NDArray[Any],
    unlabelled: NDArray[Any],
    seed: int = 0,
    ks: tuple[int, ...] = KS,
) -> list[Columns]:
    """The sources that come from activations.

    `x` (n_rows, d) is the stream, `codes` (n_rows, width), `made` (n_rows, d) the reconstruction, `unlabelled` (n, d)
    the rows of other games that principal components are fitted on, as the dictionary was.
    """
    d = x.shape[1]
    mean = unlabelled.mean(axis=0, dtype=np.float64)
    moved = unlabelled - mean
    _, vectors = np.linalg.eigh((moved.T @ moved).astype(np.float64))
    rotation = np.linalg.qr(np.random.default_rng([seed, 3]).normal(size=(d, d)))[0]
    centred = x - mean.astype(np.float32)
    return [
        Columns(PROBE, x),
        Columns("probe on the reconstruction", made),
        Columns("probe on the error", x - made),
        Columns(LATENTS, codes, ks),
        Columns("best k principal components", centred @ vectors[:, ::-1].astype(np.float32), ks),
        Columns("best k of a random rotation", centred @ rotation.astype(np.float32), ks),
    ]


def questions_of(
    run: Any, material: Material, by: str | None = None, seed: int = 0
) -> tuple[list[Question], list[str]]:
    """The questions, and what could not be asked, in words. by: the factor of the shift, `preset`, `model`, `agent`,
    `viewer_role`, `kind`, `lexicon`, `run`, or a factor of the runs; None: from the first day to later ones.

    Raises AnalysisError for a factor that does not exist, or that has one level.
    """
    levels = None if by is None or by in SHIFTS else levels_of(material.runs, by)
    others, own = subject_rows(material.logs), subject_rows(material.logs, about="self")
    labels = label(material.logs)
    asked = targets_of(material.logs.game, others, own, labels["speeches"], labels["ballots"])
    bound = bool(material.lines["subject"].is_not_null().any())
    rivals, absent = _untrained(run, material)
    found = []
    for target in (
        [*asked, *_more(asked[0], others)] if bound else [t for t in asked if t.name.startswith("own_")]
    ):
        if bound and target.name.startswith("own_"):
            continue
        at, rows = joined(material.lines, target.frame)
        if not len(rows):
            absent.append(f"{target.name}: no row of it was captured at {material.found.card.site}")
            continue
        part = target.take(rows)
        rare = int(min(part.y.sum(), (1 - part.y).sum()))
        if rare < FEWEST:
            absent.append(f"{target.name}: {rare} rows of the rarer kind, at least {FEWEST} are needed")
            continue
        inside = sources_of(material.x[at], material.codes[at], material.made[at], material.unlabelled, seed)
        inside += [Columns(name, codes[at], KS) for name, codes in rivals]
        words, shift = "", None
        if by is None:
            words, shift = later_days(part.frame["day"].to_numpy())
        else:
            level = (
                part.frame[by].fill_null("").to_numpy()
                if levels is None
                else np.array([levels[game] for game in part.frame["game_id"]])
            )
            # a target about a role that exists in one run's rules only has one level
            if len(np.unique(level)) > 1:
                words, shift = shift_of(level, by, material.own[at])
            else:
                absent.append(f"{target.name}: one level of {by}, {level[0]}, so no shift")
        found.append(
            Question(part.name, part.y, part.games, part.decisions, [*_public(part), *inside], shift, words)
        )
    if by is not None and all(question.shift is None for question in found):
        raise AnalysisError(
            f"{by} has one level in these rows, so there is nothing to shift to; name a run of another (--beside)"
        )
    return found, absent


def _untrained(run: Any, material: Material) -> tuple[list[tuple[str, sparse.csr_matrix]], list[str]]:
    folder = untrained_folder(material.folder)
    if folder is None:
        return [], ["dictionary of the untrained model: none was trained (features train --untrained)"]
    codes = untrained_codes(run, load_dictionary(folder), material.lines)
    if codes is None:
        return [], ["dictionary of the untrained model: not all of these rows were captured of it"]
    return [("best k latents, untrained model", codes)], []


def _more(first: Target, others: Any) -> list[Target]:
    """Targets about facts in the text (accused, claimed), and about the coming ballot."""
    frame = others.frame
    claims = [name for name in counts_in(frame) if name.startswith("claimed_")]
    facts = {
        "subject_was_accused": frame["was_accused"] > 0,
        "subject_claimed_a_role": pl.Series(frame.select(pl.sum_horizontal(claims) > 0).to_series()),
    }
    found = [
        Target(
            name, name.replace("_", " "), frame, fact.to_numpy().astype(float), frame["subject"].to_numpy(),
            others.reads, others.lines,
        )
        for name, fact in facts.items()
    ]  # fmt: skip
    if first.chose is not None:
        known = np.flatnonzero(np.isfinite(first.chose))
        ballot = first.take(known)
        found.append(
            Target(
                "ballot_falls_on_subject", "the viewer's own ballot, next", ballot.frame, first.chose[known],
                ballot.member, ballot.reads, ballot.lines,
            )
        )  # fmt: skip
    return found


def _public(target: Target) -> list[Columns]:
    """The sources that do not come from activations."""
    frame = target.frame
    words = word_features(target)
    turn = frame.select("day", "turn", "n_living").to_numpy().astype(np.float32)
    length = frame.select("length", pl.col("length").log1p().alias("log")).to_numpy().astype(np.float32)
    public = np.hstack([frame.select(counts_in(frame)).to_numpy().astype(np.float32), turn])
    found: Sequence[tuple[str, Any]] = (
        ("bag of words", None if words is None else sparse.csr_matrix(words)), ("length", length),
        ("public events", public),
    )  # fmt: skip
    return [Columns(name, x) for name, x in found if x is not None]
