"""A real Apache Kafka on this machine: one KRaft node that starts with freshet and never outlives it.

It listens on the loopback address only, keeps its data and its log in a folder, and finds both again at the
next start. It ends with :meth:`LocalKafka.stop`, when the context is left, and when this process dies in
whatever way (see :mod:`freshet.workers.processes.kafka.guard`). A folder belongs to one broker at a time.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
import time
import uuid
from base64 import urlsafe_b64encode
from collections.abc import Mapping
from contextlib import ExitStack, closing, suppress
from pathlib import Path
from types import MappingProxyType
from typing import IO, Self

from kafka import KafkaAdminClient
from kafka.errors import KafkaError

from freshet.streams.kafka.connection import MAX_REQUEST_BYTES
from freshet.workers.errors import BrokerFailed
from freshet.workers.processes.kafka import guard as kafka_guard
from freshet.workers.processes.kafka.folder import own_folder, write_owner
from freshet.workers.processes.kafka.jars import KAFKA_RESOURCES, ensure_jars
from freshet.workers.processes.kafka.java_runtime import find_java

HOST = "127.0.0.1"

# The serial collector and the quick compiler only: half the time to start, and 9 s of processor time instead
# of 13 s for writing and reading 600,000 records of 1.5 KB (on two cores, which the workers need too).
_JVM_OPTIONS = (
    *("-Xms128m", "-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"),
    # A broker without memory lingers on and answers nobody: one that ends is noticed.
    *("-XX:+ExitOnOutOfMemoryError", "-Djava.awt.headless=true"),
)
_LOG_OPTIONS = (
    f"-Dlog4j2.configurationFile={KAFKA_RESOURCES / 'log4j2.properties'}",
    "-Dfreshet.kafka.log=log/broker.log",
)
_FORMAT_TIMEOUT_S = 60.0
_POLL_S = 0.05
_TAIL_LINES = 25
_PORT_ATTEMPTS = 3


class LocalKafka:
    """A one-node Apache Kafka, usable as a context manager.

    Args:
        data_dir: freshet's data folder; the broker's files go to its sub-folder ``kafka``.
        port: Port of the broker; by default a free one is chosen at each start.
        cache_dir: Folder of the jars; by default the user's cache.
        properties: Properties of the broker, beside freshet's own or in their place.
        start_timeout_s: Seconds that the broker may take to answer.
    """

    def __init__(
        self,
        data_dir: Path,
        port: int | None = None,
        *,
        cache_dir: Path | None = None,
        properties: Mapping[str, str] = MappingProxyType({}),
        start_timeout_s: float = 60.0,
    ) -> None:
        self._folder = data_dir.resolve() / "kafka"
        self._wanted_port = port
        self._cache_dir = cache_dir
        self._properties = properties
        self._start_timeout_s = start_timeout_s
        self._port: int | None = None
        self._guard: subprocess.Popen[bytes] | None = None
        self._log_start_bytes = 0
        # Whoever stops it does not wait for a start that another thread has under way.
        self._starting = threading.RLock()
        self._stopping = threading.Event()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def bootstrap_servers(self) -> str:
        """``host:port`` of the running broker.

        Raises:
            BrokerFailed: The broker was not started.
        """
        if self._port is None:
            raise BrokerFailed("The local Kafka is not running: call start() first.")
        return f"{HOST}:{self._port}"

    @property
    def log_file(self) -> Path:
        """The broker's log."""
        return self._folder / "log" / "broker.log"

    @property
    def pid(self) -> int | None:
        """The id of the guard, whose only child is the broker; ``None`` before the start."""
        return None if self._guard is None else self._guard.pid

    def is_running(self) -> bool:
        """Whether the broker's process runs."""
        return self._guard is not None and self._guard.poll() is None

    @property
    def exit_status(self) -> int | None:
        """Status of a broker that has ended by itself: 128 plus the signal's number if one killed it."""
        return None if self._guard is None else self._guard.poll()

    def start(self) -> None:
        """Start the broker, if it does not run, and wait until it answers.

        Raises:
            JavaNotFound: There is no Java to run it.
            JarsUnavailable: Kafka could not be fetched.
            BrokerFailed: The folder or the port is in use, the broker did not answer in time, or another
                thread stopped it meanwhile.
        """
        with self._starting:
            self._start()

    def _start(self) -> None:
        if self.is_running():
            return
        self._stop_guard()
        java = str(find_java().path)
        class_path = str(ensure_jars(self._cache_dir) / "*")
        try:
            for folder in ("log", "data"):
                (self._folder / folder).mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise BrokerFailed(f"The data folder {self._folder} cannot be made: {error}.") from error
        with own_folder(self._folder) as lock:
            for attempt in range(1, _PORT_ATTEMPTS + 1):
                self._start_once(java, class_path, lock)
                try:
                    self._wait_until_it_answers()
                    return
                except _PortTaken as error:
                    # Somebody took a free port between our choice and the broker's bind: choose again.
                    self.stop()
                    if self._wanted_port is not None or attempt == _PORT_ATTEMPTS:
                        raise BrokerFailed(str(error)) from error
                except BaseException:
                    self.stop()
                    raise

    def stop(self) -> None:
        """Stop the broker, if it runs, and wait until it has closed its log.

        Thread-safe: a start under way in another thread fails.
        """
        self._stopping.set()
        with self._starting:
            self._stop_guard()
            self._port = None
            self._stopping.clear()

    def _stop_guard(self) -> None:
        if self._guard is None:
            return
        assert self._guard.stdin is not None
        self._guard.stdin.close()
        try:
            # Interrupted here, nothing is lost: the pipe is closed, and the guard goes on by itself.
            self._guard.wait(kafka_guard.STOP_TIMEOUT_S + 10.0)
        except subprocess.TimeoutExpired:
            self._guard.kill()
            self._guard.wait()
        self._guard = None

    def _start_once(self, java: str, class_path: str, lock: IO[str]) -> None:
        if self._wanted_port is not None and not _is_free(self._wanted_port):
            raise BrokerFailed(
                f"Port {self._wanted_port} on {HOST} is in use. Choose another, or, if that is a Kafka, "
                f"use it with --bootstrap-servers {HOST}:{self._wanted_port}."
            )
        free_port, controller_port = free_ports(2)
        self._port = self._wanted_port or free_port
        properties = _server_properties(self._port, controller_port) | dict(self._properties)
        lines = "".join(f"{key}={value}\n" for key, value in properties.items())
        (self._folder / "server.properties").write_text(lines, encoding="ascii")
        self._log_start_bytes = self.log_file.stat().st_size if self.log_file.exists() else 0
        self._format(java, class_path, lock)
        with self._console_file.open("wb") as console:
            self._guard = subprocess.Popen(
                [
                    # By its file and without site-packages: it needs neither, and is there in 20 ms.
                    *(sys.executable, "-I", "-S", kafka_guard.__file__),
                    *(str(os.getpid()), str(lock.fileno()), java),
                    *_JVM_OPTIONS,
                    *_LOG_OPTIONS,
                    *("-cp", class_path, "kafka.Kafka", "server.properties"),
                ],
                cwd=self._folder,
                stdin=subprocess.PIPE,
                stdout=console,
                stderr=subprocess.STDOUT,
                pass_fds=[lock.fileno()],
                start_new_session=True,
            )
        write_owner(lock, self.bootstrap_servers)

    @property
    def _console_file(self) -> Path:
        return self._folder / "log" / "console.log"

    def _format(self, java: str, class_path: str, lock: IO[str]) -> None:
        """Write the cluster's id and first metadata, unless the folder has them."""
        if (self._folder / "data" / "meta.properties").exists():
            return
        cluster_id = urlsafe_b64encode(uuid.uuid4().bytes).rstrip(b"=").decode()
        command = [java, "-XX:TieredStopAtLevel=1", *_LOG_OPTIONS, "-cp", class_path]
        command += ["kafka.tools.StorageTool", "format", "--ignore-formatted"]
        # The id is part of its option's word, because it may begin with a dash.
        command += ["--config", "server.properties", f"--cluster-id={cluster_id}"]
        with self._console_file.open("wb") as console:
            try:
                run = subprocess.run(
                    command,
                    cwd=self._folder,
                    stdin=subprocess.DEVNULL,
                    stdout=console,
                    stderr=subprocess.STDOUT,
                    pass_fds=[lock.fileno()],
                    timeout=_FORMAT_TIMEOUT_S,
                    check=False,
                )
            except subprocess.TimeoutExpired:
                raise BrokerFailed(self._failure("formatting its storage took too long")) from None
        if run.returncode != 0:
            raise BrokerFailed(self._failure(f"formatting its storage exited with {run.returncode}"))

    def _wait_until_it_answers(self) -> None:
        assert self._guard is not None and self._port is not None
        deadline = time.monotonic() + self._start_timeout_s
        while time.monotonic() < deadline:
            if self._guard.poll() is not None:
                if "java.net.BindException" in "".join(self._log_tail()):
                    raise _PortTaken(f"Port {self._port} on {HOST} is in use.")
                raise BrokerFailed(self._failure(f"it exited with {self._guard.returncode}"))
            if self._stopping.is_set():
                raise BrokerFailed("The local Kafka was stopped while it started.")
            # The plain connection first: kafka-python logs every refused one as an error.
            if _accepts_connections(self._port) and _has_a_broker(self.bootstrap_servers):
                return
            time.sleep(_POLL_S)
        raise BrokerFailed(self._failure(f"it did not answer within {self._start_timeout_s:.0f} s"))

    def _failure(self, what: str) -> str:
        tail = "".join(f"    {line}" for line in self._log_tail())
        return (
            f"The local Kafka did not start: {what}.\n"
            f"The end of its log ({self.log_file}):\n{tail or '    (empty)'}\n"
            f"Ways out: `freshet doctor` checks Java, ports and disk; moving {self._folder} away starts "
            "with an empty broker; --bootstrap-servers uses another Kafka."
        )

    def _log_tail(self) -> list[str]:
        """Read the last lines that this start has written to the log, and Java to its console."""
        lines: list[str] = []
        for file, start in ((self.log_file, self._log_start_bytes), (self._console_file, 0)):
            with suppress(FileNotFoundError), file.open("rb") as log:
                # A log that is shorter than it was has been rolled over.
                log.seek(start if file.stat().st_size >= start else 0)
                lines += log.read().decode(errors="replace").splitlines(keepends=True)[-_TAIL_LINES:]
        return lines


