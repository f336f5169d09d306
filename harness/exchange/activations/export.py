"""Rows of a store written for other readers, with controls beside them.

    rows.*            the vectors, float32 (n_rows, d_model), by format
    rows.parquet      one line per row: its site, token ids up to there, position, true labels
    controls/         `shuffled`: the same lines with vectors of other lines; `twins`: the same public text read with
                      another role line, where that was captured (`capture --variant swapped_role`)
    card.json         model, site, the layer under every convention, errors of the check, hashes of files

| format | vectors |
| --- | --- |
| `numpy` | `rows.npy` |
| `saelens` | parquet with one column named after the hook and `token_ids`: what an activation store of SAELens holds |
| `nla` | `rows.jsonl`: vector, layer under every convention, token ids, position: what a reader in words is given |
| `oracle` | as `nla`, with a question about the row's subject and its true answer |
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal

import msgspec
import numpy as np
import polars as pl
from numpy.typing import NDArray

from harness.activations.store import Activations, ActivationsError
from harness.atomic import making_folder, replacing, write_whole
from harness.digest import file_digest
from harness.exchange.activations.contexts import ids_before
from harness.exchange.activations.layers import Names, check_names, names_of
from harness.run.folder import Run, load_run
from harness.seals import files_of, seal

Format = Literal["numpy", "saelens", "nla", "oracle"]
FORMATS: tuple[Format, ...] = ("numpy", "saelens", "nla", "oracle")
CHECKED = 16
"""Rows that are checked against the model before anything is written."""
TWIN = "swapped_role"
QUESTION = "Is the player whose name was just read {phrase}?"
Say = Callable[[str], None]


def export_activations(
    run: str | Path, out: str | Path, *, format: Format, site: str, layer: str, most: int | None = None,
    device: str = "auto", seed: int = 0, say: Say = lambda text: None,
) -> Path:  # fmt: skip
    """Write the rows of a site and layer into the new folder `out`; its path.

    most: at most this many rows, of whole games drawn at random. Raises ActivationsError where the rows are not what
    the run's model computes, StorageError where `out` is taken.
    """
    opened = load_run(run)
    store = opened.activations()
    lines = _some(store.index(site=site), most, seed)
    if not lines.height:
        raise ActivationsError(
            f"{store.path} has no rows at site {site!r} (captured: {', '.join(store.sites()) or 'nothing'}); "
            f"run: wolfscope capture {run} --site {site}"
        )
    hooked = _model(opened, store, device)
    names = names_of(layer, hooked.layout.n_layers)
    x = store.read(lines, layer)
    question = QUESTION.format(phrase=opened.manifest.cells[0].rules()[0].belief_targets[0].phrase)
    table = table_of(opened, lines, store.info.model)
    off = _checked(names, hooked, opened, table, lines, x, store, say)
    twins = _twins(store, lines, layer)
    with making_folder(Path(out).resolve()) as part:
        _write(part, format, names, table, x, question)
        controls = part / "controls"
        for name, (own, rows) in {"shuffled": (table, _shuffled(x, table, seed)), **twins}.items():
            (controls / name).mkdir(parents=True)
            told = table if own is table else table_of(opened, own, store.info.model)
            _write(controls / name, format, names, told, rows, question)
        if not twins:
            say(f"no twins: nothing was captured as {TWIN} (wolfscope capture RUN --variant {TWIN})")
        files = sorted(file for file in part.rglob("*") if file.is_file())
        card = {
            "format": format, "model": store.info.model, "site": site, "layer": msgspec.to_builtins(names),
            "n_rows": len(x), "d_model": store.d_model, "dtype": "float32", "stored_as": store.info.dtype,
            "checked_rows": min(CHECKED, len(x)), "largest_relative_error": dict(off),
            "controls": ["shuffled", *twins], "run": opened.manifest.name, "config_hash": opened.manifest.config_hash,
            "files": {str(file.relative_to(part)): file_digest(file) for file in files},
        }  # fmt: skip
        write_whole(part / "card.json", json.dumps(card, indent=1).encode() + b"\n")
        seal(part, *files_of(part), verb="export-activations")
    return Path(out)


def table_of(run: Run, lines: pl.DataFrame, model: str) -> pl.DataFrame:
    """`rows.parquet`: index lines with the token ids up to the last token of each row, and the truth about the row.

    Columns game_id, seq, seat, subject, site, variant, position (index of the first token read, in the whole context),
    n_tokens, token_ids (null where they cannot be made again, `contexts.ids_before`), viewer_role, subject_role, answer
    (whether it is one of the roles that the game's first belief target asks about).
    """
    roles = {
        (game, seat): role
        for game, seat, role in run.seats.select("game_id", "seat", "role").collect().iter_rows()
    }
    ids = ids_before(run, lines, model)
    own = [roles.get((game, seat)) for game, seat in lines.select("game_id", "seat").iter_rows()]
    about = [roles.get((game, subject)) for game, subject in lines.select("game_id", "subject").iter_rows()]
    asked = run.manifest.cells[0].rules()[0].belief_targets[0].roles
    return lines.select(
        "game_id", "seq", "seat", "subject", "site", "variant", position="token_index", n_tokens="n_tokens",
    ).with_columns(
        token_ids=pl.Series(ids, dtype=pl.List(pl.Int32)), viewer_role=pl.Series(own, dtype=pl.String),
        subject_role=pl.Series(about, dtype=pl.String),
        answer=pl.Series([None if role is None else role in asked for role in about], dtype=pl.Boolean),
    )  # fmt: skip


def _checked(
    names: Names, hooked: Any, run: Run, table: pl.DataFrame, lines: pl.DataFrame, x: NDArray[Any], store: Activations,
    say: Say,
) -> dict[str, float]:  # fmt: skip
    """Errors of some rows against the model. Raises ActivationsError."""
    known = np.flatnonzero(table["token_ids"].is_not_null().to_numpy() & (lines["n_tokens"] == 1).to_numpy())
    some = known[np.unique(np.linspace(0, len(known) - 1, CHECKED).astype(int))] if len(known) else known
    if not len(some):
        raise ActivationsError(
            f"of none of these rows of {store.path} is one token known, so the layer's names cannot be verified; "
            f"export a site of single tokens: wolfscope capture {run.path} --site prompt_last"
        )
    contexts = [(table["token_ids"][int(i)].to_list(), [table["position"][int(i)]]) for i in some]
    off = dict(check_names(names, hooked, contexts, x[some], store.info.dtype))
    say(
        "verified on "
        f"{len(some)} rows: " + ", ".join(f"{what} off by {error:.1e}" for what, error in off.items())
    )
    return off


def _twins(
    store: Activations, lines: pl.DataFrame, layer: str
) -> dict[str, tuple[pl.DataFrame, NDArray[Any]]]:
    """The same sites read by a seat with another role line, where all was captured."""
    keys = ["game_id", "seq", "site", "subject"]
    both = store.index(variant=TWIN).join(lines.select(keys), on=keys, how="semi", nulls_equal=True)
    return {"twins": (both, store.read(both, layer))} if both.height else {}


def _shuffled(x: NDArray[Any], table: pl.DataFrame, seed: int) -> NDArray[Any]:
    """The vectors permuted over the lines, none in its own place if there are at least two."""
    order = np.random.default_rng([seed, 21]).permutation(len(x))
    moved = np.empty_like(order)
    moved[order] = np.roll(order, 1)
    return x[moved]


def _write(
    folder: Path, format: Format, names: Names, table: pl.DataFrame, x: NDArray[Any], question: str
) -> None:
    with replacing(folder / "rows.parquet") as part:
        table.write_parquet(part)
    if format == "numpy":
        with replacing(folder / "rows.npy") as part, part.open("wb") as file:
            np.save(file, np.ascontiguousarray(x, dtype=np.float32), allow_pickle=False)
    elif format == "saelens":
        values = pl.Series(names.hook, x.astype(np.float32), dtype=pl.Array(pl.Float32, x.shape[1]))
        with replacing(folder / "activations.parquet") as part:
            pl.DataFrame([values]).with_columns(token_ids=table["token_ids"]).write_parquet(part)
    else:
        text = "\n".join(json.dumps(row) for row in _sentences(format, names, table, x, question))
        write_whole(folder / "rows.jsonl", text.encode() + b"\n")


def _sentences(
    format: Format, names: Names, table: pl.DataFrame, x: NDArray[Any], question: str
) -> Iterator[dict[str, Any]]:
    where = {
        "layer": names.name, "block_output": names.block, "hidden_states": names.hidden_states,
        "engine_layer_id": names.engine, "hook": names.hook,
    }  # fmt: skip
    for row, vector in zip(table.iter_rows(named=True), x, strict=True):
        found = {
            "id": f"{row['game_id']}/{row['seq']}/{row['site']}/{row['subject']}/{row['variant']}", **where,
            "position": row["position"], "n_tokens": row["n_tokens"], "token_ids": row["token_ids"],
            "vector": [float(v) for v in vector.astype(np.float32)],
        }  # fmt: skip
        if format == "oracle":
            answer = None if row["answer"] is None else "yes" if row["answer"] else "no"
            found |= {"question": question, "answer": answer}
        yield found


def _some(lines: pl.DataFrame, most: int | None, seed: int) -> pl.DataFrame:
    if most is None or lines.height <= most:
        return lines
    sizes = lines.group_by("game_id", maintain_order=True).len()
    order = np.random.default_rng([seed, 22]).permutation(sizes.height)
    total = np.cumsum(sizes["len"].to_numpy()[order])
    kept = order[: max(1, int((total <= most).sum()))]
    return lines.filter(pl.col("game_id").is_in(sizes["game_id"][np.sort(kept)].to_list()))[:most]


def _model(run: Run, store: Activations, device: str) -> Any:
    from harness.schedule.weights import load_played

    if (hooked := load_played(run.manifest, store.info.model, device)) is not None:
        return hooked
    raise ActivationsError(
        f"the weights of {store.info.model} are not where {run.path} says, so rows cannot be verified before they are "
        "written; put the model's folder back"
    )
