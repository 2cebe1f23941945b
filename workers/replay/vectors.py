"""Waits until the articles published so far have vectors, so that a replay meets a system that is ready."""

from __future__ import annotations

import time
from collections.abc import Callable

from freshet.models.events.events import parse_vector_key
from freshet.streams.kafka.topics import ARTICLE_VECTORS
from freshet.workers.replay.connections import Connections
from freshet.workers.replay.pacing import POLL_S


async def wait_for_vectors(
    connections: Connections,
    news_ids: set[str],
    timeout_s: float,
    stopped: Callable[[], bool],
    on_progress: Callable[[int], None],
) -> int:
    """Read ``article-vectors`` until it holds each of ``news_ids``, or no new one has come for ``timeout_s``.

    Vectors of any bundle count: which of them is served is the workers' matter.

    Returns:
        The number without a vector; ``on_progress`` is given the number with one.
    """
    missing = set(news_ids)
    total = len(missing)
    async with connections.reader(ARTICLE_VECTORS, at_end=False) as consumer:
        deadline = time.monotonic() + timeout_s
        while missing and time.monotonic() < deadline and not stopped():
            before = len(missing)
            for records in (await consumer.getmany(timeout_ms=round(POLL_S * 1_000))).values():
                # A record without a key has no article: a foreign one, or a batch that cannot be decoded.
                missing.difference_update(
                    parse_vector_key(record.key)[1] for record in records if record.key and record.value
                )
            if len(missing) < before:
                deadline = time.monotonic() + timeout_s
            on_progress(total - len(missing))
    return len(missing)
