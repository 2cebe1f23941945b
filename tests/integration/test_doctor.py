"""The doctor finds what is wrong, says what to do, and exits with 1 only when something fails."""

from __future__ import annotations

import json
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, TopicPartition
from qdrant_client import QdrantClient
from qdrant_client.models import Distance, VectorParams

from freshet.streams.kafka import MAX_REQUEST_BYTES, topic_name
from freshet.streams.settings import Settings
from freshet.streams.topic_admin import ensure_topics
from freshet.workers.commands.doctor import command
from freshet.workers.doctor import examine
from freshet.workers.finding import Finding
from tests.qdrant_stand_in import serve

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


def test_the_lag_of_a_group_without_members_is_counted(settings: Settings) -> None:
    ensure_topics(settings)
    topic = topic_name(settings, "clicks")
    producer = KafkaProducer(bootstrap_servers=settings.bootstrap_servers)
    for _ in range(3):
        producer.send(topic, b"{}", partition=0).get(timeout=30)
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
    finding = _of(list(examine(settings)), "workers")
    assert finding.status == "warn"
    assert finding.text.endswith("stream has no member, and is 2 events behind")


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
