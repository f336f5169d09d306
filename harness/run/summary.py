"""A run at a glance, as a notebook shows it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from html import escape
from pathlib import Path

from harness.run.manifest import Manifest


def summary_html(
    path: Path,
    manifest: Manifest,
    winners: Iterable[str | None],
    stores: Iterable[str],
    remarks: Iterable[str],
) -> str:
    """One table. winners: of each ended game. stores: names of the folders with activations. remarks: caveats about
    the run. Text from files is escaped."""
    won = Counter(winner or "nobody" for winner in winners)
    ended = sum(won.values())
    rows = [
        ("run", f"{manifest.name} ({path})"),
        ("status", manifest.status),
        ("games", f"{ended:,} of {manifest.n_games:,} have ended"),
        ("won by", ", ".join(f"{name} {n / ended:.0%}" for name, n in sorted(won.items()))),
        ("factors", ", ".join(dict.fromkeys(key for cell in manifest.cells for key in cell.factors))),
        ("models", ", ".join(sorted(set(manifest.models.values())))),
        ("activations", ", ".join(stores)),
        *(("to be read with", remark) for remark in remarks),
    ]
    body = "".join(
        f'<tr><th style="text-align:left">{escape(name)}</th><td style="text-align:left">{escape(value)}</td></tr>'
        for name, value in rows
        if value
    )
    return f"<table><tbody>{body}</tbody></table>"
