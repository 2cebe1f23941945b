"""Puts what a replay read onto the topics: events by their keys, bad lines as dead letters, all counted."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from freshet.models.datasets.mind import BadLine
from freshet.models.events.events import Article, Event, Impression, RecommendationRequest
from freshet.streams.kafka.connection import topic_name
from freshet.streams.kafka.outbox import Outbox, partition_of
from freshet.streams.kafka.topics import ARTICLES, DEAD_LETTERS, IMPRESSIONS, REQUESTS, Topic
from freshet.streams.records.dead_letters import dead_letter
from freshet.streams.settings import Settings
from freshet.workers.replay.report import Published

TOPICS = (ARTICLES, IMPRESSIONS, REQUESTS, DEAD_LETTERS)
"""Destination of a replay."""


class Publisher:
    """Adds events to an outbox; nothing is on Kafka before :meth:`flush` returns."""

    def __init__(self, settings: Settings, outbox: Outbox, shift_s: float) -> None:
        self._settings = settings
        self._outbox = outbox
        self._shift = timedelta(seconds=shift_s) if shift_s else None
        self._partitions: dict[str, int] = {}
        self._waiting = 0
        self.published = Published()
        """Counted when added."""

    async def start(self) -> None:
        """Ask how many partitions each topic has."""
        for topic in TOPICS:
            self._partitions[topic.name] = await self._outbox.partitions(
                topic_name(self._settings, topic.name)
            )

    def article(self, article: Article | BadLine) -> None:
        """Publish an article, or its bad line."""
        if isinstance(article, BadLine):
            self.bad_line(article)
            return
        if self._shift:
            article = article.model_copy(update={"published_at": article.published_at + self._shift})
        self._add(ARTICLES, article.news_id, article)
        self.published.articles += 1

    def shifted(self, impression: Impression) -> Impression:
        """The impression at its time in the replay."""
        if not self._shift:
            return impression
        return impression.model_copy(update={"time": impression.time + self._shift})

    def impression(self, impression: Impression) -> None:
        """Publish an impression that is at its time in the replay, with its clicks."""
        self._add(IMPRESSIONS, impression.user_id, impression)
        self.published.impressions += 1
        self.published.clicks += len(impression.clicked)

    def request(self, request: RecommendationRequest) -> None:
        """Ask for a ranking."""
        self._add(REQUESTS, request.user_id, request)

    def bad_line(self, bad: BadLine) -> None:
        """Publish a line that could not be read as a dead letter."""
        letter = dead_letter(bad.file, bad.reason, datetime.now(UTC), line=bad.line, value=bad.raw)
        self._add(DEAD_LETTERS, f"{bad.file}:{bad.line}", letter)
        self.published.bad_lines += 1

    @property
    def waiting(self) -> int:
        """Records added since the last flush."""
        return self._waiting

    async def flush(self) -> None:
        """Deliver what was added; returns when Kafka has acknowledged all of it."""
        self._waiting = 0
        await self._outbox.flush()

    def _add(self, topic: Topic, key: str, event: Event) -> None:
        partition = partition_of(key, self._partitions[topic.name])
        self._outbox.add_record(
            topic_name(self._settings, topic.name), partition, key.encode(), event.to_json()
        )
        self._waiting += 1
