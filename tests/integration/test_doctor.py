"""The doctor finds what is wrong, says what to do, and exits with 1 only when something fails."""

from __future__ import annotations

import asyncio
import json
import socket
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer
from click.testing import CliRunner
from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, TopicPartition
from qdrant_client import QdrantClient
from qdrant_client.models import Distance, VectorParams

from freshet.streams.kafka.connection import MAX_REQUEST_BYTES, client_config, topic_name
from freshet.streams.kafka.outbox import partition_of
from freshet.streams.kafka.topic_admin import ensure_topics
from freshet.streams.settings import Settings
from freshet.workers.cli.commands.doctor import command
from freshet.workers.doctor.examine import examine
from freshet.workers.doctor.finding import Finding
from tests.qdrant_stand_in import serve
from tests.waiting import HANG_S

pytestmark = pytest.mark.broker


def test_a_healthy_system_has_no_failure(settings: Settings) -> None:
    ensure_topics(settings)
    findings = list(examine(settings))
    assert [finding for finding in findings if finding.status == "fail"] == []
    assert _of(findings, "Kafka").text.endswith("1 broker(s)")
    assert _of(findings, "topics").status == "ok"
    assert {"Python", "Java", "Kafka's jars", "disk", "index", "encoder"} <= {f.subject for f in findings}


def test_whatever_is_not_ok_has_a_remedy(settings: Settings, tmp_path: Path) -> None:
    unlucky = settings.model_copy(update={"bootstrap_servers": _nobody(), "data_dir": tmp_path / "new"})
    for finding in (*examine(settings), *examine(unlucky)):
        assert finding.status == "ok" or finding.remedy, finding


def test_json_is_one_object_and_a_missing_broker_exits_with_1(settings: Settings) -> None:
    result, report = _doctor(settings, "--bootstrap-servers", _nobody())
    assert result == 1
    assert report["ok"] is False
    (kafka,) = (finding for finding in report["findings"] if finding["subject"] == "Kafka")
    assert kafka["status"] == "fail"
    assert "freshet up" in kafka["remedy"]
    # Nothing is said about topics that nobody could see.
    assert "topics" not in {finding["subject"] for finding in report["findings"]}


def test_topics_not_yet_made_are_a_warning_only(settings: Settings) -> None:
    status, report = _doctor(settings)
    assert (status, report["ok"]) == (0, True)
    assert _subject(report, "topics")["status"] == "warn"


def test_a_wrong_topic_fails_with_the_command_that_mends_it(settings: Settings) -> None:
    admin = KafkaAdminClient(bootstrap_servers=settings.bootstrap_servers)
    request = {
        "num_partitions": settings.partitions,
        "replication_factor": 1,
        "configs": {"max.message.bytes": str(MAX_REQUEST_BYTES)},
    }
    try:
        admin.create_topics({topic_name(settings, "user-vectors"): request}, wait_for_metadata=True)
    finally:
        admin.close()
    ensure_topics(settings)
    status, report = _doctor(settings)
    assert status == 1
    assert "cleanup.policy=compact" in _subject(report, "topics")["remedy"]


def test_records_partitioned_by_crc32_are_recognised_and_the_setting_is_named(settings: Settings) -> None:
    ensure_topics(settings)
    users = [f"U{number}" for number in range(40)]
    producer = KafkaProducer(bootstrap_servers=settings.bootstrap_servers)
    for user in users:
        producer.send(topic_name(settings, "impressions"), b"{}", user.encode())
        partition = zlib.crc32(user.encode()) % settings.partitions
        producer.send(topic_name(settings, "clicks"), b"{}", user.encode(), partition=partition)
        wrong = (partition_of(user, settings.partitions) + 1) % settings.partitions
        producer.send(topic_name(settings, "articles"), b"{}", user.encode(), partition=wrong)
        headers = [("freshet-origin", b"0/1")]
        producer.send(topic_name(settings, "impressions"), b"{}", user.encode(), headers, partition=partition)
    producer.flush()
    producer.close()
    found = {
        finding.text.partition(":")[0]: finding
        for finding in examine(settings)
        if finding.subject == "partitioners"
    }
    assert found.keys() == {"clicks", "articles"}
    assert "where CRC32 does, librdkafka's default" in found["clicks"].text
    assert "of the latest 40 records" in found["clicks"].text
    assert "CRC32" not in found["articles"].text
    assert "40 of the latest 40" in found["articles"].text
    for finding in found.values():
        assert finding.status == "warn"
        assert finding.remedy.startswith("Set partitioner=murmur2_random")


def test_the_lag_of_a_group_without_members_is_counted(settings: Settings) -> None:
    ensure_topics(settings)
    topic = topic_name(settings, "clicks")
    producer = KafkaProducer(bootstrap_servers=settings.bootstrap_servers)
    for _ in range(3):
        producer.send(topic, b"{}", partition=0).get(timeout=HANG_S)
    producer.close()
    consumer = KafkaConsumer(
        bootstrap_servers=settings.bootstrap_servers,
        group_id=topic_name(settings, "stream"),
        enable_auto_commit=False,
    )
    partition = TopicPartition(topic, 0)
    consumer.assign([partition])
    consumer.seek(partition, 1)
    consumer.commit()
    consumer.close()
    finding = next(finding for finding in examine(settings) if "is 2 events behind" in finding.text)
    assert finding.status == "warn"
    assert finding.text.endswith("stream has no member, and is 2 events behind")
    assert "freshet stream" in finding.remedy