class _PortTaken(Exception):
    """Another program has taken a port that was free a moment ago."""


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        # As Java's server sockets do: a port in TIME_WAIT can be had.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
        return True


def free_ports(n: int) -> list[int]:
    """Find ``n`` ports of this machine that nobody uses now."""
    with ExitStack() as stack:
        probes = [stack.enter_context(socket.socket()) for _ in range(n)]
        for probe in probes:
            probe.bind((HOST, 0))
        return [int(probe.getsockname()[1]) for probe in probes]


def _accepts_connections(port: int) -> bool:
    with suppress(OSError), socket.create_connection((HOST, port), timeout=1.0):
        return True
    return False


def _has_a_broker(bootstrap_servers: str) -> bool:
    with (
        suppress(KafkaError),
        closing(KafkaAdminClient(bootstrap_servers=[bootstrap_servers], request_timeout_ms=5_000)) as admin,
    ):
        return len(admin.describe_cluster()["brokers"]) > 0
    return False


def _server_properties(port: int, controller_port: int) -> dict[str, str]:
    return {
        "process.roles": "broker,controller",
        "node.id": "1",
        "controller.quorum.voters": f"1@{HOST}:{controller_port}",
        "listeners": f"BROKER://{HOST}:{port},CONTROLLER://{HOST}:{controller_port}",
        "advertised.listeners": f"BROKER://{HOST}:{port}",
        "listener.security.protocol.map": "BROKER:PLAINTEXT,CONTROLLER:PLAINTEXT",
        "controller.listener.names": "CONTROLLER",
        "inter.broker.listener.name": "BROKER",
        # Below the folder that the broker runs in: a full path may hold commas, or letters that Java's
        # properties files cannot.
        "log.dirs": "data",
        # Topics are created with their cleanup policies, or not at all.
        "auto.create.topics.enable": "false",
        "message.max.bytes": str(MAX_REQUEST_BYTES),
        # One node.
        "default.replication.factor": "1",
        "offsets.topic.replication.factor": "1",
        "offsets.topic.num.partitions": "8",
        "transaction.state.log.replication.factor": "1",
        "transaction.state.log.min.isr": "1",
        "transaction.state.log.num.partitions": "4",
        "share.coordinator.state.topic.replication.factor": "1",
        "share.coordinator.state.topic.min.isr": "1",
        "share.coordinator.state.topic.num.partitions": "4",
        # Nobody else is coming: 3 s is for clusters whose consumers start one after the other.
        "group.initial.rebalance.delay.ms": "0",
        # By default 6 s: a test that waits for a session to end waits no longer than it must.
        "group.min.session.timeout.ms": "1000",
        # The default, 128 MB, is a quarter of this heap.
        "log.cleaner.dedupe.buffer.size": str(16 * 1024 * 1024),
        "num.network.threads": "2",
        "num.io.threads": "4",
    }
