"""The report's audits of one target: leaks, selectivity, learning curve, reliability, ROC."""

from __future__ import annotations

from typing import Any

import polars as pl
from statsmodels.stats.proportion import proportion_confint

from analysis.evaluation.evaluate import LEVEL, Evaluation
from analysis.report import charts, figures
from analysis.report.page import Figure, Numbers, Table, title_of
from analysis.stats.metrics import reliability, roc


def audit_section(e: Evaluation, numbers: Numbers) -> dict[str, Any]:
    """T3, T4, T5, F7 and F9 of one target."""
    name = e.target.name
    numbers.add("T3_leakage", e.leakage, target=name)
    numbers.add("T5_selectivity", e.selectivity, target=name)
    numbers.add("F9_learning", e.learning, target=name)
    bins = _with_intervals(pl.DataFrame(reliability(e.target.y, e.probe.scores)))
    numbers.add("F7_reliability", bins, target=name)
    pieces: list[Figure] = []
    if len(e.selectivity) > 1:
        both = e.selectivity.unpivot(
            on=["real", "control"], index="layer", variable_name="task", value_name="auroc"
        )
        best = e.selectivity.sort("real", descending=True, maintain_order=True).row(0, named=True)
        pieces.append(
            Figure(
                f"T5-{name}", "T5", "Does the read-out answer the question, or could it memorise anything?",
                figures.lines(both, "layer", "task", "Real task and control task by layer", x_title="layer"),
                "Control task: a random label fixed for each combination of name, kind of decision "
                "and day. Selectivity at the best "
                f"layer: {best['selectivity']:+.2f} (real {best['real']:.2f}, control "
                f"{best['control']:.2f}). n = {e.target.n_games:,} games.",
            )
        )  # fmt: skip
    if len(e.learning) > 2:
        first, last = e.learning["auroc"][0], e.learning["auroc"][-1]
        half = e.learning["auroc"][-2]
        grows = (
            "at chance throughout, which says nothing about more games"
            if e.null.p[0] >= LEVEL
            else "still rising: more games would help"
            if last - half > 0.01
            else "flat at the end: more games of this kind would add little"
        )
        pieces.append(
            Figure(
                f"F9-{name}", "F9", "Would more games help?",
                figures.lines(e.learning.with_columns(series=pl.lit("probe")), "training games", "series",
                              "AUROC by number of training games", x_title="training games"),
                f"The same held-out games throughout, ridge at a fixed penalty. From {first:.2f} to "
                f"{last:.2f}; {grows}.",
            )
        )  # fmt: skip
    pieces.append(
        Figure(
            f"F7-{name}", "F7", "Can its probabilities be taken at their word?",
            figures.reliability(bins, "Observed share against predicted probability"),
            f"Ten bins of equal count, bars as if their rows were independent (Wilson, 95%), which they are not: too "
            f"short. Expected calibration error {e.quality['ECE']:.3f}. n = {len(e.target.y):,} rows of "
            f"{e.target.n_games:,} games.",
        )
    )  # fmt: skip
    points = [
        {"source": source, **point}
        for source, scores in (("probe", e.probe.scores), (e.best, e.baseline_scores[e.best]))
        for point in roc(e.target.y, scores)
    ]
    curve = pl.DataFrame(points)
    numbers.add("F7_roc", curve, target=name)
    pieces.append(
        Figure(
            f"F7-roc-{name}", "F7", "What does it cost to find them?",
            charts.curves(curve, "fpr", "tpr", "source", "ROC of the probe and the best baseline",
                          x_title="share of the others flagged", y_title="share found"),
            f"Out of fold. At 1% of the others flagged the probe finds {e.quality['recall at 1% FPR']:.1%}. "
            f"n = {len(e.target.y):,} rows of {e.target.n_games:,} games.",
        )
    )  # fmt: skip
    return {
        "name": title_of(name),
        "leakage": Table(
            ["split", "AUROC", ""], [[r["split"], f"{r['auroc']:.3f}", r["note"]] for r in e.leakage.to_dicts()], (1,),
            ["probe" if r == "nested, logistic" else "" for r in e.leakage["split"]],
        ),
        "quality": Table(["measure", "value"], [[k, f"{v:.3f}"] for k, v in e.quality.items()], (1,)),
        "figures": pieces,
    }  # fmt: skip


def _with_intervals(bins: pl.DataFrame) -> pl.DataFrame:
    """The bins with a Wilson interval of the observed share."""
    n = bins["n"].to_numpy()
    low, high = proportion_confint(bins["observed"].to_numpy() * n, n, method="wilson")
    return bins.with_columns(low=pl.Series(low), high=pl.Series(high))
