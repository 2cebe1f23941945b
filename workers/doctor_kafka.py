"""Examines Kafka: whether it answers, whether freshet's topics are right, how far the workers are behind."""

from __future__ import annotations

from collections.abc import Iterator

from kafka import KafkaAdminClient
from kafka.admin import OffsetSpec
from kafka.errors import KafkaError

from freshet.streams.errors import KafkaUnreachable
from freshet.streams.kafka import client_config
from freshet.streams.reachability import wait_for_broker
from freshet.streams.settings import Settings
from freshet.streams.topic_admin import check_topics
from freshet.streams.topics import TOPICS
from freshet.workers.doctor_partitioner import examine_partitioners
from freshet.workers.finding import Finding

_CONNECT_TIMEOUT_S = 3.0
_REQUEST_TIMEOUT_MS = 10_000
_AT_WORK = {"Stable", "PreparingRebalance", "CompletingRebalance"}


def examine_kafka(settings: Settings) -> Iterator[Finding]:
    """Findings on the brokers, the topics and the consumer groups; the first failure ends them."""
    where = settings.bootstrap_servers
    try:
        wait_for_broker(settings, _CONNECT_TIMEOUT_S)
        admin = KafkaAdminClient(**client_config(settings), request_timeout_ms=_REQUEST_TIMEOUT_MS)
    except KafkaUnreachable as error:
        remedy = "Start one with `freshet up`, or name another with --bootstrap-servers."
        yield Finding("Kafka", "fail", f"{where} does not answer ({error.__cause__})", remedy)
        return
    except KafkaError as error:
        remedy = "Is it a Kafka, of 2.1 or newer? Do FRESHET_KAFKA_USERNAME, _PASSWORD and _TLS suit it?"
        yield Finding("Kafka", "fail", f"{where} accepts connections, but not ours: {error}", remedy)
        return
    try:
        brokers = admin.describe_cluster()["brokers"]
        yield Finding("Kafka", "ok", f"{where} answers; {len(brokers)} broker(s)")
        yield from _topics(settings)
        yield from _groups(settings, admin)
    except KafkaError as error:
        yield Finding("Kafka", "fail", f"{where}: {error}", "See the broker's log.")
    finally:
        admin.close()


def _topics(settings: Settings) -> Iterator[Finding]:
    problems = check_topics(settings)
    absent = [problem for problem in problems if problem.what == "does not exist"]
    if len(absent) == len(TOPICS):
        yield Finding(
            "topics",
            "warn",
            f"none begins with {settings.topic_prefix!r}",
            "`freshet up` and `freshet stream` create them; or is the prefix another (--topic-prefix)?",
        )
        return
    for problem in problems:
        yield Finding("topics", "fail", f"{problem.topic}: {problem.what}", problem.remedy)
    if not problems:
        yield Finding("topics", "ok", f"all {len(TOPICS)} as they must be")
        yield from examine_partitioners(settings)


def _groups(settings: Settings, admin: KafkaAdminClient) -> Iterator[Finding]:
    """The consumer groups of freshet's workers: whether somebody works, and the events not yet read."""
    groups = {
        group["group_id"]: group["group_state"]
        for group in admin.list_groups()
        if group["group_id"].startswith(settings.topic_prefix)
    }
    if not groups:
        remedy = "`freshet up`, or `freshet stream` and `freshet embed`."
        yield Finding("workers", "warn", "no consumer group of freshet's yet", remedy)
    for name, state in sorted(groups.items()):
        lag = _lag_events(admin, name)
        if state in _AT_WORK:
            yield Finding("workers", "ok", f"{name} is at work, {lag} events behind")
        else:
            text = f"{name} has no member, and is {lag} events behind"
            remedy = "Start it again: `freshet up`, `freshet stream` or `freshet embed`."
            yield Finding("workers", "warn", text, remedy)


def _lag_events(admin: KafkaAdminClient, group: str) -> int:
    committed = admin.list_group_offsets({group: None})[group]
    ends = admin.list_partition_offsets(dict.fromkeys(committed, OffsetSpec.LATEST))
    return sum(max(0, ends[partition].offset - position.offset) for partition, position in committed.items())
