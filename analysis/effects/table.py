"""T6 and F8: the effects of an experiment's arms against their controls, intervals over games.

Effects are differences within a moment; games are the clusters. An arm with random directions as controls is tested by
its contrast with them (how much larger its effect is), and ranked among them. Any other arm is tested by its contrast
with its sham, or by its effect itself where it has no sham. The arms that the design names as a family are corrected
for together (Holm).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from analysis.effects.outcomes import FOLLOWS, Experiment
from analysis.stats.bootstrap import Interval, holm, ratio_interval
from analysis.stats.power import standard_errors

EFFECTS: dict[str, Any] = {
    "arm": pl.String,
    "of": pl.String,  # the design's arm
    "control": pl.String,  # "" for the arm itself
    "outcome": pl.String,
    "subject_role": pl.String,  # of whom the change is about; "all" for all together
    "layer": pl.Int64,
    "at": pl.String,
    "scale": pl.Float64,
    "before": pl.Float64,  # mean of the unchanged moments
    "effect": pl.Float64,  # mean difference over moments
    "low": pl.Float64,
    "high": pl.Float64,
    "p": pl.Float64,
    "n_moments": pl.Int64,
    "n_games": pl.Int64,
    "n_continuations": pl.Int64,  # games played on to their end under the arm; null for what is asked at the moment
    "against": pl.String,  # what the contrast is with
    "contrast": pl.Float64,  # effect minus that of the controls, moment by moment
    "contrast_low": pl.Float64,
    "contrast_high": pl.Float64,
    "adjusted_p": pl.Float64,  # of the contrast, over the family; null outside of it
    "rank": pl.Int64,  # 1: no random direction moves the outcome further
    "n_random": pl.Int64,
    "findable": pl.Float64,  # the smallest contrast that could have been found
    "verdict": pl.String,
}
"""One row an arm, outcome and role of the subject."""

RANDOM = ("random", "orthogonal")
ALL, ANOTHER = "all settings", "another setting (prediction)"
"""The last lines of a forest over settings."""
CHANGES = {
    ("direction", ""): "its direction added", ("direction", "ablate"): "its direction taken away",
    ("latents", ""): "latents taken away", ("latents", "add"): "latents added",
    ("patch", ""): "the stream of a seat that holds the opposite put in",
    ("role_line", "remove"): "the own role line removed", ("role_line", "swap"): "the own role line swapped",
    ("utterance", "remove"): "what was said last about the player removed",
    ("utterance", "flip"): "what was said last about the player turned round",
    ("utterance", "filler"): "what was said last about the player replaced by filler",
    ("utterance", "add"): "something more said about the player",
    ("lexicon", ""): "the same told in other words",
    ("player", ""): "the player's settings changed", ("model", ""): "another checkpoint asked",
    ("reasoning", ""): "the reasoning changed",
}  # fmt: skip
"""(kind, what it does) of an arm -> in words."""
AT = {
    "option": "at the player's name among the options", "last_mention": "where the player is named last",
    "mentions": "wherever the player is named", "answer": "at the token that answers", "all": "at every token",
}  # fmt: skip
"""Token positions by what they mean, in words."""


class Used(NamedTuple):
    """Whether the player uses what the probe reads: the result of one experiment beside a run, for the headline."""

    experiment: str
    question: str
    arm: str
    outcome: str
    verdict: str
    """`used`, `not beyond controls`, `underpowered`."""
    contrast: Interval
    """Effect beyond the controls; p is adjusted over the family."""
    rank: int | None
    n_random: int
    n_games: int
    n_moments: int
    findable: float
    path: Path
    change: str = ""
    """What the arm does, in words."""
    smallest: float = 0.0
    """The smallest effect of interest, as the design has it."""


def effect_table(experiment: Experiment, n_boot: int = 2000, seed: int = 0) -> pl.DataFrame:
    """The table (schema `EFFECTS`), real arms first, over all roles of the subject together and by each."""
    test = experiment.design["test"]
    arms = {arm["id"]: arm for arm in experiment.arms}
    followed = experiment.design["outcomes"]["continuations"]
    rows: list[dict[str, Any]] = []
    outcomes = experiment.rows["outcome"].unique(maintain_order=True).to_list()
    for outcome in outcomes:
        whole = experiment.rows.filter(pl.col("outcome") == outcome)
        roles = ["all", *sorted(whole["subject_role"].unique(maintain_order=True))]
        for role in roles:
            part = whole if role == "all" else whole.filter(pl.col("subject_role") == role)
            rows += _rows_of(part, arms, outcome, role, n_boot, seed)
    played = pl.when(pl.col("outcome").is_in(FOLLOWS)).then(pl.col("n_moments") * followed)
    table = pl.DataFrame(rows, schema=EFFECTS).with_columns(n_continuations=played)
    return _judged(table, experiment.family, test)


def _rows_of(
    part: pl.DataFrame, arms: dict[str, Any], outcome: str, role: str, n_boot: int, seed: int
) -> list[dict[str, Any]]:
    by_arm = {str(key[0]): frame for key, frame in part.partition_by("arm", as_dict=True).items()}
    rows = []
    for name, arm in arms.items():
        if name not in by_arm or name == "unchanged":
            continue
        # single random directions are ranked, not shown; the rows over all roles stay in the table for the figure
        if arm["control"] in RANDOM and role != "all":
            continue
        frame = by_arm[name]
        boot = 0 if arm["control"] in RANDOM else n_boot
        own = over_games(frame["game"].to_numpy(), frame["difference"].to_numpy(), boot, seed)
        row: dict[str, Any] = {
            "arm": name, "of": arm["of"], "control": arm["control"], "outcome": outcome, "subject_role": role,
            "layer": arm["layer"], "at": arm["at"], "scale": arm["scale"],
            "before": float(np.mean(frame["before"].to_numpy())),
            "effect": own.value, "low": own.low, "high": own.high, "p": own.p, "n_moments": len(frame),
            "n_games": frame["game"].n_unique(), "against": None, "n_random": 0,
        }  # fmt: skip
        if arm["control"] == "":
            row |= _contrast(frame, name, arms, by_arm, n_boot, seed)
        rows.append(row)
    return rows


def _contrast(
    frame: pl.DataFrame,
    name: str,
    arms: dict[str, Any],
    by_arm: dict[str, pl.DataFrame],
    n_boot: int,
    seed: int,
) -> dict[str, Any]:
    """The arm against its controls, moment by moment: random directions, else the sham, else no change."""
    drawn = [a for a in by_arm if arms[a]["of"] == name and arms[a]["control"] in RANDOM]
    shams = [a for a in by_arm if arms[a]["of"] == name and arms[a]["control"] == "sham"]
    against = "random directions" if drawn else "sham" if shams else "no change"
    found: dict[str, Any] = {"against": against, "n_random": len(drawn)}
    merged = frame.select("moment", "game", "difference")
    if drawn or shams:
        controls = (
            pl.concat([by_arm[a] for a in drawn or shams])
            .group_by("moment", maintain_order=True)
            .agg(control=pl.col("difference").mean())
        )
        merged = merged.join(controls, on="moment", maintain_order="left").with_columns(
            difference=pl.col("difference") - pl.col("control")
        )
    if not len(merged):
        return found
    beyond = over_games(merged["game"].to_numpy(), merged["difference"].to_numpy(), n_boot, seed)
    found |= {
        "contrast": beyond.value,
        "contrast_low": beyond.low,
        "contrast_high": beyond.high,
        "adjusted_p": beyond.p,
    }
    if drawn:
        found["rank"] = _rank(frame, [by_arm[a] for a in drawn])
    found["findable"] = _spread(merged["game"].to_numpy(), merged["difference"].to_numpy())
    return found


def _rank(frame: pl.DataFrame, drawn: Sequence[pl.DataFrame]) -> int:
    """The arm's place, 1 the furthest, by distance from the mean effect of the random directions; each random direction
    by its distance from the mean of the others, since any push of that size moves a model."""
    own = float(np.mean(frame["difference"].to_numpy()))
    others = np.array([float(np.mean(control["difference"].to_numpy())) for control in drawn])
    if len(others) < 2:
        return 1 + int(sum(abs(others) >= abs(own)))
    rest = (others.sum() - others) / (len(others) - 1)
    return 1 + int((np.abs(others - rest) >= abs(own - others.mean())).sum())


def over_games(games: NDArray[Any], values: NDArray[np.float64], n_boot: int, seed: int) -> Interval:
    """The mean of rows with its interval, games drawn again as wholes. n_boot 0: the mean alone."""
    value = float(np.mean(values))
    names, codes = np.unique(games, return_inverse=True)
    if not n_boot or len(names) < 2:
        return Interval(value, float("nan"), float("nan"), float("nan"))
    sums, counts = np.bincount(codes, weights=values), np.bincount(codes)
    if np.ptp(sums / counts) == 0:  # all games have the same mean: an arm that moves nothing, for example
        return Interval(value, value, value, 1.0 if value == 0 else float("nan"))
    return ratio_interval(names, sums, counts, n_boot=n_boot, seed=seed)


def _spread(games: NDArray[Any], values: NDArray[np.float64]) -> float:
    """The standard error of the mean over games as clusters."""
    codes = np.unique(games, return_inverse=True)[1]
    n = int(codes.max()) + 1
    if n < 2:
        return float("nan")
    residuals = np.bincount(codes, weights=values - values.mean())
    return float(np.sqrt(n / (n - 1) * (residuals**2).sum()) / len(values))


def _judged(table: pl.DataFrame, family: Sequence[str], test: dict[str, Any]) -> pl.DataFrame:
    """The table with p-values adjusted over the family, the smallest effect that could be found, and verdicts."""
    tested = (
        (pl.col("control") == "") & pl.col("arm").is_in(list(family))
        & (pl.col("outcome") == test["outcome"]) & (pl.col("subject_role") == "all")
    )  # fmt: skip
    table = table.with_columns(findable=pl.col("findable") * standard_errors(test["power"], len(family)))
    marked = table.with_row_index("row").filter(tested)
    adjusted = dict(
        zip(marked["row"].to_list(), holm(marked["adjusted_p"].cast(pl.Float64).fill_null(1.0)).tolist())
    )
    verdicts = {
        row["row"]: verdict(row | {"adjusted_p": adjusted[row["row"]]}, test["smallest"])
        for row in marked.iter_rows(named=True)
    }
    rows = range(len(table))
    return table.with_columns(
        adjusted_p=pl.Series([adjusted.get(i) for i in rows], dtype=pl.Float64),
        verdict=pl.Series([verdicts.get(i) for i in rows], dtype=pl.String),
    )


def verdict(row: dict[str, Any], smallest: float) -> str:
    """`used`: the effect exceeds the controls after correction and 19 of 20 random directions. `underpowered`: it does
    not, and the smallest effect of interest could have been missed. Else `not beyond controls`."""
    beyond = row["adjusted_p"] < 0.05
    if row["n_random"] and row["rank"] is not None:
        beyond = beyond and row["rank"] <= max(1, round(0.05 * (row["n_random"] + 1)))
    if beyond:
        return "used"
    findable = row["findable"]
    return "underpowered" if findable is None or not findable <= smallest else "not beyond controls"


def settings_forest(
    experiment: Experiment, arm: str, outcome: str, n_boot: int = 2000, seed: int = 0
) -> pl.DataFrame:
    """One arm's effect in each setting, then the mean over settings, then the prediction interval for a new setting.

    Columns setting, effect, low, high, n_games. Random effects by DerSimonian and Laird (1986); the prediction interval
    by Higgins, Thompson and Spiegelhalter (2009, equation 12). Empty with fewer than two settings of five games.
    """
    rows = experiment.rows.filter(pl.col("arm") == arm, pl.col("outcome") == outcome)
    found = []
    for (group,), part in rows.group_by("group", maintain_order=True):
        if part["game"].n_unique() >= 5:
            i = over_games(part["game"].to_numpy(), part["difference"].to_numpy(), n_boot, seed)
            error = _spread(part["game"].to_numpy(), part["difference"].to_numpy())
            found.append((str(group), i, error, part["game"].n_unique()))
    schema = {
        "setting": pl.String,
        "effect": pl.Float64,
        "low": pl.Float64,
        "high": pl.Float64,
        "n_games": pl.Int64,
    }
    if len(found) < 2:
        return pl.DataFrame(schema=schema)
    lines = [(name, i.value, i.low, i.high, n) for name, i, _, n in found]
    mean, error, tau2 = random_effects([i.value for _, i, _, _ in found], [e for _, _, e, _ in found])
    n = sum(n for *_, n in found)
    lines.append((ALL, mean, mean - 1.96 * error, mean + 1.96 * error, n))
    k = len(found)
    if k >= 3:
        from scipy.stats import t as student

        wide = float(student.ppf(0.975, k - 2)) * float(np.sqrt(tau2 + error**2))
        lines.append((ANOTHER, mean, mean - wide, mean + wide, n))
    return pl.DataFrame(lines, schema=schema, orient="row")


def random_effects(values: Sequence[float], errors: Sequence[float]) -> tuple[float, float, float]:
    """(mean, its standard error, variance between settings) by DerSimonian and Laird."""
    y, v = np.asarray(values), np.maximum(np.asarray(errors), 1e-12) ** 2
    w = 1 / v
    q = float((w * (y - (w @ y) / w.sum()) ** 2).sum())
    tau2 = max(0.0, (q - (len(y) - 1)) / float(w.sum() - (w**2).sum() / w.sum()))
    w = 1 / (v + tau2)
    return float((w @ y) / w.sum()), float(np.sqrt(1 / w.sum())), tau2


def between_arms(
    experiment: Experiment, n_boot: int = 2000, seed: int = 0
) -> list[tuple[str, str, Interval, int]]:
    """(one tested arm, another, how much further the first moves the tested outcome, moments of both), by moment.

    Only arms that change what was said or who plays are compared; arms that change activations have their own controls.
    The comparisons are not corrected for their number.
    """
    outcome = experiment.design["test"]["outcome"]
    kinds = {arm["of"]: arm["kind"] for arm in experiment.arms}
    names = [name for name in experiment.family if kinds.get(name) not in ("direction", "patch", None)]
    moved = experiment.rows.filter(pl.col("outcome") == outcome)
    found = []
    for one, other in combinations(names, 2):
        both = moved.filter(pl.col("arm") == one).join(
            moved.filter(pl.col("arm") == other).select("moment", less="difference"), on="moment", how="inner",
            maintain_order="left",
        )  # fmt: skip
        if len(both):
            gap = (both["difference"] - both["less"]).to_numpy()
            found.append((one, other, over_games(both["game"].to_numpy(), gap, n_boot, seed), len(both)))
    return found


def used_in(experiment: Experiment, n_boot: int = 2000, table: pl.DataFrame | None = None) -> list[Used]:
    """The tested arms of one experiment, for the rung "used"; none where the experiment played acts out in place of
    arms.

    `table`: its effects, where the caller has them already.
    """
    if experiment.strategic or experiment.turns:
        return []
    table = effect_table(experiment, n_boot) if table is None else table
    design, arms = experiment.design, {arm["id"]: arm for arm in experiment.arms}
    return [
        Used(
            design["name"], design["question"], r["arm"], r["outcome"], r["verdict"],
            Interval(r["contrast"], r["contrast_low"], r["contrast_high"], r["adjusted_p"]), r["rank"], r["n_random"],
            r["n_games"], r["n_moments"], r["findable"], experiment.path, change_in_words(arms[r["arm"]]),
            design["test"]["smallest"],
        )
        for r in table.filter(pl.col("verdict").is_not_null()).iter_rows(named=True)
    ]  # fmt: skip


def change_in_words(arm: Mapping[str, Any]) -> str:
    """What an arm of an experiment's manifest does, for a reader who has not seen the design."""
    place = " " + AT.get(arm["at"], arm["at"]) if arm["at"] else ""
    said = CHANGES.get((arm["kind"], arm["do"])) or CHANGES.get((arm["kind"], ""), arm["kind"])
    return f"{said}{place}"
