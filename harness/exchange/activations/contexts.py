"""Token ids of contexts that no log holds: role-swapped twins, and questions asked on a fork."""

from __future__ import annotations

from typing import Any

import polars as pl

from harness.activations.format import BELIEF_MENTION
from harness.activations.items import wanted_rows
from harness.capture.job import make_job
from harness.capture.share import capture_items
from harness.capture.variants import ORIGINAL, VARIANTS
from harness.config.files import parse_config
from harness.run.folder import Run

KEY = ("game_id", "seq", "seat", "site", "subject", "variant", "token_index")


def ids_before(run: Run, lines: pl.DataFrame, model: str) -> list[list[int] | None]:
    """The token ids up to the last token of each index line (`INDEX_SCHEMA`), of a model `name@hash`.

    Contexts outside the log are rebuilt as the capture built them, and checked against the line's hash; None for
    those that cannot be rebuilt: rows of a steered model, and of other lexicons.
    """
    plain = (lines["variant"] == ORIGINAL) & (lines["site"] != BELIEF_MENTION)
    made = _made_again(run, lines.filter(~plain), model)
    found: list[list[int] | None] = []
    for line, logged in zip(lines.iter_rows(named=True), plain, strict=True):
        if logged:
            end = line["token_index"] + line["n_tokens"]
            found.append([int(i) for i in run.context_ids(line["game_id"], line["seq"])[:end]])
        else:
            found.append(made.get((*(line[name] for name in KEY), line["token_hash"])))
    return found


def _made_again(run: Run, lines: pl.DataFrame, model: str) -> dict[tuple[Any, ...], list[int]]:
    """(key, hash) -> token ids."""
    variants = [
        name for name in lines["variant"].unique(maintain_order=True) if name in (ORIGINAL, *VARIANTS)
    ]
    if not variants:
        return {}
    sites = tuple(lines["site"].unique(maintain_order=True))
    job = make_job(parse_config(run.manifest.config, "manifest.json"), sites=sites, variants=tuple(variants))
    games = set(lines["game_id"].unique(maintain_order=True))
    wanted = set(lines.select(*KEY, "token_hash").iter_rows())
    found = {}
    for item in capture_items(run, model, job, games=games):
        for row in wanted_rows(item, set()):
            key = tuple(getattr(row.key, name) for name in (*KEY, "token_hash"))
            if key in wanted:
                found[key] = [int(i) for i in item.ids[: max(row.indices) + 1]]
    return found
