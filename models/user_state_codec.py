"""The bytes of a user's state: compact, versioned, the same for the same state, and checked.

Little-endian: a header of sizes; Z (heads) float64; S (heads, d) float32; the times of recent and parked
clicks, float64; the exposures' packed numbers, int64; each source's partition and last offset; the names of
streams and articles, UTF-8, separated by line feeds; a CRC-32 of everything before it. No number is rounded,
so a state read back behaves exactly like the one written.
"""

from __future__ import annotations

import struct
import zlib
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

_VERSION = 1
_HEADER = struct.Struct("<BIHBdIHHHHI")
_SOURCE = struct.Struct("<Hq")
_CHECKSUM = struct.Struct("<I")
_NUMBER_BYTES = 8


class StoredState(NamedTuple):
    """A state's parts."""

    fingerprint: int
    reference_s: float
    clicks: int
    weights: list[float]
    sums: NDArray[np.float32]
    """Shape (heads, d)."""
    recent: list[tuple[float, str]]
    parked: list[tuple[float, str]]
    shown: dict[str, int]
    offsets: dict[tuple[str, int], int]


def encode(state: StoredState) -> bytes:
    """The state's bytes.

    Raises:
        ValueError: An id or a stream's name holds a line feed.
    """
    heads, d = state.sums.shape
    recent, parked, shown = state.recent, state.parked, state.shown
    sources = sorted(state.offsets.items())
    names = [stream for (stream, _), _ in sources]
    names += [news_id for _, news_id in recent]
    names += [news_id for _, news_id in parked]
    names += shown
    text = "\n".join(names).encode()
    if names and text.count(b"\n") != len(names) - 1:
        raise ValueError("a user's state cannot hold an id with a line feed in it")
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
        len(sources),
        len(text),
    )
    times_s = [time_s for time_s, _ in recent]
    times_s += [time_s for time_s, _ in parked]
    numbers = struct.pack(
        f"<{heads}d{4 * heads * d}s{len(times_s)}d{len(shown)}q",
        *state.weights,
        state.sums.tobytes(),
        *times_s,
        *shown.values(),
    )
    positions = b"".join([_SOURCE.pack(partition, offset) for (_, partition), offset in sources])
    body = b"".join((header, numbers, positions, text))
    return body + _CHECKSUM.pack(zlib.crc32(body))


def decode(value: bytes) -> StoredState:
    """The state that :func:`encode` encoded.

    Raises:
        ValueError: The bytes are not a user's state, are damaged, or of another version.
    """
    if len(value) < _HEADER.size + _CHECKSUM.size:
        raise ValueError(f"a user's state of {len(value)} bytes, too short")
    if value[0] != _VERSION:
        raise ValueError(f"a user's state of version {value[0]}, this program reads {_VERSION}")
    end = len(value) - _CHECKSUM.size
    if _CHECKSUM.unpack_from(value, end)[0] != zlib.crc32(memoryview(value)[:end]):
        raise ValueError(f"a user's state of {len(value)} bytes is damaged: its checksum differs")
    _, fingerprint, d, heads, reference_s, clicks, n_recent, n_parked, n_shown, n_sources, text_bytes = (
        _HEADER.unpack_from(value)
    )
    sums_at = _HEADER.size + _NUMBER_BYTES * heads
    times_at = sums_at + 4 * heads * d
    shown_at = times_at + _NUMBER_BYTES * (n_recent + n_parked)
    sources_at = shown_at + _NUMBER_BYTES * n_shown
    text_at = sources_at + _SOURCE.size * n_sources
    n_names = n_sources + n_recent + n_parked + n_shown
    names = value[text_at:end].decode().split("\n") if n_names else []
    if end - text_at != text_bytes or len(names) != n_names:
        raise ValueError(f"a user's state of {len(value)} bytes does not hold what its header says")
    times_s = struct.unpack_from(f"<{n_recent + n_parked}d", value, times_at)
    recent_at = n_sources
    parked_at = recent_at + n_recent
    ids_at = parked_at + n_parked
    return StoredState(
        fingerprint,
        reference_s,
        clicks,
        list(struct.unpack_from(f"<{heads}d", value, _HEADER.size)),
        np.frombuffer(value, "<f4", heads * d, sums_at).astype(np.float32).reshape(heads, d),
        list(zip(times_s[:n_recent], names[recent_at:parked_at], strict=True)),
        list(zip(times_s[n_recent:], names[parked_at:ids_at], strict=True)),
        dict(zip(names[ids_at:], struct.unpack_from(f"<{n_shown}q", value, shown_at), strict=True)),
        {
            (stream, partition): offset
            for stream, (partition, offset) in zip(
                names[:recent_at], _SOURCE.iter_unpack(value[sources_at:text_at]), strict=True
            )
        },
    )
