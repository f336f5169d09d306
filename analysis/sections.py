"""The parts of the report: numbers turned into tables, figures and sentences, nothing computed that is not
shown.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl

from analysis import charts, figures
from analysis.evaluate import LEVEL, MARGIN, Evaluation, Skipped
from analysis.metrics import auroc, reliability, roc
from analysis.page import Figure, Numbers, Table, p_text, title_of, within


def answer(e: Evaluation | Skipped) -> dict[str, str]:
    """The one-paragraph answer at the top of the page."""
    if isinstance(e, Skipped):
        return {
            "question": title_of(e.target.name),
            "verdict": e.verdict,
            "text": f"Not evaluated: {e.reason}",
        }
    probe = e.scores[0].auroc
    text = (
        f"The probe reads it with AUROC {within(probe)}; the best baseline, {e.best}, reaches "
        f"{_of(e, e.best).auroc.value:.3f}. Increment {within(e.increment, True)}, adjusted p "
        f"{p_text(e.adjusted_p)}, "
        f"permutation null over layers p {p_text(float(e.null.p[0]))}. n = {len(e.target.y):,} rows of "
        f"{e.target.n_games:,} games."
    )
    if e.verdict != "supported":
        text += (
            " The activations hold something of it, but no more than is public at the table."
            if e.null.p[0] < LEVEL and e.verdict == "not beyond baseline"
            else " The activations hold something of it; whether more than is public needs more games."
            if e.null.p[0] < LEVEL
            else " No layer shows more than the best layer shows by chance."
        )
    ceiling = [s for s in e.scores if s.kind == "ceiling"]
    if ceiling:
        text += f" The {ceiling[0].name} reaches {ceiling[0].auroc.value:.3f}."
    return {"question": title_of(e.target.name), "verdict": e.verdict, "text": text}


def _of(e: Evaluation, name: str) -> Any:
    return next(s for s in e.scores if s.name == name)


def target_section(e: Evaluation | Skipped, numbers: Numbers) -> dict[str, Any]:
    """One target of T2."""
    if isinstance(e, Skipped):
        return {
            "name": title_of(e.target.name), "verdict": e.verdict, "question": e.target.question, "skipped": e.reason
        }  # fmt: skip
    frame = pl.DataFrame(
        [
            {
                "name": s.name, "kind": "best" if s.name == e.best else s.kind, "auroc": s.auroc.value,
                "low": s.auroc.low, "high": s.auroc.high,
                "increment": s.increment.value if s.increment else None,
                "increment_low": s.increment.low if s.increment else None,
                "increment_high": s.increment.high if s.increment else None,
                "p": s.increment.p if s.increment else None, "sees": s.what,
            }
            for s in [e.scores[0], *sorted(e.scores[1:], key=lambda s: -s.auroc.value)]
        ]
    )  # fmt: skip
    numbers.add("T2_scores", frame, target=e.target.name)
    numbers.add(
        "T2_verdicts",
        pl.DataFrame(
            [
                {
                    "best_baseline": e.best, "increment": e.increment.value, "low": e.increment.low,
                    "high": e.increment.high, "p": e.increment.p, "p_adjusted": e.adjusted_p,
                    "p_null": float(e.null.p[0]), "detectable": e.detectable, "verdict": e.verdict,
                    "n_rows": len(e.target.y),
                    "n_games": e.target.n_games,
                }
            ]
        ),
        target=e.target.name,
    )  # fmt: skip
    ceiling = " Green: what knowing the players' policies would give." if "ceiling" in frame["kind"] else ""
    chosen = ", ".join(sorted({e.layers[i] for i in e.probe.chosen_layer}))
    main = e.target.readouts[0]
    sample = (
        f"{len(e.target.y):,} rows of {e.target.n_games:,} games, {e.quality['base rate']:.1%} "
        f"positive; site {main.site}; "
        f"{len(e.layers)} layers of width {main.x.shape[2]}; layer chosen inside the folds: {chosen}."
    )
    rows = [
        [
            row["name"], f"{row['auroc']:.3f}", f"[{row['low']:.3f}, {row['high']:.3f}]",
            "" if row["increment"] is None
            else f"{row['increment']:+.3f} [{row['increment_low']:+.3f}, {row['increment_high']:+.3f}]",
            p_text(row["p"]) if row["p"] is not None else "", row["sees"],
        ]
        for row in frame.to_dicts()
    ]  # fmt: skip
    classes = [kind if kind in ("best", "probe") else "" for kind in frame["kind"]]
    columns = ["read-out", "AUROC", "95%", "probe minus it", "p", "sees"]
    return {
        "name": title_of(e.target.name), "verdict": e.verdict, "question": e.target.question, "skipped": "",
        "sample": sample, "scores": Table(columns, rows, (1, 2, 3, 4), classes), "absent": e.absent,
        "forest": Figure(
            f"T2-{e.target.name}", f"T2, {e.target.name}",
            e.target.question,
            figures.forest(frame, f"AUROC of the probe and its baselines for {e.target.name}"),
            f"Blue: the probe. Orange: the best baseline, which it must beat.{ceiling} Probe minus best: "
            f"{within(e.increment, True)}, "
            f"adjusted p {p_text(e.adjusted_p)}. {e.verdict.capitalize()}. n = {e.target.n_games:,} games, enough to "
            f"find an increment of {e.detectable:.3f} four times in five.",
        ),
    }  # fmt: skip


def layer_figure(done: Sequence[Evaluation], numbers: Numbers) -> Figure:
    """F1: every target by layer, with the null's best layer as a band."""
    curves, bands = [], []
    for e in done:
        low, high = np.quantile(e.null.null_max[0], [0.05, 0.95])
        curves += [
            {
                "target": title_of(e.target.name),
                "layer": name,
                "position": i,
                "auroc": float(e.null.observed[0, i]),
            }
            for i, name in enumerate(e.layers)
        ]
        bands.append(
            {
                "target": title_of(e.target.name), "null_low": float(low), "null_high": float(high),
                "baseline": _of(e, e.best).auroc.value, "baseline_name": e.best,
            }
        )  # fmt: skip
    frame, band = pl.DataFrame(curves), pl.DataFrame(bands)
    numbers.add("F1_layers", frame.join(band, on="target"))
    n = ", ".join(f"{title_of(e.target.name).lower()} {e.target.n_games}" for e in done)
    best = "; ".join(
        f"{title_of(e.target.name).lower()}: {'above' if e.null.p[0] < 0.05 else 'within'} what the "
        "best layer shows by "
        f"chance (p {p_text(float(e.null.p[0]))})"
        for e in done
    )
    return Figure(
        "F1", "F1", "In which layers can it be read, and is the best layer better than the best layer "
        "by chance?",
        figures.layers(frame, band, "AUROC by layer and target"),
        "Ridge at a fixed penalty, out of fold. Grey: 5% to 95% of the best layer when role "
        "assignments are permuted within "
        f"each game ({done[0].null.null.shape[1]} permutations). Games: {n}. {best[0].upper() + best[1:]}.",
    )  # fmt: skip


