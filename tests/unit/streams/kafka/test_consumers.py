"""Every consumer is made in one place, so that all of them keep to what that place promises."""

from __future__ import annotations

import asyncio
import re
from typing import Any

import pytest
from aiokafka import TopicPartition
from aiokafka.client import AIOKafkaClient
from aiokafka.consumer import consumer
from aiokafka.consumer.subscription_state import SubscriptionState
from aiokafka.errors import KafkaConnectionError

from freshet.streams.kafka import consumers
from freshet.streams.settings import Settings
from tests.repository import ROOT
from tests.waiting import HANG_S

_MADE = re.compile(r"\b(?:AIO)?KafkaConsumer\(")


def test_consumers_are_made_in_one_place() -> None:
    files = [file for folder in ("models", "streams", "workers") for file in (ROOT / folder).rglob("*.py")]
    makers = {str(file.relative_to(ROOT)) for file in files if _MADE.search(file.read_text(encoding="utf-8"))}
    assert makers == {"streams/kafka/consumers.py"}


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


class SilentClient(AIOKafkaClient):  # type: ignore[misc] # aiokafka carries no types
    """A client of a broker that leaves every request unanswered, or cannot be reached."""

    def __init__(self, *, reached: bool = True) -> None:
        super().__init__()
        self.asked = asyncio.Event()
        self._reached = reached

    async def send(self, node_id: int, request: object) -> None:
        self.asked.set()
        if not self._reached:
            raise KafkaConnectionError
        await asyncio.Event().wait()


def fetching(client: SilentClient, monkeypatch: pytest.MonkeyPatch) -> tuple[Any, SubscriptionState]:
    """A fetcher of one partition, by ``client``."""
    consumers.mend_aiokafka()
    monkeypatch.setattr(client.cluster, "leader_for_partition", lambda partition: 0)
    subscription = SubscriptionState(loop=asyncio.get_running_loop())
    partition = TopicPartition("clicks", 0)
    subscription.assign_from_user([partition])
    subscription.seek(partition, 0)
    return consumer.Fetcher(client, subscription), subscription


@pytest.mark.parametrize("turns", range(4))
async def test_a_consumer_can_be_closed_while_it_abandons_partitions(
    monkeypatch: pytest.MonkeyPatch, turns: int
) -> None:
    client = SilentClient()
    fetcher, subscription = fetching(client, monkeypatch)
    await client.asked.wait()
    subscription.assign_from_user([])
    for _ in range(turns):  # of the loop, in one of which the requests under way are being cancelled
        await asyncio.sleep(0)
    # Not asyncio.timeout(): the fetcher would swallow its cancellation too.
    closed, _ = await asyncio.wait({asyncio.create_task(fetcher.close())}, timeout=HANG_S)
    assert closed


async def test_a_consumer_is_closed_whole_while_a_request_waits_to_be_made_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    client = SilentClient(reached=False)
    fetcher, _ = fetching(client, monkeypatch)
    await client.asked.wait()
    await fetcher.close()
