"""Scores by a bundle alone: dot products of user vectors and article vectors.

The temporal hold-out measures these. With v a candidate's vector, b its bias and q_j the user's queries (the
pooled heads after the user's layers, computed by the code that serves),

    score = sum_j mix_j q_j . (v - m) + (b - mean of b),

m the mean vector of the clicks in the training period. Subtracting means changes no order among articles
with a vector, and makes 0, the score of an article without one, an average score instead of an extreme one,
as the ranker's features do (:mod:`freshet.models.ranking.linear`). Without ``user.mix`` the interest heads
have equal weights and the head of the skips none.

If the bundle has ``user.table``, a known user is a row of that table and any other user the rows' mean;
otherwise a user is the pooled state of events and history. A zero vector means that an article has none: a
tower of ids gives it to articles that it was not trained on.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from freshet.models.articles.trending import POPULATION_HALF_LIFE_S
from freshet.models.datasets.article_features import table_vectors
from freshet.models.datasets.impression_log import ArticleTable, ImpressionLog
from freshet.models.embedding.bundle import Bundle
from freshet.models.embedding.feature_tower import FeatureTower, weight_of
from freshet.models.ports import FloatMatrix
from freshet.models.users.pooling import Pooling
from freshet.models.users.state import UserState

_CHUNK = 1 << 16
"""Impressions counted at once, to bound memory."""


class ArticleVectors:
    """Vectors of a log's articles by id; a :class:`~freshet.models.users.pooling.VectorLookup`.

    Args:
        ids: Ids of the ``n`` articles.
        vectors: Shape (n, d), finite; zeros where an article has none.
    """

    def __init__(self, ids: Sequence[str], vectors: FloatMatrix) -> None:
        self.revision = 0
        self.vectors: FloatMatrix = np.concatenate([vectors, np.zeros((1, vectors.shape[1]), np.float32)])
        self.has_vector: NDArray[np.bool_] = (self.vectors != 0).any(axis=1)
        self.vectors_held = int(self.has_vector.sum())
        self._row_of = {news_id: row for row, news_id in enumerate(ids)}

    def row(self, news_id: str) -> int:
        """Row of an article, -1 if it is unknown."""
        return self._row_of.get(news_id, -1)

    def rows(self, ids: Sequence[str]) -> NDArray[np.int64]:
        """Rows (n,) of articles, -1 where one is unknown."""
        return np.array([self.row(news_id) for news_id in ids], np.int64)


class BundleScorer:
    """Scores the candidates of a log's impressions by the users' states after the training period.

    Args:
        bundle: The bundle that ranks.
        articles: The log's articles.
        text_vectors: Shape (articles, d_text), zeros without text; ``None`` if the tower reads no text.

    Raises:
        BundleError: A weight is missing, or its shape does not fit.
        ValueError: ``text_vectors`` is missing or has another shape.
    """

    def __init__(self, bundle: Bundle, articles: ArticleTable, text_vectors: FloatMatrix | None) -> None:
        tower = FeatureTower(bundle)
        self.bundle = bundle
        # Neither recent clicks nor exposures have a part in a score: a state is a third as large without.
        self.pooling = Pooling.of_bundle(bundle, max_recent_clicks=1, max_exposures=1)
        self.articles = ArticleVectors(articles.ids, table_vectors(tower, articles, text_vectors))
        self._ids = articles.ids
        self._biases = _centred_biases(bundle, articles.ids)
        self._mix = user_mix(bundle, self.pooling.heads)
        self._table = _UserTable.of(bundle)
        self._mean = np.zeros(bundle.manifest.d, np.float32)
        self._states: dict[int, UserState] = {}

    @property
    def vectors(self) -> FloatMatrix:
        """Article vectors (articles, d), zeros where an article has none."""
        return self.articles.vectors[:-1]

    @property
    def states(self) -> int:
        """Number of users with a state."""
        return len(self._states)

    def learn(self, log: ImpressionLog, start: int, stop: int, users: NDArray[np.bool_]) -> int:
        """Apply the impressions in ``range(start, stop)``, in the order of time; return their number.

        Args:
            log: The log.
            start: First position.
            stop: Position after the last.
            users: Shape (users,): users who will be scored; no state is built for the others.
        """
        if self._table is not None:
            return 0
        applied = 0
        for position in (start + np.flatnonzero(users[log.user[start:stop]])).tolist():
            user = int(log.user[position])
            state = self._states.get(user)
            history: list[str] = []
            if state is None:
                state = self._states[user] = UserState.empty(self.pooling)
                history = self._names(log.history_of(position))
            candidates, clicked = log.slate(position)
            state.apply_impression(
                ("impressions", 0, position),
                float(log.time_s[position]),
                self._names(candidates),
                self._names(candidates[clicked]),
                self.articles,
                history=history,
            )
            applied += 1
        return applied

    def settle(self, log: ImpressionLog, stop: int) -> None:
        """Set m to the mean vector of the clicks before ``stop``, weighted towards recent ones.

        Users without events have this vector, unless the bundle has a prior for them.
        """
        has_vector = self.articles.has_vector[:-1]
        weights = np.zeros(len(self._ids))
        for start in range(0, stop, _CHUNK):
            part = log.slice(start, min(start + _CHUNK, stop))
            recent = np.exp2((part.time_s - log.time_s[stop - 1]) / POPULATION_HALF_LIFE_S)
            of_candidate = np.repeat(recent, np.diff(part.slate_start))[part.clicked]
            weights += np.bincount(part.candidates[part.clicked], of_candidate, len(weights))
        weights[~has_vector] = 0.0
        if not weights.any():
            weights[has_vector] = 1.0
        if weights.any():
            self._mean = (weights / weights.sum()).astype(np.float32) @ self.vectors

    def user_vectors(self, log: ImpressionLog, start: int, stop: int) -> FloatMatrix:
        """User vectors (b, d) of the ``b`` impressions in ``range(start, stop)``.

        A user without a state gets one from the click history of the first impression asked for.
        """
        if self._table is not None:
            return self._table.rows_of([log.user_ids[user] for user in log.user[start:stop].tolist()])
        prior = self._mean if self.pooling.prior is None else self.pooling.prior
        out = np.empty((stop - start, self.pooling.d), np.float32)
        for i, (user, now_s) in enumerate(
            zip(log.user[start:stop].tolist(), log.time_s[start:stop].tolist(), strict=True)
        ):
            state = self._states.get(user)
            if state is None:
                state = self._states[user] = UserState.empty(self.pooling)
                state.seed_history(now_s, self._names(log.history_of(start + i)), self.articles)
            out[i] = self._mix @ self.pooling.queries(state.vectors(now_s, prior))
        return out

    def scores(self, log: ImpressionLog, start: int, stop: int) -> NDArray[np.float32]:
        """Scores (sum of the slates' sizes,) float32 of the candidates in ``range(start, stop)``."""
        users = self.user_vectors(log, start, stop)
        average = users @ self._mean
        first, last = int(log.slate_start[start]), int(log.slate_start[stop])
        rows = log.candidates[first:last]
        bounds = (log.slate_start[start : stop + 1] - first).tolist()
        out = np.empty(last - first, np.float32)
        vectors = self.articles.vectors
        for i in range(stop - start):
            part = slice(bounds[i], bounds[i + 1])
            # (n, d) . (d,), row by row: a matrix product rounds equal rows differently by their place, so
            # that the order of candidates would break ties of equal vectors.
            np.vecdot(vectors.take(rows[part], axis=0), users[i], out=out[part])
        out -= np.repeat(average, np.diff(bounds))
        out[~self.articles.has_vector[rows]] = 0.0
        out += self._biases[rows]
        return out

    def _names(self, articles: NDArray[np.int32]) -> list[str]:
        ids = self._ids
        return [ids[number] for number in articles.tolist()]


class _UserTable:
    """Vectors of ``user.table``: a row for each known user, the rows' mean for all others."""

    def __init__(self, table: FloatMatrix, user_ids: Sequence[str]) -> None:
        mean = table[1:].mean(axis=0, keepdims=True) if len(table) > 1 else table[:1]
        self._table: FloatMatrix = np.concatenate([mean, table[1:]])
        self._row_of = {user_id: 1 + row for row, user_id in enumerate(user_ids)}

    @classmethod
    def of(cls, bundle: Bundle) -> _UserTable | None:
        if "user.table.weight" not in bundle.weights:
            return None
        user_ids = bundle.manifest.vocabularies.get("user_id", ())
        table = weight_of(bundle, "user.table.weight", (1 + len(user_ids), bundle.manifest.d))
        return cls(table, user_ids)

    def rows_of(self, user_ids: Sequence[str]) -> FloatMatrix:
        rows = [self._row_of.get(user_id, 0) for user_id in user_ids]
        found: FloatMatrix = self._table[rows]
        return found


def user_mix(bundle: Bundle, heads: int) -> NDArray[np.float32]:
    """Weights (heads,) of the heads in a score: by default equal, and 0 for the last head, the skips."""
    if "user.mix" in bundle.weights:
        return weight_of(bundle, "user.mix", (heads,))
    mix = np.full(heads, 1.0 / (heads - 1), np.float32)
    mix[-1] = 0.0
    return mix


def _centred_biases(bundle: Bundle, ids: Sequence[str]) -> NDArray[np.float32]:
    """Biases (n,) minus their table's mean; 0 for an unknown article unless row 0 was trained."""
    table = bundle.weights.get("article.bias")
    if table is None:
        return np.zeros(len(ids), np.float32)
    vocabulary = bundle.manifest.vocabularies.get("news_id", ())
    table = weight_of(bundle, "article.bias", (1 + len(vocabulary),))
    mean = table[1:].mean() if vocabulary else np.float32(0.0)
    centred = table - mean
    # An untrained row 0 is exactly 0.
    centred[0] = centred[0] if table[0] else 0.0
    row_of = {news_id: 1 + row for row, news_id in enumerate(vocabulary)}
    biases: NDArray[np.float32] = centred[[row_of.get(news_id, 0) for news_id in ids]]
    return biases
