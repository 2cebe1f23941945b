r"""Replay of a log: the lists that a target ranker would have shown, by the code that serves.

Impressions come in the order of time. For each list with propensities, the target ranker scores the list's
candidates by the user states and article statistics of earlier impressions; then the states, statistics and
predictions learn from the logged impression. The estimate is therefore of the ranker's next list after the
past that the behaviour policy made, not after a past of its own.

The ranker orders candidates by descending score, without diversity or exploration, or at a temperature T
draws them from Plackett-Luce (:mod:`freshet.models.recommend.exploration.plackett_luce`). Articles of a list
that are not among its candidates were put there by an editorial rule, and keep their positions for any
ranker.

The doubly robust estimate predicts rewards by clicks over expected clicks (Zhang and Jones, "Comparing Click
Logs and Editorial Labels for Training Query Rewriting", 2007) on earlier lists. With :math:`c_k / n_k` the
click-through rate at position k, article a with :math:`c_a` clicks at the positions
:math:`k_1, k_2, \ldots` is clicked at k with probability

.. math:: \hat r = \frac{c_k}{n_k} \cdot \frac{c_a + \kappa}{\sum_j c_{k_j} / n_{k_j} + \kappa},
          \text{ at most } 1.
"""

from __future__ import annotations

from array import array
from collections import Counter
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from freshet.models.articles.catalog import ArticleCatalog
from freshet.models.datasets.recommendation_log import LoggedImpression
from freshet.models.evaluation.off_policy.estimate import LoggedLists
from freshet.models.evaluation.prequential import PrequentialEvaluation
from freshet.models.events.events import Impression, Recommendation
from freshet.models.ranking.linear import LinearRanker
from freshet.models.ranking.scored_slate import ScoredSlate
from freshet.models.recommend.exploration.plackett_luce import plackett_luce_order, plackett_luce_propensities
from freshet.models.users.pooling import Pooling

PRIOR_CLICKS: Final = 1.0
"""Kappa, the prior weight in expected clicks of an article with the average click-through rate."""
DRAWS: Final = 8
"""Lists drawn at a temperature to predict their rewards."""

_PRIOR_SHOWN = 20.0


class ClicksOverExpected:
    """Predicts clicks by position and article from counts."""

    def __init__(self) -> None:
        # The prior click-through rate of each position is one in twenty.
        self._clicks: NDArray[np.float64] = np.ones(64)
        self._shown: NDArray[np.float64] = np.full(64, _PRIOR_SHOWN)
        self._article: dict[str, tuple[float, float]] = {}

    def predict(self, ids: list[str], positions: NDArray[np.int64]) -> NDArray[np.float64]:
        """Predict the probability (n,) of a click on each article at its position (n,), from 1."""
        get = self._article.get
        counts = np.array([get(news_id, (0.0, 0.0)) for news_id in ids]).reshape(-1, 2)
        lift = (counts[:, 0] + PRIOR_CLICKS) / (counts[:, 1] + PRIOR_CLICKS)
        return np.minimum(self._rates(positions) * lift, 1.0)

    def learn(self, ids: list[str], positions: NDArray[np.int64], clicked: NDArray[np.bool_]) -> None:
        """Count one list (n,)."""
        rates = self._rates(positions).tolist()
        for news_id, rate, click in zip(ids, rates, clicked.tolist(), strict=True):
            clicks, expected = self._article.get(news_id, (0.0, 0.0))
            self._article[news_id] = clicks + click, expected + rate
        np.add.at(self._shown, positions - 1, 1.0)
        np.add.at(self._clicks, positions - 1, clicked)

    def _rates(self, positions: NDArray[np.int64]) -> NDArray[np.float64]:
        deepest = int(positions.max(initial=0))
        if deepest > len(self._shown):
            more = 2 * deepest - len(self._shown)
            self._clicks = np.concatenate([self._clicks, np.ones(more)])
            self._shown = np.concatenate([self._shown, np.full(more, _PRIOR_SHOWN)])
        rates: NDArray[np.float64] = self._clicks[positions - 1] / self._shown[positions - 1]
        return rates


@dataclass(frozen=True, slots=True)
class Replayed:
    """Lists of the log for the estimates, with the numbers of impressions that were left out."""

    lists: LoggedLists
    impressions: int
    """Impressions of the log, from the beginning of the measuring."""
    without_recommendation: int
    """Left out: impressions whose recommendation is not in the log, or that name none."""
    without_propensity: int
    """Left out: impressions with an item without a propensity."""
    foreign: int
    """Left out: impressions with an article that is not in the recommendation, or is in it twice."""
    without_candidates: int
    """Included: impressions without logged candidates, for which the items are taken."""


