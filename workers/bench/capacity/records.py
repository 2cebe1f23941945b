"""The sizes of the records that a site keeps on Kafka and in its tables, built by the code that writes them.

Ids have 15 characters, as in the benchmarks, and requests the 32 of a UUID.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Sequence
from datetime import UTC, datetime

import numpy as np
from numpy.typing import NDArray

from freshet.models.articles.catalog import STATS_HALF_LIVES_S
from freshet.models.articles.counts import ArticleCounts
from freshet.models.events.events import (
    Article,
    ArticleStats,
    ArticleVector,
    Click,
    CoClickCounts,
    DecayedCount,
    Event,
    Impression,
    InterestHead,
    RankerExample,
    Recommendation,
    RecommendationRequest,
    RecommendedArticle,
    SlateBatch,
    SlateEvent,
    UserVector,
    from_unix_s,
)
from freshet.models.ranking.features import FEATURES
from freshet.models.users.state import Pooling, UserState
from freshet.streams.kafka import topics

_ID = "news-0123456789"
_USER = "user-0123456789"
_REQUEST = "0f8fad5bd9cb469fa165708867bc1234"
_BUNDLE = "content-0f8fad5bd9cb469f"
_TITLE = "A headline of some fifty characters, as they are now"
_ABSTRACT_CHARACTERS = 600
_TIME = datetime(2026, 3, 2, 8, 0, 0, 250_000, tzinfo=UTC)
_TIME_S = _TIME.timestamp()
_REASONS = 14
"""Features that are not 0 in a usual explanation."""


def traffic_bytes(shown: int, clicks: int) -> dict[str, int]:
    """Key and value of a record of each topic that keeps what happened, by the topic's name.

    Args:
        shown: Articles in a slate and in an answer.
        clicks: That the user of an answer has made.
    """
    candidates = tuple(ids(shown))
    item = RecommendedArticle(
        news_id=_ID,
        score=0.123456789,
        title=_TITLE,
        category="sports",
        published_at=_TIME,
        sources=("2h", "7d", "newest"),
        reasons=dict(zip(FEATURES, _floats(_REASONS), strict=False)),
        because=_ID,
        propensity=1.0,
    )
    answer = Recommendation(
        request_id=_REQUEST,
        user_id=_USER,
        time=_TIME,
        bundle=_BUNDLE,
        ranker=f"{_BUNDLE}-1234",
        items=(item,) * shown,
        user_clicks=clicks,
    )
    impression = Impression(
        impression_id=_REQUEST, user_id=_USER, time=_TIME, candidates=candidates, request_id=_REQUEST
    )
    click = Click(user_id=_USER, news_id=_ID, time=_TIME, impression_id=_REQUEST, request_id=_REQUEST)
    part = SlateEvent(offset=123_456_789, time_s=_TIME_S, shown=candidates, slate=shown)
    example = RankerExample(
        model=_BUNDLE,
        fingerprint=_REQUEST[:16],
        features=b64encode(bytes(4 * shown * len(FEATURES))).decode(),
        clicked=(False,) * shown,
        source=topics.IMPRESSIONS.name,
        partition=17,
        offset=123_456_789,
        time=_TIME,
    )
    request = RecommendationRequest(request_id=_REQUEST, user_id=_USER, time=_TIME)
    slates = SlateBatch(source=topics.IMPRESSIONS.name, partition=17, events=(part,))
    return {
        topics.IMPRESSIONS.name: _size(_USER, impression),
        topics.CLICKS.name: _size(_USER, click),
        topics.REQUESTS.name: _size(_USER, request),
        topics.RECOMMENDATIONS.name: _size(_USER, answer),
        topics.SLATES.name: _size("17", slates),
        topics.RANKER_EXAMPLES.name: _size(_BUNDLE, example),
    }


def user_vector_bytes(dimension: int, heads: int) -> int:
    """Key and value of a record of ``user-vectors``."""
    head = InterestHead(name="2h", half_life_s=7_200.0, weight=1.2345678, vector=_floats(dimension))
    event = UserVector(user_id=_USER, time=_TIME, bundle=_BUNDLE, clicks=20, heads=(head,) * heads)
    return _size(_USER, event)


def article_bytes(dimension: int, contexts: int) -> dict[str, int]:
    """Key and value of a record of each topic that keeps the last of an article, by the topic's name."""
    article = Article(
        news_id=_ID,
        published_at=_TIME,
        title=_TITLE,
        abstract="x" * _ABSTRACT_CHARACTERS,
        category="sports",
        subcategory="soccer",
        language="en",
        url=f"https://example.org/{_ID}",
    )
    vector = ArticleVector(
        news_id=_ID,
        bundle=_BUNDLE,
        vector=_floats(dimension),
        published_at=_TIME,
        title=_TITLE,
        category="sports",
        subcategory="soccer",
        language="en",
    )
    counts = tuple(
        DecayedCount(half_life_s=half_life_s, clicks=1.23456789, impressions=12.3456789, expected=1.23456789)
        for half_life_s in STATS_HALF_LIVES_S
    )
    stats = ArticleStats(
        news_id=_ID, time=_TIME, counts=counts, first_seen=_TIME, last_click=from_unix_s(_TIME_S)
    )
    co_clicks = CoClickCounts(news_id=_ID, contexts=dict.fromkeys(ids(contexts), 3))
    return {
        topics.ARTICLES.name: _size(_ID, article),
        topics.ARTICLE_VECTORS.name: _size(vector.key, vector),
        topics.ARTICLE_STATS.name: _size(_ID, stats),
        topics.CO_CLICKS.name: _size(_ID, co_clicks),
    }


