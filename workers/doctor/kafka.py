"""Examines Kafka: whether it answers, whether freshet's topics are right, and the workers' lag."""

from __future__ import annotations

from collections.abc import Generator, Iterator

from kafka import KafkaAdminClient
from kafka.errors import KafkaError

from freshet.streams.errors import KafkaUnreachable
from freshet.streams.kafka.connection import client_config
from freshet.streams.kafka.group_lag import GroupLag, embedding_group, stream_group
from freshet.streams.kafka.group_place import GroupDescription
from freshet.streams.kafka.reachability import wait_for_broker
from freshet.streams.kafka.topic_admin import check_topics
from freshet.streams.kafka.topics import TOPICS
from freshet.streams.settings import Settings
from freshet.workers.doctor.finding import Finding
from freshet.workers.doctor.partitioner import examine_partitioners

_CONNECT_TIMEOUT_S = 3.0
_REQUEST_TIMEOUT_MS = 10_000
_START = "Start it: `freshet up`, or `freshet stream` and `freshet embed`."


def examine_kafka(settings: Settings) -> Iterator[Finding]:
    """Yield findings on the brokers, the topics and the consumer groups; stop at the first failure."""
    where = settings.bootstrap_servers
    try:
        wait_for_broker(settings, _CONNECT_TIMEOUT_S)
        admin = KafkaAdminClient(**client_config(settings) | {"request_timeout_ms": _REQUEST_TIMEOUT_MS})
    except KafkaUnreachable as error:
        remedy = "Start one with `freshet up`, or name another with --bootstrap-servers."
        yield Finding("Kafka", "fail", f"{where} does not answer ({error.__cause__})", remedy)
        return
    except KafkaError as error:
        remedy = "Is it a Kafka, of 2.1 or newer? Do FRESHET_KAFKA_USERNAME, _PASSWORD and _TLS suit it?"
        yield Finding("Kafka", "fail", f"{where} accepts connections, but refused ours: {error}", remedy)
        return
    try:
        brokers = admin.describe_cluster()["brokers"]
        yield Finding("Kafka", "ok", f"{where} answers; {len(brokers)} broker(s)")
        if (yield from _topics(settings)):
            yield from _groups(settings, admin)
    except KafkaError as error:
        yield Finding("Kafka", "fail", f"{where}: {error}", "See the broker's log.")
    finally:
        admin.close()


def _topics(settings: Settings) -> Generator[Finding, None, bool]:
    """Yield problems of freshet's topics; return whether there are none."""
    problems = check_topics(settings)
    absent = [problem for problem in problems if problem.what == "does not exist"]
    if len(absent) == len(TOPICS):
        yield Finding(
            "topics",
            "warn",
            f"none begins with {settings.topic_prefix!r}",
            "`freshet up` and `freshet stream` create them; or is the prefix another (--topic-prefix)?",
        )
        return False
    alike: dict[tuple[str, str], list[str]] = {}
    for problem in problems:
        alike.setdefault((problem.what, problem.remedy), []).append(problem.topic)
    for (what, remedy), names in alike.items():
        yield Finding("topics", "fail", f"{', '.join(names)}: {what}", remedy)
    if not problems:
        yield Finding("topics", "ok", f"all {len(TOPICS)} are as they must be")
        yield from examine_partitioners(settings)
    return not problems


def _groups(settings: Settings, admin: KafkaAdminClient) -> Iterator[Finding]:
    """Yield findings on the workers' consumer groups: members, unread partitions, and lag."""
    stream, names = stream_group(settings)
    # The bundle matters for the group's name only.
    embedding, articles = embedding_group(settings, "")
    found = {group["group_id"] for group in admin.list_groups()}
    embed = dict.fromkeys(sorted(name for name in found if name.startswith(embedding)), articles)
    if stream not in found:
        yield Finding("workers", "warn", f"nobody has joined {stream} yet", _START)
    if not embed:
        yield Finding("workers", "warn", f"nobody has joined {embedding}* yet", _START)
    broker = GroupLag(settings)
    try:
        for group, read in ({stream: names} | embed).items():
            if group in found:
                lag = sum(position.lag for position in broker.positions({group: read}).values())
                yield _group(group, broker.describe(group, read), lag)
    finally:
        broker.close()


def _group(name: str, group: GroupDescription, lag: int) -> Finding:
    behind = f"{lag} events behind"
    if not group.given:
        return Finding("workers", "warn", f"{name} has no member, and is {behind}", _START)
    if group.settled and group.unread:
        topic, partition = min(group.unread)
        text = f"{name} leaves {len(group.unread)} partitions unread, such as {topic}[{partition}]; {behind}"
        remedy = "Restart its workers, one after the other; /healthz of each says what it lacks."
        return Finding("workers", "fail", text, remedy)
    work = "at work" if group.settled else "sharing its partitions out"
    return Finding("workers", "ok", f"{name} is {work}, {behind}; {len(group.given)} member(s)")
