"""Writes the tables of a dictionary beside it, for the report and for loading them again.

fight.parquet, by_k.parquet, verdicts.parquet, latents.parquet      `wolfscope features fight`
truth.parquet, concepts.parquet, rules.parquet, contexts.parquet    `wolfscope features judge`
notes.parquet                                                       what could not be done, and stamps
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from analysis.features.contexts import contexts
from analysis.features.descriptions import describe
from analysis.features.fight import Outcome, Question, fight
from analysis.features.judge import judge, known
from analysis.features.material import joined, material_of
from analysis.features.predicates import concepts, predicates, states
from analysis.features.questions import questions_of
from analysis.features.regimes import REGIMES, Plan
from analysis.stats.threads import one_thread
from harness.run.derived import Inputs, current, inputs_of, read_table, write_table

Say = Callable[[str], None]
INPUTS = ("decisions.parquet", "events.parquet", "activations")
LATENTS: dict[str, Any] = {"target": pl.String, "place": pl.Int32, "latent": pl.Int32}
"""The latents chosen on training games in the full regime, the most often chosen first."""
NOTES: dict[str, Any] = {"kind": pl.String, "note": pl.String}
"""`absent`: what could not be asked; `stamp`: a caveat to show beside every figure."""


def write_fight(
    run: Any, folder: Path, by: str | None = None, regimes: Sequence[str] = REGIMES, plan: Plan | None = None,
    say: Say = lambda text: None, beside: Sequence[Any] = (),
) -> Outcome:  # fmt: skip
    """Run the fight for one dictionary and write the tables into its folder; the outcome.

    beside: other runs, on whose rows the shift is tested; all other regimes use the run alone. by: as in
    `questions_of`; with `beside` it defaults to `run`. In the tables every shift is a regime named after its levels;
    regimes from an earlier call on the same rows stay in them.
    """
    with one_thread():
        material = material_of(run, folder)
        questions, absent = questions_of(run, material, None if beside else by)
        wide: list[Question] = []
        if beside and "shift" in regimes:
            whole = material_of(run, folder, beside=beside)
            wide, more = questions_of(run, whole, by or "run")
            absent += [f"shift: {note}" for note in more if note not in absent]
        here = [regime for regime in regimes if not (wide and regime == "shift")]
        found = fight(questions, plan, here, say=say)
        if wide:
            found = found.joined(fight(wide, plan, ["shift"], say=say))
    to = ", ".join(Path(other.path).name for other in beside)
    found = found.naming({q.name: f"to {to}" if beside and not by else q.shifted for q in wide or questions})
    latents = [
        {"target": target, "place": place, "latent": latent}
        for target, own in found.chosen.items()
        for place, latent in enumerate(own, start=1)
    ]
    inputs = inputs_of([run.path], INPUTS)
    fought = {"fight": found.fight, "by_k": found.by_k, "verdicts": found.verdicts}
    tables = {name: _with_before(folder / f"{name}.parquet", table, inputs) for name, table in fought.items()}
    if "full" in regimes or not current(folder / "latents.parquet", inputs):
        tables["latents"] = pl.DataFrame(latents, schema=LATENTS)
    _write(run, folder, tables, {"absent": absent, "stamp": material.stamps})
    return found


def _with_before(path: Path, made: pl.DataFrame, inputs: Inputs) -> pl.DataFrame:
    """The new rows and those of other regimes from an earlier fight on the same rows, in the regimes' order."""
    if current(path, inputs):
        before = read_table(path)
        fought = made["regime"].unique(maintain_order=True)
        made = pl.concat([before.filter(~pl.col("regime").is_in(fought.implode())), made])
    first = pl.col("regime").str.split(",").list.first()
    place = first.replace_strict({regime: i for i, regime in enumerate(REGIMES)}, default=len(REGIMES))
    return made.sort(place, maintain_order=True)


def write_judge(run: Any, folder: Path, say: Say = lambda text: None) -> dict[str, pl.DataFrame]:
    """Compare one dictionary with the truth of the games, describe its latents, write the tables into its folder."""
    with one_thread():
        material = material_of(run, folder)
        say(f"{len(material.x):,} rows of {len(material.logs):,} games")
        frame = states(material.logs)
        at, rows = joined(material.lines, frame)
        here = frame[rows]
        words, atoms = predicates(here)
        codes, x = material.codes[at], material.x[at]
        games = here["game_id"].to_numpy()
        found = material.found
        directions = found.w_dec / np.float32(found.card.scale)
        truth, near = judge(known(words, atoms, concepts(material.logs.game)), x, codes, directions, games)
        say(f"describing {found.card.width:,} latents by {len(words)} atoms")
        rules = describe(words, atoms, codes, games)
    tables = {
        "truth": truth, "concepts": near, "rules": rules, "contexts": contexts(material, rules["latent"].to_list()),
    }  # fmt: skip
    _write(run, folder, tables, {"stamp": material.stamps})
    return tables


def _write(run: Any, folder: Path, tables: dict[str, pl.DataFrame], notes: dict[str, Sequence[str]]) -> None:
    inputs = inputs_of([run.path], INPUTS)
    for name, table in tables.items():
        write_table(folder / f"{name}.parquet", table, inputs)
    path = folder / "notes.parquet"
    rows = [{"kind": kind, "note": note} for kind, own in notes.items() for note in own]
    table = pl.DataFrame(rows, schema=NOTES)
    if path.is_file():
        before = read_table(path).filter(~pl.col("kind").is_in(list(notes)))
        table = pl.concat([before, table])
    write_table(path, table, inputs)


def fight_lines(found: Outcome) -> list[str]:
    """The verdicts in words, for a terminal."""
    rows = found.verdicts.filter(pl.col("over") == "simple methods").iter_rows(named=True)
    return [
        f"{r['target']}, {r['regime']}: latents add {r['gain']:+.3f} [{r['low']:+.3f}, {r['high']:+.3f}] AUROC to "
        f"simple methods ({r['without']:.3f}); adjusted p {r['adjusted']:.3f}: {r['verdict']}"
        for r in rows
    ]


def judge_lines(tables: dict[str, pl.DataFrame]) -> list[str]:
    """What was found, in words, for a terminal."""
    lines = [
        f"{r['concept']} ({r['atom']}): latent {r['latent']}, precision {r['precision']:.2f}, recall "
        f"{r['recall']:.2f}; {r['false_negatives']:,} of {r['n_true']:,} rows missed"
        for r in tables["truth"].filter(pl.col("place") == 1).iter_rows(named=True)
    ]
    for r in tables["concepts"].iter_rows(named=True):
        spread = "more than 16" if r["splitting"] is None else f"{r['splitting']}"
        told = (
            ""
            if r["absorption"] is None
            else f", absorbed in {r['absorption']:.1%} of {r['n_recognised']:,} rows"
        )
        lines.append(f"{r['concept']}: spread over {spread} latents{told}")
    lines += [
        f"latent {r['latent']}: {r['rule']} ({r['information']:.2f} bits, precision {r['precision']:.2f}, recall "
        f"{r['recall']:.2f}, {r['false_negatives']:,} false negatives)"
        for r in tables["rules"].head(5).iter_rows(named=True)
    ]
    return lines
