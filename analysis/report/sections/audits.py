"""The audits, once for all targets: leaks, selectivity, learning, calibration."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import polars as pl
from statsmodels.stats.proportion import proportion_confint

from analysis.evaluation.evaluate import Evaluation
from analysis.report import charts, figures, verdicts
from analysis.report.block import Block
from analysis.report.page import Figure, Numbers, Table, title_of
from analysis.report.sections.probes import best_confound
from analysis.stats.metrics import reliability, roc


def audits_block(done: Sequence[Evaluation], numbers: Numbers) -> Block:
    """T3 and T5 as tables with one column a target, F9, F7 and the ROC closed."""
    block = Block("audits", "Audits: what could make this wrong?")
    done = [e for e in done if len(e.leakage)]
    if not done:
        block.absent.append("audits: no question was evaluated with them")
        return block
    names = [title_of(e.target.name) for e in done]
    games = ", ".join(f"{n.lower()} {e.target.n_games:,}" for n, e in zip(names, done))
    cells = {(r["split"], i): _pm(r) for i, e in enumerate(done) for r in e.leakage.to_dicts()}
    notes = {r["split"]: r["note"] for e in reversed(done) for r in e.leakage.to_dicts()}
    splits = list(dict.fromkeys(r["split"] for e in done for r in e.leakage.to_dicts()))
    rows = [[s, *(cells.get((s, i), "") for i in range(len(done))), notes[s]] for s in splits]
    for e in done:
        numbers.add("T3_leakage", e.leakage, target=e.target.name)
        numbers.add("T5_selectivity", e.selectivity, target=e.target.name)
        numbers.add("F9_learning", e.learning, target=e.target.name)
    block.add(
        table=Table(
            ["split", *names, ""], rows, tuple(range(1, 1 + len(done))),
            ["probe" if s == "nested, logistic" else "" for s in splits], "T3", "Does it depend on a split that leaks?",
            f"AUROC of the layer chosen most often, one fixed penalty. {_leaks(done)} Intervals over "
            "games, the fits as given. "
            f"Games: {games}.",
        )
    )  # fmt: skip
    more = [
        [
            "control task: real minus random label (T5)", *(verdicts.selectivity_words(e.selectivity) for e in done),
        ],
        ["training games (F9)", *(verdicts.learning_words(e.learning) or "too few games for a curve" for e in done)],
        [
            "calibration (F7)",
            *(f"expected error {e.quality['ECE']:.3f}, Brier {e.quality['Brier']:.3f}, log-loss "
              f"{e.quality['log-loss']:.3f} (base rate {e.quality['log-loss of the base rate']:.3f})" for e in done),
        ],
        ["found at 1% false alarms", *(f"{e.quality['recall at 1% FPR']:.1%}" for e in done)],
    ]  # fmt: skip
    block.add(
        table=Table(
            ["audit", *names], more, (), (), "T5",
            "Does it answer the question, do games suffice, are probabilities right?",
            f"Out of fold. Games: {games}.",
        )
    )  # fmt: skip
    for e in done:
        _folded(block, e, numbers)
    return block


def _pm(row: dict[str, Any]) -> str:
    around = "" if row["low"] is None else f" [{row['low']:.2f}, {row['high']:.2f}]"
    return f"{row['auroc']:.3f}{around}"


def _leaks(done: Sequence[Evaluation]) -> str:
    said = []
    for e in done:
        value = dict(e.leakage.select("split", "auroc").iter_rows())
        gap = value["rows at random"] - value["whole games"]
        verdict = (
            "a split of rows would claim more than whole games do"
            if gap > 0.02
            else "no split of rows would claim more"
        )
        said.append(f"{title_of(e.target.name)}: {verdict} ({gap:+.2f}).")
    return " ".join(said)


def _folded(block: Block, e: Evaluation, numbers: Numbers) -> None:
    name, fold = e.target.name, f"{title_of(e.target.name)}: control task, learning curve, calibration, ROC"
    n = f"n = {len(e.target.y):,} rows of {e.target.n_games:,} games."
    bins = _with_intervals(pl.DataFrame(reliability(e.target.y, e.probe.scores)))
    numbers.add("F7_reliability", bins, target=name)
    if len(e.selectivity) > 1:
        both = e.selectivity.unpivot(
            on=["real", "control"], index="layer", variable_name="task", value_name="auroc"
        )
        block.add(
            fold=fold,
            figure=Figure(
                f"T5-{name}", "T5", "Does the probe answer the question, or could it memorise anything?",
                figures.lines(both, "layer", "task", "Real task and control task by layer", x_title="layer"),
                "Control task: a random label fixed for each combination of name, kind of decision and day. Real minus "
                f"control at the best layer {verdicts.selectivity_words(e.selectivity)}. {n}",
            ),
        )  # fmt: skip
    if len(e.learning) > 2:
        block.add(
            fold=fold,
            figure=Figure(
                f"F9-{name}", "F9", "Would more games help?",
                figures.lines(e.learning.with_columns(series=pl.lit("probe")), "training games", "series",
                              "AUROC by number of training games", x_title="training games"),
                f"The same held-out games throughout, ridge at a fixed penalty: "
                f"{verdicts.learning_words(e.learning)}. {n}",
            ),
        )  # fmt: skip
    block.add(
        fold=fold,
        figure=Figure(
            f"F7-{name}", "F7", "Can its probabilities be taken at their word?",
            figures.reliability(bins, "Observed share against predicted probability"),
            f"Ten bins of equal count, bars as if their rows were independent (Wilson, 95%), which they are not: too "
            f"short. Expected calibration error {e.quality['ECE']:.3f}. {n}",
        ),
    )  # fmt: skip
    rival = best_confound(e)
    points = [
        {"source": source, **point}
        for source, scores in (("probe", e.probe.scores), (rival.name, e.beside[rival.name]))
        for point in roc(e.target.y, scores)
    ]
    curve = pl.DataFrame(points)
    numbers.add("F7_roc", curve, target=name)
    block.add(
        fold=fold,
        figure=Figure(
            f"F7-roc-{name}", "F7", "What does it cost to find them?",
            charts.curves(curve, "fpr", "tpr", "source", "ROC of the probe and the best single confound",
                          x_title="share of the others flagged", y_title="share found"),
            f"Out of fold. At 1% of the others flagged the probe finds {e.quality['recall at 1% FPR']:.1%}. {n}",
        ),
    )  # fmt: skip


def _with_intervals(bins: pl.DataFrame) -> pl.DataFrame:
    """The bins with a Wilson interval of the observed share."""
    n = bins["n"].to_numpy()
    low, high = proportion_confint(bins["observed"].to_numpy() * n, n, method="wilson")
    return bins.with_columns(low=pl.Series(low), high=pl.Series(high))
