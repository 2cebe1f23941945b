"""Slate batches: an article's events in one partition, in order, in records that Kafka takes."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from freshet.models.events.events import MAX_CANDIDATES, MAX_EVENT_BYTES, SlateBatch, SlateEvent
from freshet.streams.agents.slates import SlateCollector
from freshet.streams.kafka.outbox import Outbox, partition_of
from freshet.streams.settings import Settings

_PARTITIONS = 4
_SETTINGS = Settings(partitions=_PARTITIONS, topic_prefix="t.", data_dir=Path("none"))


class Collected(Outbox):
    """What would be sent: target partition and batch."""

    def __init__(self) -> None:
        super().__init__(_SETTINGS)
        self.sizes: list[int] = []
        self.batches: list[tuple[int, SlateBatch]] = []

    def add_record(self, topic: str, partition: int, key: bytes | None, value: bytes | None, *_: Any) -> None:
        assert topic == "t.slate-batches"
        assert key == str(partition).encode()
        assert value is not None
        self.sizes.append(len(value))
        self.batches.append((partition, SlateBatch.from_json(value)))


_ids = st.lists(st.integers(0, 30).map("N{}".format), max_size=12)
_events = st.lists(st.tuples(st.sampled_from(["clicks", "impressions"]), st.integers(0, 3), _ids, _ids))


@given(_events)
def test_every_article_of_every_event_goes_once_to_its_own_partition_in_order(
    events: list[tuple[str, int, list[str], list[str]]],
) -> None:
    collector, outbox = SlateCollector(_SETTINGS), Collected()
    wanted: defaultdict[tuple[str, int, str], list[tuple[int, bool, bool]]] = defaultdict(list)
    for offset, (source, partition, shown, clicked) in enumerate(events):
        collector.add_event(
            source,
            partition,
            offset,
            7.0 + offset,
            shown=tuple(shown),
            clicked=tuple(clicked),
        )
        for news_id in {*shown, *clicked}:
            wanted[source, partition, news_id].append((offset, news_id in shown, news_id in clicked))
    collector.publish(outbox)
    got: defaultdict[tuple[str, int, str], list[tuple[int, bool, bool]]] = defaultdict(list)
    for target, batch in outbox.batches:
        for event in batch.events:
            assert event.time_s == 7.0 + event.offset
            for news_id in {*event.shown, *event.clicked}:
                assert partition_of(news_id, _PARTITIONS) == target
                row = (event.offset, news_id in event.shown, news_id in event.clicked)
                got[batch.source, batch.partition, news_id].append(row)
            assert len(set(event.shown)) == len(event.shown)
            assert len(set(event.clicked)) == len(event.clicked)
    assert got == wanted


def test_batches_of_the_longest_ids_fit_a_record() -> None:
    collector, outbox = SlateCollector(_SETTINGS), Collected()
    ids = tuple("\U0001f4f0" * 123 + f"{i:05d}" for i in range(MAX_CANDIDATES))
    for offset in range(30):
        collector.add_event("impressions", 0, offset, 7.0, shown=ids, clicked=ids[:10])
    collector.publish(outbox)
    assert max(outbox.sizes) <= MAX_EVENT_BYTES
    events: list[SlateEvent] = [event for _, batch in outbox.batches for event in batch.events]
    assert sum(len(event.shown) for event in events) == 30 * MAX_CANDIDATES


def test_what_is_published_is_not_published_again() -> None:
    collector, outbox = SlateCollector(_SETTINGS), Collected()
    collector.add_event("clicks", 1, 5, 7.0, shown=(), clicked=("N1",))
    collector.publish(outbox)
    collector.publish(outbox)
    assert len(outbox.batches) == 1
