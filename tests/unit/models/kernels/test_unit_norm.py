"""L2 normalisation of float32 and float64 vectors, zero vectors included."""

from __future__ import annotations

import numpy as np
import pytest

from freshet.models.kernels.unit_norm import to_unit_norm


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shape", [(3,), (5, 3), (2, 5, 3), (0, 3)])
def test_vectors_have_norm_one_and_keep_their_direction_and_dtype(
    dtype: type[np.float32 | np.float64], shape: tuple[int, ...]
) -> None:
    vectors = np.random.default_rng(0).normal(size=shape).astype(dtype)
    unit = to_unit_norm(vectors)
    assert unit.dtype == dtype
    assert unit.shape == shape
    norms = np.linalg.norm(vectors, axis=-1, keepdims=True)
    np.testing.assert_array_equal(unit, vectors / norms)


def test_a_zero_vector_stays_zero_and_the_input_is_not_changed() -> None:
    vectors = np.array([[0.0, 0.0], [3.0, 4.0]])
    np.testing.assert_array_equal(to_unit_norm(vectors), [[0.0, 0.0], [0.6, 0.8]])
    np.testing.assert_array_equal(vectors, [[0.0, 0.0], [3.0, 4.0]])
