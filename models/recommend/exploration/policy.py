"""Exploration: choosing which slots go to articles that little is known about, with their propensities."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from freshet.models.recommend.slate import Slate


class Explorer(Protocol):
    """Chooses the articles to show from a scored slate. The same arguments give the same list."""

    def choose(self, slate: Slate, k: int, seed: int) -> Slate:
        """The slate with its picks, their propensities, and which of them exploration chose.

        Args:
            slate: A scored slate; the first ``k`` of its order are the list without exploration.
            k: Length of the list; fewer where there are fewer candidates.
            seed: A hash of the request's id, from 0 to 2 ** 64 - 1.
        """
        ...


@runtime_checkable
class LearningExplorer(Explorer, Protocol):
    """An explorer that learns from the lists that were shown, those of other policies included."""

    def learn(self, ids: Sequence[str], x: NDArray[np.float32], clicked: NDArray[np.bool_]) -> None:
        """Learns from one list.

        Args:
            ids: Distinct articles, in any order.
            x: Shape (n, len(FEATURES)): features as they were when the list was made.
            clicked: Shape (n,).
        """
        ...
