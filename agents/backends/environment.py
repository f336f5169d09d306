"""What processes of a run find around them: this checkout, which actors on other nodes need on their Python path, and
whether there is a GPU."""

from __future__ import annotations

import shutil
from pathlib import Path


def on_gpu(device: str) -> bool:
    """Whether a device of the settings is a GPU on this machine: `gpu`, `cuda` or one of its numbers, or `auto` where a
    driver is found. Without torch, whose import takes seconds and must follow some of the environment."""
    if device == "auto":
        return shutil.which("nvidia-smi") is not None
    return device.partition(":")[0] in ("cuda", "gpu")


def checkout() -> Path:
    """The folder that holds the packages `games`, `agents`, `harness`, `analysis`."""
    return Path(__file__).resolve().parents[2]
