"""T6 and F8: what changes did to behaviour, from the experiments beside the runs and from single branches."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import polars as pl

from analysis.behaviour.branches import effects_of
from analysis.behaviour.strategic import read_acts, strategic_lines, strategic_table, with_advantages
from analysis.effects.outcomes import OUTCOMES, Experiment
from analysis.effects.table import ALL, ANOTHER, RANDOM, settings_forest
from analysis.report import effect_charts
from analysis.report.block import Block
from analysis.report.effect_words import interval_words, sentences
from analysis.report.page import Figure, Numbers, Table, grouped, p_text, share
from analysis.report.sections.causal import Read

IN_WORDS = {
    "null": "asked again", "cold": "asked again, cold", "sham": "sham of equal size",
    "sign_flip": "opposite sign",
    "other_layer": "another layer", "other_subject": "another player", "dose": "strength",
}  # fmt: skip


def effects_block(branches: Sequence[Any], experiments: Sequence[Read], numbers: Numbers) -> Block:
    """T6 and F8 of the experiments, then the branches, one moment each."""
    block = Block("effects", "T6. Causal effects")
    for number, (experiment, table) in enumerate(experiments):
        start = len(block.parts)
        if table is None:
            add_strategic(block, experiment, numbers)
        else:
            add_experiment(block, experiment, table, numbers)
        _fold(block, start, experiment.design["name"], number == 0)
    if not experiments:
        block.add(
            note="No experiment was carried out on these games: nothing was changed over many moments, and all above "
            "is correlation. `wolfscope experiment belief-drives-ballot RUN` carries one out; the report then shows it."
        )
    _branches(block, branches, numbers)
    return block


def _fold(block: Block, start: int, name: str, first: bool) -> None:
    """Closes the parts from `start` on but for sentences and, of the first experiment, the table and the figure."""
    shown = 2 if first else 0
    fold = f"{name}: by strength, role and setting" if first else f"{name}: table and figures"
    for place in range(start, len(block.parts)):
        part = block.parts[place]
        if part.shown:
            shown -= 1
            block.parts[place] = part if shown >= 0 else replace(part, fold=fold)


def add_experiment(
    block: Block, experiment: Experiment, table: pl.DataFrame, numbers: Numbers, whole: bool = False
) -> None:
    """One experiment: what it found, its table, its figures. whole: also every outcome, for its own page."""
    design, test = experiment.design, experiment.design["test"]
    numbers.add("T6_effects", table, experiment=design["name"])
    main = table.filter(pl.col("outcome") == test["outcome"], pl.col("subject_role") == "all")
    stamps = experiment.manifest["stamps"]
    block.add_found(design["name"], design["question"], sentences(experiment, table))
    if stamps:
        block.add(note=f"Stamped: {'; '.join(stamps)}.", kept=True)
    block.add(table=_main_table(main, design))
    name = f"F8-{design['name']}"
    unit = OUTCOMES.get(test["outcome"], test["outcome"])
    block.add(
        figure=Figure(
            name, "F8", "What did each change do, and what did its controls?",
            effect_charts.effects(_forest(main), f"change of {unit}", "Effects and controls"),
            f"Change of the {unit}, 95% intervals over {_most(main, 'n_games'):,} games, {_most(main, 'n_moments'):,} "
            "moments. Ticks: single random and orthogonal directions of the same norm at the same place.",
        )
    )  # fmt: skip
    _doses(block, experiment, main, unit)
    by_role = table.filter(
        pl.col("outcome") == test["outcome"], pl.col("subject_role") != "all", pl.col("control") == ""
    )
    if len(by_role):
        block.add(note="By the role of the player that the change is about.", table=_role_table(by_role))
    _settings(block, experiment, numbers)
    if whole:
        others = table.filter(
            pl.col("outcome") != test["outcome"],
            pl.col("subject_role") == "all",
            ~pl.col("control").is_in(RANDOM),
        )
        block.add(note="Everything else that was measured; not tested.", table=_other_table(others))


def add_strategic(block: Block, experiment: Experiment, numbers: Numbers) -> list[str]:
    """Whether players act strategically; what was found in words."""
    acts = read_acts(experiment.path)
    table = strategic_table(acts)
    numbers.add("T6_strategic", table, experiment=experiment.design["name"])
    found = strategic_lines(table)
    block.add_found(experiment.design["name"], experiment.design["question"], found)
    rows = [
        [
            r["agent"],
            r["faction"],
            "" if r["slope"] is None else f"{r['slope']:+.2f} [{r['low']:+.2f}, {r['high']:+.2f}]",
            "" if r["reliability"] is None else f"{r['reliability']:.2f}",
            "" if r["findable"] is None else f"{r['findable']:.1f}",
            *(share(r[name]) for name in ("helped", "nothing", "hurt")),
            "" if r["lie_advantage"] is None else f"{r['lie_advantage']:+.3f}",
            f"{r['n_moments']:,} / {r['n_games']:,}",
            r["verdict"],
        ]
        for r in table.iter_rows(named=True)
    ]
    columns = [
        "player", "side", "slope [95%]", "reliability", "findable", "lies that help", "do nothing", "hurt", "mean gain",
        "moments / games", "",
    ]  # fmt: skip
    name = experiment.design["name"]
    block.add(
        table=Table(
            columns, rows, (2, 3, 4, 5, 6, 7, 8, 9), [""] * len(rows), f"T6-{name}", experiment.design["question"],
            "Slope of an act's probability on its advantage, beyond habit; 95% intervals over games. Findable: the "
            "smallest true slope that would have been found four times in five. Lies: shares of those that were told, "
            "or that a model would have told.",
        )
    )  # fmt: skip
    with_gains = with_advantages(acts)
    gains = [
        [r["act"], f"{r['share']:.1%}", f"{r['gain']:+.3f}", f"{r['n']:,}"]
        for r in with_gains.group_by("act", maintain_order=True)
        .agg(n=pl.len(), share=pl.col("chosen").mean(), gain=pl.col("advantage").mean())
        .sort("gain", descending=True, maintain_order=True)
        .iter_rows(named=True)
    ]
    block.add(
        note="What each act would have gained on average over the best truthful alternative, in win probability of the "
        "speaker's side, and how often it was said. The slope is in log-odds for each unit of win probability, beyond "
        "a habit (act, role, turn, public features) that was fitted on other games; gains that are known with that "
        "reliability flatten it by so much.",
        table=Table(
            ["act", "said", "gain", "moments"],
            gains,
            (1, 2, 3),
            [""] * len(gains),
            f"T6-acts-{name}",
            "What would each act have gained?",
        ),
    )
    return found


def _most(frame: pl.DataFrame, column: str) -> int:
    return int(frame[column].to_numpy().max()) if len(frame) else 0


def _main_table(main: pl.DataFrame, design: dict[str, Any]) -> Table:
    rows, classes = [], []
    for r in main.filter(~pl.col("control").is_in(RANDOM)).iter_rows(named=True):
        beyond = (
            f"{r['contrast']:+.3f} [{r['contrast_low']:+.3f}, {r['contrast_high']:+.3f}]"
            if r["contrast"] is not None
            else ""
        )
        rank = f"{r['rank']} of {r['n_random'] + 1}" if r["rank"] is not None else ""
        p = "" if r["adjusted_p"] is None or r["verdict"] is None else p_text(r["adjusted_p"])
        rows.append(
            [_below(r), _place(r), f"{r['before']:.3f}", interval_words(r), beyond, rank, p,
             f"{r['n_moments']:,} / {r['n_games']:,}", r["verdict"] or ""]
        )  # fmt: skip
        classes.append("probe" if r["control"] == "" else "")
    columns = [
        "arm", "where", "before", "effect [95%]", "beyond controls", "rank", "adjusted p", "moments / games", "",
    ]  # fmt: skip
    told = [i for i, name in enumerate(columns) if not name or any(row[i] for row in rows)]
    rows, columns = [[row[i] for i in told] for row in rows], [columns[i] for i in told]
    numeric = [i for i, name in enumerate(columns) if name not in ("arm", "where", "")]
    return Table(
        columns, rows, numeric, classes, f"T6-{design['name']}", design["question"],
        "95% intervals over games; p of the contrast with the controls, adjusted over the arms tested together.",
    )  # fmt: skip


def _role_table(rows: pl.DataFrame) -> Table:
    cells = [
        [
            r["arm"],
            r["subject_role"],
            f"{r['before']:.3f}",
            interval_words(r),
            f"{r['n_moments']:,} / {r['n_games']:,}",
        ]
        for r in rows.sort("arm", "subject_role", maintain_order=True).iter_rows(named=True)
    ]
    return Table(["arm", "subject", "before", "effect [95%]", "moments / games"], cells, (2, 3, 4))


def _other_table(rows: pl.DataFrame) -> Table:
    cells = [
        [
            OUTCOMES.get(r["outcome"], r["outcome"]),
            _name(r),
            f"{r['before']:.3f}",
            interval_words(r),
            _counted(r),
        ]
        for r in rows.sort("outcome", maintain_order=True).iter_rows(named=True)
    ]
    return Table(["outcome", "arm", "before", "effect [95%]", "moments / games"], grouped(cells), (2, 3, 4))


def _counted(r: dict[str, Any]) -> str:
    n = "" if r["n_continuations"] is None else f", {r['n_continuations']:,} continuations"
    return f"{r['n_moments']:,} / {r['n_games']:,}{n}"


def _name(r: dict[str, Any]) -> str:
    if r["control"] == "":
        return str(r["arm"])
    if r["control"] == "dose":
        return f"{r['of']}, strength {r['scale']:g}"
    words = IN_WORDS.get(r["control"], r["control"])
    if r["control"] == "sham" and (own := str(r["arm"]).removeprefix(r["of"]).strip("-")) not in ("", "sham"):
        words = f"{words}, {own}"  # an arm may have several
    return words if r["of"] == "unchanged" else f"{r['of']}: {words}"


def _below(r: dict[str, Any]) -> str:
    """The name of a row that stands below its arm's."""
    apart = r["control"] == "" or r["of"] == "unchanged"
    return _name(r) if apart else "· " + _name(r).removeprefix(r["of"]).lstrip(":, ")


