"""Provides a benchmark with a broker, and each part of it with topics and folders of its own."""

from __future__ import annotations

import asyncio
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from aiokafka.admin import AIOKafkaAdminClient

from freshet.streams.kafka.connection import client_config
from freshet.streams.kafka.topic_admin import ensure_topics
from freshet.streams.settings import Settings
from freshet.workers.processes.kafka.broker import LocalKafka


@dataclass(frozen=True, slots=True)
class BenchGround:
    """A running broker and a temporary folder."""

    base: Settings
    folder: Path
    name: str
    """Prefix of the names of all topics of this run."""

    def settings(self, part: str) -> Settings:
        """Settings with topics of their own, which exist, and a folder of their own."""
        settings = self.base.model_copy(
            update={"topic_prefix": f"{self.name}{part}.", "data_dir": self.folder / part, "metrics_port": 0}
        )
        ensure_topics(settings)
        return settings


@contextmanager
def bench_ground(settings: Settings, own_broker: bool) -> Iterator[BenchGround]:
    """A place to measure in, cleared afterwards.

    Args:
        settings: What to measure with; its topic prefix and data folder are not used.
        own_broker: Start a broker for this run, instead of using the one that ``settings`` name.

    Raises:
        WorkerError: The broker cannot be started.
        KafkaUnreachable: No broker answers.
    """
    name = f"bench-{uuid.uuid4().hex[:8]}."
    with tempfile.TemporaryDirectory(prefix="freshet-bench-", ignore_cleanup_errors=True) as temporary:
        folder = Path(temporary)
        if own_broker:
            with LocalKafka(folder) as kafka:
                servers = {"bootstrap_servers": kafka.bootstrap_servers}
                yield BenchGround(settings.model_copy(update=servers), folder, name)
            return
        try:
            yield BenchGround(settings, folder, name)
        finally:
            asyncio.run(_delete_topics(settings, name))


async def _delete_topics(settings: Settings, prefix: str) -> None:
    admin = AIOKafkaAdminClient(**client_config(settings))
    await admin.start()
    try:
        await admin.delete_topics([topic for topic in await admin.list_topics() if topic.startswith(prefix)])
    finally:
        await admin.close()
