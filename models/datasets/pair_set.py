"""Set of pairs of numbers with fast vectorized membership tests."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

_FILTER_BITS_PER_PAIR = 16
_MAX_FILTER_BITS = 1 << 31
_HASH_FACTOR = np.uint64(0x9E3779B97F4A7C15)
"""Factor of Knuth's multiplicative hashing: 2^64 over the golden ratio."""


class PairSet:
    """Sorted set of pairs: 8 bytes a pair, and 2 to 4 for a filter.

    Most tested pairs are usually not in the set. A Bloom filter with one hash and at least 16 bits a pair
    rejects them with one memory access; binary search decides on the others (the members, and at most 1 in 16
    of the rest).

    Args:
        first: First numbers (pairs,), not negative.
        second: Second numbers (pairs,), in ``[0, n_second)``.
        n_second: Upper bound of the second numbers, exclusive.
    """

    def __init__(self, first: ArrayLike, second: ArrayLike, n_second: int) -> None:
        self._n_second = n_second
        # Sorted here because np.unique, which hashes first, takes 20 times as long (NumPy 2.4).
        keys = np.sort(np.asarray(first, np.int64) * n_second + np.asarray(second, np.int64))
        self._keys = keys[np.diff(keys, prepend=-1) > 0]
        bits = 1 << max(len(self._keys) * _FILTER_BITS_PER_PAIR - 1, 8).bit_length()
        bits = min(bits, _MAX_FILTER_BITS)
        self._shift = np.uint64(64 - (bits.bit_length() - 1))
        self._filter = np.zeros(bits // 8, np.uint8)
        at = self._slots(self._keys)
        np.bitwise_or.at(self._filter, at >> 3, _bit(at))

    def __len__(self) -> int:
        return len(self._keys)

    @property
    def second(self) -> NDArray[np.int64]:
        """Second numbers (pairs,), in the order of the pairs."""
        return self._keys % self._n_second

    def starts(self, n_first: int) -> NDArray[np.int64]:
        """Compute the bounds (n_first + 1,) of the pairs of each first number."""
        bounds = np.arange(n_first + 1, dtype=np.int64) * self._n_second
        return np.searchsorted(self._keys, bounds).astype(np.int64)

    def contains(self, first: ArrayLike, second: ArrayLike) -> NDArray[np.bool_]:
        """Whether pairs are in the set; ``first`` and ``second`` are broadcast to the result's shape."""
        keys = np.asarray(first, np.int64) * self._n_second + np.asarray(second, np.int64)
        found = np.zeros(keys.shape, np.bool_)
        if not len(self._keys):
            return found
        at = self._slots(keys)
        maybe = (self._filter[at >> 3] & _bit(at)) != 0
        asked = keys[maybe]
        position = np.minimum(np.searchsorted(self._keys, asked), len(self._keys) - 1)
        found[maybe] = self._keys[position] == asked
        return found

    def _slots(self, keys: NDArray[np.int64]) -> NDArray[np.int64]:
        return ((keys.astype(np.uint64) * _HASH_FACTOR) >> self._shift).astype(np.int64)


def _bit(at: NDArray[np.int64]) -> NDArray[np.uint8]:
    bits: NDArray[np.uint8] = np.left_shift(np.uint8(1), (at & 7).astype(np.uint8))
    return bits
