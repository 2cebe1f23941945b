"""Simulated service: the code that serves, without a broker, learning from every list that it shows.

Candidates, ranking, diversity and exploration are :func:`freshet.models.recommend.pipeline.recommend` on an
exact index. A list's clicks update at once the article statistics, the user's state, popularity, the online
ranker, and an explorer that learns.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from freshet.models.articles.catalog import ArticleCatalog
from freshet.models.articles.exact_index import ExactIndex
from freshet.models.articles.trending import popularity_of, population_vector
from freshet.models.datasets.synthetic.titles import TOPICS
from freshet.models.datasets.synthetic.world import Articles, D
from freshet.models.events.events import RecommendationRequest, RecommendedArticle, from_unix_s
from freshet.models.ports import IndexedArticle
from freshet.models.ranking.online_ranker import OnlineRanker
from freshet.models.ranking.scored_slate import ScoredSlate
from freshet.models.recommend.candidates import from_index
from freshet.models.recommend.exploration.policy import Explorer, LearningExplorer
from freshet.models.recommend.pipeline import recommend
from freshet.models.recommend.slate import Slate
from freshet.models.users.pooling import Pooling
from freshet.models.users.state import UserState
from freshet.models.users.view import UserView

POPULATION_INTERVAL_S = 300.0
"""Event time between two updates of the population's vector, as in an evaluation."""

_HALF_LIVES_S = (2 * 3_600.0, 7 * 86_400.0)
_NEGATIVE_HALF_LIFE_S = 86_400.0
_STREAM = "impressions"


@dataclass(frozen=True, slots=True)
class ShownList:
    """Shown list, with the list without exploration."""

    request: RecommendationRequest
    items: list[RecommendedArticle]
    """Items in the order shown, without titles and reasons."""
    rows: NDArray[np.int64]
    """Shape (n,): the articles' rows in the world."""
    explored: NDArray[np.bool_]
    """Shape (n,): whether exploration filled the slot."""
    greedy: NDArray[np.int64]
    """Shape (n,): rows in the world of the list without exploration, from the same candidates and scores."""
    features: NDArray[np.float32]
    """Shape (n, len(FEATURES)): features of the articles shown."""
    candidates: tuple[str, ...]
    """Candidates that the list was chosen from."""
    user_clicks: int
    """All clicks of the reader before this list."""
    ranker: str
    """Name and revision of the weights."""


