"""Faust recovers tables from the records of changelogs, and from one of nothing where a batch is damaged."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import rocksdict
from aiokafka.structs import ConsumerRecord
from faust.types import TP

from freshet.streams.group_member import GroupMember
from freshet.streams.record_batches import UndecodableBatch

_TP = TP("stream-user-state-changelog", 3)


def _message(key: bytes | None, value: bytes) -> Any:
    member: Any = GroupMember.__new__(GroupMember)
    member.app = SimpleNamespace(consumer_generation_id=1)
    sizes = (-1 if key is None else len(key), len(value))
    return member._to_message(_TP, ConsumerRecord(*_TP, 7, 1_000, 0, key, value, None, *sizes, ()))


def test_a_record_is_recovered_as_it_is() -> None:
    message = _message(b"U1", b"state")
    assert (message.key, message.value, message.offset) == (b"U1", b"state", 7)


def test_a_batch_that_cannot_be_decoded_changes_no_state_and_ends_at_its_last_offset(tmp_path: Path) -> None:
    message = _message(None, UndecodableBatch.of(memoryview(b"..."), "its checksum is wrong"))
    assert message.offset == 7, "recovery waits for the changelog's last offset"
    assert message.value is None
    # As Faust's store applies it.
    store = rocksdict.Rdict(str(tmp_path), rocksdict.Options(raw_mode=True))
    store[b"U1"] = b"state"
    batch = rocksdict.WriteBatch(raw_mode=True)
    batch.delete(message.key)
    store.write(batch)
    assert dict(store.items()) == {b"U1": b"state"}
    store.close()
