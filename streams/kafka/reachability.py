"""Checks that Kafka and its topics can be reached; the errors say what to do if not."""

from __future__ import annotations

import socket
import time

from freshet.streams.errors import KafkaUnreachable
from freshet.streams.settings import Settings

_RETRY_S = 0.1


def wait_for_broker(settings: Settings, timeout_s: float) -> None:
    """Return as soon as one of the brokers accepts a connection.

    Call it before making a kafka-python client: one that fails to connect leaks its sockets and its thread
    (3.0), and retries a refused connection so seldom that it connects late to a broker that is just starting.

    Raises:
        KafkaUnreachable: None did within ``timeout_s``.
    """
    deadline = time.monotonic() + timeout_s
    while True:
        for server in settings.bootstrap_servers.split(","):
            host, _, port = server.strip().rpartition(":")
            try:
                with socket.create_connection(
                    (host.strip("[]"), int(port)), max(0.1, deadline - time.monotonic())
                ):
                    return
            except ValueError as error:
                raise KafkaUnreachable(unreachable(settings, "an address is written host:port")) from error
            except OSError as error:
                refusal = error
        if time.monotonic() + _RETRY_S > deadline:
            raise KafkaUnreachable(unreachable(settings, refusal)) from refusal
        time.sleep(_RETRY_S)


def unreachable(settings: Settings, why: object) -> str:
    """Text for a user whose Kafka does not answer."""
    return (
        f"Kafka at {settings.bootstrap_servers} does not answer ({why}). Start one with `freshet up`, "
        "or name another with --bootstrap-servers or FRESHET_BOOTSTRAP_SERVERS; `freshet doctor` says more."
    )


def missing(settings: Settings, topic: str) -> str:
    """Text for a user whose Kafka has no such topic."""
    return (
        f"Kafka at {settings.bootstrap_servers} has no topic {topic}. `freshet up` and `freshet stream` "
        "create the topics; is the prefix (--topic-prefix, FRESHET_TOPIC_PREFIX) that of the workers?"
    )
