"""Binary codec of user states: compact, versioned, with a checksum, and the same bytes for the same state.

The format is little-endian:

- a header of sizes; Z (heads,) float64; S (heads, d) float32; the times of recent and parked clicks, float64;
- the exposures' slates (time in ms, int64, and number of articles last shown in it, uint16), then their
  counts (uint8); each source's partition and last offset;
- since version 2: the numbers of articles shown again in the hour and of marks (uint16 each), the hour
  (int32) and count (uint8) of dropped exposures; for each article shown again its place (uint16) and count in
  the hour (uint8); the marks (uint64);
- the names of streams and articles, UTF-8, separated by line feeds; a CRC-32 of everything before it.

No number is rounded, so a state that was read back behaves exactly like the one written.
"""

from __future__ import annotations

import struct
import zlib
from sys import intern
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from freshet.models.users.exposures import COUNT_BITS, MAX_IN_HOUR, TIME_SHIFT

_VERSION = 2
_HEADER = struct.Struct("<BIHBdIHHHHHI")
_SOURCE = struct.Struct("<Hq")
_SLATE = struct.Struct("<qH")
_SHARE = struct.Struct("<HHiB")
_AGAIN = struct.Struct("<HB")
_CHECKSUM = struct.Struct("<I")
_NUMBER_BYTES = _MARK_BYTES = 8


class StoredState(NamedTuple):
    """Parts of a state that are stored."""

    fingerprint: int
    reference_s: float
    clicks: int
    weights: list[float]
    sums: NDArray[np.float32]
    """Shape (heads, d)."""
    recent: list[tuple[float, str]]
    parked: list[tuple[float, str]]
    shown: dict[str, int]
    """``packed`` of :class:`freshet.models.users.exposures.Exposures`."""
    gone: tuple[int, int]
    """``gone`` of :class:`freshet.models.users.exposures.Exposures`."""
    offsets: dict[tuple[str, int], int]
    marks: list[int]
    """Marks of the last events, the oldest first."""


def encode(state: StoredState) -> bytes:
    """Encode a state.

    Raises:
        ValueError: An id or a stream's name holds a line feed.
    """
    heads, d = state.sums.shape
    recent, parked, shown = state.recent, state.parked, state.shown
    sources = sorted(state.offsets.items())
    names = [stream for (stream, _), _ in sources]
    names += [news_id for _, news_id in recent + parked]
    names += shown
    text = "\n".join(names).encode()
    if names and text.count(b"\n") != len(names) - 1:
        raise ValueError("a user's state cannot hold an id with a line feed in it")
    slates, counts, again = _slates(shown)
    header = _HEADER.pack(
        _VERSION,
        state.fingerprint,
        d,
        heads,
        state.reference_s,
        state.clicks,
        len(recent),
        len(parked),
        len(shown),
        len(slates),
        len(sources),
        len(text),
    )
    times_s = [time_s for time_s, _ in recent + parked]
    body = b"".join(
        (
            header,
            struct.pack(f"<{heads}d", *state.weights),
            state.sums.astype("<f4", copy=False).tobytes(),
            struct.pack(f"<{len(times_s)}d", *times_s),
            *[_SLATE.pack(shown_at_ms, articles) for shown_at_ms, articles in slates],
            counts,
            *[_SOURCE.pack(partition, offset) for (_, partition), offset in sources],
            _SHARE.pack(len(again), len(state.marks), *state.gone),
            *[_AGAIN.pack(place, count) for place, count in again],
            struct.pack(f"<{len(state.marks)}Q", *state.marks),
            text,
        )
    )
    return body + _CHECKSUM.pack(zlib.crc32(body))


def _slates(shown: dict[str, int]) -> tuple[list[tuple[int, int]], bytes, list[tuple[int, int]]]:
    """Split the exposures of a state into the columns of the format.

    Returns:
        Time (ms) and number of articles of each slate; the count of each article; place and count in the hour
        of articles shown more than once in it.
    """
    if not shown:
        return [], b"", []
    packed = np.fromiter(shown.values(), np.int64, len(shown))
    shown_at_ms = packed >> TIME_SHIFT
    in_hour = packed >> COUNT_BITS & MAX_IN_HOUR
    again = np.flatnonzero(in_hour > 1)
    last = np.flatnonzero(shown_at_ms[1:] != shown_at_ms[:-1]).tolist()
    last.append(len(shown) - 1)
    starts = [0, *(index + 1 for index in last)]
    slates = [
        (time_ms, end - start)
        for time_ms, start, end in zip(shown_at_ms[last].tolist(), starts, starts[1:], strict=False)
    ]
    counts = packed.astype(np.uint8).tobytes()
    return slates, counts, list(zip(again.tolist(), in_hour[again].tolist(), strict=True))


