"""A design for `wolfscope experiment`: the effect of a change's direction on ballots, against every control."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import polars as pl

from harness.atomic import replacing, write_whole

DESIGN = """# Does the direction that separates two models move ballots?
# Made by `wolfscope diff`; layer {layer} brings most.
# wolfscope experiment {folder}/change.toml RUN
name = "change"
question = "Does the direction of the change move ballots, and does taking it away?"

[moments]
kind = "ballot"
n = 60
per_game = 1

[directions.change]
vector = "{folder}/change.npy"
layer = {layer}

[[arms]]
name = "added"
kind = "direction"
direction = "change"
at = "all"
scales = [0.05, 0.1, 0.2]

[[arms]]
name = "ablated"
kind = "direction"
direction = "change"
do = "ablate"
at = "all"

[controls]
random = 10
orthogonal = 9
other_subject = false

[test]
outcome = "moved"
"""


def write_design(out: Path, arms: pl.DataFrame, means: Mapping[str, np.ndarray]) -> None:
    """Write `change.toml` and `change.npy` into a comparison's folder: the difference of the means at the layer, below
    the last block, at which adding it brings A nearest to B. Nothing where there is no such layer."""
    last = str(max((int(layer) for layer in means), default=0))
    tried = arms.filter(
        (pl.col("arm") == "direction") & (pl.col("way") == "bring") & (pl.col("layer") != last)
    )
    if not len(tried):
        return
    sums = tried.group_by("layer", maintain_order=True).agg(pl.col("kl").sum())
    layer = str(sums.sort("kl", maintain_order=True)["layer"][0])
    with replacing(out / "change.npy") as file, file.open("wb") as handle:
        np.save(handle, np.asarray(means[layer], dtype=np.float32))
    write_whole(out / "change.toml", DESIGN.format(layer=layer, folder=out).encode())