class OffPolicyReplay:
    """Replays a log, and records for each list where the target ranker would have put the articles.

    Args:
        catalog: Articles known beforehand, without statistics; the replay fills them in.
        pooling: Pooling of clicks into user vectors.
        ranker: The target ranker.
        temperature: Temperature of its draws; ``None`` orders by descending score.
        seed: Seed of the draws that predict rewards.

    Raises:
        ValueError: The temperature is not positive.
    """

    def __init__(
        self,
        catalog: ArticleCatalog,
        pooling: Pooling,
        ranker: LinearRanker,
        *,
        temperature: float | None = None,
        seed: int = 0,
    ) -> None:
        if temperature is not None and not temperature > 0:
            raise ValueError(f"temperature must be above 0, got {temperature}")
        self._evaluation = PrequentialEvaluation(catalog, pooling, ranker)
        self._temperature = temperature
        self._random = np.random.default_rng(seed)
        self._predictor = ClicksOverExpected()
        self._numbers: dict[str, int] = {}
        self._counts: Counter[str] = Counter()
        self._user, self._end = array("q"), array("q")
        self._columns = tuple(array("d") for _ in range(6))

    def add_impression(self, logged: LoggedImpression, *, measured: bool = True) -> None:
        """Record what the target ranker would have shown, then learn from the logged impression.

        Args:
            logged: An impression not older than the one before.
            measured: False in the warm-up, whose impressions are only learned from.

        Raises:
            ValueError: The impression is older than the one before.
        """
        impression = logged.impression
        shown = self._shown(logged, measured=measured)
        if shown is not None:
            ids, positions, propensities, recommendation = shown
            clicks = set(impression.clicked)
            clicked = np.array([news_id in clicks for news_id in ids])
            if measured:
                self._record(impression, recommendation, ids, positions, propensities, clicked)
            self._predictor.learn(ids, positions, clicked)
        self._evaluation.add_impression(impression, measured=False)

    def result(self) -> Replayed:
        """Return the lists recorded so far."""
        position, *columns = (np.array(column) for column in self._columns)
        lists = LoggedLists(
            np.array(self._user, np.int64),
            np.concatenate([np.zeros(1, np.int64), np.array(self._end, np.int64)]),
            position.astype(np.int64),
            *columns,
        )
        return Replayed(
            lists,
            self._counts["impressions"],
            self._counts["without_recommendation"],
            self._counts["without_propensity"],
            self._counts["foreign"],
            self._counts["without_candidates"],
        )

    def _shown(
        self, logged: LoggedImpression, *, measured: bool
    ) -> tuple[list[str], NDArray[np.int64], NDArray[np.float64], Recommendation] | None:
        """Select the shown articles in the order of their positions, or count why there are none."""
        self._counts["impressions"] += measured
        recommendation = logged.recommendation
        if recommendation is None:
            self._counts["without_recommendation"] += measured
            return None
        on_screen = set(logged.impression.candidates)
        listed = {item.news_id for item in recommendation.items}
        if not on_screen <= listed or len(listed) < len(recommendation.items):
            self._counts["foreign"] += measured
            return None
        slots = [slot for slot in enumerate(recommendation.items, 1) if slot[1].news_id in on_screen]
        propensities = [item.propensity for _, item in slots if item.propensity is not None]
        if len(propensities) < len(slots):
            self._counts["without_propensity"] += measured
            return None
        positions = np.array([position for position, _ in slots], np.int64)
        return [item.news_id for _, item in slots], positions, np.array(propensities), recommendation

    def _record(  # noqa: PLR0917 - one list, by its columns
        self,
        impression: Impression,
        recommendation: Recommendation,
        ids: list[str],
        positions: NDArray[np.int64],
        propensities: NDArray[np.float64],
        clicked: NDArray[np.bool_],
    ) -> None:
        self._counts["without_candidates"] += not recommendation.candidates
        listed = [item.news_id for item in recommendation.items]
        slate = self._evaluation.rank(impression, recommendation.candidates or listed)
        target, instead = self._shown_instead(slate, listed)
        expected = np.zeros(len(ids))
        for ranking in instead:
            there = [ranking[position - 1] for position in positions.tolist()]
            expected += self._predictor.predict(there, positions) / len(instead)
        predicted = self._predictor.predict(ids, positions)
        self._user.append(self._numbers.setdefault(impression.user_id, len(self._numbers)))
        columns = (positions, clicked, propensities, target[positions - 1], predicted, expected)
        for column, values in zip(self._columns, columns, strict=True):
            column.extend(values.astype(np.float64))
        self._end.append(len(self._columns[0]))

    def _shown_instead(
        self, slate: ScoredSlate, listed: list[str]
    ) -> tuple[NDArray[np.float64], list[list[str]]]:
        """Rank a list's candidates by the target ranker.

        Args:
            slate: The scored candidates.
            listed: The n articles of the logged list.

        Returns:
            The probability (n,) that it puts each article where it is, and its list, or several drawn ones.
        """
        place = {news_id: i for i, news_id in enumerate(slate.ids)}
        chosen = np.array([news_id in place for news_id in listed])
        shown = np.array([place[news_id] for news_id in listed if news_id in place], np.intp)
        target = np.ones(len(listed))
        if self._temperature is None:
            rankings = [slate.best_first()]
            target[chosen] = rankings[0][: len(shown)] == shown
        else:
            draws = range(DRAWS)
            rankings = [plackett_luce_order(slate.scores, self._temperature, self._random) for _ in draws]
            probabilities = plackett_luce_propensities(slate.scores, self._temperature, shown)
            target[chosen] = np.minimum(probabilities, 1.0)
        instead = []
        for ranking in rankings:
            others = iter(ranking.tolist())
            instead.append(
                [
                    slate.ids[next(others)] if free else news_id
                    for news_id, free in zip(listed, chosen.tolist(), strict=True)
                ]
            )
        return target, instead
