r"""LinUCB: the competitor with the largest click rate that its features and its own clicks still allow.

The hybrid model of Li, Chu, Langford and Schapire, "A Contextual-Bandit Approach to Personalized News Article
Recommendation" (WWW 2010, algorithm 2), with the ranker's features z shared by all articles and one constant
of its own for each article a, fitted by ridge regression:

.. math:: E[\text{click} \mid z, a] = z^\top \beta + \theta_a.

A competitor's value is its expected click rate plus :math:`\alpha` standard deviations. With n shown so far
and B the sum of the features it was shown with, that deviation's square is (the paper's line 11, with a
constant for the article's own features)

.. math:: s = \frac{1}{\lambda + n} + \Bigl(z - \frac{B}{\lambda + n}\Bigr)^{\!\top} A_0^{-1}
   \Bigl(z - \frac{B}{\lambda + n}\Bigr).

So an article never shown is valued like articles with similar features, and gets the benefit of a doubt that
each impression makes smaller.

Limits: its choice is certain given what it has learned, so that in its log only the position of an explored
article is random; other policies can be estimated from it only where they agree with it. It learns from the
lists of its own process, keeps what it learned in memory, and starts anew with the process.

Memory is bounded: the articles shown longest ago lose their constants (what the features learned from them
stays).
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from freshet.models.ranking.features import FEATURES
from freshet.models.recommend.exploration.slots import ExplorationSlots
from freshet.models.recommend.slate import Slate

_SOLVED_EVERY = 20
"""Lists learned from between two solutions of the regression: a solution takes as long as ten lists."""


class LinUcbExplorer:
    """Fills the slots with the competitors of the largest upper confidence bounds.

    Safe for calls from several threads.

    Args:
        slots: Limits on exploration.
        alpha: Standard deviations above the expected click rate, where a click's variance is 1.
        ridge: Regularisation (lambda) of the features' weights and of an article's own constant.
        max_articles: The most articles that have a constant of their own.

    Raises:
        ValueError: An argument is not positive.
    """

    def __init__(
        self,
        slots: ExplorationSlots | None = None,
        alpha: float = 0.3,
        ridge: float = 10.0,
        max_articles: int = 10_000,
    ) -> None:
        if alpha < 0 or ridge <= 0 or max_articles < 1:
            raise ValueError(
                f"alpha must not be negative, ridge and max_articles must be positive, got {alpha}, "
                f"{ridge} and {max_articles}"
            )
        self._slots = ExplorationSlots() if slots is None else slots
        self._alpha, self._ridge, self._max_articles = alpha, ridge, max_articles
        width = len(FEATURES) + 1
        self._lock = threading.Lock()
        self._a0: NDArray[np.float64] = np.eye(width) * ridge
        self._b0: NDArray[np.float64] = np.zeros(width)
        self._inverse: NDArray[np.float64] = np.eye(width) / ridge
        self._beta: NDArray[np.float64] = np.zeros(width)
        self._unsolved = 0
        # Row 0 stands for every article without a constant.
        self._row_of: OrderedDict[str, int] = OrderedDict()
        self._shown: NDArray[np.float64] = np.full(1, ridge)
        self._clicks: NDArray[np.float64] = np.zeros(1)
        self._features: NDArray[np.float64] = np.zeros((1, width))

    @property
    def articles(self) -> int:
        """Number of articles that have a constant of their own."""
        return len(self._row_of)

    def choose(self, slate: Slate, k: int, seed: int) -> Slate:
        """Fills the slots with the best bounds; only their positions are random."""
        competitors = self._slots.competitors(slate, k)
        m = min(self._slots.slots(k, len(slate.order)), len(competitors))
        best = competitors[:0]
        if m:
            ids = [slate.scored.ids[i] for i in competitors.tolist()]
            bounds = self.upper_bounds(ids, slate.scored.features[competitors])
            best = competitors[np.argsort(-bounds, kind="stable")[:m]]
        return self._slots.fill(slate, k, best, np.eye(m), np.random.default_rng(seed))

    def upper_bounds(self, ids: Sequence[str], x: NDArray[np.float32]) -> NDArray[np.float64]:
        """Upper confidence bounds (n,) of the click rates of articles ``ids`` with features ``x`` (n, F)."""
        z = _with_constant(x)  # (n, f), f = F + 1
        with self._lock:
            rows = np.array([self._row_of.get(news_id, 0) for news_id in ids], np.intp)
            shown, features, clicks = self._shown[rows], self._features[rows], self._clicks[rows]
            inverse, beta = self._inverse, self._beta
        rest = z - features / shown[:, None]  # (n, f)
        expected = z @ beta + (clicks - features @ beta) / shown  # (n,)
        variance = 1.0 / shown + np.einsum("nf,fg,ng->n", rest, inverse, rest)
        bounds: NDArray[np.float64] = expected + self._alpha * np.sqrt(np.maximum(variance, 0.0))
        return bounds

    def learn(self, ids: Sequence[str], x: NDArray[np.float32], clicked: NDArray[np.bool_]) -> None:
        """Learns from a list that was shown; a list with a feature that is not finite is ignored."""
        if not np.isfinite(x).all():
            return
        z = _with_constant(x)
        with self._lock:
            rows = np.array([self._row(news_id) for news_id in ids], np.intp)
            self._add_shared(rows, 1.0)
            self._shown[rows] += 1.0
            self._features[rows] += z
            self._clicks[rows] += clicked
            self._a0 += z.T @ z
            self._b0 += z.T @ clicked
            self._add_shared(rows, -1.0)
            self._unsolved += 1
            if self._unsolved >= _SOLVED_EVERY:
                self._unsolved = 0
                self._inverse = np.asarray(np.linalg.inv(self._a0), np.float64)
                self._beta = self._inverse @ self._b0

    def _add_shared(self, rows: NDArray[np.intp], sign: float) -> None:
        """Adds (1) or subtracts (-1) the part of ``A_0`` and ``b_0`` that the articles' constants explain."""
        scaled = self._features[rows] / self._shown[rows, None]
        self._a0 += sign * (self._features[rows].T @ scaled)
        self._b0 += sign * (self._clicks[rows] @ scaled)

    def _row(self, news_id: str) -> int:
        row = self._row_of.get(news_id)
        if row is not None:
            self._row_of.move_to_end(news_id)
            return row
        if len(self._row_of) >= self._max_articles:
            row = self._row_of.popitem(last=False)[1]
        else:
            row = len(self._row_of) + 1
            if row == len(self._shown):
                self._shown = np.concatenate([self._shown, np.full(row, self._ridge)])
                self._clicks = np.concatenate([self._clicks, np.zeros(row)])
                self._features = np.concatenate([self._features, np.zeros_like(self._features)])
        self._row_of[news_id] = row
        self._shown[row], self._clicks[row], self._features[row] = self._ridge, 0.0, 0.0
        return row


def _with_constant(x: NDArray[np.float32]) -> NDArray[np.float64]:
    return np.concatenate([x, np.ones((len(x), 1))], axis=1, dtype=np.float64)
