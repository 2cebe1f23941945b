"""How well recent answers were ordered, as soon as their clicks are known: a gauge for dashboards."""

from __future__ import annotations

from collections import deque

import numpy as np
from numpy.typing import NDArray

from freshet.models.evaluation.ranking_metrics import auc
from freshet.streams import metrics

_WINDOW = 1_000


class RollingAuc:
    """The mean AUC of the last 1,000 answers whose impressions have both clicks and skips."""

    def __init__(self) -> None:
        self._recent: deque[float] = deque(maxlen=_WINDOW)

    def add_answer(self, clicked: NDArray[np.bool_], scores: NDArray[np.float64]) -> None:
        """Count an answer.

        Args:
            clicked: Shape (n,): what of it was clicked; without a click, or without a skip, it says nothing.
            scores: Shape (n,), as they were answered.
        """
        if clicked.any() and not clicked.all():
            self._recent.append(auc(clicked, scores))
            metrics.ROLLING_AUC.set(sum(self._recent) / len(self._recent))
