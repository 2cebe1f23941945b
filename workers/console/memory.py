"""State of the stream as the console knows it: articles, their clicks, and users with their clicks.

Guarantee: memory is bounded, however long the stream; the oldest entries go first. One thread writes, any
number read.
"""

from __future__ import annotations

import heapq
import threading
from collections import OrderedDict, deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, TypeVar

from freshet.models.articles.catalog import STATS_HALF_LIVES_S
from freshet.models.articles.trending import TRENDING_COUNT, clicks_left, popularity
from freshet.models.events.events import ArticleStats, ArticleVector, to_unix_s

V = TypeVar("V")

MAX_ARTICLES = 100_000
MAX_USERS = 2_000
MAX_CLICKS = 30
"""Largest number of clicks kept per user."""
_MAX_ERASED = 10_000


@dataclass(frozen=True, slots=True)
class KnownArticle:
    """Article as the lists show it."""

    news_id: str
    bundle: str
    title: str
    category: str
    published_at_s: float

    def to_json(self) -> dict[str, Any]:
        """Return what the page shows."""
        return {name: getattr(self, name) for name in ("news_id", "title", "category", "published_at_s")}


@dataclass(slots=True)
class _User:
    seen_s: float = 0.0
    clicks: deque[tuple[float, str]] = field(default_factory=lambda: deque(maxlen=MAX_CLICKS))


class StreamMemory:
    """Bounded, thread-safe memory; times are event times in Unix seconds."""

    def __init__(
        self, max_articles: int = MAX_ARTICLES, max_users: int = MAX_USERS, max_erased: int = _MAX_ERASED
    ) -> None:
        self._max_articles = max_articles
        self._max_users = max_users
        self._max_erased = max_erased
        self._lock = threading.Lock()
        self._articles: OrderedDict[str, KnownArticle] = OrderedDict()
        self._popularity: OrderedDict[str, tuple[float, float, float]] = OrderedDict()
        """Popularity, decayed clicks and their time, by news id."""
        self._withdrawn: set[str] = set()
        self._users: OrderedDict[str, _User] = OrderedDict()
        """Users by id, the one seen last at the end."""
        self._erased: OrderedDict[str, float] = OrderedDict()

    def put_article(self, article: ArticleVector) -> None:
        """Add an article that can be recommended."""
        known = KnownArticle(
            article.news_id, article.bundle, article.title, article.category, to_unix_s(article.published_at)
        )
        with self._lock:
            _put(self._articles, article.news_id, known, self._max_articles)

    def remove_article(self, bundle: str, news_id: str) -> None:
        """Remove an article if its vector was of this bundle."""
        with self._lock:
            known = self._articles.get(news_id)
            if known is not None and known.bundle == bundle:
                del self._articles[news_id]

    def withdraw(self, news_id: str) -> None:
        """Remove an article from all lists."""
        with self._lock:
            self._withdrawn.add(news_id)

    def put_stats(self, stats: ArticleStats) -> None:
        """Store an article's decayed clicks."""
        clicks = [count.clicks for count in stats.counts]
        if len(clicks) != len(STATS_HALF_LIVES_S):
            return  # Another version's half-lives are not comparable.
        time_s = to_unix_s(stats.time)
        order = popularity(clicks, time_s)
        recent = clicks[TRENDING_COUNT]
        with self._lock:
            if order > 0.0:
                _put(self._popularity, stats.news_id, (order, recent, time_s), self._max_articles)

    def add_click(self, user_id: str, news_id: str, time_s: float) -> None:
        """Note that a user opened an article."""
        with self._lock:
            user = self._seen(user_id, time_s)
            if user is not None:
                user.clicks.append((time_s, news_id))

    def add_visit(self, user_id: str, time_s: float) -> None:
        """Note that a user was shown something."""
        with self._lock:
            self._seen(user_id, time_s)

    def erase(self, user_id: str, time_s: float) -> None:
        """Erase a user, and ignore their events up to ``time_s`` that are still to be read."""
        with self._lock:
            _put(self._erased, user_id, time_s, self._max_erased)
            self._users.pop(user_id, None)

    def article(self, news_id: str) -> KnownArticle | None:
        """Look an article up."""
        with self._lock:
            return self._articles.get(news_id)

    def title(self, news_id: str) -> str:
        """Look an article's title up; its id where no title is known."""
        known = self.article(news_id)
        return known.title or news_id if known is not None else news_id

    def trending(self, n: int, now_s: float | None = None) -> list[dict[str, Any]]:
        """List the ``n`` articles with the most clicks, decayed to ``now_s``, the highest first.

        By default ``now_s`` is the time of the newest statistics.
        """
        with self._lock:
            if now_s is None:
                now_s = max((time_s for _, _, time_s in self._popularity.values()), default=0.0)
            best = heapq.nlargest(
                n,
                (
                    (order, news_id)
                    for news_id, (order, _, _) in self._popularity.items()
                    if self._shows(news_id)
                ),
            )
            return [
                self._articles[news_id].to_json() | {"clicks": round(self._clicks_at(news_id, now_s), 2)}
                for _, news_id in best
            ]

    def newest(self, n: int, now_s: float) -> list[dict[str, Any]]:
        """List the ``n`` articles published last by ``now_s``, the newest first."""
        with self._lock:
            best = heapq.nlargest(
                n,
                (
                    (article.published_at_s, news_id)
                    for news_id, article in self._articles.items()
                    if article.published_at_s <= now_s and self._shows(news_id)
                ),
            )
            return [self._articles[news_id].to_json() for _, news_id in best]

    def users(self, query: str, n: int) -> list[dict[str, Any]]:
        """List the ``n`` users seen last whose ids contain ``query`` (case-insensitive), the last first."""
        wanted = query.casefold()
        with self._lock:
            return list(self._users_like(wanted, n))

    def clicks_of(self, user_id: str) -> list[dict[str, Any]]:
        """List a user's clicks, the newest first."""
        with self._lock:
            user = self._users.get(user_id)
            clicks = sorted(user.clicks, key=lambda click: click[0], reverse=True) if user else []
            return [
                {"time_s": time_s}
                | (
                    self._articles[news_id].to_json()
                    if news_id in self._articles
                    else {"news_id": news_id, "title": "", "category": "", "published_at_s": None}
                )
                for time_s, news_id in clicks
            ]

    def _users_like(self, wanted: str, n: int) -> Iterator[dict[str, Any]]:
        for user_id, user in reversed(self._users.items()):
            if n <= 0:
                return
            if wanted in user_id.casefold():
                n -= 1
                yield {"user_id": user_id, "clicks": len(user.clicks), "seen_s": user.seen_s}

    def _seen(self, user_id: str, time_s: float) -> _User | None:
        if time_s <= self._erased.get(user_id, float("-inf")):
            return None
        user = self._users.get(user_id) or _User()
        _put(self._users, user_id, user, self._max_users)
        user.seen_s = max(user.seen_s, time_s)
        return user

    def _shows(self, news_id: str) -> bool:
        return news_id in self._articles and news_id not in self._withdrawn

    def _clicks_at(self, news_id: str, now_s: float) -> float:
        _, clicks, time_s = self._popularity[news_id]
        return clicks_left(clicks, time_s, now_s)


def _put(held: OrderedDict[str, V], key: str, value: V, most: int) -> None:
    held[key] = value
    held.move_to_end(key)
    if len(held) > most:
        held.popitem(last=False)
