"""Slate batches: impressions and clicks for the statistics, grouped by the article's partition."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import Any

import orjson

from freshet.models.users.user_share import Counted
from freshet.streams.kafka import topics
from freshet.streams.kafka.connection import topic_name
from freshet.streams.kafka.headers import NO_HEADERS
from freshet.streams.kafka.outbox import Outbox, partition_of
from freshet.streams.records.tracing import RecordTraces
from freshet.streams.settings import Settings

_MAX_ARTICLES = 1_000
"""Article ids in one record: at 128 characters of 4 bytes each, half of the largest value."""

_MAX_REMEMBERED = 1 << 18
"""Articles whose partition is cached."""


class SlateCollector:
    """Collects slates and adds them to an outbox as few records.

    An article's events all go to one partition of ``slate-batches``, in the order of their source's offsets,
    so that the statistics recognise by the offset what they have applied.
    """

    def __init__(self, settings: Settings) -> None:
        self._topic = topic_name(settings, topics.SLATES.name)
        self._target_of = _Partitions(settings.partitions)
        self._events: defaultdict[tuple[str, int, int], list[dict[str, Any]]] = defaultdict(list)
        self.left_out = False
        """True if part of a collected event does not count. Only the user's earlier state shows that, so the
        batches must be delivered before newer states; otherwise a redelivered event would count in full."""

    def add_event(
        self,
        source: str,
        partition: int,
        offset: int,
        time_s: float,
        *,
        shown: tuple[str, ...],
        clicked: tuple[str, ...],
        context: tuple[str, ...] = (),
        counted: Counted | None = None,
    ) -> None:
        """Collect one event; a repeated article counts once.

        Args:
            source: The event's topic.
            partition: The event's partition.
            offset: The event's offset.
            time_s: Event time, Unix seconds.
            shown: News ids of the slate.
            clicked: News ids that were clicked.
            context: News ids that the user had clicked lately.
            counted: What of the event counts; ``None``: all of it.
        """
        target_of = self._target_of
        by_target: dict[int, tuple[list[str], list[str]]] = {}
        slate = len(set(shown))
        if counted is not None and not counted.whole:
            self.left_out = True
            shown, clicked = tuple(counted.shown), tuple(counted.clicked)
        distinct = dict.fromkeys(shown)
        for news_id in distinct:
            target = target_of[news_id]
            if target in by_target:
                by_target[target][0].append(news_id)
            else:
                by_target[target] = ([news_id], [])
        for news_id in dict.fromkeys(clicked):
            by_target.setdefault(target_of[news_id], ([], []))[1].append(news_id)
        for target, names in by_target.items():
            event: dict[str, Any] = {
                "offset": offset,
                "time_s": time_s,
                "shown": names[0],
                "clicked": names[1],
                "slate": slate,
            }
            if names[1] and context:
                event["context"] = context
            self._events[source, partition, target].append(event)
        if counted is not None and counted.left_out:
            self._leave_out(source, partition, {"offset": offset, "time_s": time_s}, counted.left_out)

    def _leave_out(self, source: str, partition: int, event: dict[str, Any], news_ids: Iterable[str]) -> None:
        """Collect that the event counts nothing for ``news_ids``, so that its offset is passed."""
        by_target: defaultdict[int, list[str]] = defaultdict(list)
        for news_id in news_ids:
            by_target[self._target_of[news_id]].append(news_id)
        for target, names in by_target.items():
            self._events[source, partition, target].append(
                event | {"shown": [], "clicked": [], "uncounted": names}
            )

    def publish(self, outbox: Outbox, traces: RecordTraces | None = None) -> None:
        """Add all collected slates to the next flush of ``outbox``, each with its events' traces."""
        for (source, partition, target), events in self._events.items():
            key = str(target).encode()
            for part in _parts(events):
                batch = {"version": 1, "source": source, "partition": partition, "events": part}
                headers = NO_HEADERS
                if traces is not None:
                    headers = traces.headers_of(source, partition, (event["offset"] for event in part))
                outbox.add_record(self._topic, target, key, orjson.dumps(batch), headers)
        self._events.clear()
        self.left_out = False


class _Partitions(dict[str, int]):
    """Cached partitions of keys: takes a third of the time of :func:`functools.lru_cache`."""

    def __init__(self, partitions: int) -> None:
        super().__init__()
        self._partitions = partitions

    def __missing__(self, key: str) -> int:
        if len(self) >= _MAX_REMEMBERED:
            self.clear()
        partition = self[key] = partition_of(key, self._partitions)
        return partition


def _parts(events: list[dict[str, Any]]) -> list[list[dict[str, Any]]]:
    parts: list[list[dict[str, Any]]] = [[]]
    articles = 0
    for event in events:
        size = sum(len(event.get(names, ())) for names in ("shown", "clicked", "context", "uncounted"))
        if parts[-1] and articles + size > _MAX_ARTICLES:
            parts.append([])
            articles = 0
        parts[-1].append(event)
        articles += size
    return parts
