"""Before and after: the two models' probabilities of the same tokens."""

from __future__ import annotations

from typing import Any

from markupsafe import Markup

from analysis.change.read import Change
from analysis.report.before_after import charts
from analysis.report.block import Block
from analysis.report.page import Figure, Numbers, Table, grouped, p_text, share

SHOWN = 14
"""Contexts that are shown."""


def add_words(block: Block, change: Change, number: int, numbers: Numbers, linked: bool) -> None:
    """Divergence by segment and role, by word, by preceding word, and the contexts where the models diverge most.

    linked: whether the run's pages lie beside the report.
    """
    for name, frame in (
        ("segments", change.segments),
        ("words", change.words),
        ("triggers", change.triggers),
    ):
        numbers.add(f"D1_{name}", frame, a=change.a, b=change.b)
    numbers.add("D1_partings", change.partings, model_a=change.a, model_b=change.b)
    top = change.segments.row(0, named=True)
    rows = [
        [r["segment"] if not r["kind"] else f"read: {r['kind'].replace('_', ' ')}", r["role"] or "", f"{r['n']:,}",
         _nats(r, "kl", ""), _nats(r, "kl_back", "_back"), share(r["share"]), f"{r['gain']:+.4f}"]
        for r in change.segments.iter_rows(named=True)
    ]  # fmt: skip
    a, b = change.a.split("@")[0], change.b.split("@")[0]
    block.add(
        note=f"Where do {a} (A) and {b} (B) part? Divergence of the next token on the same contexts, nats a token, "
        f"{change.n_games:,} games, intervals over games. Most of KL(A || B), {top['share']:.0%}, lies on "
        f"{_place(top)}. Own speech, ballots, night choices and thinking are what the model that played gave; what is "
        "read is told apart by kind. Gain: how much more B expected what stood there.",
        table=Table(
            ["segment", "role", "tokens", "KL(A || B) [95%]", "KL(B || A) [95%]", "share", "gain"],
            grouped(rows), (2, 3, 4, 5, 6),
        ),
    )  # fmt: skip
    if len(change.words):
        words = change.words.head(12)
        block.add(
            figure=Figure(
                f"D1-{number}", "D1", f"On which words do {a} and {b} part most?",
                charts.words(words, "Mean KL by word"),
                f"The twelve words of highest mean KL(A || B) among those with enough tokens; they hold "
                f"{words['share'].to_numpy().sum():.0%} of all. n = {change.n_games:,} games.",
            )
        )  # fmt: skip
    if len(change.triggers):
        rows = [
            [r["word"], r["segment"], r["role"] or "", f"{r['with_word']:.3f}", f"{r['without']:.3f}",
             f"{r['difference']:+.3f} [{r['low']:+.3f}, {r['high']:+.3f}]", p_text(r["p_adjusted"]),
             f"{r['n_with']:,} / {r['n_without']:,}", r["verdict"]]
            for r in change.triggers.head(8).iter_rows(named=True)
        ]  # fmt: skip
        block.add(
            note="After which words do they part? Mean divergence (both directions) of a decision's own tokens where a "
            "word had been read before, and where not; every word, segment and role with enough games is tested "
            f"({len(change.triggers):,} in all, Holm). A verdict needs the interval above .02 nats.",
            table=Table(
                ["word read", "segment", "role", "with", "without", "difference [95%]", "p adjusted", "decisions",
                 "verdict"],
                rows, (3, 4, 5, 6, 7),
            ),
        )  # fmt: skip
    _partings(block, change, linked)


def _nats(r: dict[str, Any], name: str, which: str) -> str:
    return f"{r[name]:.4f} [{r['low' + which]:.4f}, {r['high' + which]:.4f}]"


def _place(top: dict[str, Any]) -> str:
    where = top["segment"] if not top["kind"] else f"what is read ({top['kind'].replace('_', ' ')})"
    return f"{where} of a {top['role']}" if top["role"] else where


def _partings(block: Block, change: Change, linked: bool) -> None:
    rows = []
    for r in change.partings.head(SHOWN).iter_rows(named=True):
        place = f"{r['game_id'][:8]}, {r['seq']}"
        link = Markup('<a href="view/games/{}.html#seq={}">{}</a>').format(r["game_id"], r["seq"], place)
        text = " ".join(r["before"].split())[-160:]
        said = r["said"].strip() or "(line end)"
        rows.append(
            [link if linked else place, f"{r['role'] or ''}, {r['segment']}", f"… {text}", r["a"], r["b"], said,
             f"{r['kl']:.2f} / {r['kl_back']:.2f}"]
        )  # fmt: skip
    if rows:
        block.add(
            table=Table(
                ["game, decision", "who", "what was read and said before", "A expects", "B expects", "stood there",
                 "KL A||B / B||A"],
                rows, (6,), (), "", "Where do they part most?",
                "The decisions with the tokens of largest divergence, one token a decision. `wolfscope view RUN` makes "
                "the pages that the first column leads to.",
            ),
            fold="The contexts where they part most",
        )  # fmt: skip
