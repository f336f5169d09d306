"""Verbs that list what a configuration can contain: settings, presets, policies, lexicons, sites, configs."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

from harness.cli.app import CONFIGURE, Flag, app, last_line
from harness.errors import WolfscopeError


@app.command(group=CONFIGURE)
def settings(
    table: str | None = None,
    *,
    markdown: Flag = False,
    schema: Annotated[bool, Parameter(negative="")] = False,
) -> int:
    """Print every key of a configuration: type, default, range, what it does.

    Parameters
    ----------
    table
        Only this table and those below it, for instance game, agents or backends.NAME.settings.
    markdown
        Print docs/settings.md.
    schema
        Print the JSON schema that editors check configurations against (docs/settings.schema.json).
    """
    from harness.reference import page
    from harness.reference.schema import schema_text

    if schema or markdown:
        last_line((schema_text() if schema else page.markdown()).rstrip("\n"))
        return 0
    lines = page.plain(table)
    if not lines:
        from harness.reference.catalogue import tables

        known = ", ".join(dict.fromkeys(one.name for one in tables()))
        raise WolfscopeError(f"no table is called {table!r}; there are: {known}")
    for line in lines:
        last_line(line)
    return 0


def _list(verb: str) -> int:
    from harness.reference.catalogue import lists
    from harness.reference.page import names

    for name, _, found in lists():
        if name == verb:
            for line in names(found):
                last_line(line)
    return 0


@app.command(group=CONFIGURE)
def presets() -> int:
    """List the named rule sets, each with its seats, roles and distinguishing rules."""
    return _list("presets")


@app.command(group=CONFIGURE)
def policies() -> int:
    """List the scripted players and how they differ."""
    return _list("policies")


@app.command(group=CONFIGURE)
def lexicons() -> int:
    """List the words under which a game can be shown."""
    return _list("lexicons")


@app.command(group=CONFIGURE)
def sites() -> int:
    """List where in a context activations can be read."""
    return _list("sites")


@app.command(group=CONFIGURE)
def configs() -> int:
    """List the configurations that ship; `wolfscope run NAME` plays one."""
    return _list("configs")
