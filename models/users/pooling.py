"""Pooling of a user's events into vectors: the sizes, half-lives and bounds of every user's state.

A trained bundle adds three things to the decayed mean:

- attention: in head j a click on an article with vector v counts as exp(a_j(v)) clicks, with
  a_j(v) = 2 tanh(A_j . v + b_j), so between 0.14 and 7.4. This weight depends on the article alone, so the
  state remains a sum;
- a prior: the vectors of a user without events;
- layers, which turn each pooled interest into a query, as in a two-tower model whose user tower reads the
  averaged history (Covington et al., 2016).
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from freshet.models.embedding.bundle import Bundle, BundleError
from freshet.models.embedding.feature_tower import Layer, apply_layers, read_layers, weight_of
from freshet.models.kernels.unit_norm import to_unit_norm

MAX_HEADS = 16
SKIPS = "skips"
"""Name of the last head, which pools articles that were shown and not clicked."""

ATTENTION_BOUND = 2.0
"""Upper bound of the logarithm of a click's weight: no article can outweigh more than e^4 others."""

_UNITS = ((86_400, "d"), (3_600, "h"), (60, "m"))


class VectorLookup(Protocol):
    """Article vectors by id, such as :class:`freshet.models.articles.catalog.ArticleCatalog`.

    ``has_vector[-1]`` is False, so that the row of an unknown article, -1, can be used as an index.
    """

    @property
    def revision(self) -> object:
        """Token that changes whenever an article gets or loses a vector; no two lookups share one."""
        ...

    @property
    def vectors_held(self) -> int:
        """Number of articles that have a vector."""
        ...

    @property
    def vectors(self) -> NDArray[np.float32]:
        """Finite vectors, shape (rows, d)."""
        ...

    @property
    def has_vector(self) -> NDArray[np.bool_]:
        """Mask of the rows that have a vector, shape (rows,)."""
        ...

    def row(self, news_id: str) -> int:
        """The row of an article, -1 if it is unknown."""
        ...

    def rows(self, ids: Sequence[str]) -> NDArray[np.int64]:
        """The rows (n,) of articles, -1 where one is unknown."""
        ...


@dataclass(frozen=True, eq=False)
class Attention:
    """Attention weights of events, from their articles' vectors.

    Raises:
        ValueError: The shapes do not fit each other.
    """

    weight: NDArray[np.float32]
    """A, shape (heads, d)."""
    bias: NDArray[np.float32]
    """b, shape (heads,)."""

    def __post_init__(self) -> None:
        if self.weight.ndim != 2 or self.bias.shape != self.weight.shape[:1]:  # noqa: PLR2004 - (heads, d)
            raise ValueError(
                f"attention has a weight of shape {self.weight.shape} and a bias of {self.bias.shape}, "
                "must be (heads, d) and (heads,)"
            )

    def of_heads(self, vectors: NDArray[np.float32]) -> NDArray[np.float32]:
        """Weights exp(a_j(v)) of every head j: (heads, n) for vectors (n, d), (heads,) for one (d,)."""
        scores = self.weight @ vectors.T
        scores += self.bias if vectors.ndim == 1 else self.bias[:, None]
        return _bounded_exp(scores)

    def of_skips(self, vectors: NDArray[np.float32]) -> NDArray[np.float32]:
        """Weights exp(a(v)) of the last head (n,), for vectors (n, d)."""
        scores = vectors @ self.weight[-1]
        scores += self.bias[-1]
        return _bounded_exp(scores)


def _bounded_exp(scores: NDArray[np.float32]) -> NDArray[np.float32]:
    np.tanh(scores, out=scores)
    scores *= np.float32(ATTENTION_BOUND)
    return np.exp(scores, out=scores)


