"""Decodes the batches of records that a fetch brings, so that none of them stops a partition.

At a batch that they cannot decode (a wrong checksum, an unknown format or codec, corrupt bytes) both client
libraries raise at every attempt, for ever. Here such a batch is logged with its place and comes as one
record, whose value is an :class:`UndecodableBatch`, and reading goes on behind it. The workers count it in
``freshet_undecodable_batches_total`` and write it to ``dead-letters``.

How far a batch reaches stands in its header, outside of what is compressed. The header is believed if the
checksum says so, or if it agrees with itself; else reading goes on one offset further, never past a record
that could be read. What was fetched behind such a batch is fetched again, because the length that says where
it begins may be wrong: the broker knows better.
"""

from __future__ import annotations

import logging
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from aiokafka.record.util import calc_crc32c

log = logging.getLogger(__name__)

_LENGTH: Final = struct.Struct(">8xi")
"""Beginning of a batch in every format: the base offset, and the number of bytes that follow."""
_HEADER: Final = struct.Struct(">q8xb4xhi8xqq6xi")
"""Header in format 2: base offset, format, attributes, last record's distance from the base offset, latest
timestamp, the producer's id, the number of records. https://kafka.apache.org/documentation/#recordbatch"""
_CHECKSUM: Final = struct.Struct(">17xI")
"""Checksum in format 2, of all bytes that follow it."""
_FORMAT_AT: Final = 16
_NEWEST_FORMAT: Final = 2
_TRANSACTIONAL: Final = 0x10


class UndecodableBatch(bytes):
    """Bytes of a batch as the broker has them, in place of a record's value."""

    reason: str

    @classmethod
    def of(cls, data: memoryview, reason: str) -> UndecodableBatch:
        """Keep ``data``, and the reason why it cannot be decoded."""
        batch = cls(data)
        batch.reason = reason
        return batch


class Library(NamedTuple):
    """Decoders of batches of one client library."""

    newest: Callable[[memoryview], Any]
    """Decoder of format 2."""
    older: Callable[[memoryview, int], Any]
    """Decoder of formats 0 and 1."""


class FetchedBatches:
    """Batches that one fetch has brought from one partition, in place of a library's ``MemoryRecords``.

    Args:
        library: Decodes the batches.
        data: The bytes fetched.
        topic: The full name of the topic.
        partition: The number of the partition.
        offset: The offset asked for: the first that has not been read.
    """

    def __init__(self, library: Library, data: bytes, topic: str, partition: int, offset: int) -> None:
        self._library = library
        self._data = memoryview(data)
        self._topic = topic
        self._partition = partition
        self._offset = offset
        self._begin = 0
        # The first batch of a fetch is always whole; the last may be cut off, and comes again.
        self._end = self._end_of_batch() or len(data)
        """End of the next batch; its beginning where there is none."""

    def has_next(self) -> bool:
        """Whether :meth:`next_batch` gives one more."""
        return self._end > self._begin

    def next_batch(self) -> Any:
        """Return the next batch, as the libraries' fetchers expect one; ``None`` at the end."""
        if self._end == self._begin:
            return None
        data = self._data[self._begin : self._end]
        self._begin = self._end
        try:
            batch = self._decode(data)
        except Exception as error:  # every codec has errors of its own
            return self._undecodable(data, error)
        self._end = self._end_of_batch() or self._begin
        self._offset = max(self._offset, batch.next_offset)
        return batch

    def _end_of_batch(self) -> int:
        """End of the batch to be decoded next; 0 where it is incomplete."""
        records = self._begin + _LENGTH.size
        if records > len(self._data):
            return 0
        (length,) = _LENGTH.unpack_from(self._data, self._begin)
        return int(records + length) if 0 <= length <= len(self._data) - records else 0

    def _decode(self, data: memoryview) -> DecodedBatch:
        number = data[_FORMAT_AT]
        if number > _NEWEST_FORMAT:
            raise ValueError(f"{number} is no format of records")
        newest = number == _NEWEST_FORMAT
        batch = self._library.newest(data) if newest else self._library.older(data, number)
        if not (_checksum_is_right(data) if newest else batch.validate_crc()):
            raise ValueError("its checksum is wrong")
        records = list(batch)
        return DecodedBatch(batch, records, batch.next_offset if newest else records[-1].offset + 1)

    def _undecodable(self, data: memoryview, error: Exception) -> SteppedOver:
        first = last = self._offset
        timestamp_ms, producer, attributes = -1, -1, 0
        if len(data) >= _HEADER.size:
            base, _, attributes_, delta, timestamp, producer_, count = _HEADER.unpack_from(data)
            if base + delta >= last and (delta + 1 == count or _checksum_is_right(data)):
                first, last = base, base + delta
                timestamp_ms, producer, attributes = timestamp, producer_, attributes_
        where = f"offset {last}" if first == last else f"offsets {first} to {last}"
        reason = f"the batch of {where} cannot be decoded: {error!r}"
        log.error("%s[%d]: %s; it is stepped over", self._topic, self._partition, reason)
        record = BatchAsRecord(last, timestamp_ms, UndecodableBatch.of(data, reason))
        return SteppedOver(first, last, producer, bool(attributes & _TRANSACTIONAL), record)


def _checksum_is_right(data: memoryview) -> bool:
    """Check the CRC of a batch of format 2, in C; one of the libraries does it in Python."""
    (checksum,) = _CHECKSUM.unpack_from(data)
    return bool(calc_crc32c(data[_CHECKSUM.size :]) == checksum)


class DecodedBatch:
    """A library's batch whose checksum is right and whose records are decoded."""

    def __init__(self, batch: Any, records: list[Any], next_offset: int) -> None:
        self._batch = batch
        self._records = iter(records)
        self.next_offset = next_offset

    def __getattr__(self, name: str) -> Any:
        return getattr(self._batch, name)

    def __iter__(self) -> Iterator[Any]:
        return self._records

    def __next__(self) -> Any:
        return next(self._records)

    def validate_crc(self) -> bool:
        """Confirm, without computing it again."""
        return True


@dataclass(frozen=True, slots=True)
class BatchAsRecord:
    """A batch that cannot be decoded, in the form of a record, as the libraries' fetchers expect one."""

    offset: int
    """Offset of the batch's last record, so that reading goes on behind the batch."""
    timestamp: int
    value: UndecodableBatch
    timestamp_type: int = 0
    key: bytes | None = None
    checksum: int | None = None
    headers: tuple[tuple[str, bytes], ...] = ()

    @property
    def size_in_bytes(self) -> int:
        """Size of the batch."""
        return len(self.value)

    def validate_crc(self) -> bool:
        """Confirm, because the checksum's fault is known and reported."""
        return True


@dataclass(frozen=True, slots=True)
class SteppedOver:
    """A batch of one record, :class:`BatchAsRecord`; one of an aborted transaction is skipped like any."""

    base_offset: int
    last_offset: int
    producer_id: int
    is_transactional: bool
    record: BatchAsRecord
    is_control_batch: bool = False
    magic: int = _NEWEST_FORMAT
    leader_epoch: int = -1

    @property
    def next_offset(self) -> int:
        """Offset at which reading goes on."""
        return self.last_offset + 1

    def has_producer_id(self) -> bool:
        """Whether the producer numbered its records."""
        return self.producer_id >= 0

    def validate_crc(self) -> bool:
        """Confirm, because the checksum's fault is known and reported."""
        return True

    def __iter__(self) -> Iterator[BatchAsRecord]:
        return iter((self.record,))
