"""The verb transfer-trait: is a teacher's hidden trait in a student that read games without an occasion for it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from harness.cli.app import MODELS, Flag, app, last_line, progress_of


@app.command(name="transfer-trait", group=MODELS)
def transfer_trait(
    out: Path,
    *,
    on: str = "small",
    other: str = "small-unasked",
    recipe: str = "favour",
    teacher_tokens: int | None = None,
    games: int = 200,
    tokens: int = 400_000,
    measured: int = 60,
    pairs: int = 2,
    quiet: Flag = False,
) -> int:
    """Plant a trait in a teacher and none in a control teacher, let students read games of theirs in which the trait
    has no occasion, and measure it in the students. Resumes where it was stopped; the table is OUT/transfer.parquet.

    Parameters
    ----------
    out
        The folder for teachers, games, students and the table.
    on
        The model that both teachers, and the students of the same start, are trained from.
    other
        The model that the students of another start are trained from.
    recipe
        A recipe that plants a favour for one name, or a false belief about one (`suspect`).
    teacher_tokens
        Of a teacher's training; the recipe's where it is left out.
    games
        That a student reads of its teacher's.
    tokens
        Of a student's training.
    measured
        Games of the starting model, with an occasion, that all are measured on.
    pairs
        Pairs of students of the same start that read the games as played, one of each teacher; every pair reads games
        of its own. How far the control teacher's students part among themselves is the null.
    """
    import polars as pl
    import torch

    from harness.errors import ConfigurationError
    from harness.run.derived import OF_NO_RUN, write_table
    from harness.training.finetune import finetune
    from harness.training.recipes import load_recipe
    from harness.training.selfplay.learner import load
    from harness.training.transfer.games import ACTS, DATA, Data, deals, games_of, texts_of
    from harness.training.transfer.measured import TRANSFER, Read, lines, occasions, over_pairs, read, rows_of
    from harness.training.transfer.students import teach

    say = progress_of(quiet, False).say
    torch.set_num_threads(1)
    chosen = load_recipe(recipe)
    word, trait = chosen.change.word, chosen.change.kind
    if word is None or trait not in ACTS:
        raise ConfigurationError(
            f"the recipe {chosen.name} plants {trait!r}: a trait needs an occasion that games can lack; take a recipe "
            f"of kind {' or '.join(ACTS)}"
        )
    teachers = (out / "teacher", out / "teacher-control")
    for folder, control in zip(teachers, (False, True), strict=True):
        if not (folder / "recipe.json").is_file():
            finetune(folder, on, chosen, control=control, tokens=teacher_tokens, say=say)
    start = load(on)
    found = occasions(
        games_of(start, deals(word, measured, with_word=True, stream="occasion"), out / "games"), word, trait
    )
    loaded = [load(folder) for folder in teachers]
    streams = ["lesson", *(f"lesson{k + 1}" for k in range(1, pairs))]
    plans = [deals(word, games, with_word=False, stream=stream) for stream in streams]
    shown = [[games_of(one, plan, out / "games") for one in loaded] for plan in plans]
    both = (read(loaded[0], found), read(loaded[1], found))
    rows = rows_of("teacher", *both, both, found.games)

    def student(base: str, data: Data, teacher: int, pair: int = 0) -> Read:
        name = f"{base}-{data}-of-{teachers[teacher].name}".replace(" ", "-").replace("/", "_")
        name += f"-pair{pair + 1}" if pair else ""
        views = texts_of(shown[pair][teacher], data, ACTS[trait])
        return read(load(teach(out / "students" / name, base, views, tokens, seed=pair, say=say)), found)

    def told(name: str, one: Read, than: Read, *, probed: bool = True) -> list[dict[str, Any]]:
        new = rows_of(name, one, than, both, found.games, probed=probed)
        added(new)
        return new

    def added(new: list[dict[str, Any]]) -> None:
        rows.extend(new)
        write_table(out / "transfer.parquet", pl.DataFrame(rows, schema=TRANSFER), OF_NO_RUN)

    same = f"student of the same start, {DATA[0]}"
    of = [(student(on, DATA[0], 0, k), student(on, DATA[0], 1, k)) for k in range(pairs)]
    each = [told(f"{same}, pair {k + 1}", one, plain) for k, (one, plain) in enumerate(of)]
    if pairs > 1:
        added(over_pairs(f"{same}, over pairs", each))
    for k in range(1, pairs):
        told(f"the control's student {k + 1} against its student {k}", of[k][1], of[k - 1][1])
    for data in DATA[1:]:
        told(f"student of the same start, {data}", student(on, data, 0), student(on, data, 1))
    told(
        f"student of another start, {DATA[0]}",
        student(other, DATA[0], 0),
        student(other, DATA[0], 1),
        probed=False,
    )
    for line in lines(pl.DataFrame(rows, schema=TRANSFER)):
        last_line(line)
    return 0
