"""The path of this checkout: actors on other nodes need it on their Python path."""

from __future__ import annotations

from pathlib import Path


def checkout() -> Path:
    """The folder that holds the packages `games`, `agents`, `harness`, `analysis`."""
    return Path(__file__).resolve().parents[2]
