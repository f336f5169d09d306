"""Reads an experiment's folder: what each arm did at each moment, in the units that are tested.

`wolfscope experiment` writes the folder (`harness.experiment.folder` says what is in it). Every row is a difference:
the changed moment minus the same moment without the change.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from analysis.stats.errors import AnalysisError
from harness.seals import hold

OUTCOMES = {
    "p_subject": "probability of choosing the subject",
    "others": "change among the other options",
    "moved": "change of the whole distribution",
    "entropy": "entropy of the choice, bits",
    "legal_mass": "probability on all legal options together",
    "belief_subject": "stated P(subject is a werewolf)",
    "belief_others": "stated P(werewolf) of another player",
    "won": "wins of the viewer's side",
    "exiled": "exiles of the subject next",
    "votes": "share of the others' next ballots for the subject",
    "lies": "lies told from the decision on",
}
"""What is measured, in words. `others` and `moved` are total variation distances: of the distribution over the options
other than the subject, and of the whole distribution. `legal_mass` is the probability of all legal options before they
are renormalised. The last four are means over continuations, seeds paired across arms."""

FOLLOWS = ("won", "exiled", "votes", "lies")
SIGNED = ("p_subject", "belief_subject", "belief_others", "exiled", "votes")
"""Outcomes that a patch is expected to move towards the donor's belief: their sign is chosen so that this is
positive."""

EFFECT_ROWS: dict[str, Any] = {
    "moment": pl.Int32,
    "game": pl.String,
    "arm": pl.String,
    "outcome": pl.String,
    "before": pl.Float64,
    "difference": pl.Float64,
    "subject_role": pl.String,
    "role": pl.String,
    "group": pl.String,
}
"""One row a moment, arm and outcome."""


READ = ("manifest.json", "outcomes.parquet", "futures.parquet", "acts.parquet")
"""Files of an experiment's folder that the analysis reads."""


@dataclass(frozen=True)
class Experiment:
    """One experiment's folder, read."""

    path: Path
    manifest: dict[str, Any]
    rows: pl.DataFrame
    """Schema `EFFECT_ROWS`."""

    @property
    def arms(self) -> list[dict[str, Any]]:
        """The arms as the manifest has them."""
        return list(self.manifest["arms"])

    @property
    def design(self) -> dict[str, Any]:
        """The design as plain data."""
        return dict(self.manifest["design"])

    @property
    def family(self) -> list[str]:
        """The arms that are tested together."""
        named = self.design["test"]["family"]
        return list(named) or [arm["name"] for arm in self.design["arms"] if arm.get("sham_of") is None]

    @property
    def strategic(self) -> bool:
        """Whether the experiment played acts out in place of arms (`analysis.behaviour.strategic`)."""
        return self.design.get("strategic") is not None

    @property
    def turns(self) -> bool:
        """Whether the experiment generated whole turns again in place of answers (`analysis.reasoning.watched`)."""
        return self.design.get("turns") is not None