def _place(r: dict[str, Any]) -> str:
    """Where a change is made; of a control what it has otherwise than its arm."""
    if r["layer"] is None or r["control"] in ("dose", "other_subject"):
        return ""
    if r["control"] == "other_layer":
        return f"layer {r['layer']}"
    strength = "" if r["scale"] is None else f"{r['scale']:g}"
    if r["control"] == "sign_flip":
        return strength
    return f"{r['at']}, layer {r['layer']}{strength and f', {strength}'}"


def _forest(main: pl.DataFrame) -> pl.DataFrame:
    rows = []
    for r in main.iter_rows(named=True):
        drawn = r["control"] in RANDOM
        kind = (
            "random"
            if drawn
            else "arm"
            if r["control"] == ""
            else "noise"
            if r["of"] == "unchanged"
            else "control"
        )
        name = f"{r['of']}: {r['control']} directions" if drawn else _name(r)
        rows.append((name, kind, r["effect"], r["low"], r["high"]))
    schema = {
        "name": pl.String,
        "kind": pl.String,
        "effect": pl.Float64,
        "low": pl.Float64,
        "high": pl.Float64,
    }
    return pl.DataFrame(rows, schema=schema, orient="row").with_columns(pl.col("low", "high").fill_nan(None))


def _doses(block: Block, experiment: Experiment, main: pl.DataFrame, unit: str) -> None:
    dosed = main.filter(pl.col("scale").is_not_null(), pl.col("control").is_in(["", "dose", "sign_flip"]))
    many = (
        dosed.group_by("of", maintain_order=True).agg(n=pl.col("scale").n_unique()).filter(pl.col("n") >= 3)
    )
    dosed = (
        dosed.join(many, on="of", how="semi")
        .select("scale", "effect", "low", "high", arm="of")
        .sort("arm", "scale", maintain_order=True)
    )
    if len(dosed):
        block.add(
            figure=Figure(
                f"F8-doses-{experiment.design['name']}", "F8",
                "Does a stronger push do more, and the opposite the opposite?",
                effect_charts.doses(dosed, f"change of {unit}", "Effect against strength of the push"),
                "Effect by strength; the opposite sign is the control. 95% intervals over games.",
            )
        )  # fmt: skip


