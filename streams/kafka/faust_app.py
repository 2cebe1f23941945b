"""Configuration of Faust: one worker's place in the consumer group, its tables' folder, its brokers."""

from __future__ import annotations

import socket
import uuid
from typing import Any

import faust
from yarl import URL

from freshet.streams.kafka.connection import MAX_REQUEST_BYTES, tls_context
from freshet.streams.settings import Settings

_HEARTBEATS_IN_A_SESSION = 5


def faust_app(settings: Settings) -> faust.App:
    """Make a Faust app without agents and tables, and the data folder if it is missing.

    Faust's own environment variables (``BROKER_MAX_POLL_INTERVAL`` and others) win over the settings.
    """
    settings.data_dir.mkdir(parents=True, exist_ok=True)
    options: dict[str, Any] = {}
    if settings.kafka_username is not None and settings.kafka_password is not None:
        options["broker_credentials"] = faust.SASLCredentials(
            username=settings.kafka_username,
            password=settings.kafka_password.get_secret_value(),
            ssl_context=tls_context(settings),
            mechanism=settings.kafka_sasl_mechanism,
        )
    elif settings.kafka_tls:
        options["broker_credentials"] = faust.SSLCredentials(tls_context(settings))
    return faust.App(
        f"{settings.topic_prefix}stream",
        broker=[URL(f"aiokafka://{server}") for server in settings.bootstrap_servers.split(",")],
        store="rocksdb://",
        datadir=settings.data_dir.absolute() / "tables",
        autodiscover=False,
        web_enabled=False,
        topic_partitions=settings.partitions,
        topic_replication_factor=settings.replication,
        # A leader election topic is of use only to agents that run once in a cluster; there is none.
        topic_disable_leader=True,
        topic_allow_declare=True,
        consumer_auto_offset_reset="earliest",
        consumer_max_fetch_size=MAX_REQUEST_BYTES,
        producer_max_request_size=MAX_REQUEST_BYTES,
        # Static membership: a restarted worker gets its partitions back at once, without a rebalance; one
        # that does not come back is given up after the session timeout.
        consumer_group_instance_id=_worker_id(settings),
        broker_session_timeout=settings.session_timeout_s,
        broker_heartbeat_interval=settings.session_timeout_s / _HEARTBEATS_IN_A_SESSION,
        broker_max_poll_interval=settings.max_poll_interval_s,
        consumer_metadata_max_age_ms=round(settings.metadata_max_age_s * 1_000),
        consumer_connections_max_idle_ms=round(settings.connections_max_idle_s * 1_000),
        producer_metadata_max_age_ms=round(settings.metadata_max_age_s * 1_000),
        producer_connections_max_idle_ms=round(settings.connections_max_idle_s * 1_000),
        # Faust's default of 3 s before a restarted worker recovers its tables is for large clusters.
        stream_recovery_delay=0.0,
        **options,
    )


def _worker_id(settings: Settings) -> str:
    """Name of the worker that owns the data folder, the same after every restart."""
    file = settings.data_dir / "worker-id"
    try:
        return file.read_text().strip()
    except FileNotFoundError:
        worker_id = f"{socket.gethostname()}-{uuid.uuid4().hex[:8]}"
        file.write_text(worker_id + "\n")
        return worker_id
