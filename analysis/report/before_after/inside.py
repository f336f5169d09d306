"""Before and after: what moved inside, what carries the change, old and new probes, features of one model alone."""

from __future__ import annotations

import numpy as np
import polars as pl
from numpy.typing import NDArray

from analysis.change.cells import cells
from analysis.change.read import Change
from analysis.data.targets import SiteActivations
from analysis.evaluation.evaluate import Evaluation, Settings
from analysis.report.before_after import charts
from analysis.report.block import Block
from analysis.report.page import Figure, Numbers, Table, share, title_of

ARMS = {
    "weights": "one block's weights", "weights_up_to": "weights up to the block", "direction": "its mean difference",
    "ablation": "that direction ablated", "random": "random vectors of its length",
}  # fmt: skip


def add_cells(
    block: Block, e: Evaluation, change: Change, after: SiteActivations | None, posterior: NDArray[np.float64] | None,
    settings: Settings, numbers: Numbers,
) -> None:  # fmt: skip
    """Old and new probes on old and new activations, where B's were captured on the same contexts."""
    b = change.b.split("@")[0]
    if after is None:
        block.absent.append(
            f"old and new probes on old and new activations: `wolfscope capture RUN --model {b} --site "
            f"{e.target.activations[0].site}`"
        )
        return
    frame = cells(e, after, posterior, settings)
    numbers.add("D5_cells", frame, a=change.a, b=change.b)
    of = {(r["probe"], r["activations"]): r for r in frame.iter_rows(named=True)}

    def cell(probe: str, read: str, signed: bool = False) -> str:
        r = of.get((probe, read))
        form = "{:+.3f} [{:+.3f}, {:+.3f}]" if signed else "{:.3f} [{:.3f}, {:.3f}]"
        return "" if r is None else form.format(r["value"], r["low"], r["high"])

    rows = [
        ["probe fitted on A", cell("old", "old"), cell("old", "new")],
        ["probe fitted on B", cell("new", "old"), cell("new", "new")],
        ["B's probe minus A's", cell("difference", "old", True), cell("difference", "new", True)],
    ]
    if ("posterior", "old") in of:
        rows.append(
            ["R2 of the exact posterior's log-odds", cell("posterior", "old"), cell("posterior", "new")]
        )
    first = frame.row(0, named=True)
    turned = of["difference", "new"]
    verdict = (
        "the representation was turned: B's own probe reads it better than A's does"
        if turned["low"] > 0.01
        else "A's probe reads B as well as B's own does: the representation is shown to have stayed within .03"
        if turned["high"] < 0.03
        else "whether A's probe still reads B as well as B's own is not settled"
    )
    block.add(
        table=Table(
            ["", "A's activations", "B's activations"], rows, (1, 2), (), "D5",
            f"Is “{title_of(e.target.name).lower()}” still where it was?",
            f"AUROC out of fold at layer {first['layer']} of {e.target.activations[0].site}, the same contexts "
            f"through both, n = {first['n_rows']:,} rows of {first['n_games']:,} games; {verdict}. The last row tells "
            "whether what is represented of the exact posterior changed, whatever is said.",
        )
    )  # fmt: skip


