"""How a user's events are pooled into vectors: the sizes, half-lives and bounds of every user's state."""

from __future__ import annotations

import math
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

MAX_HEADS = 16
SKIPS = "skips"
"""The name of the last head, which pools what was shown and not clicked."""

_UNITS = ((86_400, "d"), (3_600, "h"), (60, "m"))


class VectorLookup(Protocol):
    """Article vectors by id; :class:`freshet.models.catalog.ArticleCatalog` is one.

    ``has_vector[-1]`` is False, so that the row of an unknown article, -1, can be used as an index.
    """

    @property
    def revision(self) -> int:
        """A number that changes whenever an article gets or loses a vector, and that no other lookup has."""
        ...

    @property
    def vectors(self) -> NDArray[np.float32]:
        """Shape (rows, d), finite."""
        ...

    @property
    def has_vector(self) -> NDArray[np.bool_]:
        """Shape (rows,)."""
        ...

    def row(self, news_id: str) -> int:
        """The row of an article, -1 if it is unknown."""
        ...

    def rows(self, ids: Sequence[str]) -> NDArray[np.int64]:
        """The rows (n,) of articles, -1 where one is unknown."""
        ...


@dataclass(frozen=True)
class Pooling:
    """The pooling of one model bundle: an interest head for each half-life, then the head of skips.

    States of two poolings hold sums that mean different things, unless they differ only in
    ``prior_weight`` and the bounds.

    Raises:
        ValueError: A value is out of its range.
    """

    d: int
    """The article vectors' dimension."""
    half_lives_s: tuple[float, ...]
    negative_half_life_s: float
    prior_weight: float
    """Lambda: the population's vector counts as much as this many fresh clicks."""
    max_recent_clicks: int
    max_exposures: int
    max_parked: int = 100
    """Clicks kept for articles without a vector, but never fewer than ``max_recent_clicks``."""
    bundle: str = ""
    """The version of the vectors."""
    all_half_lives_s: tuple[float, ...] = field(init=False, repr=False, compare=False)
    """Of every head, that of skips last."""
    fingerprint: int = field(init=False, repr=False, compare=False)
    """32 bits that differ where the sums of a state mean something else."""

    def __post_init__(self) -> None:
        half_lives_s = (*self.half_lives_s, self.negative_half_life_s)
        if not 1 <= self.d < 1 << 16:
            raise ValueError(f"d is {self.d}, must be between 1 and 65535")
        if not self.half_lives_s or len(half_lives_s) > MAX_HEADS:
            raise ValueError(f"{len(self.half_lives_s)} half-lives, must be between 1 and {MAX_HEADS - 1}")
        if not all(0.0 < half_life_s < math.inf for half_life_s in half_lives_s):
            raise ValueError(f"half-lives are {half_lives_s}, must be positive numbers of seconds")
        if not 0.0 < self.prior_weight < math.inf:
            raise ValueError(f"prior_weight is {self.prior_weight}, must be a positive number")
        for name in ("max_recent_clicks", "max_exposures", "max_parked"):
            if not 1 <= getattr(self, name) < 1 << 16:
                raise ValueError(f"{name} is {getattr(self, name)}, must be between 1 and 65535")
        identity = (self.d, *(float(half_life_s) for half_life_s in half_lives_s), self.bundle)
        object.__setattr__(self, "all_half_lives_s", half_lives_s)
        object.__setattr__(self, "fingerprint", zlib.crc32(repr(identity).encode()))

    @property
    def heads(self) -> int:
        """How many vectors a user has."""
        return len(self.all_half_lives_s)

    @property
    def head_names(self) -> tuple[str, ...]:
        """The half-lives in words, such as ``2h`` and ``7d``, then ``skips``."""
        return (*(_in_words(half_life_s) for half_life_s in self.half_lives_s), SKIPS)


def _in_words(seconds: float) -> str:
    for unit_s, unit in _UNITS:
        if seconds >= unit_s and seconds % unit_s == 0:
            return f"{seconds / unit_s:g}{unit}"
    return f"{seconds:g}s"
