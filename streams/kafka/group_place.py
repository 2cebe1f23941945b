"""A process's place in its consumer group, by the broker's description: membership, and its share.

A worker that has lost its place does not notice: it gets no error and, owning nothing, has no lag. Only the
broker can distinguish it from a spare worker, which is assigned no partition because others read them all.
There may be one even where there are more partitions than workers: Faust gives each worker up to its share,
rounded up, so that of five workers four may read all of eight partitions. A spare worker is healthy and
ready: it takes over in a moment.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from kafka import TopicPartition


@dataclass(frozen=True, slots=True)
class Member:
    """A process's own view of its place in the group."""

    group: str
    topics: Collection[str]
    """Full names of the topics that the group reads."""
    name: str
    """Its static id, or else its client id: its name where a broker describes the group."""
    reading: frozenset[tuple[str, int]]
    """Partitions that it reads now."""
    restored: int = 0
    """Records restored of its tables; a change shows that it comes closer to reading."""


@dataclass(frozen=True, slots=True)
class GroupDescription:
    """Members of a group and their partitions, as its broker says."""

    settled: bool
    """Whether no rebalance is under way."""
    given: Mapping[str, frozenset[TopicPartition]]
    """Partitions by the member's static id, or else its client id."""
    unread: frozenset[TopicPartition]
    """Partitions of the group's topics that no member has."""

    @classmethod
    def of(cls, described: Mapping[str, Any], partitions: Collection[TopicPartition]) -> GroupDescription:
        """Read kafka-python's ``describe_groups`` of a group that is to read ``partitions``."""
        given: dict[str, frozenset[TopicPartition]] = {}
        for member in described["members"]:
            name = member["group_instance_id"] or member["client_id"]
            # Empty while the group shares its partitions out.
            assignment = member["member_assignment"] or {"assigned_partitions": []}
            found = {
                TopicPartition(topic["topic"], partition)
                for topic in assignment["assigned_partitions"]
                for partition in topic["partitions"]
            }
            given[name] = given.get(name, frozenset()) | found.intersection(partitions)
        return cls(
            settled=described["group_state"] not in {"PreparingRebalance", "CompletingRebalance"},
            given=given,
            unread=frozenset(partitions).difference(*given.values()),
        )


@dataclass(frozen=True, slots=True)
class Loss:
    """The reason why a process does not read what it should."""

    what: str
    waiting: bool
    """Whether it waits for a rebalance, which no restart would speed up."""


def loss_of(member: Member, group: GroupDescription) -> Loss | None:
    """Find what keeps ``member`` from its share; ``None`` where it reads all of it, or is a spare one."""
    if member.name not in group.given:
        return Loss(f"this worker is not a member of the consumer group {member.group}", waiting=False)
    if not group.settled:
        sharing = f"the consumer group {member.group} is sharing its partitions out"
        return None if member.reading else Loss(sharing, waiting=True)
    given = group.given[member.name]
    missing = given - {TopicPartition(*tp) for tp in member.reading}
    if missing:
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        return Loss(
            f"this worker does not read {_named(missing)}{more}, which the consumer group {member.group} "
            "has given it",
            waiting=False,
        )
    if not given and group.unread:
        return Loss(
            f"the consumer group {member.group} has given this worker no partition, while nobody reads "
            f"{_named(group.unread)}",
            waiting=False,
        )
    return None


def _named(partitions: Collection[TopicPartition]) -> str:
    first = min(partitions)
    return f"{first.topic}[{first.partition}]"


class Place:
    """A stopwatch of the time for which a member has lacked its share."""

    def __init__(self) -> None:
        self.loss: Loss | None = None
        self.lost_s = 0.0
        """Seconds without its share, except those in which the broker did not answer."""
        self._noted_s: float | None = None
        self._restored = 0

    def note(self, member: Member, group: GroupDescription, now_s: float) -> None:
        """Take in the broker's description at ``now_s``, on any clock."""
        loss = loss_of(member, group)
        if loss is None or self.loss is None or member.restored != self._restored:
            self.lost_s = 0.0
        elif self._noted_s is not None:
            self.lost_s += now_s - self._noted_s
        self.loss, self._restored, self._noted_s = loss, member.restored, now_s

    def unknown(self) -> None:
        """Pause the stopwatch: the broker does not answer."""
        self._noted_s = None
