"""The report's tables of counts: the data card, the agents, what was said, what it cost."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from analysis.evaluation.evaluate import Evaluation
from analysis.report.page import Numbers, Table, share, title_of


def said_table(statements: pl.DataFrame, speeches: pl.DataFrame, numbers: Numbers) -> Table:
    """Statements by role: false, known false, honest mistakes; and what was withheld."""
    proposed = statements.filter(pl.col("statement_is_false").is_not_null())
    by_role = proposed.group_by("speaker_role", maintain_order=True).agg(
        statements=pl.len(), false=pl.col("statement_is_false").mean(), known=pl.col("speaker_knows_false").mean(),
        mistake=pl.col("honest_mistake").mean(), believed=pl.col("believed_false").mean(),
    )  # fmt: skip
    lied = pl.col("any_known_false")
    spoken = speeches.group_by("speaker_role", maintain_order=True).agg(
        speeches=pl.len(), withheld=pl.col("withheld").mean(), lies=lied.sum(),
        strategic=pl.col("strategic_deception").filter(lied).mean(), advantage=pl.col("advantage").filter(lied).mean(),
    )  # fmt: skip
    frame = spoken.join(by_role, on="speaker_role", how="left", maintain_order="left").sort(
        "speaker_role", maintain_order=True
    )
    numbers.add("T4_said", frame)

    rows = [
        [r["speaker_role"], f"{r['speeches']:,}", f"{r['statements'] or 0:,}", share(r["false"]), share(r["known"]),
         share(r["believed"]), share(r["mistake"]), share(r["withheld"]), f"{r['lies']:,}", share(r["strategic"]),
         "" if r["advantage"] is None else f"{r['advantage']:+.3f}"]
        for r in frame.to_dicts()
    ]  # fmt: skip
    columns = [
        "role", "speeches", "statements", "false", "known false", "believed false", "honest mistake", "withheld",
        "lies", "strategic", "mean shift"
    ]  # fmt: skip
    return Table(columns, rows, tuple(range(1, 11)))


def agents_rows(table: pl.DataFrame) -> Table:
    """The competence table as text."""

    rows = [
        [r["agent"], (r["model"] or "scripted").split("@")[0], f"{r['seats']:,}", f"{r['decisions']:,}",
         share(r["fallbacks"]), share(r["wins_village"]), share(r["wins_werewolf"]), f"{r['ballots']:,}",
         share(r["hit"]), share(r["chance"])]
        for r in table.to_dicts()
    ]  # fmt: skip
    columns = [
        "agent", "model", "seats", "decisions", "fallbacks", "wins, village", "wins, werewolf",
        "ballots", "hit", "by chance"
    ]  # fmt: skip
    return Table(columns, rows, tuple(range(2, 10)))


def card(tables: dict[str, pl.DataFrame], done: Sequence[Evaluation]) -> Table:
    games, decisions = tables["games"], tables["decisions"]
    finished = games.filter(pl.col("status") == "finished")
    winners = (
        finished.group_by("winner", maintain_order=True).len().sort("winner", maintain_order=True).rows()
    )
    rows = [
        ["games", f"{len(finished):,} finished, {len(games) - len(finished):,} failed"],
        [
            "presets",
            ", ".join(
                f"{name} ({n:,})"
                for name, n in games.group_by("preset", maintain_order=True)
                .len()
                .sort("preset", maintain_order=True)
                .rows()
            ),
        ],
        [
            "lexicons",
            ", ".join(
                f"{name} ({n:,})"
                for name, n in games.group_by("lexicon", maintain_order=True)
                .len()
                .sort("lexicon", maintain_order=True)
                .rows()
            ),
        ],
        ["won by", ", ".join(f"{name} {n / max(1, len(finished)):.0%}" for name, n in winners)],
        ["days a game", f"{_mean(finished['n_days']):.1f}"],
        ["decisions", f"{len(decisions):,}, {decisions['model'].is_not_null().sum():,} of them by a model"],
        ["fallbacks", f"{decisions['fallback'].is_not_null().sum():,} decisions were not the agent's own"],
    ]
    rows += [["to be read with", text] for text in tables["remarks"]["remark"]]
    for e in done:
        main = e.target.readouts[0]
        sites = ", ".join(dict.fromkeys(r.site for r in e.target.readouts))
        what = f"{len(e.target.y):,} rows, {int(e.target.y.sum()):,} positive, {e.target.n_games:,} games"
        rows.append(
            [
                title_of(e.target.name).lower(),
                f"{what}; sites {sites}; layers {', '.join(main.layers)}",
            ]
        )
    return Table(["", ""], rows)


def cost(tables: dict[str, pl.DataFrame], seconds: float) -> Table:
    tokens = int(tables["costs"]["tokens"].fill_null(0).sum())
    cached = int(tables["costs"]["n_cached"].fill_null(0).sum())
    return Table(
        ["", ""],
        [
            ["tokens in the log", f"{tokens:,} of prompts (each context once) and answers"],
            ["prompt tokens from the prefix cache", f"{cached:,}"],
            [
                "seconds a game, from first to last request",
                f"{_mean(tables['games']['seconds']):.1f} (games run side by side)",
            ],
            ["this report", f"{seconds:.0f} s"],
        ],
    )


def _mean(values: pl.Series) -> float:
    known = values.drop_nulls().to_numpy()
    return float(known.mean()) if len(known) else 0.0
