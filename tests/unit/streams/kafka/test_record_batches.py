"""A batch that cannot be decoded comes as one record, and what lies around it is read, by both libraries."""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka import TopicPartition
from aiokafka.record.default_records import DefaultRecordBatchBuilder
from aiokafka.record.legacy_records import LegacyRecordBatchBuilder
from hypothesis import given
from hypothesis import strategies as st
from kafka.consumer.fetcher import IsolationLevel
from kafka.record import MemoryRecords

from freshet.streams.kafka import consumers
from freshet.streams.kafka.record_batches import UndecodableBatch
from tests.damaged_batches import DAMAGES, Damage, not_compressed, wrong_checksum

_CODECS = {"none": 0, "gzip": 1, "snappy": 2, "lz4": 3, "zstd": 4}
_TP = TopicPartition("clicks", 1)
_MOST_FETCHES = 100

Read = tuple[list[Any], int]
"""Records, and the offset to go on from."""


def _by_aiokafka(data: bytes, offset: int, aborted: Sequence[tuple[int, int]] = ()) -> Read:
    records = consumers._AiokafkaRecords(
        _TP, consumers._Bytes(data), list(aborted), offset, None, None, True, 1
    )
    return list(records), records.next_fetch_offset


def _by_kafka_python(data: bytes, offset: int, aborted: Sequence[tuple[int, int]] = ()) -> Read:
    records = consumers._KafkaPythonRecords(
        offset,
        _TP,
        MemoryRecords(data),
        isolation_level=IsolationLevel.READ_COMMITTED,
        aborted_transactions=[SimpleNamespace(producer_id=by, first_offset=at) for by, at in aborted],
    )
    return records.take(), records.next_fetch_offset


Fetch = Callable[..., Read]
BOTH = pytest.mark.parametrize("fetch", [_by_aiokafka, _by_kafka_python])


def _batch(first: int, values: Sequence[bytes], codec: str = "none", producer: int = -1) -> bytearray:
    builder = DefaultRecordBatchBuilder(
        magic=2,
        compression_type=_CODECS[codec],
        is_transactional=producer >= 0,
        producer_id=producer,
        producer_epoch=0,
        base_sequence=0,
        batch_size=1 << 20,
    )
    for i, value in enumerate(values):
        builder.append(i, 1_767_000_000_000 + i, b"U1", value, [("h", b"v")])
    batch = builder.build()
    struct.pack_into(">q", batch, 0, first)
    return bytearray(batch)


def _read(fetch: Fetch, log: Sequence[tuple[int, bytes | bytearray]], end: int) -> list[Any]:
    """Everything from offset 0 to ``end``, fetched as of a broker whose batches end at the given offsets."""
    records: list[Any] = []
    offset = 0
    for _ in range(_MOST_FETCHES):
        if offset >= end:
            return records
        data = b"".join(batch for last, batch in log if last >= offset)
        read, position = fetch(data, offset)
        assert position > offset, f"reading stands still at {offset}"
        records += read
        offset = position
    raise AssertionError(f"not at {end} after {_MOST_FETCHES} fetches, but at {offset}")


def _values(records: Sequence[Any]) -> list[bytes]:
    return [record.value for record in records if not isinstance(record.value, UndecodableBatch)]


@BOTH
@pytest.mark.parametrize("codec", _CODECS)
def test_every_codec_is_read(fetch: Fetch, codec: str) -> None:
    values = [bytes([i]) * 500 for i in range(200)]
    records, position = fetch(bytes(_batch(40, values, codec)), 41)
    assert [record.value for record in records] == values[1:]
    assert [record.offset for record in records] == list(range(41, 240))
    assert list(records[0].headers) == [("h", b"v")]
    assert position == 240


@BOTH
@pytest.mark.parametrize("magic", [0, 1])
def test_records_of_the_oldest_formats_are_read(fetch: Fetch, magic: int) -> None:
    builder = LegacyRecordBatchBuilder(magic=magic, compression_type=0, batch_size=1 << 20)
    for i in range(3):
        builder.append(i, timestamp=1_767_000_000_000, key=None, value=b"%d" % i)
    records, position = fetch(bytes(builder.build()), 0)
    assert ([record.value for record in records], position) == ([b"0", b"1", b"2"], 3)


@BOTH
@pytest.mark.parametrize("codec", _CODECS)
@pytest.mark.parametrize("damage", DAMAGES)
def test_a_batch_that_cannot_be_decoded_is_one_record_that_says_why(
    fetch: Fetch, codec: str, damage: Damage, caplog: pytest.LogCaptureFixture
) -> None:
    bad = _batch(2, [b"c" * 300, b"d" * 300, b"e" * 300], codec)
    damage(bad)
    log = [(1, _batch(0, [b"a", b"b"])), (4, bad), (6, _batch(5, [b"f", b"g"], codec))]
    records = _read(fetch, log, 7)
    assert _values(records) == [b"a", b"b", b"f", b"g"]
    (record,) = [record for record in records if isinstance(record.value, UndecodableBatch)]
    assert (record.topic, record.partition, record.offset, record.key) == ("clicks", 1, 4, None)
    assert record.value == bad
    assert record.value.reason.startswith("the batch of offsets 2 to 4 cannot be decoded: ")
    assert [message for message in caplog.messages if "cannot be decoded" in message] == [
        f"clicks[1]: {record.value.reason}; it is stepped over"
    ]


@BOTH
@given(at=st.integers(8, 100), change=st.integers(1, 255), codec=st.sampled_from(sorted(_CODECS)))
def test_whichever_byte_is_wrong_all_other_batches_are_read(
    fetch: Fetch, at: int, change: int, codec: str
) -> None:
    bad = _batch(2, [b"cdefghijkl" * 20, b"d", b"e"], codec)
    bad[at] ^= change
    log = [(1, _batch(0, [b"a", b"b"])), (4, bad), (6, _batch(5, [b"f", b"g"]))]
    values = _values(_read(fetch, log, 7))
    # The leader's epoch is in no checksum: with another one the batch is read all the same.
    assert (values[:2], values[-2:]) == ([b"a", b"b"], [b"f", b"g"])
    assert values[2:-2] in ([], [b"cdefghijkl" * 20, b"d", b"e"])


@BOTH
def test_reading_from_the_middle_of_such_a_batch_goes_on_behind_it(fetch: Fetch) -> None:
    bad = _batch(2, [b"c", b"d", b"e"])
    wrong_checksum(bad)
    records, position = fetch(bytes(bad), 3)
    assert [record.offset for record in records] == [4]
    assert position == 5


@BOTH
def test_a_batch_that_the_end_of_a_fetch_cuts_off_is_no_bad_one(fetch: Fetch) -> None:
    data = bytes(_batch(0, [b"a"])) + bytes(_batch(1, [b"b"]))[:-1]
    records, position = fetch(data, 0)
    assert ([record.value for record in records], position) == ([b"a"], 1)


@BOTH
def test_a_batch_of_an_aborted_transaction_is_skipped_whatever_it_holds(fetch: Fetch) -> None:
    bad = _batch(2, [b"c", b"d"], "zstd", producer=7)
    not_compressed(bad)
    assert fetch(bytes(bad), 2, aborted=[(7, 2)]) == ([], 4)
    records, position = fetch(bytes(bad), 2)
    assert ([record.offset for record in records], position) == ([3], 4)
