"""A real Kafka that asks who you are: SASL over TLS, and ACLs without which nobody may do anything."""

from __future__ import annotations

import secrets
import socket
import subprocess
import time
import uuid
from base64 import urlsafe_b64encode
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import trustme
from cryptography.hazmat.primitives import serialization
from kafka import KafkaAdminClient
from kafka.admin import (
    ACL,
    ACLOperation,
    ACLPermissionType,
    ACLResourcePatternType,
    ResourcePattern,
    ResourceType,
)
from kafka.errors import KafkaError

from freshet.streams.kafka.connection import MAX_REQUEST_BYTES, client_config
from freshet.streams.settings import Settings
from freshet.workers.processes.kafka.jars import KAFKA_RESOURCES, ensure_jars
from freshet.workers.processes.kafka.java_runtime import find_java
from tests.waiting import HANG_S

_HOST = "127.0.0.1"
_ADMIN = "admin"
_SCRAM = "SCRAM-SHA-512"
_OPERATIONS = {operation.name.title().replace("_", ""): operation for operation in ACLOperation}
"""As Kafka's own tools write them: ``DescribeConfigs``."""


@dataclass(frozen=True, slots=True)
class Right:
    """What one user may do: a row of the page's table."""

    user: str
    kind: str
    """``topic`` or ``group``."""
    name: str
    """Ending with ``*``: everything whose name begins with what is before it."""
    operations: tuple[str, ...]


class SecuredKafka:
    """A running broker."""

    def __init__(self, port: int, ca_file: Path, passwords: dict[str, str], scram: frozenset[str]) -> None:
        self._port = port
        self._ca_file = ca_file
        self._passwords = passwords
        self._scram = scram

    def environment(self, user: str, **more: str) -> dict[str, str]:
        """How a process connects as ``user``, beside its own settings."""
        return {
            "FRESHET_BOOTSTRAP_SERVERS": f"{_HOST}:{self._port}",
            "FRESHET_KAFKA_CA_FILE": str(self._ca_file),
            "FRESHET_KAFKA_USERNAME": user,
            "FRESHET_KAFKA_PASSWORD": self._passwords[user],
            "FRESHET_KAFKA_SASL_MECHANISM": _SCRAM if user in self._scram else "PLAIN",
        } | more

    def settings(self, user: str, **more: Any) -> Settings:
        """Settings that connect as ``user``."""
        fields = {
            name.removeprefix("FRESHET_").lower(): value for name, value in self.environment(user).items()
        }
        return Settings.model_validate(fields | more)

    def grant(self, rights: Iterable[Right]) -> None:
        """Allow what ``rights`` say, and nothing else."""
        acls = [
            ACL(
                f"User:{right.user}",
                "*",
                _OPERATIONS[operation],
                ACLPermissionType.ALLOW,
                ResourcePattern(
                    ResourceType[right.kind.upper()],
                    right.name.removesuffix("*"),
                    ACLResourcePatternType.PREFIXED
                    if right.name.endswith("*")
                    else ACLResourcePatternType.LITERAL,
                ),
            )
            for right in rights
            for operation in right.operations
        ]
        admin = KafkaAdminClient(**client_config(self.settings(_ADMIN)))
        try:
            admin.create_acls(acls)
        finally:
            admin.close()


