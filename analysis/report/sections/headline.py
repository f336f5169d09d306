"""The parts of the report: numbers turned into tables, figures and sentences, nothing computed that is not
shown.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl

from analysis.data.captures import SITE_WORDS
from analysis.evaluation.evaluate import LEVEL, MARGIN, Evaluation, Skipped
from analysis.report import figures
from analysis.report.page import Figure, Numbers, Table, p_text, title_of, within
from analysis.stats.metrics import auroc


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
        f"{_of(e, e.best).auroc.value:.3f}. Increment {within(e.increment, True)}"
        f"{', so the probe tells less than the baseline' if e.increment.high < 0 else ''} (adjusted p "
        f"{p_text(e.adjusted_p)}, two-sided); permutation null over layers p {p_text(float(e.null.p[0]))}. "
        f"n = {len(e.target.y):,} rows of {e.target.n_games:,} games."
    )
    if e.verdict != "supported":
        text += (
            " The activations hold something of it, but no more than is public at the table."
            if e.null.p[0] < LEVEL and e.verdict == "not beyond baseline"
            else " The activations hold something of it; whether more than is public needs more games."
            if e.null.p[0] < LEVEL
            else " No layer shows more than the best layer shows by chance."
        )
    stated = [s for s in e.scores if s.name == "stated belief" and s.increment and s.increment.high < 0]
    if stated:
        text += (
            f" Asked, the players state it better than is read here (AUROC {stated[0].auroc.value:.3f}): they have "
            "more than this site shows, so this is no sign of absence."
        )
    ceiling = [s for s in e.scores if s.kind == "ceiling"]
    if ceiling:
        text += f" The {ceiling[0].name} reaches {ceiling[0].auroc.value:.3f}."
    observed = ceiling or any(s.name == "fitted observer" for s in e.scores)
    if e.verdict == "supported" and not observed:
        text += (
            " No observer that inverts the players' behaviour is among the baselines of this question: it is beyond "
            "the counts and words that are, and an ideal reader may infer it from them."
        )
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
        f"positive; site {main.site}{f', {SITE_WORDS[main.site]}' if main.site in SITE_WORDS else ''}; "
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
            f"{within(e.increment, True)}, adjusted p {p_text(e.adjusted_p)} (two-sided). {e.verdict.capitalize()}. "
            f"n = {e.target.n_games:,} games, enough to find an increment of {e.detectable:.3f} four times in five.",
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
    numbers.add("F1_layers", frame.join(band, on="target", maintain_order="left"))
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
    top = e.sites.drop_nulls().sort("auroc", descending=True, maintain_order=True).row(0, named=True)
    captured = e.sites["site"].n_unique()
    return Figure(
        "F2", "F2", f"Where is it bound? Sites and layers for “{title_of(e.target.name).lower()}”.",
        figures.heat(cells, "AUROC by site and layer"),
        f"Highest: {top['site']}, layer {top['layer']}, AUROC {top['auroc']:.2f}; the maximum of "
        f"{len(e.sites)} cells is "
        f"optimistic, F1 holds it against chance. {captured} site{'s' if captured != 1 else ''} captured; "
        f"“one a seat”: pairs are compared within a seat. n = {e.target.n_games:,} games.",
    )  # fmt: skip


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
        pl.col("source").replace_strict({n: i for i, n in enumerate(sources)}), "turn", maintain_order=True
    )
    counts = frame["n_rows"].to_numpy()
    numbers.add("F3_over_time", frame, target=e.target.name)
    return Figure(
        "F3", "F3", "How does what each source tells about the werewolves grow over a viewer's decisions?",
        figures.lines(frame, "turn", "source", "AUROC over turns by source",
                      x_title="decisions that the viewer has made before", width=620, height=260),
        f"Rows of one turn are compared with one another only; turns with fewer than {least} rows of either kind are "
        f"left out. Truth is what all are scored against. n = {int(counts.max()):,} rows at the fullest turn, "
        f"{int(counts.min()):,} at the emptiest, {e.target.n_games:,} games.",
    )  # fmt: skip


def verdict_words() -> str:
    """The margin, as printed."""
    return f"{MARGIN:.2f}"
