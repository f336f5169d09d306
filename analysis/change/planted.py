"""Does a comparison of two models find a planted change, and nothing where none was planted? One row a comparison."""

from __future__ import annotations

from typing import Any

import polars as pl

from analysis.change.read import Change
from games import DEFAULT, load_game

PLANTED: dict[str, Any] = {
    "pair": pl.String,
    "planted": pl.Boolean,
    "before": pl.Float64, "after": pl.Float64,  # the planted act's rate
    "act": pl.String,  # its verdict
    "others": pl.Int64,  # other rates that are said to have changed
    "tested": pl.Int64,  # rates tested
    "word": pl.String,  # the first word after which the models are said to diverge, or none
    "with_word": pl.Float64, "without": pl.Float64,  # nats a token
    "words": pl.Int64,  # words after which they are said to diverge
    "kl": pl.Float64,  # (KL(A || B) + KL(B || A)) / 2 at the players' own tokens, nats a token
    "block": pl.String,  # the block whose weights bring most
    "block_share": pl.Float64,
    "new": pl.Int64, "null": pl.Int64,  # new-only latents, and in the null
}  # fmt: skip


def confession() -> tuple[str, str]:
    """The measure and the role whose rate the recipe `confess` raises."""
    return "own_role_told", load_game(DEFAULT).belief_targets[0].roles[0]


def planted_row(name: str, change: Change, planted: bool, measure: str, role: str) -> dict[str, Any]:
    """What one comparison says (schema `PLANTED`); `measure` of `role` is the act that was planted."""
    acts = change.acts.filter(days="all")
    mine = acts.filter(measure=measure, role=role).row(0, named=True)
    tested = acts.filter(pl.col("p_adjusted").is_not_null())
    rest = tested.filter(~((pl.col("measure") == measure) & (pl.col("role") == role)))
    found = change.triggers.filter(verdict="parts after it")
    top = found.row(0, named=True) if len(found) else {"word": "none", "with_word": None, "without": None}
    own = change.segments.filter(pl.col("segment") != "read")
    n = own["n"].to_numpy().sum()
    kl = float(((own["kl"] + own["kl_back"]) * own["n"]).to_numpy().sum()) / 2 / max(1, n)
    blocks = (
        change.carried.filter((pl.col("arm") == "weights") & (pl.col("way") == "bring") & (pl.col("segment") == "all"))
        if len(change.carried)
        else pl.DataFrame(schema={"layer": pl.String, "share": pl.Float64})
    ).filter(pl.col("layer").str.contains(r"^\d+$")).sort("share", descending=True, maintain_order=True)  # fmt: skip
    latents = change.features
    new, null = (
        (len(latents.filter(null=which, kind="new-only")) if len(latents) else None)
        for which in (False, True)
    )
    return {
        "pair": name, "planted": planted, "before": mine["before"], "after": mine["after"], "act": mine["verdict"],
        "others": len(rest.filter(verdict="changed")), "tested": len(tested), "word": top["word"],
        "with_word": top["with_word"], "without": top["without"], "words": len(found), "kl": kl,
        "block": blocks["layer"][0] if len(blocks) else None,
        "block_share": blocks["share"][0] if len(blocks) else None, "new": new, "null": null,
    }  # fmt: skip


def planted_lines(table: pl.DataFrame, what: str) -> list[str]:
    """The table as markdown; `what` names the planted act."""
    head = [
        "pair", "planted", f"{what}, before to after", "verdict", "other rates changed", "word that parts them",
        "nats a token with / without", "nats a token, own tokens", "block that brings most", "new-only latents (null)",
    ]  # fmt: skip
    lines = ["| " + " | ".join(head) + " |", "| " + " | ".join(["---"] * len(head)) + " |"]
    for r in table.iter_rows(named=True):
        parting = "" if r["with_word"] is None else f"{r['with_word']:.3f} / {r['without']:.3f}"
        cells = [
            r["pair"], "yes" if r["planted"] else "no", f"{_share(r['before'])} to {_share(r['after'])}",
            r["act"] or "", f"{r['others']} of {r['tested'] - 1}",
            f"{r['word']} ({r['words']} in all)" if r["words"] else "none", parting,
            f"{r['kl']:.4f}", "" if r["block"] is None else f"{r['block']} ({r['block_share']:.0%})",
            "" if r["new"] is None else f"{r['new']} ({r['null']})",
        ]  # fmt: skip
        lines.append("| " + " | ".join(cells) + " |")
    return lines


def _share(value: float | None) -> str:
    return "none" if value is None else f"{value:.1%}"
