"""An alias table's draws have the distribution of its weights, row by row."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from freshet.models.training.item2vec.alias_table import AliasTable

rows_of_weights = st.lists(
    st.lists(st.floats(0.0, 1e6, allow_subnormal=False), max_size=7), min_size=1, max_size=6
).filter(lambda rows: all(sum(row) > 1e-3 for row in rows if row))


class Grid:
    """Numbers evenly spread over [0, 1) in the place of random ones: outcomes come in their exact shares."""

    def random(self, shape: tuple[int, ...]) -> NDArray[np.float64]:
        return (np.arange(shape[0]) + 0.5) / shape[0]


GRID: Any = Grid()


@given(rows_of_weights)
def test_every_outcome_comes_in_the_share_of_its_weight(rows: list[list[float]]) -> None:
    starts = np.concatenate([[0], np.cumsum([len(row) for row in rows])])
    table = AliasTable([weight for row in rows for weight in row], starts)

    for number, row in enumerate(rows):
        if row:
            drawn = table.draw(np.full(20_000, number), GRID)
            shares = np.bincount(drawn - starts[number], minlength=len(row)) / len(drawn)
            assert shares == pytest.approx(np.array(row) / sum(row), abs=1e-3)


def test_many_rows_are_as_exact_as_one() -> None:
    rng = np.random.default_rng(0)
    sizes = rng.integers(1, 40, 2_000)
    weights = rng.pareto(1.0, sizes.sum()) + 0.01
    starts = np.concatenate([[0], np.cumsum(sizes)])
    table = AliasTable(weights, starts)

    row = 1_234
    part = weights[starts[row] : starts[row + 1]]
    drawn = table.draw(np.full(100_000, row), GRID) - starts[row]

    assert np.bincount(drawn, minlength=len(part)) / len(drawn) == pytest.approx(part / part.sum(), abs=1e-3)


@pytest.mark.parametrize("weights", [[1.0, -1.0], [np.nan, 1.0], [np.inf, 1.0]])
def test_weights_that_are_none_are_refused(weights: list[float]) -> None:
    with pytest.raises(ValueError, match="finite and not negative"):
        AliasTable(weights, [0, 2])


def test_a_row_without_any_weight_is_refused_by_its_number() -> None:
    with pytest.raises(ValueError, match="row 1 are zero"):
        AliasTable([1.0, 0.0, 0.0], [0, 1, 3])
