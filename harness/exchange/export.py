"""A run as a data set: its parquet tables and a dataset card generated from them."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import polars as pl

from games.printable import printable
from harness.activations.seal import store_digest
from harness.atomic import making_folder, replacing, storage, write_whole
from harness.digest import file_digest
from harness.errors import RunFolderError
from harness.exchange.columns import COLUMN_DOCS, TABLE_DOCS
from harness.run import tables
from harness.run.folder import Run, load_run
from harness.run.typed import factors_in_words

CARD = "README.md"


def export_run(
    path: str | Path, out: str | Path, license: str | None = None, activations: bool = False
) -> Path:
    """Write the run's tables, its manifest and a dataset card into the new folder `out`; its path.

    The export of a finished run is a run folder itself. license: an SPDX identifier for the card. activations: copy
    the captured activations too. Raises RunFolderError where `out` is taken or the run has no ended game.
    """
    run, out = load_run(path), Path(out).resolve()
    manifest = msgspec.structs.replace(run.manifest, digests={}, stores={})
    with making_folder(out) as part:
        for table in tables.TABLES:
            with replacing(part / f"{table}.parquet") as file:
                run.frame(table).sink_parquet(file, compression="zstd")
                manifest.digests[f"{table}.parquet"] = file_digest(file)
        if not pl.scan_parquet(part / "games.parquet").select(pl.len()).collect().item():
            raise RunFolderError(f"no game of {path} has ended yet, so there is nothing to export")
        if activations:
            if not (run.path / "activations").is_dir():
                raise RunFolderError(f"{path} has no activations; run: wolfscope capture {path}")
            with storage(part):
                shutil.copytree(run.path / "activations", part / "activations")
            manifest.stores["activations"] = store_digest(part / "activations")
        if run.finished:
            manifest.write(part)
        write_whole(part / CARD, "\n".join(card_lines(run, part, license)).encode() + b"\n")
    return out


def card_lines(run: Run, folder: Path, license: str | None) -> Iterator[str]:
    """The dataset card of the tables in `folder`, in Markdown with the front matter of data hubs."""
    manifest = run.manifest
    frames = {table: pl.scan_parquet(folder / f"{table}.parquet") for table in tables.TABLES}
    yield from (
        "---",
        f"license: {license or 'unknown'}",
        f"pretty_name: {json.dumps(manifest.name)}",
        "configs:",
    )
    for table in tables.TABLES:
        yield from (f"- config_name: {table}", f"  data_files: {table}.parquet")
    yield from ("---", "", f"# {manifest.name}", "")
    games = frames["games"].collect()
    yield from _origin(run, games)
    yield from _counts(frames, games)
    yield from ("## Loading", "", "```python", "import polars as pl", "")
    yield from (
        'games = pl.read_parquet("games.parquet")',
        'seats = pl.read_parquet("seats.parquet")',
        "```",
        "",
    )
    for table, schema in tables.SCHEMAS.items():
        yield from (
            f"## {table}.parquet",
            "",
            TABLE_DOCS[table],
            "",
            "| column | type | meaning |",
            "| --- | --- | --- |",
        )
        for column, dtype in schema.items():
            yield f"| `{column}` | {_type(dtype)} | {_cell(COLUMN_DOCS[table][column])} |"
        yield ""
    yield from ("## Configuration", "", f"Hash `{manifest.config_hash}`.", "", "```json")
    yield json.dumps(manifest.config, indent=1).replace("`", "\\u0060")  # no value can end the block
    yield from ("```", "", "## Files", "", "| file | bytes | SHA-256 |", "| --- | --- | --- |")
    for file in sorted(p for p in folder.rglob("*") if p.is_file()):
        yield f"| `{file.relative_to(folder)}` | {file.stat().st_size:,} | `{sha256_of(file)}` |"
    yield from ("", "## Licence", "", _licence(run, license))


def _origin(run: Run, games: pl.DataFrame) -> Iterator[str]:
    manifest = run.manifest
    shown = (
        ""
        if run.finished
        else f" of {manifest.n_games:,} scheduled (the run was not finished when this was made)"
    )
    yield f"{len(games):,} games{shown} of a social-deduction game, every decision and event of them,"
    yield f"written by Wolfscope (run-folder schema version {manifest.schema_version}), begun {manifest.created}."
    yield ""
    if manifest.sessions:
        last = manifest.sessions[-1]
        versions = ", ".join(f"{name} {version}" for name, version in last.versions.items())
        yield from (f"Code: revision `{last.revision or 'unknown'}`; {versions}.", "")
    for name, model in sorted(manifest.models.items()):
        yield f"- model `{name}`: `{model}`"
    for name, version in sorted(manifest.prompts.items()):
        yield f"- prompts of `{name}`: `{version}`"
    if manifest.models or manifest.prompts:
        yield ""


def _counts(frames: dict[str, pl.LazyFrame], games: pl.DataFrame) -> Iterator[str]:
    yield from ("## Counts", "", "| table | rows |", "| --- | --- |")
    for table, frame in frames.items():
        yield f"| {table} | {frame.select(pl.len()).collect().item():,} |"
    yield ""
    by = (
        games.with_columns(
            pl.col("factors").map_elements(
                lambda pairs: factors_in_words(pairs.to_list()), return_dtype=pl.String
            )
        )
        .group_by("preset", "factors", "status", "winner", maintain_order=True)
        .len()
        .sort("preset", "factors", "status", "winner", maintain_order=True)
    )
    yield from ("| rules | factors | status | winner | games |", "| --- | --- | --- | --- | --- |")
    for row in by.iter_rows():
        yield (
            "| "
            + " | ".join("" if v is None else f"{v:,}" if isinstance(v, int) else _cell(str(v)) for v in row)
            + " |"
        )
    yield ""
    agents = (
        frames["seats"]
        .group_by("agent", "model", "faction", maintain_order=True)
        .agg(seats=pl.len(), won=pl.col("won").mean())
    )
    yield from ("| agent | model | faction | seats | won |", "| --- | --- | --- | --- | --- |")
    for agent, model, faction, seats, won in (
        agents.sort("agent", "model", "faction", maintain_order=True).collect().iter_rows()
    ):
        share = "" if won is None else f"{won:.1%}"
        yield f"| {_cell(agent)} | {_cell(model or '')} | {_cell(faction)} | {seats:,} | {share} |"
    yield ""


def _licence(run: Run, license: str | None) -> str:
    text = (
        f"`{license}`."
        if license
        else "None was named when this was exported; `wolfscope export --license ID` names one."
    )
    if run.manifest.models:
        text += " What a model wrote may stand under its own terms too: see the models above."
    return text


def _type(dtype: Any) -> str:
    text = str(dtype() if isinstance(dtype, type) else dtype)
    return _cell(text)


def _cell(text: str) -> str:
    """Text that stays inside a cell of a Markdown table."""
    text = printable(text.replace("\n", " "))
    return text.replace("\\", "\\\\").replace("|", "\\|").replace("<", "&lt;").replace("`", "\\`")


def sha256_of(file: Path) -> str:
    """The SHA-256 of a file, in hex."""
    with file.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()
