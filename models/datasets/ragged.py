"""Index arithmetic for rows of different lengths that lie in one array."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def concatenated_ranges(starts: NDArray[np.integer], lengths: NDArray[np.integer]) -> NDArray[np.int64]:
    """Concatenate the ranges ``[start, start + length)``: positions (lengths.sum(),) of the rows' elements.

    >>> concatenated_ranges(np.array([5, 0]), np.array([2, 3])).tolist()
    [5, 6, 0, 1, 2]
    """
    before = np.cumsum(lengths) - lengths  # (rows,): elements of earlier rows
    return np.repeat(starts - before, lengths) + np.arange(int(lengths.sum()))
