"""Every consumer is made in one place, so that all of them keep to what that place promises."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from freshet.streams import consumers
from freshet.streams.settings import Settings

ROOT = Path(__file__).parents[2]
_MADE = re.compile(r"\b(?:AIO)?KafkaConsumer\(")


def test_consumers_are_made_in_one_place() -> None:
    files = [file for folder in ("models", "streams", "workers") for file in (ROOT / folder).rglob("*.py")]
    makers = {str(file.relative_to(ROOT)) for file in files if _MADE.search(file.read_text(encoding="utf-8"))}
    assert makers == {"streams/consumers.py"}


@pytest.mark.parametrize(
    ("make", "library"),
    [(consumers.kafka_consumer, "KafkaConsumer"), (consumers.aiokafka_consumer, "AIOKafkaConsumer")],
)
def test_only_committed_records_are_read_and_nothing_is_committed_unasked(
    monkeypatch: pytest.MonkeyPatch, make: Any, library: str
) -> None:
    made: dict[str, Any] = {}

    class Consumer:
        def __init__(self, *_: str, **options: Any) -> None:
            made.update(options)
            self._fetcher: Any = self

    monkeypatch.setattr(consumers, library, Consumer)
    make(Settings(), auto_offset_reset="none")
    assert made["isolation_level"] == "read_committed"
    assert made["enable_auto_commit"] is False
    assert made["auto_offset_reset"] == "none"
