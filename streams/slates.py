"""Slate batches: what the statistics need of impressions and clicks, sorted by the article's partition."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import orjson

from freshet.streams import topics
from freshet.streams.kafka import topic_name
from freshet.streams.outbox import Outbox, partition_of
from freshet.streams.settings import Settings

_MAX_ARTICLES = 1_000
"""In one record: at 128 characters of 4 bytes an id, half of the largest value."""


class SlateCollector:
    """Collects slates and adds them to an outbox as few records.

    An article's events all go to one partition of ``slate-batches``, in the order of their source's offsets,
    so that the statistics can tell by the offset what they have applied.
    """

    def __init__(self, settings: Settings) -> None:
        self._topic = topic_name(settings, topics.SLATES.name)
        self._partitions = settings.partitions
        self._events: defaultdict[tuple[str, int, int], list[dict[str, Any]]] = defaultdict(list)

    def add(
        self,
        *,
        source: str,
        partition: int,
        offset: int,
        time_s: float,
        shown: tuple[str, ...],
        clicked: tuple[str, ...],
    ) -> None:
        """Collect the event at ``source``'s ``partition`` and ``offset``; a repeated article counts once."""
        targets: dict[int, dict[str, Any]] = {}
        for field, news_ids in (("shown", shown), ("clicked", clicked)):
            for news_id in dict.fromkeys(news_ids):
                target = partition_of(news_id, self._partitions)
                event = targets.get(target)
                if event is None:
                    event = targets[target] = {"offset": offset, "time_s": time_s, "shown": [], "clicked": []}
                event[field].append(news_id)
        for target, event in targets.items():
            self._events[source, partition, target].append(event)

    def publish(self, outbox: Outbox) -> None:
        """Add everything collected to the next flush of ``outbox``."""
        for (source, partition, target), events in self._events.items():
            key = str(target).encode()
            for part in _parts(events):
                batch = {"version": 1, "source": source, "partition": partition, "events": part}
                outbox.add(self._topic, target, key, orjson.dumps(batch))
        self._events.clear()


def _parts(events: list[dict[str, Any]]) -> list[list[dict[str, Any]]]:
    parts: list[list[dict[str, Any]]] = [[]]
    articles = 0
    for event in events:
        size = len(event["shown"]) + len(event["clicked"])
        if parts[-1] and articles + size > _MAX_ARTICLES:
            parts.append([])
            articles = 0
        parts[-1].append(event)
        articles += size
    return parts
