"""Files derived from a run: each records its inputs, and is stale where these have changed.

A derived file carries the digests of its inputs: a parquet file under the key `wolfscope-inputs` of its metadata, a
page in a `<meta name="wolfscope-inputs">`. An input is a table of a run, a store of activations, or a file in a run
folder. `stale` compares them, `mark_stale` marks stale pages at the top. A derived file also carries the digests of
its own content and of the files written with it (a report's numbers, a view's pages): `edited` compares these.
"""

from __future__ import annotations

import io
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from html import escape, unescape
from pathlib import Path
from typing import Any

import msgspec
import polars as pl

from agents.backends.secrets import mask_bytes
from games.printable import one_line
from harness.atomic import replacing, storage, write_whole
from harness.digest import digest_of, file_digest
from harness.errors import RunDamaged, RunFolderError, StorageError
from harness.run import tables

__all__ = [
    "ALL",
    "OF_NO_RUN",
    "READ_AGAIN",
    "Inputs",
    "Stale",
    "StorageError",
    "content_digest",
    "current",
    "digest_of",
    "edited",
    "inputs_in",
    "inputs_of",
    "mark_stale",
    "read_table",
    "stale",
    "write_table",
]

KEY = "wolfscope-inputs"
PLACES = ("report*.html", "view/index.html", "derived/*.parquet", "features/**/*.parquet")
"""Where derived files lie in a run folder."""
REMEDY = {
    "report.html": "report", "index.html": "view", "judge.parquet": "judge", "probe_scores.parquet": "score",
    "behaviour.parquet": "behaviour", "collusion.parquet": "collusion", "collusion_detectors.parquet": "collusion",
    "collusion_minds.parquet": "collusion",
    **dict.fromkeys(
        (f"observers_{name}.parquet" for name in
         ("beliefs", "utterances", "second", "rungs", "fitted", "speakers", "told")), "report",
    ),
    **dict.fromkeys(("fight.parquet", "verdicts.parquet", "by_k.parquet", "latents.parquet"), "features fight"),
    **dict.fromkeys(
        ("truth.parquet", "concepts.parquet", "rules.parquet", "contexts.parquet"), "features judge"
    ),
    "compare.parquet": "features compare",
    **dict.fromkeys(("ratings.parquet", "head_to_head.parquet", "rating_differences.parquet"), "ratings"),
}  # fmt: skip
"""Derived file -> the verb that makes it again."""
READ_AGAIN = ("judge.parquet", "probe_scores.parquet")
"""Derived files that are themselves inputs of reports and pages."""
ALL = (*(f"{table}.parquet" for table in tables.TABLES), "activations*", "derived/judge.parquet")
"""The inputs of a derived file that reads a whole run."""
_META = re.compile(rf'<meta name="{KEY}" content="([^"]*)">')
_MARK = re.compile(rb'<p id="wolfscope-stale".*?</p>', re.DOTALL)
UNSEALED = "0" * 32
"""Placeholder for a file's own digest while it is computed."""
_OWN = re.compile(rb'((?:"|&quot;)content(?:"|&quot;):(?:"|&quot;))([0-9a-f]{32})')


