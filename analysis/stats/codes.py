"""Keys of several columns as integers."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray


def codes_of(*columns: ArrayLike) -> NDArray[np.int64]:
    """`(n_rows,)` codes 0.. of the distinct combinations of the columns."""
    parts = [np.unique(np.asarray(column), return_inverse=True)[1] for column in columns]
    code = parts[0].astype(np.int64)
    for part in parts[1:]:
        code = np.unique(code * (int(part.max(initial=0)) + 1) + part, return_inverse=True)[1].astype(
            np.int64
        )
    return code