def decode(value: bytes) -> StoredState:
    """Decode a state that :func:`encode` encoded.

    Raises:
        ValueError: The bytes are not a user's state, are damaged, or of another version.
    """
    if len(value) < _HEADER.size + _CHECKSUM.size:
        raise ValueError(f"a user's state of {len(value)} bytes, too short")
    if value[0] not in {1, _VERSION}:
        raise ValueError(f"a user's state of version {value[0]}, this program reads 1 and {_VERSION}")
    end = len(value) - _CHECKSUM.size
    if _CHECKSUM.unpack_from(value, end)[0] != zlib.crc32(memoryview(value)[:end]):
        raise ValueError(f"a user's state of {len(value)} bytes is damaged: its checksum differs")
    (
        _,
        fingerprint,
        d,
        heads,
        reference_s,
        clicks,
        n_recent,
        n_parked,
        n_shown,
        n_slates,
        n_sources,
        text_bytes,
    ) = _HEADER.unpack_from(value)
    sums_at = _HEADER.size + _NUMBER_BYTES * heads
    times_at = sums_at + 4 * heads * d
    slates_at = times_at + _NUMBER_BYTES * (n_recent + n_parked)
    counts_at = slates_at + _SLATE.size * n_slates
    sources_at = counts_at + n_shown
    sources_end = share_at = text_at = sources_at + _SOURCE.size * n_sources
    n_again, n_marks, gone = 0, 0, (-1, 0)
    if value[0] > 1 and share_at + _SHARE.size <= end:
        n_again, n_marks, *gone_in = _SHARE.unpack_from(value, share_at)
        gone = (gone_in[0], gone_in[1])
        share_at += _SHARE.size
        text_at = share_at + _AGAIN.size * n_again + _MARK_BYTES * n_marks
    n_names = n_sources + n_recent + n_parked + n_shown
    # Interned: the same few thousand ids are in every user's state.
    names = list(map(intern, value[text_at:end].decode().split("\n"))) if n_names else []
    if end - text_at != text_bytes or len(names) != n_names:
        raise ValueError(f"a user's state of {len(value)} bytes does not hold what its header says")
    times_s = struct.unpack_from(f"<{n_recent + n_parked}d", value, times_at)
    parked_at = n_sources + n_recent
    ids_at = parked_at + n_parked
    packed: list[int] = []
    for shown_at_ms, articles in _SLATE.iter_unpack(value[slates_at:counts_at]):
        stamp = shown_at_ms << TIME_SHIFT | 1 << COUNT_BITS
        first = stamp + 1
        at = counts_at + len(packed)
        packed += [first if count == 1 else stamp + count for count in value[at : at + articles]]
    marks_at = text_at - _MARK_BYTES * n_marks
    for place, in_hour in _AGAIN.iter_unpack(value[share_at:marks_at]):
        packed[place] += (in_hour - 1) << COUNT_BITS
    return StoredState(
        fingerprint,
        reference_s,
        clicks,
        list(struct.unpack_from(f"<{heads}d", value, _HEADER.size)),
        np.frombuffer(value, "<f4", heads * d, sums_at).astype(np.float32).reshape(heads, d),
        list(zip(times_s[:n_recent], names[n_sources:parked_at], strict=True)),
        list(zip(times_s[n_recent:], names[parked_at:ids_at], strict=True)),
        dict(zip(names[ids_at:], packed, strict=True)),
        gone,
        {
            (stream, partition): offset
            for stream, (partition, offset) in zip(
                names[:n_sources], _SOURCE.iter_unpack(value[sources_at:sources_end]), strict=True
            )
        },
        list(struct.unpack_from(f"<{n_marks}Q", value, marks_at)),
    )
