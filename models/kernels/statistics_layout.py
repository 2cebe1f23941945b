"""Where the statistics of an article stand in its row, and how they decay: for all that reads or writes them.

The compiled kernels have the same in ``kernels/compiled/statistics_columns.pxd``.
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np
from numpy.typing import NDArray

CLICKS, IMPRESSIONS, EXPECTED = range(3)
"""The kinds of counts. ``EXPECTED`` counts 1/n for a showing in a slate of n."""
KINDS: Final = 3
PUBLISHED, FIRST_SEEN, LAST_EVENT, LAST_CLICK = range(4)
"""The times; NaN where there is none."""
TIMES: Final = 4


def decayed(rates_per_s: NDArray[np.float64], age_s: float) -> NDArray[np.float64]:
    """What is left (H,) of counts after ``age_s``; everything, if that is negative."""
    if not 0.0 < age_s < math.inf:
        return np.ones(len(rates_per_s))
    return np.exp2(rates_per_s * -age_s)
