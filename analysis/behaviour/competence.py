"""How well the players play, by behaviour alone: a probe of a model that plays badly says little about models that
play well."""

from __future__ import annotations

import numpy as np
import polars as pl

from analysis.stats.bootstrap import Interval, ratio_interval
from games.base import Game
from games.statements import Naming

FEWEST_GAMES = 15
"""Below this many games no verdict is given."""


def agents_table(
    game: Game, seats: pl.DataFrame, decisions: pl.DataFrame, ballots: pl.DataFrame, n_boot: int = 1000
) -> pl.DataFrame:
    """One row an agent: seats, decisions, fallbacks, wins by side (`wins_SIDE` for each of `Game.sides`, intervals over
    games), and how often ballots of the uninformed side were right, compared with chance.

    `hit` is the share of these ballots (`Game.namings`) that were right, `chance` the expected share for a random
    choice given the same knowledge, `lift` their difference with an interval over games. `forced` is the share of
    decisions that were chosen among the legal options alone, after unusable answers: hits, chance and lift leave such
    ballots out, because the player did not choose them in its own words.
    """
    marked = with_forced(decisions)
    forced = marked.filter("forced").select("game_id", "seq")
    rows = []
    for agent in sorted(set(seats["agent"].drop_nulls())):
        mine = seats.filter(pl.col("agent") == agent)
        made = marked.filter(pl.col("agent") == agent)
        cast = ballots.filter(pl.col("agent") == agent, voter_faction=game.sides[1]).join(
            forced, on=["game_id", "seq"], how="anti", maintain_order="left"
        )
        lift = ballot_lift(cast, n_boot)
        rows.append(
            {
                "agent": agent,
                "model": next(iter(made["model"].drop_nulls()), None),
                "seats": len(mine),
                "decisions": len(made),
                "fallbacks": _share(made["fallback"].is_not_null()),
                "forced": _share(made["forced"]),
                **_wins(mine, game.sides[1], n_boot),
                **_wins(mine, game.sides[0], n_boot),
                "ballots": len(cast), "games": cast["game_id"].n_unique(),
                "hit": _share(cast["right"]),
                "chance": float(np.mean(cast["p_right"].to_numpy())) if len(cast) else None,
                "lift": lift.value, "lift_low": lift.low, "lift_high": lift.high,
            }
        )  # fmt: skip
    schema = {
        "agent": pl.String, "model": pl.String, "seats": pl.Int64, "decisions": pl.Int64, "fallbacks": pl.Float64,
        "forced": pl.Float64,
        **{f"wins_{side}{end}": pl.Float64 for side in game.sides[::-1] for end in ("", "_low", "_high")},
        "ballots": pl.Int64, "games": pl.Int64,
        "hit": pl.Float64,
        "chance": pl.Float64, "lift": pl.Float64, "lift_low": pl.Float64, "lift_high": pl.Float64,
    }  # fmt: skip
    return pl.DataFrame(rows, schema=schema)


def naming_of(game: Game) -> Naming:
    """The game's first kind of `Naming`; where no decision names a seat, a default that no ballot has."""
    return next(iter(game.namings.values()), Naming(True, "ballots", "were right"))


def _wins(seats: pl.DataFrame, side: str, n_boot: int) -> dict[str, float | None]:
    """Share of an agent's seats of one side that won, with its interval over games; None where it had none."""
    known = seats.filter(pl.col("faction") == side).drop_nulls("won")
    if known.is_empty():
        return dict.fromkeys((f"wins_{side}", f"wins_{side}_low", f"wins_{side}_high"))
    per_game = known.group_by("game_id", maintain_order=True).agg(
        won=pl.col("won").cast(pl.Float64).sum(), n=pl.len()
    )
    i = ratio_interval(per_game["game_id"], per_game["won"], per_game["n"], n_boot)
    return {f"wins_{side}": i.value, f"wins_{side}_low": i.low, f"wins_{side}_high": i.high}


def with_forced(decisions: pl.DataFrame) -> pl.DataFrame:
    """The decisions with `forced` filled in: a decision without a model was not forced."""
    known = pl.col("forced").fill_null(False) if "forced" in decisions.columns else pl.lit(False)
    return decisions.with_columns(forced=known)


def ballot_lift(cast: pl.DataFrame, n_boot: int = 1000, seed: int = 0) -> Interval:
    """Share of ballots that were right minus that of a random choice, interval over games."""
    per_game = cast.group_by("game_id", maintain_order=True).agg(
        gain=(pl.col("right").cast(pl.Float64) - pl.col("p_right")).sum(), n=pl.len()
    )
    return ratio_interval(per_game["game_id"], per_game["gain"], per_game["n"], n_boot, seed)


def in_words(table: pl.DataFrame, game: Game) -> list[str]:
    """Sentences about each model-backed agent: legal play, ballots against chance, and what follows for the
    probe.
    """
    out, naming = [], naming_of(game)
    for row in table.filter(pl.col("model").is_not_null()).iter_rows(named=True):
        lost, forced = row["fallbacks"] or 0.0, row["forced"] or 0.0
        text = (
            f"{row['agent']} ({row['model']}) answered {1 - lost - forced:.1%} of {row['decisions']:,} requests in its "
            f"own words or choice, {row['decisions'] * forced:,.0f} were forced among the options after answers that "
            f"could not be used, {row['decisions'] * lost:,.0f} are fallbacks."
        )
        if row["ballots"]:
            low, high = row["lift_low"], row["lift_high"]
            text += (
                f" On the {game.sides[1]} side {row['hit']:.1%} of its {row['ballots']:,} unforced {naming.plural} "
                f"{naming.right}; "
                f"of random choices {row['chance']:.1%} would. The difference is "
                f"{100 * row['lift']:+.1f} points [{100 * low:+.1f}, {100 * high:+.1f}]: "
            )
            text += (
                f"too few games ({row['games']}) for a verdict." if row["games"] < FEWEST_GAMES
                else "it chooses better than chance." if low > 0
                else "it chooses worse than chance." if high < 0
                else "its choices are not distinguishable from chance, so little can be expected of what it represents."
            )  # fmt: skip
        out.append(text)
    if not out:
        out.append(
            "No seat was played by a model: there is nothing to probe, only the game and its labels "
            "to look at."
        )
    return out


def _share(values: pl.Series) -> float | None:
    known = values.drop_nulls()
    return float(known.cast(pl.Float64).to_numpy().mean()) if len(known) else None
