"""Creates freshet's topics, and finds problems with those that exist.

Nothing here changes or deletes a topic that exists: partitions and policies of a topic with data in it
are the operator's decision, so :func:`check_topics` names the command instead, and no worker starts on topics
whose number of partitions differs from its settings.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass

from kafka import KafkaAdminClient
from kafka.admin import ConfigResource, ConfigResourceType
from kafka.errors import TopicAlreadyExistsError

from freshet.streams.errors import PartitionsDiffer
from freshet.streams.kafka.connection import MAX_REQUEST_BYTES, client_config, topic_name
from freshet.streams.kafka.reachability import wait_for_broker
from freshet.streams.kafka.topics import TOPICS, Topic
from freshet.streams.settings import Settings

_TIMEOUT_MS = 30_000
_CONNECT_TIMEOUT_S = 10.0
_PURGED = {"max.compaction.lag.ms": str(7 * 24 * 3_600 * 1_000)}
"""Limit for topics of users' data: else Kafka compacts when it likes, and erased values stay on its disk."""


@dataclass(frozen=True, slots=True)
class Problem:
    """A fault of a topic that keeps freshet from working correctly."""

    topic: str
    """The full name, prefix included."""
    what: str
    remedy: str

    def __str__(self) -> str:
        """One line with topic, fault and remedy."""
        return f"Topic {self.topic}: {self.what}. {self.remedy}"


def topic_configs(topic: Topic) -> dict[str, str]:
    """Configuration of a topic beside partitions and replicas; segment sizes stay the broker's."""
    configs = {"cleanup.policy": topic.cleanup, "max.message.bytes": str(MAX_REQUEST_BYTES)}
    if topic.cleanup == "delete":
        configs["retention.ms"] = str(topic.retention_ms)
    if topic.tombstones_ms is not None:
        configs["delete.retention.ms"] = str(topic.tombstones_ms)
    return configs


def ensure_topics(settings: Settings) -> list[str]:
    """Create freshet's topics that do not exist, wait until they can be used, and return their names.

    Several processes may do so at the same time.

    Raises:
        PartitionsDiffer: A topic that exists has another number than the settings say; nothing is created.
        KafkaUnreachable: No broker answered.
        KafkaError: The broker refused.
    """
    return _ensure(
        settings,
        {
            topic_name(settings, topic.name): topic_configs(topic)
            | (_PURGED if topic.keyed_by_user and topic.cleanup == "compact" else {})
            for topic in TOPICS
        },
    )


def ensure_changelogs(settings: Settings, names: Iterable[str]) -> list[str]:
    """Create the changelogs of tables, by full name, before their worker joins its group.

    Faust creates them too, but does not wait: a worker that joined before the broker knew of one was assigned
    nothing of it. As a static member it kept that assignment over a crash, and did not restore the table.

    Raises:
        PartitionsDiffer: A topic that exists has another number than the settings say; nothing is created.
        KafkaUnreachable: No broker answered.
        KafkaError: The broker refused.
    """
    configs = {"cleanup.policy": "compact", "max.message.bytes": str(MAX_REQUEST_BYTES)} | _PURGED
    return _ensure(settings, dict.fromkeys(names, configs))


def count_partitions(settings: Settings) -> dict[str, int]:
    """Count the partitions of each of freshet's topics that exists, by full name.

    Raises:
        KafkaUnreachable: No broker answered.
        KafkaError: The broker refused.
    """
    names = {topic_name(settings, topic.name) for topic in TOPICS}
    with _admin(settings) as admin:
        return _partition_counts(admin, names & set(admin.list_topics()))


def read_configs(settings: Settings, names: Iterable[str]) -> dict[str, dict[str, str]]:
    """Read the configuration of each topic of ``names`` (in full) that exists, with the broker's defaults.

    Raises:
        KafkaUnreachable: No broker answered.
        KafkaError: The broker refused.
    """
    with _admin(settings) as admin:
        return _topic_configs(admin, set(names) & set(admin.list_topics()))


def check_topics(settings: Settings) -> list[Problem]:
    """Find the faults of freshet's topics.

    Raises:
        KafkaUnreachable: No broker answered.
        KafkaError: The broker refused.
    """
    names = {topic_name(settings, topic.name): topic for topic in TOPICS}
    with _admin(settings) as admin:
        existing = set(admin.list_topics()) & names.keys()
        partitions = _partition_counts(admin, existing)
        configs = _topic_configs(admin, existing)
    problems: list[Problem] = []
    for name, topic in names.items():
        if name not in existing:
            remedy = "`freshet topics create` makes it; the user needs the right to create topics."
            problems.append(Problem(name, "does not exist", remedy))
        else:
            problems += _config_problems(name, topic, configs[name])
    problems += _partition_problems(settings, names, partitions)
    return problems


