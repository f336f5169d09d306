"""Probes and their baselines; layers, sites, turns."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl

from analysis.evaluation.evaluate import Evaluation, Score, Skipped
from analysis.report import figures, verdicts
from analysis.report.block import Block
from analysis.report.page import Figure, Numbers, Table, p_text, title_of
from analysis.stats.bootstrap import auroc_interval, bootstrap_auroc


def surface_block(evaluations: Sequence[Evaluation | Skipped], numbers: Numbers) -> Block:
    """Rungs 1 and 2: the probes, beside everything that could be known without activations."""
    block = Block("surface", "What can be read, and is it more than the surface?")
    for number, e in enumerate(evaluations):
        if isinstance(e, Skipped):
            block.absent.append(f"{title_of(e.target.name)}: {e.reason}")
            continue
        name = title_of(e.target.name)
        frame = _sources(e)
        numbers.add("T2_scores", frame, target=e.target.name)
        main = e.target.activations[0]
        chosen = ", ".join(sorted({e.layers[i] for i in e.probe.chosen_layer}))
        sample = (
            f"{len(e.target.y):,} rows of {e.target.n_games:,} games, {e.quality['base rate']:.1%} positive. Read at "
            f"{verdicts.place_of(main.site)}; layer chosen inside the folds: {chosen} of {len(e.layers)}, width "
            f"{main.x.shape[2]}."
        )
        if verdicts.is_answer(main.site):
            sample += " So it is the answer that is read, not what is held in mid-play; the map of sites shows both."
        fold = "" if number == 0 else f"{name}: sources and intervals"
        unit = "rows of one decision compared" if e.evidence.within_decisions else "rows of one fold compared"
        block.add(
            note=f"{name}. {verdicts.rung_words(e.rungs[0])} {verdicts.rung_words(e.rungs[1])}",
            fold=fold,
            figure=Figure(
                f"T2-{e.target.name}", "T2", e.target.question,
                figures.forest(frame.select("name", "kind", *_shown(e)), f"AUROC of all sources for {e.target.name}"),
                f"{unit.capitalize()}. Blue: the probe. Orange: everything public and incidental in one nested "
                f"fit, alone "
                f"and with the probe. Green: ideal readers, compared with, never to be beaten. {sample} An "
                f"increment of "
                f"{e.detectable:.3f} would be found four times in five. n = {e.target.n_games:,} games.",
            ),
        )  # fmt: skip
        rows = [
            [
                r["name"], r["kind"], _pm(r["auroc"], r["low"], r["high"]), _pm(r["within"], r["within_low"],
                r["within_high"]),
                r["sees"],
            ]
            for r in frame.to_dicts()
        ]  # fmt: skip
        block.add(
            fold=f"{name}: the numbers, and what each source sees",
            table=Table(
                ["source", "kind", "AUROC, pooled [95%]", "AUROC within a decision [95%]", "sees"], rows, (2, 3),
                ["probe" if r["kind"] == "probe" else "" for r in frame.to_dicts()], f"T2-numbers-{e.target.name}",
                "What does each source tell, pooled and within a decision?",
                f"Intervals over games; n = {len(e.target.y):,} rows of {e.target.n_games:,} games. "
                f"{verdicts.rung_words(e.rungs[1])}",
            ),
        )  # fmt: skip
        block.absent += [f"{name}: {text}" for text in e.absent]
    return block


def _shown(e: Evaluation) -> list[pl.Expr]:
    if e.evidence.within_decisions:
        pick = {"auroc": "within", "low": "within_low", "high": "within_high"}
        return [pl.coalesce(within, pooled).alias(pooled) for pooled, within in pick.items()]
    return [pl.col("auroc"), pl.col("low"), pl.col("high")]


def _sources(e: Evaluation) -> pl.DataFrame:
    v = e.evidence
    more = [
        Score("all confounds together", "every confound, one nested fit", "surface", v.surface, v.surface),
        Score(
            "confounds and probe",
            "the same with the probe's score",
            "together",
            v.together,
            v.together,
        ),
    ]
    if not v.within_decisions:
        more = [Score(s.name, s.what, s.kind, s.auroc) for s in more]
    rows = [
        {
            "name": s.name, "kind": s.kind, "auroc": None if s in more and v.within_decisions else s.auroc.value,
            "low": None if s in more and v.within_decisions else s.auroc.low,
            "high": None if s in more and v.within_decisions else s.auroc.high,
            "within": None if s.within is None else s.within.value,
            "within_low": None if s.within is None else s.within.low,
            "within_high": None if s.within is None else s.within.high, "sees": s.what,
        }
        for s in [e.scores[0], *more, *e.scores[1:]]
    ]  # fmt: skip
    order = {
        "probe": 0,
        "together": 1,
        "surface": 2,
        "confound": 3,
        "activation": 4,
        "stated": 5,
        "ceiling": 6,
        "control": 7,
    }
    frame = pl.DataFrame(rows, infer_schema_length=None)
    return frame.sort(pl.col("kind").replace_strict(order, return_dtype=pl.Int64), maintain_order=True)


def _pm(value: float | None, low: float | None, high: float | None) -> str:
    return "" if value is None else f"{value:.3f} [{low:.3f}, {high:.3f}]"


def best_confound(e: Evaluation) -> Score:
    """The single confound of the highest pooled AUROC."""
    return max((s for s in e.scores if s.kind in ("confound", "activation")), key=lambda s: s.auroc.value)


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
                "baseline": best_confound(e).auroc.value, "baseline_name": best_confound(e).name,
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
    """F2: the map of sites of the first target, to be consulted before a negative verdict is accepted."""
    e = done[0]
    if not len(e.sites):
        return None
    numbers.add("F2_sites", e.sites, target=e.target.name)
    cells = e.sites.with_columns(site=pl.col("site") + " (" + pl.col("probe") + ")").with_columns(
        pl.col("within", "low", "high").fill_nan(None)
    )
    shown = "within" if cells["within"].is_not_null().any() else "auroc"
    top = cells.drop_nulls(shown).sort(shown, descending=True, maintain_order=True).row(0, named=True)
    captured, unit = e.sites["site"].n_unique(), "one decision" if shown == "within" else "one probe and fold"
    value = f"{top[shown]:.2f}" + (
        f" [{top['low']:.2f}, {top['high']:.2f}]" if shown == "within" and top["low"] is not None else ""
    )
    return Figure(
        "F2", "F2", f"Where is it bound? Sites and layers for “{title_of(e.target.name).lower()}”.",
        figures.heat(cells.select("site", "layer", auroc=shown), "AUROC by site and layer"),
        f"AUROC, rows of {unit} compared. Highest: {top['site']}, layer {top['layer']}, {value}; the maximum of "
        f"{len(e.sites)} cells is optimistic, F1 holds it against chance. {captured} "
        f"site{'s' if captured != 1 else ''} captured; 95% intervals over games of every cell stand in the numbers. "
        f"n = {e.target.n_games:,} games.",
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
        "public events, boosted",
        "rules posterior",
    ):
        if name in e.beside:
            sources[name] = e.beside[name]
    turn = e.target.frame["turn"].to_numpy()
    rows = []
    for t in np.unique(turn):
        here = turn == t
        if min((e.target.y[here] == 1).sum(), (e.target.y[here] == 0).sum()) < least:
            continue
        games = e.target.games[here]
        values, samples = bootstrap_auroc(
            e.target.y[here], [s[here] for s in sources.values()], games, e.folds.fold[here], 300
        )
        for name, value, drawn in zip(sources, values, samples):
            i = auroc_interval(drawn, float(value), n_games=len(np.unique(games)))
            rows.append(
                {
                    "turn": int(t), "source": name, "auroc": i.value, "low": i.low, "high": i.high,
                    "n_rows": int(here.sum()), "n_games": len(np.unique(games)),
                }
            )  # fmt: skip
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
        "left out. Truth is what all are scored against. 95% intervals over games stand in the numbers; the widest "
        f"reaches {_widest(frame):.2f} to either side. n = {int(counts.max()):,} rows at the fullest turn, "
        f"{int(counts.min()):,} at the emptiest, {e.target.n_games:,} games.",
    )  # fmt: skip


def _widest(frame: pl.DataFrame) -> float:
    """Half the width of the widest interval."""
    return float(((frame["high"] - frame["low"]) / 2).max() or 0.0)  # type: ignore[arg-type]
