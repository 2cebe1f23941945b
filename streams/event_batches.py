"""Batches that grow with the load: one event when idle, many under pressure, and never a wait.

Faust's own ``take(n, within)`` waits for its timeout when fewer than ``n`` events come, and acknowledges in a
``finally``, whatever happened to the batch. Here a batch is whatever has arrived, and nothing is
acknowledged.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from faust.types import EventT, StreamT


async def event_batches(stream: StreamT[Any], max_events: int) -> AsyncIterator[list[EventT[Any]]]:
    """Yield what has arrived on ``stream``, at most ``max_events`` at a time.

    Every yielded list holds at least one event, in the order of arrival.
    """
    batch: list[EventT[Any]] = []
    reading: Any = stream  # Faust's interface types leave out what its streams can do
    queue = reading.channel.queue
    async for event in reading.noack().events():
        batch.append(event)
        if len(batch) >= max_events or queue.empty():
            yield batch
            batch = []
