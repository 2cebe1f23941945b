"""The partitioner that all of Kafka's clients share, and an outbox that is used at the wrong time."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kafka.partitioner.default import murmur2

from freshet.streams.kafka.outbox import Outbox, partition_of
from freshet.streams.settings import Settings


@given(st.text(min_size=1, max_size=40), st.integers(1, 64))
def test_a_key_has_the_partition_that_other_clients_give_it(key: str, partitions: int) -> None:
    assert partition_of(key, partitions) == (murmur2(key.encode()) & 0x7FFFFFFF) % partitions


@pytest.mark.parametrize(
    ("key", "partition"), [("U1", 3), ("U2", 0), ("N55189", 2)], ids=["U1", "U2", "N55189"]
)
def test_partitions_never_change(key: str, partition: int) -> None:
    """States lie where an earlier release has put them."""
    assert partition_of(key, 4) == partition


async def test_an_outbox_that_is_not_running_says_so() -> None:
    outbox = Outbox(Settings())
    outbox.add_record("t", 0, b"k", b"v")
    with pytest.raises(RuntimeError, match=r"before start\(\) or after stop\(\)"):
        await outbox.flush()
    await outbox.stop()
