"""The report's section on beliefs: around events, in the simplex, of the second order, and how they are moved."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl

from analysis.beliefs import event_alignment as courses
from analysis.beliefs import geometry
from analysis.beliefs.joined import joined_belief
from analysis.evaluation.baselines import NAMES
from analysis.evaluation.evaluate import Evaluation
from analysis.evaluation.prepare import Prepared, posterior_of
from analysis.report import charts
from analysis.report.block import Block
from analysis.report.page import Figure, Numbers, Table

DRAWN = 600
"""Points of the simplex figure at most."""


def beliefs_block(e: Evaluation | None, prepared: Prepared, numbers: Numbers) -> Block:
    """F4, F5, F7's ROC and F3 by event."""
    block = Block("beliefs", "Beliefs")
    exact = prepared.watched.beliefs
    source = exact["source"][0] if len(exact) else ""
    if e is not None:
        _events(block, e, numbers)
        p = posterior_of(e.target, exact)
        if p is not None:
            _posterior(block, e, p, exact, source, numbers)
        else:
            block.add(
                note="F4 is not drawn: the ideal reader's posterior covers less than nine tenths of the rows."
            )
    pairs = geometry.second_order(prepared.beliefs, prepared.watched.second)
    bins = [
        geometry.calibration(
            g["expected"].to_numpy(), g["actual"].to_numpy(), g["game_id"].to_numpy()
        ).with_columns(source=pl.lit(name))
        for (name,), g in pairs.group_by("source", maintain_order=True)
        if len(g) >= 50
    ]
    if bins:
        frame = pl.concat(bins)
        numbers.add("F5_second_order", frame)
        counts = ", ".join(
            f"{n} ({c:,})" for n, c in pairs.group_by("source", maintain_order=True).len().rows()
        )
        stated = (
            ""
            if len(pairs["source"].unique(maintain_order=True)) > 1
            else " No second-order belief was asked of the players here."
        )
        block.add(
            figure=Figure(
                "F5", "F5", "Does a seat know what another believes? Second-order calibration.",
                charts.curves(frame, "predicted", "observed", "source", "Expected against actual belief of another",
                              x_title="expected belief of another", y_title="what the other believes"),
                f"Ten bins of equal count, 95% intervals over games. n = {len(pairs):,} pairs of "
                f"{pairs['game_id'].n_unique():,} games: {counts}. “observer”: the ideal reader's "
                f"expectation against the ideal reader in the other's place.{stated}",
            )
        )  # fmt: skip
    _persuasion(block, prepared, numbers)
    return block


def _events(block: Block, e: Evaluation, numbers: Numbers) -> None:
    columns = {"probe": e.probe.scores}
    columns |= {
        name: e.beside[name]
        for name in ("exact posterior", "scripted-policy posterior", "stated belief")
        if name in e.beside
    }
    frame = courses.aligned(e.target.frame, columns)
    if not len(frame):
        block.add(
            note="F3 by event is not drawn: too few subjects were accused, reported or claimed in the middle of a game."
        )
        return
    numbers.add("F3_events", frame)
    absent = "" if "stated belief" in columns else " No belief was stated in this run."
    rare = [words for words in courses.events_in(e.target.frame).values() if words not in set(frame["event"])]
    absent += f" Too rare to draw: {', '.join(rare)}." if rare else ""
    block.add(
        figure=Figure(
            "F3-events", "F3", "What happens to each source's belief when something happens to a player?",
            charts.courses(frame, "Beliefs aligned to public events", e.target.phrase),
            f"Truth is in the dashes: solid lines are subjects that are {e.target.phrase}, broken lines those that are "
            "not. "
            "0 is the viewer's first decision after the event. Probes are out of fold; viewers are those of "
            f"the headline target; cells of fewer than 40 rows are left out. n = {e.target.n_games:,} games.{absent}",
        )
    )  # fmt: skip


