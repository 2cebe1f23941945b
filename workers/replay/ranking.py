"""Measures answers of the live system beside two baselines, all on the same impressions.

The baselines are the order by the smoothed click-through rate so far (test-then-train, like the system) and
random order (its exact expectation, so it adds no noise of its own). An impression without a usable answer
counts for none of the three; the click-through rates learn from it all the same.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from freshet.models.evaluation.baselines import CtrBaseline
from freshet.models.evaluation.ranking_metrics import RankingReport, RankingScores
from freshet.models.events.events import Impression, Recommendation

SYSTEM, CTR, RANDOM = "freshet", "click-through rate", "random"
LAST_SHARE = 0.8
"""Share of the impressions, in time, that warm up every method."""


class LiveComparison:
    """Collects the metrics of the system, of the click-through-rate baseline and of random order.

    Args:
        warm_up: How many impressions :meth:`report_last` leaves out at the beginning.
    """

    def __init__(self, warm_up: int) -> None:
        self._warm_up = warm_up
        self._seen = 0
        self._ctr = CtrBaseline()
        self._all = {name: RankingScores() for name in (SYSTEM, CTR, RANDOM)}
        self._last = {name: RankingScores() for name in (SYSTEM, CTR, RANDOM)}

    def learn(self, impression: Impression) -> None:
        """Let the baseline learn from an impression that is not measured."""
        self._seen += 1
        self._ctr.learn(impression.candidates, impression.clicked)

    def measure(self, impression: Impression, answer: Recommendation) -> None:
        """Measure one impression's answer and baselines, then let the baseline learn from it.

        Call it in the order of time. The answer must hold exactly the impression's candidates: see
        :func:`answers_slate`.
        """
        clicked = set(impression.clicked)
        labels = np.array([news_id in clicked for news_id in impression.candidates], np.float64)
        rank = {item.news_id: float(position) for position, item in enumerate(answer.items)}
        scores = {
            SYSTEM: np.array([-rank[news_id] for news_id in impression.candidates]),
            CTR: self._ctr.score(impression.candidates),
            RANDOM: np.zeros(len(labels)),
        }
        for collected in (self._all, self._last) if self._seen >= self._warm_up else (self._all,):
            for name, values in scores.items():
                collected[name].add_impression(labels, values)
        self.learn(impression)

    def report(self) -> Mapping[str, RankingReport]:
        """Return metrics by method over all measured impressions; empty if there was none."""
        return _reports(self._all)

    def report_last(self) -> Mapping[str, RankingReport]:
        """Return metrics by method without the warm-up."""
        return _reports(self._last)


def _reports(collected: Mapping[str, RankingScores]) -> Mapping[str, RankingReport]:
    return {
        # 1,000 resamples of a million impressions take half a minute; their interval is narrow with 100.
        name: scores.report(resamples=min(1_000, max(100, 20_000_000 // len(scores))))
        for name, scores in collected.items()
        if len(scores)
    }


def answers_slate(answer: Recommendation, impression: Impression) -> bool:
    """Whether ``answer`` ranks exactly the candidates of ``impression``, each once."""
    ranked = [item.news_id for item in answer.items]
    return len(ranked) == len(set(ranked)) and set(ranked) == set(impression.candidates)
