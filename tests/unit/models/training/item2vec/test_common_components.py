"""What vectors have in common is taken away, and nothing else."""

from __future__ import annotations

import numpy as np
import pytest

from freshet.models.training.item2vec.common_components import AS_THEY_ARE, without_common_components

RNG = np.random.default_rng(0)
SCALES = np.array([9.0, 5.0, 1.0, 1.0])
VECTORS = (RNG.normal(size=(500, 4)) * SCALES + [3.0, 0.0, 0.0, 7.0]).astype(np.float32)


def test_nothing_or_the_mean_or_the_widest_directions_are_taken_away() -> None:
    assert without_common_components(VECTORS, AS_THEY_ARE) is VECTORS
    spreads = []
    for components in (0, 1, 2):
        kept = without_common_components(VECTORS, components)
        assert kept.dtype == np.float32
        assert kept.mean(axis=0) == pytest.approx(0.0, abs=1e-5)
        spreads.append(np.sort(np.linalg.svd(kept, compute_uv=False) / 500**0.5)[::-1])
    assert spreads[0] == pytest.approx(SCALES, rel=0.1)
    assert spreads[1] == pytest.approx([*spreads[0][1:], 0.0], abs=1e-5)
    assert spreads[2] == pytest.approx([*spreads[0][2:], 0.0, 0.0], abs=1e-5)


def test_fewer_than_none_is_refused() -> None:
    with pytest.raises(ValueError, match="components is -2"):
        without_common_components(VECTORS, -2)
