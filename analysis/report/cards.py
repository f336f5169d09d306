"""The report's tables of counts: the data card, the agents, what was said, what it cost."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import polars as pl

from analysis.behaviour.competence import naming_of
from analysis.evaluation.evaluate import Evaluation
from analysis.report.page import Numbers, Table, share, title_of
from analysis.stats.bootstrap import Interval, ratio_interval
from games.base import Game

FEWEST_LIES = 10
"""Smallest number of lies for which shares are shown."""


def said_table(statements: pl.DataFrame, speeches: pl.DataFrame, numbers: Numbers) -> Table:
    """Statements by who speaks (a model, or scripted players) and role: false, known false, honest mistakes,
    withheld."""
    who = pl.col("model").fill_null("scripted").str.split("@").list.first().alias("who")
    keys = ["who", "speaker_role"]
    proposed = statements.filter(pl.col("statement_is_false").is_not_null()).with_columns(who)
    by_role = proposed.group_by(keys, maintain_order=True).agg(
        statements=pl.len(), false=pl.col("statement_is_false").mean(), mistake=pl.col("honest_mistake").mean(),
        believed=pl.col("believed_false").mean(),
    )  # fmt: skip
    known = [
        (*key, *_known_false(group)[:3])
        for key, group in proposed.group_by(keys, maintain_order=True)
    ]  # fmt: skip
    shares = pl.DataFrame(
        known,
        schema=dict.fromkeys(keys, pl.String) | dict.fromkeys(("known", "low", "high"), pl.Float64),
        orient="row",
    )
    lied = pl.col("any_known_false")
    spoken = speeches.with_columns(who).group_by(keys, maintain_order=True).agg(
        speeches=pl.len(), games=pl.col("game_id").n_unique(), withheld=pl.col("withheld").mean(), lies=lied.sum(),
        strategic=pl.col("strategic_deception").filter(lied).mean(), advantage=pl.col("advantage").filter(lied).mean(),
    )  # fmt: skip
    frame = spoken.join(by_role, on=keys, how="left", maintain_order="left").join(
        shares, on=keys, how="left", maintain_order="left"
    ).sort(keys, maintain_order=True)  # fmt: skip
    numbers.add("T4_said", frame)
    rows = [
        [r["who"], r["speaker_role"], f"{r['speeches']:,}", f"{r['games']:,}", f"{r['statements'] or 0:,}",
         share(r["false"]),
         "" if r["known"] is None else f"{r['known']:.1%} [{r['low']:.1%}, {r['high']:.1%}]", share(r["believed"]),
         share(r["mistake"]), share(r["withheld"]), f"{r['lies']:,}",
         share(r["strategic"]) if r["lies"] >= FEWEST_LIES else "",
         "" if r["advantage"] is None or r["lies"] < FEWEST_LIES else f"{r['advantage']:+.3f}"]
        for r in frame.to_dicts()
    ]  # fmt: skip
    columns = [
        "who", "role", "speeches", "games", "statements", "false", "known false [95%]", "believed false",
        "honest mistake", "withheld", "lies", "strategic", "mean shift"
    ]  # fmt: skip
    return Table(
        columns, rows, tuple(range(2, 13)), (), "T4-said", "What was said, and was it known to be false?",
        "Shares of statements (withheld: of speeches), intervals over games; labels come from typed speech acts "
        "and the "
        f"engine's truth. Strategic and shift: of lies, where there are {FEWEST_LIES} or more.",
    )  # fmt: skip


def _known_false(rows: pl.DataFrame) -> Interval:
    """Share of the statements that the speaker knew to be false."""
    per_game = rows.group_by("game_id", maintain_order=True).agg(
        known=pl.col("speaker_knows_false").cast(pl.Float64).sum(), n=pl.len()
    )
    return ratio_interval(per_game["game_id"], per_game["known"], per_game["n"])


def agents_rows(table: pl.DataFrame, game: Game) -> Table:
    """The competence table as text."""
    naming = naming_of(game)
    rows = [
        [r["agent"], (r["model"] or "scripted").split("@")[0], f"{r['seats']:,}", f"{r['decisions']:,}",
         f"{r['fallbacks']:.1%} / {r['forced']:.1%}", *(_won(r, side) for side in game.sides[::-1]),
         f"{r['ballots']:,}",
         "" if r["hit"] is None else f"{r['hit']:.1%} / {r['chance']:.1%}", _lift(r)]
        for r in table.to_dicts()
    ]  # fmt: skip
    columns = [
        "agent", "model", "seats", "decisions", "fallbacks / forced",
        *(f"won as {side} [95%]" for side in game.sides[::-1]), naming.plural, "hit / by chance", "lift [95%]"
    ]  # fmt: skip
    return Table(
        columns, rows, tuple(range(2, 10)), (), "T1-agents",
        f"Who plays, and do their {naming.plural} hit?",
        f"{naming.plural.capitalize()} of the {game.sides[1]} side, forced ones left out, that {naming.right}; by "
        "chance: what a random other would have hit given what the voter knew; lift in points, intervals over games. "
        "Forced: chosen among the legal answers after others could not be used.",
    )  # fmt: skip


def _won(row: dict[str, Any], side: str) -> str:
    value, low, high = (row[f"wins_{side}{end}"] for end in ("", "_low", "_high"))
    return "" if value is None else f"{value:.0%} [{low:.0%}, {high:.0%}]"


def _lift(row: dict[str, Any]) -> str:
    if not row["ballots"]:
        return ""
    return f"{100 * row['lift']:+.1f} [{100 * row['lift_low']:+.1f}, {100 * row['lift_high']:+.1f}]"


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
        main = e.target.activations[0]
        sites = ", ".join(dict.fromkeys(r.site for r in e.target.activations))
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