def _posterior(
    block: Block, e: Evaluation, p: np.ndarray, exact: pl.DataFrame, source: str, numbers: Numbers
) -> None:
    table = geometry.posterior_r2(e.target, e.folds, p)
    numbers.add("F4_r2", table)
    best = (
        table.filter(pl.col("kind") == "activations")
        .sort("r2", descending=True, maintain_order=True)
        .row(0, named=True)
    )
    public = table.filter(pl.col("kind") == "public events")["r2"][0]
    if "p_rules_seer" not in e.target.frame.columns:  # the simplex is that of Werewolf's roles
        rows = [[r["layer"], f"{r['r2']:.3f}"] for r in table.to_dicts()]
        block.add(table=Table(["layer", "R2 of the posterior's log-odds"], rows, (1,)))
        return
    seer = joined_belief(e.target.frame, exact, "p_seer")
    q = seer.fill_null(0.0).to_numpy().astype(float)
    place = e.target.activations[0].layers.index(best["layer"])
    corners = (e.target.role, "seer")
    points = geometry.simplex(e.target, e.folds, p, np.minimum(q, 1 - p), corners, place)
    numbers.add("F4_simplex", points)
    drawn = points.sample(min(DRAWN, len(points)), seed=0)
    rows = [[r["layer"], f"{r['r2']:.3f}"] for r in table.to_dicts()]
    verdict = "more than" if best["r2"] > public + 0.01 else "no more than"
    block.add(
        figure=Figure(
            "F4", "F4", "Is the whole posterior there, as a linear map, or only the most likely answer?",
            charts.simplex(drawn, corners, "Exact and predicted beliefs in the simplex"),
            f"Ridge from layer {best['layer']} to the {NAMES[source]}, held-out games; {len(drawn):,} of "
            f"{len(points):,} rows drawn. R2 of its log-odds: {best['r2']:.3f}, against {public:.3f} from counts of "
            f"public events: {verdict} these tell. n = {e.target.n_games:,} games.",
        ),
        table=Table(["layer", "R2 of the posterior's log-odds"], rows, (1,)),
    )  # fmt: skip


def _persuasion(block: Block, prepared: Prepared, numbers: Numbers) -> None:
    speakers = prepared.labels["speeches"].select(
        "game_id", "seq", who=pl.col("model").fill_null("scripted").str.split("@").list.first()
    )
    said = prepared.watched.utterances.join(
        speakers, on=["game_id", "seq"], how="left", maintain_order="left"
    ).with_columns(pl.col("who").fill_null("scripted"))
    parts = [
        courses.persuasion(group.drop("who"), prepared.beliefs).select(
            pl.lit(str(who)).alias("who"), pl.all()
        )
        for (who,), group in said.group_by("who", maintain_order=True)
    ]
    if not parts:
        return
    frame = pl.concat(parts)
    numbers.add("T4_persuasion", frame)
    rows = [
        [r["who"], r["speaker_role"], r["kind"].replace("_", " "), f"{r['n']:,} / {r['games']:,}",
         *(_moved(r, name) for name in courses.SHIFTS), f"{r['n_stated']:,}"]
        for r in frame.filter(pl.col("n") >= 10).to_dicts()
    ]  # fmt: skip
    columns = [
        "who",
        "speaker",
        "utterance",
        "n / games",
        "suspicion of the speaker",
        "of its subject",
        "stated by listeners",
        "n stated",
    ]
    block.add(
        table=Table(
            columns,
            rows,
            (3, 4, 5, 6, 7),
            (),
            "T4-persuasion",
            "Whom do words move?",
            "Mean change of P(werewolf) over an utterance, 95% intervals over games, to an ideal reader of what is "
            "public, and as listeners stated it before and after, models and scripted players apart. "
            "Kinds with fewer than 10 utterances are left out. "
            f"The reader's prior over the players' characters: {prepared.watched.prior}.",
        ),
    )


def _moved(row: dict[str, Any], name: str) -> str:
    value = row[name]
    return "" if value is None else f"{value:+.3f} [{row[f'{name}_low']:+.3f}, {row[f'{name}_high']:+.3f}]"
