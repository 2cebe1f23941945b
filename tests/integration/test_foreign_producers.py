"""Events from Kafka clients that are not freshet's count once, whatever the client's codec and partitioner.

Each client publishes an impression and a click of users of its own, with its own defaults: Apache Kafka's
client for Java, librdkafka (confluent-kafka and kcat), and kafkajs. A green run does not say that every
version of these clients does the same.
"""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Producer

from freshet.models.events.events import Click, DeadLetter, Impression, from_unix_s
from freshet.streams.kafka.connection import topic_name
from freshet.streams.kafka.group_lag import GroupLag, stream_group
from freshet.streams.kafka.topics import CLICKS, IMPRESSIONS
from freshet.workers.processes.kafka.broker import LocalKafka
from freshet.workers.processes.kafka.jars import ensure_jars
from tests.external_tools import external_tool
from tests.integration.served_world import World, served
from tests.integration.stream_harness import START_S, events_on, settings_for
from tests.node_packages import run_node
from tests.repository import ROOT

pytestmark = pytest.mark.broker

PROGRAMS = ROOT / "tests" / "foreign"
RUN_S = 180.0
CODECS = ("none", "gzip", "snappy", "lz4", "zstd")
NOW = from_unix_s(START_S - 60.0)

Records = list[dict[str, str | None]]


@pytest.fixture(scope="module")
def world(kafka: LocalKafka, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with served(settings_for(kafka, tmp_path_factory.mktemp("stream"))) as world:
        yield world


def visit(world: World, user: str) -> Records:
    """An impression of a user and the click that follows it."""
    impression = Impression(impression_id=f"I-{user}", user_id=user, time=NOW, candidates=("S1", "P1", "P2"))
    click = Click(user_id=user, news_id="S1", time=NOW, impression_id=impression.impression_id)
    return [
        {"topic": topic_name(world.settings, topic.name), "key": user, "value": event.to_json().decode()}
        for topic, event in ((IMPRESSIONS, impression), (CLICKS, click))
    ]


async def counts(world: World, *users: str) -> None:
    """Each user's next answer rests on exactly one click, and no event waits."""
    for user in users:
        await world.after_clicks(user, 1)
    group, names = stream_group(world.settings)
    broker = GroupLag(world.settings)
    try:

        async def done() -> bool:
            return not any(position.lag for position in broker.positions({group: names}).values())

        await world.until(done, "every event to be done")
    finally:
        broker.close()


def run_java(world: World, batches: Sequence[Mapping[str, Any]]) -> None:
    external_tool("javac")  # Without it, java runs no source files.
    run = subprocess.run(
        [
            external_tool("java"),
            "-XX:TieredStopAtLevel=1",
            "-cp",
            f"{ensure_jars()}/*",
            PROGRAMS / "Publish.java",
            world.settings.bootstrap_servers,
        ],
        input="".join(f"{json.dumps(batch)}\n" for batch in batches),
        capture_output=True,
        encoding="utf-8",
        timeout=RUN_S,
        check=False,
    )
    assert run.returncode == 0, run.stderr


async def test_the_java_client_publishes_with_every_codec_and_in_transactions(world: World) -> None:
    batches: list[dict[str, Any]] = [
        {"settings": {"compression.type": codec}, "records": visit(world, f"java-{codec}")}
        for codec in CODECS
    ]
    batches += [
        {"settings": {"enable.idempotence": "false", "acks": "1"}, "records": visit(world, "java-acks")},
        {"settings": {}, "transaction": "commit", "records": visit(world, "java-commit")},
        # The last: nothing but its end marker comes after it on some partition.
        {"settings": {}, "transaction": "abort", "records": visit(world, "java-abort")},
    ]
    run_java(world, batches)
    await counts(world, *(f"java-{codec}" for codec in CODECS), "java-acks", "java-commit")
    assert world.recommend("java-abort").user_clicks == 0


def confluent(world: World, **settings: Any) -> Producer:
    return Producer({"bootstrap.servers": world.settings.bootstrap_servers} | settings)


def send_all(producer: Producer, records: Records, **options: Any) -> None:
    for record in records:
        producer.produce(record["topic"], record["value"], record["key"], **options)
    assert producer.flush(RUN_S) == 0


async def test_librdkafka_publishes_with_its_own_partitioner_and_every_codec(world: World) -> None:
    for codec in CODECS:
        send_all(confluent(world, **{"compression.type": codec}), visit(world, f"confluent-{codec}"))
    idempotent = confluent(world, **{"enable.idempotence": True, "partitioner": "murmur2_random"})
    send_all(idempotent, visit(world, "confluent-murmur2"))
    for end in ("commit", "abort"):
        producer = confluent(world, **{"transactional.id": f"confluent-{end}"})
        producer.init_transactions(RUN_S)
        producer.begin_transaction()
        send_all(producer, visit(world, f"confluent-{end}"))
        (producer.commit_transaction if end == "commit" else producer.abort_transaction)(RUN_S)
    await counts(world, *(f"confluent-{codec}" for codec in CODECS), "confluent-murmur2", "confluent-commit")
    assert world.recommend("confluent-abort").user_clicks == 0


async def test_kcat_publishes_with_its_defaults(world: World) -> None:
    kcat = external_tool("kcat")
    for record in visit(world, "kcat"):
        command = [kcat, "-b", world.settings.bootstrap_servers, "-P", "-t", record["topic"], "-z", "snappy"]
        run = subprocess.run(
            [*command, "-k", record["key"]],
            input=record["value"],
            capture_output=True,
            encoding="utf-8",
            timeout=RUN_S,
            check=False,
        )
        assert run.returncode == 0, run.stderr
    await counts(world, "kcat")


async def test_kafkajs_publishes_with_its_partitioner_and_headers(world: World, tmp_path: Path) -> None:
    program = tmp_path / "publish.mjs"
    program.write_text((PROGRAMS / "publish.mjs").read_text(encoding="utf-8"), encoding="utf-8")
    batches = [
        {"compression": codec, "records": visit(world, f"kafkajs-{codec}")} for codec in ("None", "GZIP")
    ]
    run = run_node(
        program,
        world.settings.bootstrap_servers,
        input="".join(f"{json.dumps(batch)}\n" for batch in batches),
    )
    assert run.returncode == 0, run.stderr
    await counts(world, "kafkajs-None", "kafkajs-GZIP")


async def test_headers_and_timestamps_of_the_producers_choosing_change_nothing(world: World) -> None:
    producer = confluent(world)
    headers = [("x-site", b"paper"), ("x-bytes", b"\x00\xff"), ("x-null", None), ("x-site", b"twice")]
    send_all(producer, visit(world, "headers"), headers=headers)
    # Kafka deletes by it, freshet goes by the event's own time.
    send_all(producer, visit(world, "yesterday"), timestamp=int((time.time() - 86_400.0) * 1_000))
    await counts(world, "headers", "yesterday")


async def test_a_record_without_a_key_or_a_value_is_a_dead_letter_that_says_so(world: World) -> None:
    _, click = visit(world, "no-key")
    producer = confluent(world)
    producer.produce(click["topic"], click["value"])
    producer.produce(click["topic"], None, "no-value")
    assert producer.flush(RUN_S) == 0

    async def letters() -> list[DeadLetter]:
        found = await events_on(world.settings, "dead-letters", DeadLetter)
        return found if len(found) >= 2 else []

    reasons = sorted(letter.reason for letter in await world.until(letters, "two dead letters"))
    assert len(reasons) == 2  # and so none for anything that was sent before
    assert any("key" in reason for reason in reasons)
    assert world.recommend("no-key").user_clicks == 0
