"""Runs whose games were not all played with the same configuration, in words.

Which games are played is the run's identity and never differs. How they are played may: a resumed run can ask for
beliefs, limit budgets, or use another engine. `games.session` is the start of the command that ended each game, and
`Manifest.sessions` holds each start's whole configuration.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from harness.run.manifest import Manifest

CARRIED_OUT = ("run",)
"""Sections about execution only, which do not affect the games."""


class MixedRun(UserWarning):
    """A run is read whose games were played with several configurations."""


def mixture(manifest: Manifest) -> str | None:
    """The differences between a run's configurations; None where all its games were played with one (or unknown).

    Merged runs are skipped: `merged` names their parts.
    """
    if manifest.merged:
        return None
    told = [(number, s.config) for number, s in enumerate(manifest.sessions) if s.config is not None]
    values: dict[str, list[Any]] = {}
    for _, config in told:
        flat = dict(_flat({key: value for key, value in config.items() if key not in CARRIED_OUT}))
        for key in {**values, **flat}:
            values.setdefault(key, []).append(flat.get(key))
    differing = {key: found for key, found in sorted(values.items()) if any(v != found[0] for v in found)}
    if not differing:
        return None
    shown = "; ".join(
        f"{key} was {', then '.join(str(v) for v in _steps(found))}"
        for key, found in list(differing.items())[:4]
    )
    return (
        f"the run {manifest.name} was played with {len({str(c) for _, c in told})} configurations ({shown}"
        + (f"; and {len(differing) - 4} more keys" if len(differing) > 4 else "")
        + "): `games.session` says which one each game had, `sessions` of manifest.json holds them"
    )


def _steps(values: list[Any]) -> list[Any]:
    """The values in order, each change once."""
    return [v for i, v in enumerate(values) if i == 0 or v != values[i - 1]]


def _flat(plain: dict[str, Any], at: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in plain.items():
        where = f"{at}.{key}" if at else key
        if isinstance(value, dict) and value:
            yield from _flat(value, where)
        else:
            yield where, value
