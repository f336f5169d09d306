"""The questions of the report: each target has its rows, its label and the activations that probes read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy import sparse

from analysis.data.frames import FORETOLD, Rows
from analysis.stats.codes import codes_of
from games.base import BeliefTarget, Game

KEYS = ("game_id", "seq", "viewer", "subject")
OWN_LIE = "own_lie_within_"
"""How the name of the target begins that asks whether a guilty seat is about to lie; its faction follows."""


@dataclass(frozen=True)
class SiteActivations:
    """Activations of one site for the rows of a target."""

    site: str
    layers: tuple[str, ...]
    """Names of the layers, `embed` first where it was captured."""
    x: NDArray[Any]
    """`(n_stored, n_layers, d_model)`."""
    at: NDArray[np.int64]
    """`(n_rows,)`: which stored row belongs to each row of the target, -1 where none does."""
    per_subject: bool = True
    """Whether the site is bound to the subject; otherwise all subjects of a decision share the stored row."""
    variant: str = "original"
    unembedding: Mapping[str, NDArray[np.float32]] | None = None
    """Name of a player -> `(d_model,)`: its first token's unembedding with the final norm's scale folded in, where the
    capture keeps it."""

    def take(self, rows: NDArray[Any]) -> SiteActivations:
        """The activations for a subset of the target's rows (mask or indices)."""
        return replace(self, at=self.at[rows])

    def layer(self, number: int) -> NDArray[Any]:
        """`(n_rows, d_model)` of the layer at position `number` of `layers`; every row must be stored."""
        if (self.at < 0).any():
            raise ValueError(
                f"site {self.site}: {(self.at < 0).sum()} of {len(self.at)} rows were not captured"
            )
        return np.ascontiguousarray(self.x[self.at, number])

    @property
    def probed(self) -> tuple[int, ...]:
        """Positions of the layers that are probed: all but the embeddings, which are a baseline."""
        return tuple(i for i, name in enumerate(self.layers) if name != "embed")


@dataclass(frozen=True)
class Target:
    """One question about rows, with its labels and activations."""

    name: str
    question: str
    frame: pl.DataFrame
    """Schema `frames.ROWS`, filtered to the rows that the question is about."""
    y: NDArray[np.float64]
    """`(n_rows,)` 0/1."""
    member: NDArray[Any]
    """`(n_rows,)`: together with the game, the unit whose labels are permuted (the subject, or the row where labels
    vary by row).
    """
    reads: sparse.csr_matrix
    lines: list[str]
    activations: tuple[SiteActivations, ...] = ()
    """One for each captured site and variant; the first is the headline's."""
    stated: Mapping[str, NDArray[np.float64]] = field(default_factory=dict)
    """Beliefs of other sources about the subject, `(n_rows,)`, NaN where there is none."""
    role: str = ""
    """Where the question is about the subject's role: the name of the game's belief target."""
    phrase: str = ""
    """`role` in words, as it follows "is": `a werewolf`."""
    note: str = ""
    """What else a reader must know of these rows."""
    prior: str = ""
    """The prior over characters that observers held, in words."""
    missing: str = ""
    """Why there is no probe, where there is none."""
    chose: NDArray[np.float64] | None = None
    """`(n_rows,)`: 1 where the decision is a ballot and fell on the subject, 0 for the other subjects of such a ballot,
    NaN elsewhere; None where no choice turns on the question."""
    no_use: str = "no choice of these rows turns on it"
    """Why `chose` is None."""
    choices: tuple[str, str] = ("ballot", "ballots")
    """The kind of decision in which another player is chosen, and what the game calls several of them."""

    @cached_property
    def games(self) -> NDArray[Any]:
        """`(n_rows,)` game ids."""
        return self.frame["game_id"].to_numpy()

    @property
    def p_rules(self) -> NDArray[np.float64]:
        """Probability `(n_rows,)` by the rules alone that the subject has the role asked about."""
        own = f"p_rules_{self.role}"
        return self.frame[own if own in self.frame.columns else "p_rules"].to_numpy()

    @cached_property
    def decisions(self) -> NDArray[np.int64]:
        """`(n_rows,)` codes 0.. of the decisions that the rows belong to."""
        return codes_of(*(self.frame[name].to_numpy() for name in ("game_id", "seq", "viewer")))

    @cached_property
    def n_games(self) -> int:
        """Number of games with a row."""
        return self.frame["game_id"].n_unique()

    def take(self, rows: NDArray[Any]) -> Target:
        """The target on a subset of its rows (indices)."""
        return replace(
            self, frame=self.frame[rows], y=self.y[rows], member=self.member[rows], reads=self.reads[rows],
            activations=tuple(r.take(rows) for r in self.activations),
            stated={name: p[rows] for name, p in self.stated.items()},
            chose=None if self.chose is None else self.chose[rows],
        )  # fmt: skip


