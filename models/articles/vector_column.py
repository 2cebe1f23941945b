"""Vector column of a catalog: the articles' vectors of one bundle."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from freshet.models.articles.statistics_columns import doubled

_SAMPLE = 256
"""Rows that :meth:`VectorColumn.sample_mean` averages: all of 100,000 would take longer than an answer."""


class VectorColumn:
    """Vectors by row; the last row, index -1, is never written and has none.

    Args:
        d: The vectors' dimension.
        capacity: Number of rows.
    """

    def __init__(self, d: int, capacity: int) -> None:
        if d < 1:
            raise ValueError(f"d is {d}, must be at least 1")
        self.vectors: NDArray[np.float32] = np.zeros((capacity, d), np.float32)
        self.has_vector: NDArray[np.bool_] = np.zeros(capacity, np.bool_)
        self.held = 0
        """Number of rows that have a vector."""
        self.revision: object = object()
        """Token that changes whenever a row gets or loses a vector; no two columns share one."""
        self._sample_mean: NDArray[np.float32] | None = None

    @property
    def d(self) -> int:
        """The vectors' dimension."""
        return int(self.vectors.shape[1])

    def checked(self, news_id: str, vector: ArrayLike) -> NDArray[np.float32]:
        """Convert ``vector`` to float32 (d,).

        Raises:
            ValueError: It has another dimension or is not finite.
        """
        checked = np.asarray(vector, np.float32)
        if checked.shape != (self.d,):
            raise ValueError(f"article {news_id!r}: a vector of shape {checked.shape}, not ({self.d},)")
        if not np.isfinite(checked).all():
            raise ValueError(f"article {news_id!r}: its vector is not finite")
        return checked

    def put(self, row: int, vector: NDArray[np.float32] | None) -> None:
        """Replace the vector of a row; ``None`` leaves it without one."""
        self.vectors[row] = 0.0 if vector is None else vector
        if self.has_vector[row] != (vector is not None):
            self.has_vector[row] = vector is not None
            self.held += 1 if vector is not None else -1
            self._revise()

    def clear(self, row: int) -> None:
        """Forget a row; its number may be given to another article."""
        self.put(row, None)
        self._revise()

    def grow(self) -> None:
        """Double the capacity."""
        self.vectors = doubled(self.vectors, 0.0)
        self.has_vector = doubled(self.has_vector, False)

    def sample_mean(self, rows_in_use: int) -> NDArray[np.float32]:
        """Mean (d,) of vectors from all over the rows in use; measured once for each revision."""
        if self._sample_mean is None:
            rows = np.unique(np.linspace(0, max(0, rows_in_use - 1), _SAMPLE).astype(np.intp))
            rows = rows[self.has_vector[rows]]
            zero: NDArray[np.float32] = np.zeros(self.d, np.float32)
            self._sample_mean = self.vectors[rows].mean(axis=0) if len(rows) else zero
        return self._sample_mean

    def _revise(self) -> None:
        self.revision = object()
        self._sample_mean = None