@dataclass(frozen=True)
class Pooling:
    """Pooling of one model bundle: an interest head for each half-life, then the head of skips.

    States of two poolings are not comparable, unless the poolings differ only in ``prior_weight``, the
    bounds, or the use of the sums (``prior``, ``layers``, ``normalise``).

    >>> pooling = Pooling(64, (7_200.0, 604_800.0), 86_400.0, 1.0, max_recent_clicks=50, max_exposures=200)
    >>> pooling.head_names
    ('2h', '7d', 'skips')

    Raises:
        ValueError: A value is out of its range.
    """

    d: int
    """The article vectors' dimension."""
    half_lives_s: tuple[float, ...]
    negative_half_life_s: float
    prior_weight: float
    """Lambda: the weight of the population's vector, in fresh clicks."""
    max_recent_clicks: int
    max_exposures: int
    max_parked: int = 100
    """Maximum number of clicks kept for articles without a vector; at least ``max_recent_clicks`` are."""
    bundle: str = ""
    """Version of the vectors."""
    attention: Attention | None = field(default=None, repr=False, compare=False)
    """Attention weights; without them every event counts once."""
    prior: NDArray[np.float32] | None = field(default=None, repr=False, compare=False)
    """Vectors of a user without events, (heads, d); unset: the mean of the clicked articles."""
    layers: tuple[Layer, ...] = field(default=(), repr=False, compare=False)
    """Layers that turn the interest heads' vectors into queries."""
    normalise: bool = False
    """Whether those queries are scaled to norm 1."""
    all_half_lives_s: tuple[float, ...] = field(init=False, repr=False, compare=False)
    """Half-lives of all heads, the head of skips last."""
    head_names: tuple[str, ...] = field(init=False, repr=False, compare=False)
    """Half-lives in words, such as ``2h`` and ``7d``, then ``skips``."""
    fingerprint: int = field(init=False, repr=False)
    """Identity of the sums, 32 bits: it differs between poolings whose states are not comparable."""

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
        attention = None if self.attention is None else self.attention.weight
        for name, array in (("attention", attention), ("prior", self.prior)):
            if array is not None and array.shape != (len(half_lives_s), self.d):
                raise ValueError(f"{name} has shape {array.shape}, must be {(len(half_lives_s), self.d)}")
        identity = (self.d, *(float(half_life_s) for half_life_s in half_lives_s), self.bundle)
        fingerprint = zlib.crc32(repr(identity).encode())
        if self.attention is not None:
            for weights in (self.attention.weight, self.attention.bias):
                fingerprint = zlib.crc32(np.ascontiguousarray(weights, "<f4").tobytes(), fingerprint)
        names = (*(_in_words(half_life_s) for half_life_s in self.half_lives_s), SKIPS)
        object.__setattr__(self, "all_half_lives_s", half_lives_s)
        object.__setattr__(self, "head_names", names)
        object.__setattr__(self, "fingerprint", fingerprint)

    @classmethod
    def of_bundle(
        cls, bundle: Bundle, *, max_recent_clicks: int, max_exposures: int, max_parked: int = 100
    ) -> Pooling:
        """Pooling that a bundle was trained with: its manifest's ``user`` and its weights ``user.*``.

        Raises:
            BundleError: A weight is missing, or its shape does not fit the manifest.
        """
        spec, d = bundle.manifest.user, bundle.manifest.d
        shape = (spec.heads, d)
        layers, width = read_layers(bundle, "user.layers", spec.layers, d)
        if width != d:
            raise BundleError(f"{bundle.folder}: the user's layers give {width} dimensions, not d = {d}")
        return cls(
            d,
            spec.half_lives_s,
            spec.negative_half_life_s,
            spec.prior_weight,
            max_recent_clicks,
            max_exposures,
            max_parked,
            bundle=bundle.id,
            attention=Attention(
                weight_of(bundle, "user.attention.weight", shape),
                weight_of(bundle, "user.attention.bias", shape[:1]),
            )
            if spec.attention
            else None,
            prior=weight_of(bundle, "user.population", shape) if spec.population else None,
            layers=tuple(layers),
            normalise=spec.normalise,
        )

    def pooled_skips(self, vectors: NDArray[np.float32]) -> tuple[NDArray[np.float32], float]:
        """S (d,) and Z of the last head, for fresh skips of ``vectors`` (n, d)."""
        if self.attention is None:
            return np.add.reduce(vectors), float(len(vectors))
        counts = self.attention.of_skips(vectors)
        return counts @ vectors, float(np.add.reduce(counts))

    def pooled_clicks(
        self, vectors: NDArray[np.float32], ages_s: NDArray[np.float64]
    ) -> tuple[NDArray[np.float32], list[float]]:
        """S (heads - 1, d) and Z (heads - 1,) of the interest heads, for clicks of ages ``ages_s`` (n,)."""
        weights = np.exp2(-ages_s / np.array(self.half_lives_s)[:, None])  # (heads - 1, n)
        if self.attention is not None:
            weights *= self.attention.of_heads(vectors)[:-1]
        return weights.astype(np.float32) @ vectors, weights.sum(axis=1).tolist()

    def queries(self, vectors: NDArray[np.float32]) -> NDArray[np.float32]:
        """Queries (heads, d) from a user's vectors (heads, d); the head of skips is not transformed."""
        if not self.layers and not self.normalise:
            return vectors
        queries = apply_layers(self.layers, vectors[:-1])
        if self.normalise:
            queries = to_unit_norm(queries)
        return np.concatenate([queries, vectors[-1:]])

    @property
    def heads(self) -> int:
        """Number of vectors of a user."""
        return len(self.all_half_lives_s)


def _in_words(seconds: float) -> str:
    for unit_s, unit in _UNITS:
        if seconds >= unit_s and seconds % unit_s == 0:
            return f"{seconds / unit_s:g}{unit}"
    return f"{seconds:g}s"