class Inputs(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The inputs of a derived file."""

    runs: tuple[str, ...]
    """The run folders, as paths from the derived file's own."""
    names: tuple[str, ...]
    """Files and folders read from each run, as names with `*`."""
    digests: dict[str, str]
    """Path of an input, from the derived file's run folder -> its digest; missing files are left out."""
    parts: dict[str, str] = {}
    """File that was written with this one, from its folder -> digest."""
    content: str = ""
    """Digest of the derived file with `UNSEALED` in this place and without the mark of a stale page; empty in files of
    older versions."""


OF_NO_RUN = Inputs((), (), {})
"""The inputs of a table that carries its own digest and was derived from no run."""


class Stale(msgspec.Struct, frozen=True):
    """A derived file whose inputs have changed since it was written."""

    path: Path
    """Path relative to the run folder."""
    changed: tuple[str, ...]
    """The inputs that changed, came or went."""

    def __str__(self) -> str:
        return f"{self.path} is stale: {', '.join(self.changed)} changed since it was made{_again(self.path)}"


def inputs_of(
    runs: Sequence[str | Path], names: Iterable[str] = ALL, home: str | Path | None = None
) -> Inputs:
    """The inputs of a derived file of the first run, as they are now.

    runs: run folders. names: see `Inputs`. home: the run folder that the file stands in, where it is not the first one.
    """
    home = Path(runs[0] if home is None else home).resolve()
    names, folders = tuple(names), [Path(run).resolve() for run in runs]
    paths = [path for run in folders for name in names for path in sorted(run.glob(name))]
    return Inputs(
        tuple(os.path.relpath(run, home) for run in folders),
        names,
        {os.path.relpath(path, home): _digest(path) for path in paths},
    )


def _digest(path: Path) -> str:
    """The digest of a file's bytes; for a store, of its index parts, which hold the shards' checksums."""
    files = (
        [path] if path.is_file() else [path / "store.json", *sorted((path / "index").glob("[!.]*.parquet"))]
    )
    return digest_of("\n".join(f"{f.name} {file_digest(f)}" for f in files if f.is_file()).encode())


def write_table(path: Path, table: pl.DataFrame, inputs: Inputs) -> None:
    """Write a derived table with its inputs; creates its folder. Raises StorageError."""
    with storage(path.parent):
        path.parent.mkdir(parents=True, exist_ok=True)
    data = io.BytesIO()
    table.write_parquet(data, metadata={KEY: _text_of(inputs)})
    with replacing(path) as part:
        part.write_bytes(_sealed(data.getvalue()))


def read_table(path: Path, columns: Mapping[str, Any] | None = None) -> pl.DataFrame:
    """Read a derived table, which is untrusted. columns: name -> type of the required columns.

    Raises RunFolderError naming the file and the verb that rebuilds it, RunDamaged where it has changed since
    `write_table`; tables of other programs or older versions are read unchecked.
    """
    columns = dict(columns or {})
    try:
        told, data = _told(path), path.read_bytes()
        if not _whole(told, data):
            raise RunDamaged(
                f"{path} is damaged: it is not what was written (its digest is another){_again(path)}"
            )
        frame = pl.read_parquet(data)
        missing = [name for name in columns if name not in frame.columns]
        if not missing:
            return frame.cast(pl.Schema(columns))
    except UNREADABLE as error:
        raise RunDamaged(f"{path} cannot be read ({one_line(str(error), 200)}){_again(path)}") from error
    raise RunFolderError(
        f"{path} lacks the column {missing[0]!r}; it needs {', '.join(columns)}{_again(path)}"
    )


def write_page(path: Path, html: str, inputs: Inputs, parts: Iterable[Path] = ()) -> None:
    """Write a page with its inputs. Raises StorageError.

    parts: the files written with it, below its folder; `inputs` keeps its digests of others.
    """
    told = {os.path.relpath(part, path.parent): file_digest(part, afresh=True) for part in parts}
    inputs = msgspec.structs.replace(inputs, parts={**inputs.parts, **told})
    meta = f'<meta name="{KEY}" content="{escape(_text_of(inputs), quote=True)}">'
    data = mask_bytes(_after(rb"<head>", meta, html.encode("utf-8", "replace")))
    with replacing(path) as part:
        part.write_bytes(_sealed(data))


def _text_of(inputs: Inputs) -> str:
    return msgspec.json.encode(msgspec.structs.replace(inputs, content=UNSEALED)).decode()


def _sealed(data: bytes) -> bytes:
    """A file's bytes with its own digest filled in."""
    return _with_own(data, content_digest(data))


def content_digest(data: bytes) -> str:
    """The value that `Inputs.content` must have for a file with these bytes."""
    return digest_of(_with_own(_MARK.sub(b"", data), UNSEALED))


def _with_own(data: bytes, digest: str) -> bytes:
    """The bytes with the digest in the inputs, which are at the head of a page and in the footer of a table."""
    found = list(_OWN.finditer(data))
    if not found:
        return data
    start, end = found[-1 if data.startswith(b"PAR1") else 0].span(2)
    return data[:start] + digest.encode() + data[end:]


def _after(pattern: bytes, more: str, html: bytes) -> bytes:
    """A page with something after the first match of a pattern."""
    return re.sub(pattern, lambda found: found[0] + more.encode(), html, count=1)


def inputs_in(path: Path) -> Inputs | None:
    """The inputs of a derived file; None where it records none (older versions) or cannot be read."""
    try:
        return _told(path)
    except UNREADABLE:
        return None


UNREADABLE = (OSError, ValueError, pl.exceptions.PolarsError, pl.exceptions.PanicException)


def _told(path: Path) -> Inputs | None:
    """As `inputs_in`. Raises one of `UNREADABLE`."""
    if path.suffix == ".parquet":
        text = pl.read_parquet_metadata(path).get(KEY)
    else:
        with path.open(encoding="utf-8", errors="replace") as file:
            found = _META.search(file.read(1_000_000))
        text = None if found is None else unescape(found[1])
    return msgspec.json.decode(text, type=Inputs) if text else None


def _whole(told: Inputs | None, data: bytes) -> bool:
    """Whether a file matches its own digest; True for files of older versions, which have none."""
    if told is None or not told.content:
        return _OWN.search(data) is None
    return content_digest(data) == told.content


def current(path: Path, now: Inputs) -> bool:
    """Whether a derived file exists, is unchanged, and was made from the inputs as they are `now`."""
    try:
        told, data = _told(path), path.read_bytes()
    except UNREADABLE:
        return False
    if told is None or not told.content or not _whole(told, data):
        return False
    return (told.runs, told.names, told.digests) == (now.runs, now.names, now.digests)


def edited(run: str | Path) -> Iterator[tuple[str, str]]:
    """(file, what is wrong) of every derived file of a run folder, and every file written with one, that was
    changed."""
    home = Path(run).resolve()
    for path in _derived(home):
        name, again = str(path.relative_to(home)), _again(path)
        try:
            told, data = _told(path), path.read_bytes()
        except UNREADABLE as error:
            yield name, f"it cannot be read ({error}){again}"
            continue
        if not _whole(told, data):
            yield name, f"it is not what was written (its digest is another){again}"
            continue
        for part, digest in (told.parts if told is not None else {}).items():
            file = path.parent / part
            if not file.is_file():
                yield str(file.relative_to(home)), f"it was written with {name} and is missing{again}"
            elif file_digest(file, afresh=True) != digest:
                yield str(file.relative_to(home)), f"it is not what was written with {name}{again}"


def _again(path: Path) -> str:
    """The remedy, to be added to a sentence."""
    verb = REMEDY.get(path.name, "report" if path.suffix == ".html" else None)
    return f"; wolfscope {verb} makes it again" if verb else ""


def stale(run: str | Path) -> Iterator[Stale]:
    """The derived files of a run folder whose inputs have changed."""
    home = Path(run).resolve()
    for path in _derived(home):
        told = inputs_in(path)
        if told is None:
            continue
        now = inputs_of([home / run for run in told.runs], told.names, home).digests
        changed = sorted(name for name in {**told.digests, **now} if told.digests.get(name) != now.get(name))
        if changed:
            yield Stale(path.relative_to(home), tuple(changed))


def _derived(home: Path) -> Iterator[Path]:
    for place in PLACES:
        yield from sorted(path for path in home.glob(place) if path.is_file())


def mark_stale(run: str | Path) -> list[Stale]:
    """Mark every stale page of a run at its top; returns all stale files. Raises StorageError."""
    home, found = Path(run).resolve(), list(stale(run))
    for one in found:
        path = home / one.path
        if path.suffix == ".html":
            html = _MARK.sub(b"", path.read_bytes())
            mark = f'<p id="wolfscope-stale" role="alert"><strong>{escape(str(one))}</strong></p>'
            write_whole(path, _after(rb"<body[^>]*>", mark, html))
    return found
