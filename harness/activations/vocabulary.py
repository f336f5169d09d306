"""The text of each token id, stored beside the rows: `vocabulary.parquet` (token_id, text) of a model's tokenizer.

Analysis loads no tokenizer; this table gives the text of the tokens it reports.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl

from harness.atomic import replacing

NAME = "vocabulary.parquet"


def write_vocabulary(folder: str | Path, tokenizer: Any) -> Path:
    """Write the table into the folder, unless present; returns its path. Raises StorageError."""
    path = Path(folder) / NAME
    if path.is_file():
        return path
    ids = list(range(len(tokenizer)))
    words = [tokenizer.decode([i], skip_special_tokens=False) for i in ids]
    table = pl.DataFrame({"token_id": ids, "text": words}, schema={"token_id": pl.Int32, "text": pl.String})
    with replacing(path) as partial:
        table.write_parquet(partial)
    return path
