"""Plays tournaments and logs them into run folders; `load_run(path)` opens one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from harness.run.folder import Run, load_run
    from harness.run.typed import factor, probability

__all__ = ["Run", "factor", "load_run", "probability"]


def __getattr__(name: str) -> Any:
    """Load the reader on first use, so that `import harness` costs nothing."""
    if name in ("factor", "probability"):
        from harness.run import typed

        return getattr(typed, name)
    if name in __all__:
        from harness.run import folder as run_folder

        return getattr(run_folder, name)
    raise AttributeError(f"module 'harness' has no attribute {name!r}")
