"""Effects that the demo shows on the trained system: three readers' lists, a click, a breaking article.

Latencies are measured as a client sees them: from before a record is handed to Kafka until the first answer
that shows its effect, with requests one after the other.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from freshet.models.events.events import (
    Article,
    Filters,
    Recommendation,
    RecommendedArticle,
    from_unix_s,
)
from freshet.streams.client import Freshet
from freshet.workers.demo.newspaper import Newspaper, Reader
from freshet.workers.errors import WorkerError

SHOWN = 5
"""Number of articles shown of a reader's list."""
MOVES_SHOWN = 8
"""Number of articles shown of the lists before and after a click."""
LISTED = 50
"""Length of the lists requested, long enough to find where a risen article was before."""
DIVERSITY = 0.05
"""Diversity of the lists. At the default, readers of different interests get similar lists in so small a
newspaper."""

_NEAR = 20
_TIMEOUT_S = 30.0
_MINUTE_S = 60.0
_BREAKING_AGE_S = 5 * _MINUTE_S


class DemoFailed(WorkerError):
    """The system did not show an expected effect."""


@dataclass(frozen=True, slots=True)
class Effect:
    """Latency until an answer showed what was published."""

    seconds: float
    questions: int
    """Requests made until then, including the one that showed it."""


@dataclass(frozen=True, slots=True)
class ClickStory:
    """Change of a reader's list by one click."""

    reader: Reader
    article: RecommendedArticle
    """The clicked article."""
    before: Recommendation
    after: Recommendation
    effect: Effect

    def moves(self) -> list[int | None]:
        """Find the rank before the click, from 1, of each article listed after it; ``None``: not listed."""
        ranks = {item.news_id: rank for rank, item in enumerate(self.before.items, start=1)}
        return [ranks.get(item.news_id) for item in self.after.items]

    def risen(self) -> list[tuple[RecommendedArticle, int, int]]:
        """List the articles that have risen by two ranks or more, with both ranks; the largest rise first."""
        pairs = zip(self.after.items, self.moves(), strict=True)
        risen = [
            (item, was, rank)
            for rank, (item, was) in enumerate(pairs, start=1)
            if was is not None and was > rank + 1
        ]
        return sorted(risen, key=lambda entry: entry[2] - entry[1])


@dataclass(frozen=True, slots=True)
class BreakingStory:
    """Ranks of a new article in the readers' lists."""

    article: Article
    effect: Effect
    ranks: Sequence[tuple[Reader, int | None]]
    """Rank of the article in each reader's list, from 1; ``None``: not among the first ``LISTED``."""


def lists_of(client: Freshet, readers: Sequence[Reader], now_s: float) -> list[Recommendation]:
    """Request each reader's recommendations at ``now_s``."""
    return [_list_of(client, reader, now_s) for reader in readers]


def measure_click(
    client: Freshet, reader: Reader, category: str, newspaper: Newspaper, now_s: float
) -> ClickStory:
    """Click an article on ``category`` for ``reader``, on the most frequent subject of that category.

    Raises:
        DemoFailed: There is no such article, or no answer reflected the click in time.
    """
    elsewhere = client.recommend(
        reader.user_id,
        LISTED,
        filters=Filters(categories=(category,)),
        time=from_unix_s(now_s),
        timeout_s=_TIMEOUT_S,
    )
    if not elsewhere.items:
        raise DemoFailed(f"{reader.user_id} has read everything about {category}; try another --seed")
    subjects = Counter(newspaper.articles[item.news_id].subcategory for item in elsewhere.items[:_NEAR])
    subject, _ = subjects.most_common(1)[0]
    article = next(
        item for item in elsewhere.items if newspaper.articles[item.news_id].subcategory == subject
    )
    before = _list_of(client, reader, now_s)
    after, effect = _click(client, reader, article.news_id, before.user_clicks, now_s)
    return ClickStory(reader, article, before, after, effect)


def _click(
    client: Freshet, reader: Reader, news_id: str, clicks_before: int, now_s: float
) -> tuple[Recommendation, Effect]:
    started_s = time.perf_counter()
    client.click(reader.user_id, news_id, time=from_unix_s(now_s))
    questions = 0
    while time.perf_counter() - started_s < _TIMEOUT_S:
        questions += 1
        answer = _list_of(client, reader, now_s)
        if answer.user_clicks > clicks_before:
            return answer, Effect(time.perf_counter() - started_s, questions)
    raise DemoFailed(
        f"no answer to {reader.user_id} reflected the click on {news_id} within {_TIMEOUT_S:g} s"
    )


def measure_breaking(
    client: Freshet, readers: Sequence[Reader], newspaper: Newspaper, category: str, now_s: float
) -> BreakingStory:
    """Publish a new article on ``category`` at ``now_s`` and find its rank in each reader's list.

    Raises:
        DemoFailed: It was not recommendable in time.
    """
    article = newspaper.breaking(category, now_s)
    effect = publish_and_find(client, article, readers[0].user_id)
    lists = lists_of(client, readers, now_s)
    ranks = [(reader, _rank(answer, article.news_id)) for reader, answer in zip(readers, lists, strict=True)]
    return BreakingStory(article, effect, ranks)


def publish_and_find(client: Freshet, article: Article, user_id: str) -> Effect:
    """Publish an article and request the newest of its category until it is among them.

    Raises:
        DemoFailed: It was not recommendable in time.
    """
    newest = Filters(categories=(article.category,), max_age_s=_BREAKING_AGE_S)
    started_s = time.perf_counter()
    client.publish(article)
    questions = 0
    while time.perf_counter() - started_s < _TIMEOUT_S:
        questions += 1
        answer = client.recommend(
            user_id, LISTED, filters=newest, time=article.published_at, timeout_s=_TIMEOUT_S
        )
        if _rank(answer, article.news_id) is not None:
            return Effect(time.perf_counter() - started_s, questions)
    raise DemoFailed(f"{article.news_id} was not recommendable within {_TIMEOUT_S:g} s of its publication")


def latencies_s(client: Freshet, user_ids: Sequence[str], now_s: float, k: int = 10) -> list[float]:
    """Measure the seconds from request to answer, one request after the other."""
    measured = []
    for user_id in user_ids:
        started_s = time.perf_counter()
        client.recommend(user_id, k, time=from_unix_s(now_s), timeout_s=_TIMEOUT_S)
        measured.append(time.perf_counter() - started_s)
    return measured


def last_minute_s(newspaper: Newspaper) -> float:
    """Return the time a minute after the newspaper's last impression, Unix seconds."""
    return newspaper.end_s + _MINUTE_S


def _list_of(client: Freshet, reader: Reader, now_s: float) -> Recommendation:
    return client.recommend(
        reader.user_id, LISTED, diversity=DIVERSITY, time=from_unix_s(now_s), timeout_s=_TIMEOUT_S
    )


def _rank(answer: Recommendation, news_id: str) -> int | None:
    ids = [item.news_id for item in answer.items]
    return ids.index(news_id) + 1 if news_id in ids else None
