"""Lag and members of consumer groups, as the broker knows them.

A worker's own measure of its lag is missing when that worker is stopped, and wrong when its consumer hangs:
an aiokafka consumer learns of new records only by fetching them. The broker shows both cases, for every
worker of a group.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from kafka import KafkaAdminClient, TopicPartition
from kafka.admin import OffsetSpec

from freshet.streams.kafka import topics
from freshet.streams.kafka.connection import client_config, topic_name
from freshet.streams.kafka.consumers import ISOLATION_LEVEL
from freshet.streams.kafka.group_place import GroupDescription
from freshet.streams.settings import Settings

# Faust adds to a member's metadata what kafka-python cannot read, and would log in full at every look.
logging.getLogger("kafka.admin._groups").setLevel(logging.ERROR)

_REQUEST_TIMEOUT_MS = 5_000
_STREAM_TOPICS = (
    topics.IMPRESSIONS,
    topics.CLICKS,
    topics.SLATES,
    topics.REQUESTS,
    topics.RANKER_EXAMPLES,
)


@dataclass(frozen=True, slots=True)
class Position:
    """Position of a group, or of a reader without one, in one partition."""

    done: int
    """First offset that the group has not committed, or that the reader has not applied."""
    end: int
    """Last stable offset: the next record's, or that of the oldest open transaction."""

    @property
    def lag(self) -> int:
        """Number of offsets not committed, or not applied."""
        return max(0, self.end - self.done)


def stream_group(settings: Settings) -> tuple[str, list[str]]:
    """Name the consumer group of the stream workers, and the topics (full names) that it reads."""
    return f"{settings.topic_prefix}stream", [topic_name(settings, topic.name) for topic in _STREAM_TOPICS]


def embedding_group(settings: Settings, bundle: str) -> tuple[str, list[str]]:
    """Name the consumer group that embeds articles for ``bundle``, and the topic that it reads."""
    return topic_name(settings, f"embedding.{bundle}"), [topic_name(settings, topics.ARTICLES.name)]


class GroupLag:
    """One connection to the broker for questions about groups; not thread-safe.

    Args:
        settings: Where Kafka is, and how many partitions topics have.

    Raises:
        KafkaError: The broker does not answer.
    """

    def __init__(self, settings: Settings) -> None:
        self._partitions = range(settings.partitions)
        self._admin = KafkaAdminClient(
            **client_config(settings) | {"request_timeout_ms": _REQUEST_TIMEOUT_MS}
        )

    def positions(self, groups: Mapping[str, Collection[str]]) -> dict[TopicPartition, Position]:
        """Return the position of each group in every partition of its topics (full names).

        A group that has committed nothing in a partition, or only offsets that are kept no longer, stands at
        the oldest record.

        Raises:
            KafkaError: The broker does not answer.
        """
        read = {
            group: [TopicPartition(topic, partition) for topic in names for partition in self._partitions]
            for group, names in groups.items()
        }
        partitions = [tp for tps in read.values() for tp in tps]
        committed: dict[TopicPartition, int] = {}
        for group in read:
            found = self._admin.list_group_offsets({group: None})[group]
            committed |= {tp: at.offset for tp, at in found.items() if at.offset >= 0}
        # After the committed ones: a group never stands behind an end that was asked for before.
        ends = self._ends(partitions)
        positions = {tp: Position(committed.get(tp, 0), ends[tp]) for tp in partitions}
        behind = [tp for tp, position in positions.items() if position.lag]
        if behind:
            oldest = self._admin.list_partition_offsets(dict.fromkeys(behind, OffsetSpec.EARLIEST))
            for tp in behind:
                positions[tp] = Position(max(positions[tp].done, oldest[tp].offset), positions[tp].end)
        return positions

    def positions_at(self, read: Mapping[tuple[str, int], int]) -> dict[TopicPartition, Position]:
        """Return the positions of a reader without a group, whose next offsets are ``read``.

        Raises:
            KafkaError: The broker does not answer.
        """
        partitions = {TopicPartition(*tp): offset for tp, offset in read.items()}
        if not partitions:
            return {}
        ends = self._ends(partitions)
        return {tp: Position(offset, ends[tp]) for tp, offset in partitions.items()}

    def _ends(self, partitions: Iterable[TopicPartition]) -> dict[TopicPartition, int]:
        """Return the last stable offsets: no reader can pass a transaction that is still open."""
        found = self._admin.list_partition_offsets(
            dict.fromkeys(partitions, OffsetSpec.LATEST), isolation_level=ISOLATION_LEVEL
        )
        return {tp: at.offset for tp, at in found.items()}

    def describe(self, group: str, names: Collection[str]) -> GroupDescription:
        """Describe the members of ``group``, and what each reads of its topics ``names`` (full names).

        Raises:
            KafkaError: The broker does not answer.
        """
        partitions = [TopicPartition(topic, partition) for topic in names for partition in self._partitions]
        return GroupDescription.of(self._admin.describe_groups([group])[group], partitions)

    def close(self) -> None:
        """Disconnect."""
        self._admin.close()