def test_topics_that_no_worker_has_ever_read_are_a_warning(settings: Settings) -> None:
    ensure_topics(settings)
    texts = [finding.text for finding in examine(settings) if finding.subject == "workers"]
    prefix = settings.topic_prefix
    assert texts == [f"nobody has joined {prefix}stream yet", f"nobody has joined {prefix}embedding.* yet"]


async def test_partitions_that_no_member_of_a_group_reads_fail(settings: Settings) -> None:
    ensure_topics(settings)
    consumer = AIOKafkaConsumer(
        topic_name(settings, "clicks"), **client_config(settings), group_id=topic_name(settings, "stream")
    )
    await consumer.start()
    try:
        findings = await asyncio.to_thread(lambda: list(examine(settings)))
    finally:
        await consumer.stop()
    finding = next(finding for finding in findings if "stream" in finding.text and finding.status == "fail")
    assert f"leaves 16 partitions unread, such as {topic_name(settings, 'impressions')}[0]" in finding.text
    assert "Restart" in finding.remedy


def test_topics_with_another_number_of_partitions_than_it_is_told_fail(settings: Settings) -> None:
    ensure_topics(settings)
    status, report = _doctor(settings, "--partitions", "6")
    assert status == 1
    finding = _subject(report, "topics")
    assert finding["status"] == "fail"
    assert topic_name(settings, "clicks") in finding["text"]
    assert "has 4 partitions, and FRESHET_PARTITIONS (--partitions) is 6" in finding["text"]
    assert "Set FRESHET_PARTITIONS=4" in finding["remedy"]


def test_each_bundles_index_has_a_dimension_of_its_own_and_one_that_cannot_be_read_fails(
    settings: Settings,
) -> None:
    manifest = settings.data_dir / "index" / "b-1" / "index.json"
    manifest.parent.mkdir(parents=True)
    manifest.write_text(json.dumps({"layout": 1, "bundle": "b-1", "generation": 0, "d": 7}))
    finding = _of(list(examine(settings)), "index")
    assert (finding.status, finding.text.endswith("7 dimensions")) == ("ok", True)
    manifest.write_text("{")
    finding = _of(list(examine(settings)), "index")
    assert finding.status == "fail"
    assert "article-vectors fills a new one" in finding.remedy


def test_a_qdrant_server_that_does_not_answer_fails(settings: Settings) -> None:
    away = settings.model_copy(update={"qdrant_url": "http://127.0.0.1", "qdrant_grpc_port": 9})
    finding = _of(list(examine(away)), "Qdrant")
    assert finding.status == "fail"
    assert "port 9 (FRESHET_QDRANT_GRPC_PORT)" in finding.remedy


def test_a_qdrant_server_is_asked_at_the_port_of_its_grpc(settings: Settings) -> None:
    client = QdrantClient(":memory:")
    client.create_collection("articles-b1", VectorParams(size=2, distance=Distance.DOT))
    server, port = serve(client)
    try:
        there = settings.model_copy(
            update={"qdrant_url": "http://127.0.0.1:9", "qdrant_grpc_port": port, "qdrant_timeout_s": 60.0}
        )
        finding = _of(list(examine(there)), "Qdrant")
    finally:
        server.stop(grace=None).wait()
    assert (finding.status, finding.text) == ("ok", "http://127.0.0.1:9 answers; collections: articles-b1")


def test_a_metrics_port_held_by_somebody_else_is_a_warning(settings: Settings) -> None:
    with socket.socket() as somebody:
        somebody.bind(("127.0.0.1", 0))
        port = somebody.getsockname()[1]
        busy = settings.model_copy(update={"metrics_port": port})
        finding = _of(list(examine(busy)), "metrics")
    assert finding.status == "warn"
    assert "--metrics-port" in finding.remedy


def _doctor(settings: Settings, *arguments: str) -> tuple[int, Mapping[str, Any]]:
    given = {
        "--bootstrap-servers": settings.bootstrap_servers,
        "--topic-prefix": settings.topic_prefix,
        "--data-dir": str(settings.data_dir),
        "--metrics-port": "0",
        "--partitions": str(settings.partitions),
    }
    options = [word for option in given.items() for word in option]
    result = CliRunner().invoke(command, ["--json", *options, *arguments])
    return result.exit_code, json.loads(result.stdout)


def _nobody() -> str:
    """An address where nothing listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{probe.getsockname()[1]}"


def _of(findings: list[Finding], subject: str) -> Finding:
    return next(finding for finding in findings if finding.subject == subject)


def _subject(report: Mapping[str, Any], subject: str) -> Mapping[str, Any]:
    return next(finding for finding in report["findings"] if finding["subject"] == subject)
