"""A user's records on another partition: forwarded, and counted once, however often a crash repeats them."""

from __future__ import annotations

import asyncio
import copy
from collections import defaultdict
from collections.abc import Iterable
from types import SimpleNamespace
from typing import Any

import numpy as np
import orjson
import pytest

from freshet.models.articles.catalog import ArticleCatalog
from freshet.models.events.events import Impression, from_unix_s
from freshet.models.ranking.linear import LinearRanker
from freshet.models.users.erasures import Erasures
from freshet.models.users.state import UserState
from freshet.streams.agents.impression_ranker import ImpressionRanker
from freshet.streams.agents.user_agent import UserAgent
from freshet.streams.kafka.outbox import Outbox, partition_of
from freshet.streams.monitoring.rolling_auc import RollingAuc
from freshet.streams.settings import Settings
from freshet.streams.state.ranker_weights import Rankers
from freshet.streams.state.serving import pooling
from freshet.streams.state.user_states import UserStates

_SETTINGS = Settings(topic_prefix="t.", partitions=4, dimension=4)
_NOW_S = 1_772_438_400.0
_HOME = partition_of("U1", 4)
_AWAY = (_HOME + 1) % 4


class Crash(Exception):
    """As if the process had been killed."""


class Kafka(Outbox):
    """Topics in memory, which outlive the processes that write to them."""

    def __init__(self) -> None:
        super().__init__(_SETTINGS)
        self.topics: defaultdict[tuple[str, int], list[Any]] = defaultdict(list)
        self.deliveries_left: int | None = None
        """Partitions that are still written to before a crash."""
        self._waiting: list[tuple[str, int, Any]] = []

    def add_record(
        self, topic: str, partition: int, key: bytes | None, value: bytes | None, headers: Any = (), **_: Any
    ) -> None:
        record = SimpleNamespace(
            topic=topic, partition=partition, key=key, value=value, headers=headers, timestamp=0
        )
        self._waiting.append((topic, partition, record))

    async def flush(self) -> dict[tuple[str, int], int]:
        """The last partition first: which of them acknowledges first is a matter of chance."""
        waiting, self._waiting = self._waiting, []
        for place in reversed(dict.fromkeys((topic, partition) for topic, partition, _ in waiting)):
            if self.deliveries_left is not None:
                if not self.deliveries_left:
                    raise Crash
                self.deliveries_left -= 1
            for topic, partition, record in waiting:
                if (topic, partition) == place:
                    record.offset = len(self.topics[place])
                    self.topics[place].append(record)
        return {place: len(records) - 1 for place, records in self.topics.items()}

    def counted(self) -> int:
        """Impressions of N1 as the statistics have them, which go by the last offset of each source."""
        last: dict[tuple[str, int], int] = {}
        counted = 0
        for (topic, _), records in list(self.topics.items()):
            for record in records if topic == "t.slate-batches" else ():
                batch = orjson.loads(record.value)
                source = batch["source"], batch["partition"]
                for event in batch["events"]:
                    if "N1" in event["shown"] and event["offset"] > last.get(source, -1):
                        last[source] = event["offset"]
                        counted += 1
        return counted


class Table:
    """A table whose changelog is on a :class:`Kafka`."""

    changelog = "t.changelog"

    def __init__(self, kafka: Kafka) -> None:
        self._stored = {
            (partition, record.key): record.value
            for (topic, partition), records in kafka.topics.items()
            if topic == self.changelog
            for record in records
        }

    def get(self, partition: int, key: bytes) -> bytes | None:
        return self._stored.get((partition, key))

    def write_changelog(self, outbox: Outbox, partition: int, items: Iterable[Any]) -> None:
        for key, value in items:
            outbox.add_record(self.changelog, partition, key, value)

    def write_store(self, partition: int, items: Iterable[Any], offset: int) -> None:
        self._stored |= {(partition, key): value for key, value in items}


def _worker(kafka: Kafka) -> tuple[UserAgent, UserStates]:
    """A process that has just started."""
    catalog = ArticleCatalog(4)
    catalog.put_article("N1", np.eye(4, dtype=np.float32)[0], _NOW_S - 60.0)
    table: Any = Table(kafka)
    states = UserStates(table, pooling(_SETTINGS), catalog, 10, Erasures())
    progress: Any = SimpleNamespace(lags=dict)
    kafka._waiting.clear()

    def population(now_s: float) -> Any:
        return np.zeros(4, np.float32)

    ranker = ImpressionRanker(
        settings=_SETTINGS,
        catalog=catalog,
        rankers=Rankers(LinearRanker()),
        population=population,
        rolling_auc=RollingAuc(),
    )
    agent = UserAgent(
        settings=_SETTINGS,
        states=states,
        catalog=catalog,
        outbox=kafka,
        progress=progress,
        population=population,
        impression_ranker=ranker,
    )
    return agent, states


def _handle(kafka: Kafka, partition: int, start: int = 0) -> UserState | None:
    """Have a new process handle a partition of impressions from an offset on, up to the partition's end."""
    agent, states = _worker(kafka)
    asyncio.run(agent._handle(kafka.topics["t.impressions", partition][start:]))
    return states.stored(_HOME, "U1")


@pytest.fixture
def kafka() -> Kafka:
    """With three impressions of one user, on another partition than the user's."""
    kafka = Kafka()
    for number in range(3):
        impression = Impression(
            impression_id=f"I{number}",
            user_id="U1",
            time=from_unix_s(_NOW_S + number),
            candidates=("N1", "N2"),
            clicked=("N1",),
        )
        kafka.add_record("t.impressions", _AWAY, b"U1", impression.to_json())
    asyncio.run(kafka.flush())
    return kafka


def _assert_counted_once(kafka: Kafka, state: UserState | None) -> None:
    assert state is not None
    assert state.clicks == 3
    assert state.exposures == {"N1": 3, "N2": 3}
    assert state.offsets == {("impressions", _AWAY): 2}
    assert kafka.counted() == 3


def test_what_lies_elsewhere_is_forwarded_and_counts_where_its_user_is(kafka: Kafka) -> None:
    assert _handle(kafka, _AWAY) is None
    copies = kafka.topics["t.impressions", _HOME]
    assert [record.value for record in copies] == [
        record.value for record in kafka.topics["t.impressions", _AWAY]
    ]
    _assert_counted_once(kafka, _handle(kafka, _HOME))


def test_a_worker_killed_between_forwarding_and_committing_forwards_again_and_nothing_counts_twice(
    kafka: Kafka,
) -> None:
    _handle(kafka, _AWAY)
    _handle(kafka, _HOME)
    _handle(kafka, _AWAY, 1)  # the first one's offset was committed, the others' were not
    assert len(kafka.topics["t.impressions", _HOME]) == 5
    _assert_counted_once(kafka, _handle(kafka, _HOME, 3))
    # Nor where the copies of both times are read again.
    _assert_counted_once(kafka, _handle(kafka, _HOME))


def test_a_worker_killed_while_it_handles_copies_loses_and_repeats_nothing(kafka: Kafka) -> None:
    _handle(kafka, _AWAY)
    _handle(kafka, _AWAY)  # each copy twice
    deliveries, crashed = 0, True
    while crashed:
        survived = copy.deepcopy(kafka)
        survived.deliveries_left = deliveries
        crashed = False
        try:
            _handle(survived, _HOME)
        except Crash:
            crashed = True
        survived.deliveries_left = None
        _assert_counted_once(survived, _handle(survived, _HOME))
        deliveries += 1
    assert deliveries > 3
