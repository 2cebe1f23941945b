"""How well recent rank requests were answered, as soon as their clicks are known: a gauge for dashboards."""

from __future__ import annotations

from collections import OrderedDict, deque

import numpy as np

from freshet.models.events import Impression, RecommendedArticle
from freshet.models.ranking_metrics import auc
from freshet.streams import metrics

_MAX_OPEN = 20_000
_WINDOW = 1_000


class RollingAuc:
    """Joins answers and impressions by request id; the mean AUC of the last 1,000 joined."""

    def __init__(self) -> None:
        self._open: OrderedDict[str, dict[str, float]] = OrderedDict()
        self._recent: deque[float] = deque(maxlen=_WINDOW)

    def remember(self, request_id: str, items: list[RecommendedArticle]) -> None:
        """Keep an answer until its impression comes; the oldest go when there are too many."""
        self._open[request_id] = {item.news_id: item.score for item in items}
        if len(self._open) > _MAX_OPEN:
            self._open.popitem(last=False)

    def learn(self, impression: Impression) -> None:
        """Score the answer that ``impression`` names, if it is known and both clicks and skips were seen."""
        if impression.request_id is None:
            return
        scores = self._open.pop(impression.request_id, None)
        if scores is None:
            return
        clicked = set(impression.clicked)
        shown = [news_id for news_id in impression.candidates if news_id in scores]
        labels = np.array([news_id in clicked for news_id in shown])
        if labels.any() and not labels.all():
            self._recent.append(auc(labels, np.array([scores[news_id] for news_id in shown])))
            metrics.ROLLING_AUC.set(sum(self._recent) / len(self._recent))
