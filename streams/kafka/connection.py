"""Addresses, security and limits of connections to Kafka, in one place for both client libraries."""

from __future__ import annotations

import ssl
from typing import Any

from freshet.models.events.events import MAX_EVENT_BYTES
from freshet.streams.settings import Settings

MAX_REQUEST_BYTES = MAX_EVENT_BYTES + 64 * 1024
"""The largest value of a record, and room for its key and headers."""
_REQUEST_TIMEOUT_S = 30.0


def client_config(settings: Settings) -> dict[str, Any]:
    """Keyword arguments for every client of kafka-python and aiokafka: where to connect and how.

    Passwords come from the settings (the environment) and go nowhere else.
    """
    config: dict[str, Any] = {
        "bootstrap_servers": settings.bootstrap_servers.split(","),
        "metadata_max_age_ms": round(settings.metadata_max_age_s * 1_000),
        "connections_max_idle_ms": round(settings.connections_max_idle_s * 1_000),
        # kafka-python refuses consumers whose connections may be closed while a request is under way.
        "request_timeout_ms": round(min(_REQUEST_TIMEOUT_S, settings.connections_max_idle_s / 2) * 1_000),
    }
    if settings.kafka_username is not None and settings.kafka_password is not None:
        config |= {
            "security_protocol": "SASL_SSL",
            "sasl_mechanism": settings.kafka_sasl_mechanism,
            "sasl_plain_username": settings.kafka_username,
            "sasl_plain_password": settings.kafka_password.get_secret_value(),
            "ssl_context": tls_context(settings),
        }
    elif settings.kafka_tls:
        config |= {"security_protocol": "SSL", "ssl_context": tls_context(settings)}
    return config


def tls_context(settings: Settings) -> ssl.SSLContext:
    """A context that verifies brokers: by ``kafka_ca_file`` where it is set, else as the system does."""
    return ssl.create_default_context(cafile=settings.kafka_ca_file)


def topic_name(settings: Settings, name: str) -> str:
    """The full name of a topic of :mod:`freshet.streams.kafka.topics`."""
    return settings.topic_prefix + name
