"""Sampling from many discrete distributions at once, in constant time for each draw.

The alias method (Walker, 1977; Vose, 1991): a distribution over ``k`` outcomes becomes ``k`` slots of equal
mass, each holding at most two outcomes. A draw picks a slot, then one of its two. The slots of all rows are
built together with prefix sums and binary searches, the sweep of Hübschle-Schneider and Sanders ("Parallel
Weighted Random Sampling", 2019), so that no Python loop runs over rows or outcomes.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray


class AliasTable:
    """Alias table of rows of weighted outcomes, one row after another as in a CSR matrix.

    Args:
        weights: Shape (outcomes,), not negative, finite; at least one of each row that is not empty is
            positive.
        starts: Shape (rows + 1,): row ``r`` holds outcomes ``starts[r]`` to before ``starts[r + 1]``.

    Raises:
        ValueError: A weight is negative or not finite, or all of a row are zero.
    """

    def __init__(self, weights: ArrayLike, starts: ArrayLike) -> None:
        weight = np.asarray(weights, np.float64)
        self._starts = np.asarray(starts, np.int64)
        self._counts = np.diff(self._starts)
        if not np.isfinite(weight).all() or (weight < 0).any():
            raise ValueError("weights must be finite and not negative")
        rows = np.repeat(np.arange(len(self._counts)), self._counts)
        totals = np.bincount(rows, weight, len(self._counts))
        empty = np.flatnonzero((totals <= 0) & (self._counts > 0))
        if len(empty):
            raise ValueError(f"all weights of row {empty[0]} are zero")
        mass = weight * self._counts[rows] / totals[rows]
        self._keep, self._alias = _fill(mass, rows, self._starts)

    def draw(self, rows: NDArray[np.integer], rng: np.random.Generator) -> NDArray[np.int64]:
        """Draw one outcome for each of ``rows``, any shape, as its position in ``weights``.

        Rows must not be empty.
        """
        counts = self._counts[rows]
        at = rng.random(counts.shape) * counts
        slot = at.astype(np.int64)
        # The fraction is as good as a second random number; that it may round up to the count is prevented.
        np.minimum(slot, counts - 1, out=slot)
        at -= slot
        slot += self._starts[rows]
        drawn: NDArray[np.int64] = np.where(at < self._keep[slot], slot, self._alias[slot])
        return drawn


def _fill(
    mass: NDArray[np.float64], rows: NDArray[np.int64], starts: NDArray[np.int64]
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Share of each slot that belongs to its own outcome, and the outcome of the rest.

    Heavy outcomes (mass above 1) give, light ones take, both from left to right. Because each row's masses
    have the mean 1, giving and taking come out even at its end: one sweep over all rows is right for each.
    """
    keep = np.minimum(mass, 1.0)
    alias = np.arange(len(mass), dtype=np.int64)
    light, heavy = np.flatnonzero(mass <= 1.0), np.flatnonzero(mass > 1.0)
    if not len(heavy):
        return keep, alias
    # Each row's sums begin at an offset of its own, so that one binary search serves all rows; no row sums to
    # its length. Rounding moves a slot's border by 1e-9 where there are millions of outcomes.
    size = np.diff(starts).astype(np.float64)
    offset = np.concatenate([[0.0], np.cumsum(size + 1.0)])
    taken = _sums_within(1.0 - mass[light], rows[light]) + offset[rows[light]]
    given = _sums_within(mass[heavy] - 1.0, rows[heavy]) + offset[rows[heavy]]
    # The very numbers of `taken`, not a difference that rounds otherwise: both searches must agree.
    first_light = np.diff(rows[light], prepend=-1) > 0
    before = np.where(first_light, offset[rows[light]], np.roll(taken, 1))
    donor = np.searchsorted(given, before, side="right")
    donor = _clamped(donor, rows[light], rows[heavy])
    alias[light] = np.where(donor >= 0, heavy[donor], light)
    keep[light[donor < 0]] = 1.0
    # A heavy outcome's own slot is filled up by the next heavy one once it has given more than it had to.
    last = np.searchsorted(taken, given, side="left")
    inside = last < len(light)
    inside[inside] &= rows[light[last[inside]]] == rows[heavy[inside]]
    following = np.arange(1, len(heavy) + 1)
    has_next = following < len(heavy)
    has_next[:-1] &= rows[heavy[1:]] == rows[heavy[:-1]]
    gave_more = np.flatnonzero(inside & has_next)
    keep[heavy[gave_more]] = np.clip(1.0 + given[gave_more] - taken[last[gave_more]], 0.0, 1.0)
    alias[heavy[gave_more]] = heavy[following[gave_more]]
    return keep, alias


def _sums_within(values: NDArray[np.float64], rows: NDArray[np.int64]) -> NDArray[np.float64]:
    """Running sums (outcomes,) that begin anew at each row."""
    sums = np.cumsum(values)
    first = np.flatnonzero(np.diff(rows, prepend=-1))
    base = np.concatenate([[0.0], sums])[first]
    sums -= np.repeat(base, np.diff(np.append(first, len(rows))))
    return sums


def _clamped(
    donor: NDArray[np.int64], light_rows: NDArray[np.int64], heavy_rows: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Donors moved into the light outcome's own row where rounding left it; -1 where the row has none."""
    first = np.searchsorted(heavy_rows, light_rows, side="left")
    stop = np.searchsorted(heavy_rows, light_rows, side="right")
    return np.where(first < stop, np.clip(donor, first, stop - 1), -1)
