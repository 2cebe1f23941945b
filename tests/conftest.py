"""What the tests share: one real Apache Kafka for the session, and settings of their own for each test."""

from __future__ import annotations

import os

# Before NumPy and torch are loaded, here and in what the tests start: threads that wait for each other take
# more of a busy machine than one, and with one a trained figure does not depend on how many cores there are.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import signal
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings as hypothesis_settings

from freshet.streams.settings import Settings
from freshet.workers.processes.kafka.broker import LocalKafka

# No deadline for an example: on a busy machine a slow one is the machine's doing. Continuous integration
# tries the same examples every time, so that a red run is the change's doing; every other run searches on.
hypothesis_settings.register_profile("local", deadline=None)
hypothesis_settings.register_profile("ci", deadline=None, derandomize=True)
hypothesis_settings.load_profile("ci" if os.environ.get("CI") else "local")

# A shell starts what runs in its background with SIGINT ignored, and programs inherit that: those that the
# tests interrupt would never hear of it.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalKafka]:
    """A running broker. Where it cannot start, every test that asks for it fails with the reason."""
    with LocalKafka(tmp_path_factory.mktemp("kafka")) as broker:
        yield broker


@pytest.fixture
def settings(kafka: LocalKafka, tmp_path: Path) -> Settings:
    """Settings for the session's broker that no other test shares: topics, data folder and ports."""
    return Settings(
        bootstrap_servers=kafka.bootstrap_servers,
        topic_prefix=f"t{uuid.uuid4().hex[:8]}.",
        data_dir=tmp_path,
        partitions=4,
        metrics_port=0,
    )


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the files that need a broker: they take long, and short ones even out the processes."""
    broker = {item.path for item in items if item.get_closest_marker("broker")}
    items.sort(key=lambda item: item.path not in broker)
