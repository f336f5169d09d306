"""The reference in words: docs/settings.md, and the same for a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from harness.reference.catalogue import Named, Table, lists, tables
from harness.reference.fields import Key

HEAD = """# Settings

Every key of a configuration, read from the code that reads it (`wolfscope settings --markdown` writes this page, and a
test holds it to the code). A configuration is a TOML file; any key can be changed on the command line by
`--set table.key=value`. `docs/settings.schema.json` is the same as a JSON schema, for editors that check TOML: name it
in the file's first line as `#:schema docs/settings.schema.json`. A key whose default is `required` has none; `none`
means that the key is left out.
"""


def markdown() -> str:
    """The whole page."""
    return "\n".join([HEAD, *_tables(tables()), *_lists()]).rstrip() + "\n"


def _tables(found: Sequence[Table]) -> Iterator[str]:
    for table in found:
        yield f"## [{table.name}]\n\n{table.about[:1].upper()}{table.about[1:]}\n"
        if not table.keys:
            yield "It has none.\n"
            continue
        yield "| key | type | default | range | what it does |\n| --- | --- | --- | --- | --- |"
        for key in table.keys:
            row = (
                f"`{key.name}`",
                _cell(key.type),
                f"`{_cell(key.default)}`",
                _cell(key.range),
                _cell(key.doc),
            )
            yield f"| {' | '.join(row)} |"
        yield ""


def _lists() -> Iterator[str]:
    for verb, title, names in lists():
        yield f"## {title}\n\nAlso `wolfscope {verb}`.\n\n| name | |\n| --- | --- |"
        for one in names:
            yield f"| `{one.name}` | {_cell(one.about)} |"
        yield ""


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def plain(part: str | None = None) -> list[str]:
    """Lines for a terminal; part: only tables whose name begins with it. Empty where there is no such table."""
    lines = []
    for table in tables():
        if part is not None and not f"{table.name}.".startswith(f"{part}."):
            continue
        lines += ["", f"[{table.name}]  {table.about}"]
        lines += [text for key in table.keys for text in _key(key)]
    return lines[1:]


def _key(key: Key) -> Iterator[str]:
    bounds = f", {key.range}" if key.range else ""
    yield f"  {key.name} = {key.default}  ({key.type}{bounds})"
    if key.doc:
        yield f"      {key.doc}"


def names(found: Sequence[Named]) -> list[str]:
    """A list of names for a terminal."""
    width = max(len(one.name) for one in found)
    return [f"{one.name:<{width}}  {one.about}" for one in found]