def _ensure(settings: Settings, configs: Mapping[str, dict[str, str]]) -> list[str]:
    with _admin(settings) as admin:
        existing = set(admin.list_topics())
        _require_partitions(settings, _partition_counts(admin, existing & configs.keys()))
        missing = {name: wanted for name, wanted in configs.items() if name not in existing}
        created = [name for name, wanted in missing.items() if _create(admin, settings, name, wanted)]
        if missing:
            admin.wait_for_topics(list(missing), timeout_ms=_TIMEOUT_MS)
            # Again, of those that another process created at the same time.
            _require_partitions(settings, _partition_counts(admin, set(missing)))
    return created


def _require_partitions(settings: Settings, counts: Mapping[str, int]) -> None:
    differing = {name: count for name, count in counts.items() if count != settings.partitions}
    if not differing:
        return
    name, count = min(differing.items())
    also = f", as {len(differing) - 1} more differ" if len(differing) > 1 else ""
    raise PartitionsDiffer(
        f"Topic {name} has {count} partitions, and FRESHET_PARTITIONS (--partitions) is "
        f"{settings.partitions}{also}. {_partitions_remedy(count)} `freshet topics list` shows every topic."
    )


def _partitions_remedy(count: int) -> str:
    return (
        f"Set FRESHET_PARTITIONS={count}, here and for every other process: the number is fixed when topics "
        "are created. For another number begin anew with another FRESHET_TOPIC_PREFIX."
    )


def _create(admin: KafkaAdminClient, settings: Settings, name: str, configs: dict[str, str]) -> bool:
    request = {
        "num_partitions": settings.partitions,
        "replication_factor": settings.replication,
        "configs": configs,
    }
    try:
        admin.create_topics({name: request}, timeout_ms=_TIMEOUT_MS)
    except TopicAlreadyExistsError:
        return False
    return True


def _config_problems(name: str, topic: Topic, config: Mapping[str, str]) -> Iterator[Problem]:
    for key, wanted in topic_configs(topic).items():
        have = config.get(key, "")
        if key == "max.message.bytes":
            wrong = int(have) < int(wanted)
        elif key == "cleanup.policy":
            # "compact,delete" is neither: it deletes vectors by age, and compacts clicks away.
            wrong = set(have.split(",")) != {wanted}
        else:
            # How long events are kept is the operator's choice, as long as somebody can still read them.
            continue
        if wrong:
            command = f"kafka-configs.sh --alter --topic {name} --add-config {key}={wanted}"
            yield Problem(name, f"{key} is {have!r} and must be {wanted!r}", f"Run `{command}`.")


def _partition_problems(
    settings: Settings, names: Mapping[str, Topic], partitions: Mapping[str, int]
) -> Iterator[Problem]:
    keyed_by_user = [count for name, count in partitions.items() if names[name].keyed_by_user]
    most = max(keyed_by_user, default=settings.partitions)
    for name, count in partitions.items():
        if count != most:
            keyed = names[name].keyed_by_user
            missed = "a request would not meet its user's state" if keyed else "workers expect as many"
            yield Problem(
                name,
                f"has {count} partitions, while another topic keyed by user has {most}: {missed}",
                f"Delete it (its events are lost) and let freshet create it with --partitions {most}.",
            )
        elif count != settings.partitions:
            yield Problem(
                name,
                f"has {count} partitions, and FRESHET_PARTITIONS (--partitions) is {settings.partitions}: "
                "no worker starts",
                _partitions_remedy(count),
            )


def _partition_counts(admin: KafkaAdminClient, names: set[str]) -> dict[str, int]:
    if not names:
        return {}
    return {topic["name"]: len(topic["partitions"]) for topic in admin.describe_topics(sorted(names))}


def _topic_configs(admin: KafkaAdminClient, names: set[str]) -> dict[str, dict[str, str]]:
    if not names:
        return {}
    resources = [ConfigResource(ConfigResourceType.TOPIC, name) for name in sorted(names)]
    described = admin.describe_configs(resources, config_filter="all")["topic"]
    return {
        name: {key: str(entry["value"]) for key, entry in config.items()}
        for name, config in described.items()
    }


def _admin(settings: Settings) -> closing[KafkaAdminClient]:
    wait_for_broker(settings, _CONNECT_TIMEOUT_S)
    return closing(KafkaAdminClient(**client_config(settings) | {"request_timeout_ms": _TIMEOUT_MS}))