class SimulatedService:
    """Service of one policy, which begins with an empty catalog.

    Args:
        articles: The world's articles, of which the service sees vectors, categories and publication times.
        explorer: The policy; ``None`` shows the best articles.
        k: Length of a list.
        learning: Whether the ranker learns; otherwise it keeps the default weights.
        diversity: 1 - lambda of maximal marginal relevance.
        vectors: Whether the service knows the articles' vectors; otherwise it ranks by ids alone.
    """

    def __init__(
        self,
        articles: Articles,
        explorer: Explorer | None,
        *,
        k: int,
        learning: bool = True,
        diversity: float = 0.3,
        vectors: bool = True,
    ) -> None:
        self._articles = articles
        self._row_of = {news_id: row for row, news_id in enumerate(articles.ids)}
        self._policy = _RecordingExplorer(explorer)
        self._k = k
        self._diversity = diversity
        self._learning = learning
        self._vectors = vectors
        self._ranker = OnlineRanker()
        self._pooling = Pooling(
            d=D,
            half_lives_s=_HALF_LIVES_S,
            negative_half_life_s=_NEGATIVE_HALF_LIFE_S,
            prior_weight=1.0,
            max_recent_clicks=50,
            max_exposures=200,
        )
        self.catalog = ArticleCatalog(D)
        self._index = ExactIndex(D)
        self._users: dict[int, UserState] = {}
        self._population: NDArray[np.float32] = np.zeros(D, np.float32)
        self._population_due_s = -math.inf
        self._published = self._learned = 0

    def publish(self, published: int) -> None:
        """Make the world's first ``published`` articles recommendable."""
        articles = self._articles
        new = []
        for row in range(self._published, published):
            topic = TOPICS[articles.topic[row]]
            article = IndexedArticle(
                articles.ids[row],
                articles.vectors[row] if self._vectors else np.zeros(D, np.float32),
                float(articles.published_s[row]),
                category=topic.category,
                subcategory=topic.subcategory,
            )
            new.append(article)
            self.catalog.put_article(
                article.news_id,
                article.vector if self._vectors else None,
                article.published_at_s,
                category=article.category,
                subcategory=article.subcategory,
            )
        self._index.upsert(new)
        self._published = max(self._published, published)

    def recommend(self, user: int, history: Sequence[int], now_s: float, request_id: str) -> ShownList:
        """Recommend a list to the world's ``user`` at ``now_s``.

        Args:
            user: Row of the world's readers.
            history: Rows of articles that a new user clicked earlier.
            now_s: Event time, Unix seconds.
            request_id: Request id, which seeds the exploration.
        """
        state = self._users.get(user)
        if state is None:
            state = self._users[user] = UserState.empty(self._pooling)
            state.seed_history(now_s, [self._articles.ids[row] for row in history], self.catalog)
        if now_s >= self._population_due_s:
            self._population = population_vector(self.catalog, now_s)
            self._population_due_s = now_s + POPULATION_INTERVAL_S
        view = UserView.of(state, now_s, self._population, self._pooling)
        request = RecommendationRequest(
            request_id=request_id,
            user_id=f"U{user}",
            time=from_unix_s(now_s),
            k=self._k,
            diversity=self._diversity,
            explain=False,
        )
        source = from_index(self._index)
        ranker = self._ranker.ranker
        slate = recommend(request, view, self.catalog, ranker, now_s, source=source, explorer=self._policy)
        return ShownList(
            request,
            slate.items,
            self._rows(slate.scored, slate.picks),
            self._policy.explored,
            self._rows(slate.scored, self._policy.greedy),
            slate.scored.features[slate.picks],
            tuple(slate.scored.ids),
            view.clicks,
            ranker.id,
        )

    def learn(self, user: int, shown: ShownList, clicked: NDArray[np.bool_], now_s: float) -> None:
        """Learn from a list's clicks (n,)."""
        ids = [item.news_id for item in shown.items]
        state = self._users[user]
        before = dict.fromkeys(news_id for _, news_id in state.recent) if clicked.any() else ()
        state.apply_impression(
            (_STREAM, 0, self._learned),
            now_s,
            ids,
            [news_id for news_id, click in zip(ids, clicked.tolist(), strict=True) if click],
            self.catalog,
        )
        self._learned += 1
        self.catalog.count_slate(ids, clicked, now_s, before)
        clicked_ids = [ids[i] for i in np.flatnonzero(clicked)]
        self._index.set_popularity({news_id: popularity_of(self.catalog, news_id) for news_id in clicked_ids})
        if self._learning:
            self._ranker.learn(shown.features, clicked, time_s=now_s)
        if isinstance(self._policy.explorer, LearningExplorer):
            self._policy.explorer.learn(ids, shown.features, clicked)

    def _rows(self, slate: ScoredSlate, positions: NDArray[np.intp]) -> NDArray[np.int64]:
        return np.array([self._row_of[slate.ids[i]] for i in positions.tolist()], np.int64)


class _RecordingExplorer:
    """Explorer that keeps the last list without exploration and the last explored slots."""

    def __init__(self, explorer: Explorer | None) -> None:
        self.explorer = explorer
        self.greedy: NDArray[np.intp] = np.zeros(0, np.intp)
        self.explored: NDArray[np.bool_] = np.zeros(0, np.bool_)

    def choose(self, slate: Slate, k: int, seed: int) -> Slate:
        self.greedy = slate.order[:k]
        chosen = slate.exploit(k) if self.explorer is None else self.explorer.choose(slate, k, seed)
        self.explored = chosen.explored
        return chosen