def targets_of(
    game: Game, others: Rows, own: Rows, speeches: pl.DataFrame, ballots: pl.DataFrame | None = None
) -> list[Target]:
    """The targets that runs of a game can answer, without their activations.

    `others` and `own` come from `subject_rows(about=...)`, `speeches` and `ballots` from `labels.label`.
    """
    first, *more = game.belief_targets
    found = [
        _of(
            others, (pl.col("p_rules") > 0) & (pl.col("p_rules") < 1), first,
            f"Is this other player {first.phrase}? Asked where the viewer has not been told and cannot deduce it.",
        )
    ]  # fmt: skip
    if ballots is not None and len(ballots):
        kind, naming = next(iter(game.namings.items()))
        found[0] = replace(found[0], chose=_chose(found[0].frame, ballots), choices=(kind, naming.plural))
    for target in more:
        is_one = pl.col("subject_role").is_in(target.roles)
        if not others.frame["subject_role"].is_in(target.roles).any():
            continue
        asked = f"Is this other player {target.phrase}?"
        if target.apart:
            p = pl.col(f"p_rules_{target.name}")
            found.append(
                _of(others, (p > 0) & (p < 1), target, f"{asked} Asked of all who cannot deduce it, whatever side they "
                    "are on.")
            )  # fmt: skip
        else:
            lives = is_one.any().over("game_id", "seq", "viewer")
            found.append(
                _of(others, lives & ~pl.col("viewer_role").is_in(target.roles), target,
                    f"{asked} Asked while {target.phrase} lives.")
            )  # fmt: skip
    return [*found, _own_lie(first, own, speeches), *_outcomes(own)]


def _own_lie(guilty: BeliefTarget, own: Rows, speeches: pl.DataFrame) -> Target:
    spoken = speeches.filter(pl.col("n_statements") > 0).select(
        "game_id", "seq", pl.col("speaker").alias("viewer"), "any_known_false"
    )
    keyed = own.frame.with_row_index("row_").join(
        spoken, on=["game_id", "seq", "viewer"], how="inner", maintain_order="left"
    )
    wolves = keyed.filter(pl.col("viewer_role").is_in(guilty.roles)).sort("row_", maintain_order=True)
    rows = wolves["row_"].to_numpy()
    who = f"the {guilty.phrase[2:]}" if guilty.phrase.startswith("a ") else f"the {guilty.phrase} player"
    return Target(
        f"{OWN_LIE}{guilty.plural.replace(' ', '_')}",
        f"Is {who} about to say what it knows to be false? Lies against true statements, {guilty.plural} only, "
        "read before the first word.",
        own.frame[rows], wolves["any_known_false"].to_numpy().astype(float), np.arange(len(rows)),
        own.reads[rows], own.lines,
    )  # fmt: skip


def _outcomes(own: Rows) -> Iterator[Target]:
    """Targets about what is about to happen, where the game asks about it (`games.statements.Reading.foretold`)."""
    for name, question in own.foretold.items():
        answers = own.frame[f"{FORETOLD}{name}"]
        rows = np.flatnonzero(answers.is_not_null().to_numpy())
        y = answers[rows].to_numpy().astype(float)
        yield Target(
            f"own_{name}", question, own.frame[rows], y, np.arange(len(rows)), own.reads[rows], own.lines
        )


def _chose(frame: pl.DataFrame, ballots: pl.DataFrame) -> NDArray[np.float64]:
    """`Target.chose`, for the ballots that fell on one of several subjects of the rows."""
    cast = ballots.select("game_id", "seq", pl.col("voter").alias("viewer"), "target", "candidates")
    keys = ["game_id", "seq", "viewer"]
    joined = frame.select(*keys, "subject").join(cast, on=keys, how="left", maintain_order="left")
    could = pl.col("candidates").list.contains(pl.col("subject"))
    hit = pl.when(could).then((pl.col("subject") == pl.col("target")).cast(pl.Float64))
    open_ballot = (hit.count() > 1) & (hit.sum() == 1)
    marked = joined.with_columns(hit=hit).with_columns(
        chose=pl.when(open_ballot.over(keys)).then(pl.col("hit")).otherwise(None)
    )
    return marked["chose"].fill_null(float("nan")).to_numpy()


def _of(rows: Rows, where: pl.Expr, asked: BeliefTarget, question: str) -> Target:
    marked = rows.frame.select(keep=where, label=pl.col("subject_role").is_in(asked.roles))
    keep = np.flatnonzero(marked["keep"].to_numpy())
    frame = rows.frame[keep]
    return Target(
        f"subject_is_{asked.name}", question, frame, marked["label"].to_numpy().astype(float)[keep],
        frame["subject"].to_numpy(), rows.reads[keep], rows.lines, role=asked.name, phrase=asked.phrase,
    )  # fmt: skip


def thin(target: Target, max_rows: int, seed: int = 0) -> Target:
    """At most about `max_rows` rows: whole decisions are dropped at random, the same share of every game."""
    if len(target.y) <= max_rows:
        return target
    decisions = target.frame.select("game_id", "seq", "viewer").unique(maintain_order=True)
    drawn = np.random.default_rng(seed).random(len(decisions))
    ranked = decisions.with_columns(place=pl.Series(drawn)).with_columns(
        share=pl.col("place").rank("ordinal").over("game_id") / pl.len().over("game_id")
    )
    joined = target.frame.join(ranked, on=["game_id", "seq", "viewer"], how="left", maintain_order="left")
    return target.take(np.flatnonzero(joined["share"].to_numpy() <= max_rows / len(target.y)))
