"""Rolling AUC of recent answers whose clicks are known: a gauge for dashboards."""

from __future__ import annotations

from collections import deque

import numpy as np
from numpy.typing import NDArray

from freshet.models.evaluation.ranking_metrics import auc
from freshet.streams import metrics

_WINDOW = 1_000


class RollingAuc:
    """Mean AUC of the last 1,000 answers whose impressions have both clicks and skips."""

    def __init__(self) -> None:
        self._recent: deque[float] = deque(maxlen=_WINDOW)

    def add_answer(self, clicked: NDArray[np.bool_], scores: NDArray[np.float64]) -> None:
        """Add an answer's AUC; an answer without clicks, or without skips, has none.

        Args:
            clicked: Labels of the answered articles, shape (n,).
            scores: Scores of the answered articles, shape (n,).
        """
        if clicked.any() and not clicked.all():
            self._recent.append(auc(clicked, scores))
            metrics.ROLLING_AUC.set(sum(self._recent) / len(self._recent))
