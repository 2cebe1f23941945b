"""A leak is told from noise, however much a garbage collection or a compaction swings."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from freshet.workers.soak.vitals import growth_per_min

TIMES_S = [10.0 * number for number in range(90)]


@given(st.floats(-50.0, 50.0), st.floats(0.0, 2_000.0))
def test_steady_growth_is_found_exactly(per_min: float, start: float) -> None:
    values = [start + per_min * time_s / 60.0 for time_s in TIMES_S]
    assert growth_per_min(TIMES_S, values) == pytest.approx(per_min, abs=1e-6)


@pytest.mark.parametrize("seed", range(5))
def test_noise_and_outliers_are_no_growth(seed: int) -> None:
    noise = random.Random(seed)
    values = [900.0 + noise.gauss(0.0, 5.0) for _ in TIMES_S]
    values[10] += 400.0
    values[-1] += 400.0
    assert abs(growth_per_min(TIMES_S, values)) < 1.0


def test_a_leak_within_noise_is_growth() -> None:
    noise = random.Random(7)
    values = [900.0 + 2.0 * time_s / 60.0 + noise.gauss(0.0, 5.0) for time_s in TIMES_S]
    assert growth_per_min(TIMES_S, values) > 1.5
