"""Batches of records that cannot be decoded, each for a reason of its own."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path

from aiokafka.record.util import calc_crc32c

_LENGTH_AT = 8
_FORMAT_AT = 16
_CHECKSUM_AT = 17
_ATTRIBUTES_AT = 21
_RECORDS_AT = 61

Damage = Callable[[bytearray], None]


def wrong_checksum(batch: bytearray) -> None:
    """One bit of the last record is another one."""
    batch[-1] ^= 1


def unknown_format(batch: bytearray) -> None:
    """A format that no Kafka has yet."""
    batch[_FORMAT_AT] = 3


def unknown_codec(batch: bytearray) -> None:
    """A codec that no Kafka has yet, with the right checksum."""
    batch[_ATTRIBUTES_AT + 1] |= 7
    _seal(batch)


def not_compressed(batch: bytearray) -> None:
    """Bytes that no codec has written, and that are no records either, with the right checksum."""
    batch[_RECORDS_AT:] = b"x" * (len(batch) - _RECORDS_AT)
    _seal(batch)


def fewer_records(batch: bytearray) -> None:
    """One record less than the header counts, with the right checksum."""
    (count,) = struct.unpack_from(">i", batch, _RECORDS_AT - 4)
    struct.pack_into(">i", batch, _RECORDS_AT - 4, count + 1)
    _seal(batch)


DAMAGES: tuple[Damage, ...] = (wrong_checksum, unknown_format, unknown_codec, not_compressed, fewer_records)


def damage_on_disk(segment: Path, offset: int, damage: Damage) -> bytes:
    """Damage the batch that begins at ``offset`` in a file of a stopped broker; what it is then.

    A broker checks a batch when it is published, and never again.
    """
    data = bytearray(segment.read_bytes())
    at = 0
    while at < len(data):
        first, length = struct.unpack_from(">qi", data, at)
        end = at + _LENGTH_AT + 4 + length
        if first == offset:
            batch = data[at:end]
            damage(batch)
            data[at:end] = batch
            segment.write_bytes(data)
            return bytes(batch)
        at = end
    raise AssertionError(f"no batch of {segment} begins at {offset}")


def _seal(batch: bytearray) -> None:
    struct.pack_into(">I", batch, _CHECKSUM_AT, calc_crc32c(bytes(batch[_ATTRIBUTES_AT:])))