@contextmanager
def secured_kafka(
    folder: Path, plain_users: Iterable[str], scram_users: Iterable[str]
) -> Iterator[SecuredKafka]:
    """A broker that knows the users given, and lets them do nothing yet."""
    scram = frozenset(scram_users)
    passwords = {user: secrets.token_hex(12) for user in (_ADMIN, *plain_users, *scram)}
    authority = trustme.CA()
    authority.cert_pem.write_to_path(folder / "ca.pem")
    certificate = authority.issue_cert(_HOST)
    chain = b"".join(part.bytes() for part in certificate.cert_chain_pems)
    (folder / "server.pem").write_bytes(_as_java_reads_it(certificate.private_key_pem.bytes()) + chain)
    with socket.socket() as first, socket.socket() as second:
        for probe in (first, second):
            probe.bind((_HOST, 0))
        port, controller_port = first.getsockname()[1], second.getsockname()[1]
    plain = {user: password for user, password in passwords.items() if user not in scram}
    (folder / "server.properties").write_text(_properties(port, controller_port, plain))
    java = [str(find_java().path), "-Xmx384m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"]
    java += [f"-Dlog4j2.configurationFile={KAFKA_RESOURCES / 'log4j2.properties'}"]
    java += ["-Dfreshet.kafka.log=broker.log", "-cp", str(ensure_jars() / "*")]
    cluster_id = urlsafe_b64encode(uuid.uuid4().bytes).rstrip(b"=").decode()
    storage = [
        "kafka.tools.StorageTool",
        "format",
        f"--cluster-id={cluster_id}",
        "--config",
        "server.properties",
    ]
    for user in scram:
        storage += ["--add-scram", f"{_SCRAM}=[name={user},password={passwords[user]}]"]
    subprocess.run([*java, *storage], cwd=folder, check=True, capture_output=True)
    with (folder / "console.log").open("wb") as console:
        broker = subprocess.Popen(
            [*java, "kafka.Kafka", "server.properties"], cwd=folder, stdout=console, stderr=subprocess.STDOUT
        )
    try:
        kafka = SecuredKafka(port, folder / "ca.pem", passwords, scram)
        _wait_until_it_answers(broker, kafka, folder / "broker.log")
        yield kafka
    finally:
        broker.kill()
        broker.wait()


def _as_java_reads_it(key: bytes) -> bytes:
    """A private key in PKCS #8, the only format that Java takes."""
    return serialization.load_pem_private_key(key, None).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _wait_until_it_answers(broker: subprocess.Popen[bytes], kafka: SecuredKafka, log_file: Path) -> None:
    deadline = time.monotonic() + HANG_S
    settings = kafka.settings(_ADMIN)
    port = int(settings.bootstrap_servers.rpartition(":")[2])
    while time.monotonic() < deadline:
        assert broker.poll() is None, log_file.read_text()[-3_000:]
        try:
            socket.create_connection((_HOST, port), 1.0).close()
            admin = KafkaAdminClient(**client_config(settings) | {"request_timeout_ms": 5_000})
        except (OSError, KafkaError):
            time.sleep(0.1)
            continue
        admin.close()
        return
    raise AssertionError(f"the broker does not answer:\n{log_file.read_text()[-3_000:]}")


def _properties(port: int, controller_port: int, plain: dict[str, str]) -> str:
    users = " ".join(f'user_{user}="{password}"' for user, password in plain.items())
    modules = "org.apache.kafka.common.security"
    own = f'username="{_ADMIN}" password="{plain[_ADMIN]}"'
    properties = {
        "process.roles": "broker,controller",
        "node.id": "1",
        "controller.quorum.voters": f"1@{_HOST}:{controller_port}",
        "listeners": f"SECURE://{_HOST}:{port},CONTROLLER://{_HOST}:{controller_port}",
        "advertised.listeners": f"SECURE://{_HOST}:{port}",
        "listener.security.protocol.map": "SECURE:SASL_SSL,CONTROLLER:PLAINTEXT",
        "controller.listener.names": "CONTROLLER",
        "inter.broker.listener.name": "SECURE",
        "sasl.enabled.mechanisms": f"PLAIN,{_SCRAM}",
        "sasl.mechanism.inter.broker.protocol": "PLAIN",
        "listener.name.secure.plain.sasl.jaas.config": (
            f"{modules}.plain.PlainLoginModule required {own} {users};"
        ),
        f"listener.name.secure.{_SCRAM.lower()}.sasl.jaas.config": (
            f"{modules}.scram.ScramLoginModule required;"
        ),
        "ssl.keystore.type": "PEM",
        "ssl.keystore.location": "server.pem",
        "ssl.truststore.type": "PEM",
        "ssl.truststore.location": "ca.pem",
        "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
        # The controller's listener, on which only the broker itself comes, asks for no name.
        "super.users": f"User:{_ADMIN};User:ANONYMOUS",
        "log.dirs": "data",
        "auto.create.topics.enable": "false",
        "message.max.bytes": str(MAX_REQUEST_BYTES),
        "offsets.topic.replication.factor": "1",
        "offsets.topic.num.partitions": "4",
        "transaction.state.log.replication.factor": "1",
        "transaction.state.log.min.isr": "1",
        "group.initial.rebalance.delay.ms": "0",
        "log.cleaner.dedupe.buffer.size": str(16 * 1024 * 1024),
    }
    return "".join(f"{key}={value}\n" for key, value in properties.items())
