"""A newspaper on a real broker that changes its bundle, or serves two."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from freshet.models.embedding.bundle import Bundle
from freshet.models.events.events import (
    Article,
    ArticleVector,
    Recommendation,
    UserVector,
    from_unix_s,
    parse_vector_key,
)
from freshet.streams.client import Freshet
from freshet.streams.kafka.connection import topic_name
from freshet.streams.kafka.topic_admin import ensure_topics
from freshet.streams.settings import Settings
from freshet.workers.processes.embedding.models import open_models
from freshet.workers.processes.embedding.worker import EmbeddingWorker
from tests.bundles import CATEGORIES
from tests.integration.served_world import NOW, ids_of
from tests.integration.stream_harness import (
    START_S,
    events_on,
    keyed,
    read_all,
    send,
    stream_process,
    wait_for,
)
from tests.waiting import HANG_S

ARTICLES = [f"N{i}" for i in range(12)]


def article(news_id: str) -> Article:
    return Article(
        news_id=news_id,
        published_at=from_unix_s(START_S - 3_600.0),
        title=f"Article {news_id}",
        category=CATEGORIES[len(news_id) % 2],
    )


class Site:
    """A newspaper that changes its bundle."""

    def __init__(self, settings: Settings) -> None:
        ensure_topics(settings)
        self.settings = settings
        self._open = ExitStack()
        self.client = self._open.enter_context(Freshet(settings))

    def close(self) -> None:
        self._open.close()

    def publish(self, *news_ids: str) -> None:
        asyncio.run(send(self.settings, [keyed("articles", article(i), i) for i in news_ids]))

    def delete(self, news_id: str) -> None:
        asyncio.run(send(self.settings, [("articles", news_id.encode(), None)]))

    @contextmanager
    def embedding(self, bundle: Bundle) -> Iterator[None]:
        """An embedding worker of ``bundle`` beside whatever else runs."""
        models = open_models(self.settings, bundle)
        worker = EmbeddingWorker(self.settings, models.encoder, models.tower)
        thread = threading.Thread(target=worker.run)
        thread.start()
        try:
            yield
        finally:
            worker.stop()
            thread.join(30.0)
            assert not thread.is_alive()

    @contextmanager
    def serving(self, **environment: str) -> Iterator[Any]:
        """A stream worker that serves what is promoted."""
        environment |= {"FRESHET_BUNDLES": str(self.settings.bundles), "FRESHET_DIMENSION": "7"}
        with stream_process(self.settings, self.settings.data_dir, **environment) as worker:
            yield worker
            assert worker.stop() == 0

    def recommend(self, user_id: str = "U1") -> Recommendation:
        return self.client.recommend(
            user_id, 100, time=NOW, exclude_seen=False, diversity=0.0, timeout_s=HANG_S
        )

    def until_embedded(self, bundle: Bundle, records: int) -> None:
        """Wait for that many records of a bundle on ``article-vectors``, deletions included."""

        async def embedded() -> bool:
            return len(self.vectors_of(bundle, await self._vector_records())) >= records

        asyncio.run(wait_for(embedded, f"{records} records of {bundle.id}"))

    def until_answered(self, bundle: Bundle, clicks: int, articles: set[str], workers: list[Any]) -> None:
        """Wait for an answer of ``bundle`` that rests on ``clicks`` and knows exactly ``articles``."""

        async def answered() -> bool:
            answer = await asyncio.to_thread(self.recommend)
            assert answer.bundle == bundle.id
            assert answer.degraded is None
            return answer.user_clicks == clicks and set(ids_of(answer)) == articles

        asyncio.run(wait_for(answered, f"{bundle.id} with {sorted(articles)}", workers))

    async def _vector_records(self) -> list[Any]:
        return await read_all(self.settings, topic_name(self.settings, "article-vectors"))

    @staticmethod
    def vectors_of(bundle: Bundle, records: list[Any]) -> list[Any]:
        return [record for record in records if parse_vector_key(record.key)[0] == bundle.id]

    def check_vectors(self, *bundles: Bundle) -> None:
        """Every vector on the topics has its own bundle's dimension."""
        dimensions = {bundle.id: bundle.manifest.d for bundle in bundles}
        for vector in asyncio.run(events_on(self.settings, "user-vectors", UserVector)):
            assert {len(head.vector) for head in vector.heads} == {dimensions[vector.bundle]}
        for record in asyncio.run(self._vector_records()):
            if record.value is not None:
                article_vector = ArticleVector.from_json(record.value)
                assert len(article_vector.vector) == dimensions[article_vector.bundle]
        assert asyncio.run(read_all(self.settings, topic_name(self.settings, "dead-letters"))) == []