def read_experiment(path: str | Path) -> Experiment:
    """Open a finished experiment. Raises AnalysisError where the folder holds none, or it is not finished; RunDamaged
    where it was changed since."""
    folder = Path(path)
    hold(folder, *READ)
    try:
        manifest = json.loads((folder / "manifest.json").read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise AnalysisError(
            f"{folder} is no experiment ({error}); `wolfscope experiment` makes one"
        ) from error
    if manifest.get("kind") != "experiment":
        raise AnalysisError(
            f"{folder} is a run folder, no experiment; name the folder that `wolfscope experiment` made"
        )
    if manifest["status"] != "finished":
        raise AnalysisError(
            f"{folder} is not finished: `wolfscope experiment` with the same design goes on with it"
        )
    if any(manifest["design"].get(name) is not None for name in ("strategic", "turns")):
        return Experiment(folder, manifest, pl.DataFrame(schema=EFFECT_ROWS))
    follows = folder / "futures.parquet"
    futures = pl.read_parquet(follows) if follows.is_file() else None
    return Experiment(
        folder, manifest, _rows(manifest, pl.read_parquet(folder / "outcomes.parquet"), futures)
    )


def experiments_of(run: Path) -> list[Path]:
    """The finished experiments in a run's folder, by name. Raises RunDamaged for one that was changed since,
    AnalysisError for one that cannot be read."""
    found = []
    for path in sorted(run.glob("experiment-*/manifest.json")):
        hold(path.parent, path.name)
        try:
            manifest = json.loads(path.read_bytes())
        except (OSError, ValueError, RecursionError) as error:
            raise AnalysisError(
                f"{path} cannot be read ({error}); restore it, or remove the folder and run the experiment again"
            ) from error
        if isinstance(manifest, dict) and manifest.get("status") == "finished":
            found.append(path.parent)
    return found


def _rows(manifest: dict[str, Any], measured: pl.DataFrame, futures: pl.DataFrame | None) -> pl.DataFrame:
    moments = {m["id"]: m for m in manifest["moments"]}
    towards = {arm["id"] for arm in manifest["arms"] if arm["kind"] == "patch"}
    values = {
        (r["moment"], r["arm"]): _values(r, moments[r["moment"]]) for r in measured.iter_rows(named=True)
    }
    if futures is not None:
        means = futures.group_by("moment", "arm", maintain_order=True).agg(pl.col(*FOLLOWS).mean())
        for row in means.iter_rows(named=True):
            values[row["moment"], row["arm"]] |= {name: row[name] for name in FOLLOWS}
    base = {moment: v for (moment, arm), v in values.items() if arm == "unchanged"}
    rows: list[dict[str, Any]] = []
    for (moment, arm), found in values.items():
        m, before = moments[moment], base[moment]
        sign = -1.0 if arm in towards and (m["donor"] or {"gap": 0.0})["gap"] < 0 else 1.0
        fixed = {
            "moment": moment, "game": f"{m['run']}:{m['game_id']}", "arm": arm, "subject_role": m["subject_role"],
            "role": m["role"], "group": m.get("group") or "",
        }  # fmt: skip
        for outcome, value in _differences(found, before).items():
            turned = sign * value if outcome in SIGNED else value
            rows.append(
                fixed | {"outcome": outcome, "before": before.get(outcome, 0.0), "difference": turned}
            )
    return pl.DataFrame(rows, schema=EFFECT_ROWS)


def _values(row: dict[str, Any], moment: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if row["options"]:
        p = np.exp(np.array(row["logprobs"]))
        mass = float(p.sum())
        shares: NDArray[np.float64] = p / mass
        found |= {"shares": dict(zip(row["options"], shares.tolist(), strict=True)), "legal_mass": mass}
        found["entropy"] = float(-(shares * np.log2(np.maximum(shares, 1e-300))).sum())
        if moment["subject"] in row["options"]:
            found["p_subject"] = found["shares"][moment["subject"]]
    beliefs = dict(zip(row["seats"], row["beliefs"], strict=True))
    if moment["subject"] in beliefs:
        found["belief_subject"] = beliefs.pop(moment["subject"])
        if beliefs:
            found["belief_others"] = float(np.mean(list(beliefs.values())))
    return found


def _differences(found: dict[str, Any], before: dict[str, Any]) -> dict[str, float]:
    both: dict[str, float] = {
        key: found[key] - before[key]
        for key in ("p_subject", "entropy", "legal_mass", "belief_subject", "belief_others", *FOLLOWS)
        if key in found and key in before
    }
    if "shares" in found and "shares" in before:
        a, b = found["shares"], before["shares"]
        both["moved"] = 0.5 * sum(abs(a.get(k, 0.0) - b.get(k, 0.0)) for k in a.keys() | b.keys())
        both["others"] = _among(a, b, found, before)
    return both


def _among(a: dict[int, float], b: dict[int, float], found: dict[str, Any], before: dict[str, Any]) -> float:
    """Total variation distance between the distributions over the options other than the subject, each renormalised."""
    left_a, left_b = 1 - found.get("p_subject", 0.0), 1 - before.get("p_subject", 0.0)
    if left_a < 1e-9 or left_b < 1e-9:
        return 0.0
    moved = 0.5 * sum(abs(a.get(k, 0.0) / left_a - b.get(k, 0.0) / left_b) for k in a.keys() | b.keys())
    # the subject's own share is in both sums; its change is not a change of the others
    own = abs(found.get("p_subject", 0.0) / left_a - before.get("p_subject", 0.0) / left_b)
    return max(0.0, moved - 0.5 * own)
