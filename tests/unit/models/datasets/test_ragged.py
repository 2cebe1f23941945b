"""Ranges are concatenated in their order, empty ones and none at all included."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from freshet.models.datasets.ragged import concatenated_ranges


@given(st.lists(st.tuples(st.integers(0, 1_000), st.integers(0, 20))))
def test_ranges_are_concatenated_in_order(ranges: list[tuple[int, int]]) -> None:
    starts, lengths = np.array(ranges, np.int64).reshape(-1, 2).T
    found = concatenated_ranges(starts, lengths)
    assert found.tolist() == [start + i for start, length in ranges for i in range(length)]