def _settings(block: Block, experiment: Experiment, numbers: Numbers) -> None:
    test = experiment.design["test"]
    for arm in experiment.family:
        forest = settings_forest(experiment, arm, test["outcome"])
        if len(forest):
            numbers.add("T6_settings", forest, experiment=experiment.design["name"], arm=arm)
            unit = OUTCOMES.get(test["outcome"], test["outcome"])
            drawn = forest.select(
                pl.format("{} ({})", "setting", "n_games").alias("name"), "effect", "low", "high",
                kind=pl.when(pl.col("setting").is_in([ALL, ANOTHER])).then(pl.lit("arm")).otherwise(pl.lit("control")),
            )  # fmt: skip
            title = f"{experiment.design['name']}-{arm}"
            block.add(
                figure=Figure(
                    f"F8-settings-{title}", "F8", f"Does {arm} do the same in every setting?",
                    effect_charts.effects(drawn, f"change of {unit}", f"Effect of {arm} by setting"),
                    "One line a setting, games in brackets, 95% intervals over games; then all settings together "
                    "(random effects), and where the effect in another such setting would be expected (95%).",
                )
            )  # fmt: skip


def _branches(block: Block, branches: Sequence[Any], numbers: Numbers) -> None:
    if not branches:
        return
    found, absent = effects_of(branches)
    numbers.add("T6_branches", found)
    shown = found.filter(
        pl.col("kind").is_in(["outcome", "next_exile", "votes", "belief", "decision"]),
        (pl.col("unchanged") != 0) | (pl.col("changed") != 0),
    )
    rows = [
        [r["change"], r["what"], f"{r['unchanged']:.2f}", f"{r['changed']:.2f}",
         f"{r['difference']:+.2f} [{r['low']:+.2f}, {r['high']:+.2f}]", f"{r['n']:,}"]
        for (_,), g in shown.group_by("branch", maintain_order=True)
        for r in g.sort(pl.col("difference").abs(), descending=True, maintain_order=True).head(6).to_dicts()
    ]  # fmt: skip
    if rows:
        block.add(
            note="Single branches: pairs of continuations of one recorded game, with the change and without, from the "
            "same seeds. Intervals are row by row; the six largest effects of each branch are shown, which is a choice "
            "after the fact. One game each: an effect here is an effect in this game.",
            table=Table(
                ["change", "effect on", "without", "with", "difference [95%]", "pairs"], rows, (2, 3, 4, 5)
            ),
        )
    for text in absent:
        block.add(note=f"{text[0].upper()}{text[1:]}.")