def add_inside(block: Block, change: Change, number: int, numbers: Numbers) -> None:
    """How far the streams moved, along how many directions, and which parts carry the change."""
    numbers.add("D1_layers", change.layers, a=change.a, b=change.b)
    rows = [
        [r["layer"], f"{r['moved']:.3f}", f"{r['cosine']:.3f}", share(r["shared"]),
         ", ".join(f"{v:.0%}" for v in r["explained"][:3]), f"{r['dimension']:.1f}", share(r["decisions_shared"]),
         f"{r['decisions_dimension']:.1f}",
         "" if r["probe"] is None else f"{r['probe']:.1%} (chance {r['by_chance']:.1%})"]
        for r in change.layers.iter_rows(named=True)
    ]  # fmt: skip
    block.add(
        note="Which directions changed? B's stream minus A's at each token: its length beside A's, the cosine of both, "
        "the share that is one shift of all tokens, what the three largest principal directions hold of the rest, and "
        "over how many directions the rest is spread (participation ratio); the last two again where a token of an "
        "answer is about to come; how much of the headline probe's direction lies in the "
        f"{len(change.layers['explained'][0])} largest.",
        table=Table(
            ["stream", "moved", "cosine", "one shift", "largest three", "dimension", "one shift, answers",
             "dimension, answers", "of the probe"],
            rows, tuple(range(1, 9)),
        ),
        fold="How far each layer moved, and along how many directions",
    )  # fmt: skip
    if not len(change.carried):
        block.absent.append("what carries the change: `wolfscope diff RUN --model B --part carried`")
        return
    numbers.add("D3_carried", change.carried, a=change.a, b=change.b)
    shown = change.carried.filter((pl.col("segment") == "all") & (pl.col("arm") != "nothing")).with_columns(
        name=pl.col("arm").replace_strict(ARMS, default=pl.col("arm"))
    )
    best = shown.filter(arm="weights", way="bring").sort("share", descending=True, maintain_order=True)
    top = best.row(0, named=True)
    direction = shown.filter(arm="direction", way="bring").sort("share", descending=True, maintain_order=True)
    one = "" if not len(direction) else (
        f" The mean difference of one layer brings at most {direction['share'][0]:.0%} (layer "
        f"{direction['layer'][0]}; random vectors of its length "
        f"{shown.filter(arm='random', way='bring', layer=direction['layer'][0])['share'][0]:+.0%})."
    )  # fmt: skip
    block.add(
        figure=Figure(
            f"D3-{number}", "D3", "Which parts carry the change?",
            charts.carried(shown, "Share of the change by layer"),
            "Share of the divergence between the models at the player's own tokens that an arm removes: parts of B put "
            "into A, and of A into B; 100% makes it the other model, below 0 it leads away from it (cut at -25%). Bars "
            f"are 95% over {int(top['n_games']):,} games. Of single blocks, layer {top['layer']} brings most, "
            f"{top['share']:.0%} [{top['low']:.0%}, {top['high']:.0%}].{one} Whole: {top['whole']:.4f} nats a token.",
        )
    )  # fmt: skip


def add_features(block: Block, change: Change, numbers: Numbers) -> None:
    """The crosscoder's latents by kind, beside the null's, and the arms of the new ones."""
    frame = change.features
    if not len(frame):
        block.absent.append("features of one model alone: `wolfscope diff RUN --model B --part features`")
        return
    numbers.add("D6_latents", frame, a=change.a, b=change.b)
    kinds = ("base-only", "shared", "new-only", "dead")
    rows = []
    for null, what in ((False, "A and B"), (True, "null: no change")):
        part = frame.filter(null=null)
        counts = [f"{len(part.filter(kind=kind)):,}" for kind in kinds]
        rows.append([what, *counts, share(part["explained_a"][0]), share(part["explained_b"][0])])
    arms = change.features_carried
    tested = ""
    if len(arms):
        numbers.add("D6_arms", arms, a=change.a, b=change.b)
        of = {(r["arm"], r["way"]): r for r in arms.filter(segment="all").iter_rows(named=True)}
        if not len(frame.filter(~pl.col("null"), kind="new-only")):
            tested = " No latent is B's alone, so no arm was tested."
        elif ("new_only", "take") in of:
            tested = " " + ". ".join(
                f"What {name.replace('_', '-')} latents write, {words}, removes {of[name, way]['share']:+.0%} of the "
                "divergence"
                for name in ("new_only", "shared")
                for way, words in (("take", "taken out of B"), ("bring", "added to A"))
                if (name, way) in of
            ) + "."  # fmt: skip
    block.add(
        note="Features that one model alone has: a BatchTopK crosscoder of both streams at layer "
        f"{int(frame['layer'][0])}. A latent is one model's alone where its decoder is short in the other and neither "
        "the error nor the reconstruction of the other holds it (latent scaling). The null is the same fit where "
        f"nothing changed; only what goes beyond it counts.{tested}",
        table=Table(["pair", *kinds, "explained of A", "of B"], rows, tuple(range(1, 7))),
    )
    new = (
        frame.filter(~pl.col("null"), kind="new-only")
        .sort("fires", descending=True, maintain_order=True)
        .head(10)
    )
    if len(new):
        rows = [
            [str(r["latent"]), f"{r['fires']:.1%}", f"{r['length']:.2f}", f"{r['nu_error']:.2f}",
             f"{r['nu_reconstruction']:.2f}", r["tokens"]]
            for r in new.iter_rows(named=True)
        ]  # fmt: skip
        columns = ["latent", "fires", "length in B", "nu of error", "nu of reconstruction", "most active at"]
        block.add(table=Table(columns, rows, (1, 2, 3, 4)), fold="The new-only latents")