def site_figure(done: Sequence[Evaluation], numbers: Numbers) -> Figure | None:
    """F2: the map of sites of the first target, before any negative verdict is believed."""
    e = done[0]
    if not len(e.sites):
        return None
    numbers.add("F2_sites", e.sites, target=e.target.name)
    cells = e.sites.with_columns(site=pl.col("site") + " (" + pl.col("read-out") + ")")
    top = e.sites.drop_nulls().sort("auroc", descending=True).row(0, named=True)
    captured = e.sites["site"].n_unique()
    return Figure(
        "F2", "F2", f"Where is it bound? Sites and layers for “{title_of(e.target.name).lower()}”.",
        figures.heat(cells, "AUROC by site and layer"),
        f"Highest: {top['site']}, layer {top['layer']}, AUROC {top['auroc']:.2f}; the maximum of "
        f"{len(e.sites)} cells is "
        f"optimistic, F1 holds it against chance. {captured} site{'s' if captured != 1 else ''} captured; "
        f"“one a seat”: pairs are compared within a seat. n = {e.target.n_games:,} games.",
    )  # fmt: skip


def audit_section(e: Evaluation, numbers: Numbers) -> dict[str, Any]:
    """T3, T4, T5, F7 and F9 of one target."""
    name = e.target.name
    numbers.add("T3_leakage", e.leakage, target=name)
    numbers.add("T5_selectivity", e.selectivity, target=name)
    numbers.add("F9_learning", e.learning, target=name)
    bins = pl.DataFrame(reliability(e.target.y, e.probe.scores))
    numbers.add("F7_reliability", bins, target=name)
    pieces: list[Figure] = []
    if len(e.selectivity) > 1:
        both = e.selectivity.unpivot(
            on=["real", "control"], index="layer", variable_name="task", value_name="auroc"
        )
        best = e.selectivity.sort("real", descending=True).row(0, named=True)
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
            f"Ten bins of equal count. Expected calibration error {e.quality['ECE']:.3f}. n = "
            f"{len(e.target.y):,} rows.",
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


def time_figure(e: Evaluation, numbers: Numbers, least: int = 30) -> Figure | None:
    """F3: how far each source tells werewolves from others, by the number of decisions that the viewer has
    made.
    """
    sources = {"probe": e.probe.scores}
    for name in (
        "exact posterior",
        "scripted-policy posterior",
        "stated belief",
        "everything public",
        "rules posterior",
    ):
        if name in e.baseline_scores:
            sources[name] = e.baseline_scores[name]
    turn = e.target.frame["turn"].to_numpy()
    rows = []
    for t in np.unique(turn):
        here = turn == t
        if min((e.target.y[here] == 1).sum(), (e.target.y[here] == 0).sum()) < least:
            continue
        for name, scores in sources.items():
            value = auroc(e.target.y[here], scores[here], strata=e.folds.fold[here])
            rows.append({"turn": int(t), "source": name, "auroc": value, "n_rows": int(here.sum())})
    if len({row["turn"] for row in rows}) < 2:
        return None
    frame = pl.DataFrame(rows).sort(
        pl.col("source").replace_strict({n: i for i, n in enumerate(sources)}), "turn"
    )
    numbers.add("F3_over_time", frame, target=e.target.name)
    return Figure(
        "F3", "F3", "How does what each source tells about the werewolves grow over a viewer's decisions?",
        figures.lines(frame, "turn", "source", "AUROC over turns by source",
                      x_title="decisions that the viewer has made before", width=620, height=260),
        f"Rows of one turn are compared with one another only; turns with fewer than {least} rows of "
        "either kind are left "
        f"out. Truth is what all are scored against. n = {e.target.n_games:,} games.",
    )  # fmt: skip


def verdict_words() -> str:
    """The margin, as printed."""
    return f"{MARGIN:.2f}"
