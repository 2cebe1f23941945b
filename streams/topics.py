"""freshet's topics: names, keys, events and cleanup policies. The one place that knows them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from freshet.models.events import (
    Article,
    ArticleStats,
    ArticleVector,
    Click,
    CoClickCounts,
    Control,
    DeadLetter,
    Event,
    Impression,
    RankerExample,
    RankerWeights,
    Recommendation,
    RecommendationRequest,
    SlateBatch,
    UserVector,
)


@dataclass(frozen=True, slots=True)
class Topic:
    """One topic, without the configured prefix."""

    name: str
    key: str
    event: type[Event]
    cleanup: Literal["compact", "delete"]
    retention_ms: int = -1
    """For ``delete``; -1 keeps for ever."""
    tombstones_ms: int | None = None
    """For ``compact``: how long a deletion can be read, at least; unset: the broker's default, a day."""
    keyed_by_user: bool = False


_HOUR_MS = 3_600 * 1_000
_WEEK_MS = 7 * 24 * 3_600 * 1_000
_DAY_MS = 24 * 3_600 * 1_000

# A bundle that was out of service for less than this still learns what was deleted meanwhile.
ARTICLES = Topic("articles", "news_id", Article, "compact", tombstones_ms=4 * _WEEK_MS)
ARTICLE_VECTORS = Topic("article-vectors", "bundle/news_id", ArticleVector, "compact")
ARTICLE_STATS = Topic("article-stats", "news_id", ArticleStats, "compact")
CO_CLICKS = Topic("co-clicks", "news_id", CoClickCounts, "compact")
IMPRESSIONS = Topic("impressions", "user_id", Impression, "delete", _WEEK_MS, keyed_by_user=True)
CLICKS = Topic("clicks", "user_id", Click, "delete", _WEEK_MS, keyed_by_user=True)
USER_VECTORS = Topic("user-vectors", "user_id", UserVector, "compact", keyed_by_user=True)
REQUESTS = Topic(
    "recommendation-requests", "user_id", RecommendationRequest, "delete", _DAY_MS, keyed_by_user=True
)
RECOMMENDATIONS = Topic("recommendations", "user_id", Recommendation, "delete", _DAY_MS, keyed_by_user=True)
SLATES = Topic("slate-batches", "partition", SlateBatch, "delete", _DAY_MS)
# Learned within seconds, and large: a day of 200 a second is 120 GB.
RANKER_EXAMPLES = Topic("ranker-examples", "model", RankerExample, "delete", _HOUR_MS)
RANKER_WEIGHTS = Topic("ranker-weights", "model", RankerWeights, "compact")
CONTROL = Topic("control", "group:subject", Control, "compact")
DEAD_LETTERS = Topic("dead-letters", "the record's own", DeadLetter, "delete", 4 * _WEEK_MS)

TOPICS: tuple[Topic, ...] = (
    ARTICLES,
    ARTICLE_VECTORS,
    ARTICLE_STATS,
    CO_CLICKS,
    IMPRESSIONS,
    CLICKS,
    USER_VECTORS,
    REQUESTS,
    RECOMMENDATIONS,
    SLATES,
    RANKER_EXAMPLES,
    RANKER_WEIGHTS,
    CONTROL,
    DEAD_LETTERS,
)
