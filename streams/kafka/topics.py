"""Topics of freshet: names, keys, events and cleanup policies, defined here only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from freshet.models.events.events import (
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
    """Retention under ``delete``; -1 keeps records for ever."""
    tombstones_ms: int | None = None
    """Minimum time under ``compact`` for which a deletion can be read; unset: the broker's default, a day."""
    keyed_by_user: bool = False
    published_by: Literal["clients", "freshet"] = "freshet"
    read_back: bool = False
    """Whether workers read what workers have published, also after they were replaced by a new version."""


_HOUR_MS = 3_600 * 1_000
_WEEK_MS = 7 * 24 * 3_600 * 1_000
_DAY_MS = 24 * 3_600 * 1_000

# A bundle that was out of service for less than this still learns what was deleted meanwhile.
ARTICLES = Topic(
    "articles", "news_id", Article, "compact", tombstones_ms=4 * _WEEK_MS, published_by="clients"
)
ARTICLE_VECTORS = Topic("article-vectors", "bundle/news_id", ArticleVector, "compact", read_back=True)
ARTICLE_STATS = Topic("article-stats", "news_id", ArticleStats, "compact", read_back=True)
CO_CLICKS = Topic("co-clicks", "news_id", CoClickCounts, "compact", read_back=True)
IMPRESSIONS = Topic(
    "impressions", "user_id", Impression, "delete", _WEEK_MS, keyed_by_user=True, published_by="clients"
)
CLICKS = Topic("clicks", "user_id", Click, "delete", _WEEK_MS, keyed_by_user=True, published_by="clients")
USER_VECTORS = Topic("user-vectors", "user_id", UserVector, "compact", keyed_by_user=True)
REQUESTS = Topic(
    "recommendation-requests",
    "user_id",
    RecommendationRequest,
    "delete",
    _DAY_MS,
    keyed_by_user=True,
    published_by="clients",
)
RECOMMENDATIONS = Topic("recommendations", "user_id", Recommendation, "delete", _DAY_MS, keyed_by_user=True)
SLATES = Topic("slate-batches", "partition", SlateBatch, "delete", _DAY_MS, read_back=True)
# Learned within seconds, and large: a day of 200 a second is 120 GB.
RANKER_EXAMPLES = Topic("ranker-examples", "model", RankerExample, "delete", _HOUR_MS, read_back=True)
RANKER_WEIGHTS = Topic("ranker-weights", "model", RankerWeights, "compact", read_back=True)
CONTROL = Topic("control", "group:subject", Control, "compact", published_by="clients")
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
