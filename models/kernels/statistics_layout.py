"""Layout of an article's statistics in its row, and their decay.

The compiled kernels repeat it in ``kernels/compiled/statistics_columns.pxd``.
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np
from numpy.typing import NDArray

CLICKS, IMPRESSIONS, EXPECTED = range(3)
"""Kinds of counts. ``EXPECTED`` adds 1/n for an impression in a slate of n: its clicks, if each slate had one
click and all of its articles the same chance."""
KINDS: Final = 3
PUBLISHED, FIRST_SEEN, LAST_EVENT, LAST_CLICK = range(4)
"""Times, NaN where there is none."""
TIMES: Final = 4


def decayed(rates_per_s: NDArray[np.float64], age_s: float) -> NDArray[np.float64]:
    """Decay factors (H,) of counts after ``age_s``; 1 if that is negative."""
    if not 0.0 < age_s < math.inf:
        return np.ones(len(rates_per_s))
    return np.exp2(rates_per_s * -age_s)