def article_counts_bytes(contexts: int) -> int:
    """The bytes of an article's statistics in their table."""
    counts = ArticleCounts()
    for number, stream in enumerate((topics.IMPRESSIONS.name, topics.CLICKS.name)):
        counts.apply((stream, number, number), _TIME_S + number, 1, 1, 10, ids(contexts))
    return len(counts.to_bytes())


def user_state(  # noqa: PLR0917  # of which vectors, what it remembers, of which articles  # of which vectors, what it remembers, of which articles
    dimension: int, heads: int, clicks: int, shown: int, slate: int, first: int = 0
) -> UserState:
    """The state of a user with so many clicks and articles shown, the latter in slates of ``slate``.

    ``first`` is the number of the first article, so that users need not all have seen the same.
    """
    half_lives_s = tuple(3_600.0 * (head + 1) for head in range(heads - 1))
    pooling = Pooling(dimension, half_lives_s, 86_400.0, 1.0, max(1, clicks), max(1, shown))
    state, one = UserState.empty(pooling), _OneVector(dimension)
    articles = ids(shown, first)
    for offset in range(0, shown, slate):
        candidates = articles[offset : offset + slate]
        source = (topics.IMPRESSIONS.name, 1, offset)
        state.apply_impression(source, _TIME_S + offset, candidates, (), one, mark=offset)
    for offset, news_id in enumerate(ids(clicks, first)):
        source = (topics.CLICKS.name, 1, offset)
        state.apply_click(source, _TIME_S + offset, news_id, one, impression_known=False, mark=shown + offset)
    return state


def ids(count: int, first: int = 0) -> list[str]:
    """Return ``count`` article ids."""
    return [f"news-{number:010d}" for number in range(first, first + count)]


def _size(key: str, event: Event) -> int:
    return len(key) + len(event.to_json())


def _floats(count: int) -> tuple[float, ...]:
    """Numbers with as many digits as float32 has in JSON."""
    return tuple(np.random.default_rng(7).standard_normal(count, np.float32).tolist())


class _OneVector:
    """A lookup in which every article has the same vector: a state's size does not depend on it."""

    revision = 0
    vectors_held = 1

    def __init__(self, d: int) -> None:
        self.vectors: NDArray[np.float32] = np.ones((2, d), np.float32)
        self.has_vector: NDArray[np.bool_] = np.array([True, False])

    def row(self, news_id: str) -> int:
        return 0

    def rows(self, ids: Sequence[str]) -> NDArray[np.int64]:
        return np.zeros(len(ids), np.int64)
