"""How a user's events are pooled into vectors: the sizes, half-lives and bounds of every user's state.

A trained bundle adds three things to the decayed mean. Attention: in head j a click on an article with vector
v counts as exp(a_j(v)) clicks, a_j(v) = 2 tanh(A_j . v + b_j), so between 0.14 and 7.4, whatever the vector;
because this weight is the article's alone, the state remains a sum. A prior: the vectors of a user without
events. Layers: what makes of each pooled interest the query that is compared with articles, as in a two-tower
model whose user tower reads the averaged history (Covington et al., 2016).
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
"""The name of the last head, which pools what was shown and not clicked."""

ATTENTION_BOUND = 2.0
"""The largest logarithm of a click's weight: no article can outweigh more than e^4 others."""

_UNITS = ((86_400, "d"), (3_600, "h"), (60, "m"))


class VectorLookup(Protocol):
    """Article vectors by id; :class:`freshet.models.articles.catalog.ArticleCatalog` is one.

    ``has_vector[-1]`` is False, so that the row of an unknown article, -1, can be used as an index.
    """

    @property
    def revision(self) -> object:
        """Token that changes whenever an article gets or loses a vector; no two lookups share one."""
        ...

    @property
    def vectors_held(self) -> int:
        """How many articles have a vector."""
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


@dataclass(frozen=True, eq=False)
class Attention:
    """How much an event counts, by its article's vector.

    Raises:
        ValueError: The shapes do not fit each other.
    """

    weight: NDArray[np.float32]
    """Shape (heads, d): A."""
    bias: NDArray[np.float32]
    """Shape (heads,): b."""

    def __post_init__(self) -> None:
        if self.weight.ndim != 2 or self.bias.shape != self.weight.shape[:1]:  # noqa: PLR2004 - (heads, d)
            raise ValueError(
                f"attention has a weight of shape {self.weight.shape} and a bias of {self.bias.shape}, "
                "must be (heads, d) and (heads,)"
            )

    def of_heads(self, vectors: NDArray[np.float32]) -> NDArray[np.float32]:
        """exp(a_j(v)) of every head j, shape (heads, n), for vectors (n, d); (heads,) for one vector (d,)."""
        scores = self.weight @ vectors.T
        scores += self.bias if vectors.ndim == 1 else self.bias[:, None]
        return _bounded_exp(scores)

    def of_skips(self, vectors: NDArray[np.float32]) -> NDArray[np.float32]:
        """exp(a(v)) of the last head alone, shape (n,), for vectors (n, d)."""
        scores = vectors @ self.weight[-1]
        scores += self.bias[-1]
        return _bounded_exp(scores)


def _bounded_exp(scores: NDArray[np.float32]) -> NDArray[np.float32]:
    np.tanh(scores, out=scores)
    scores *= np.float32(ATTENTION_BOUND)
    return np.exp(scores, out=scores)


@dataclass(frozen=True)
class Pooling:
    """The pooling of one model bundle: an interest head for each half-life, then the head of skips.

    States of two poolings hold sums that mean different things, unless they differ only in
    ``prior_weight``, the bounds, and what is made of the sums (``prior``, ``layers``, ``normalise``).

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
    attention: Attention | None = field(default=None, repr=False, compare=False)
    """Without it every event counts once."""
    prior: NDArray[np.float32] | None = field(default=None, repr=False, compare=False)
    """Shape (heads, d): a user without events; without it, the mean of what is being clicked."""
    layers: tuple[Layer, ...] = field(default=(), repr=False, compare=False)
    """What makes queries of the interest heads' vectors."""
    normalise: bool = False
    """Whether those queries are scaled to norm 1."""
    all_half_lives_s: tuple[float, ...] = field(init=False, repr=False, compare=False)
    """Of every head, that of skips last."""
    head_names: tuple[str, ...] = field(init=False, repr=False, compare=False)
    """The half-lives in words, such as ``2h`` and ``7d``, then ``skips``."""
    fingerprint: int = field(init=False, repr=False)
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
        """The pooling that a bundle was trained with.

        Args:
            bundle: Its manifest's ``user``, and the weights ``user.*``.
            max_recent_clicks: A bound of every state, as the others.
            max_exposures: See above.
            max_parked: See above.

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
        """S (d,) and Z of the last head, of fresh skips with ``vectors`` (n, d)."""
        if self.attention is None:
            return np.add.reduce(vectors), float(len(vectors))
        counts = self.attention.of_skips(vectors)
        return counts @ vectors, float(np.add.reduce(counts))

    def pooled_clicks(
        self, vectors: NDArray[np.float32], ages_s: NDArray[np.float64]
    ) -> tuple[NDArray[np.float32], list[float]]:
        """S (heads - 1, d) and Z (heads - 1,) of the interest heads, of clicks of these ages (n,)."""
        weights = np.exp2(-ages_s / np.array(self.half_lives_s)[:, None])
        if self.attention is not None:
            weights *= self.attention.of_heads(vectors)[:-1]
        return weights.astype(np.float32) @ vectors, weights.sum(axis=1).tolist()

    def queries(self, vectors: NDArray[np.float32]) -> NDArray[np.float32]:
        """What articles are compared with (heads, d): the head of skips as it is, the others transformed.

        Args:
            vectors: Shape (heads, d), a user's vectors.
        """
        if not self.layers and not self.normalise:
            return vectors
        queries = apply_layers(self.layers, vectors[:-1])
        if self.normalise:
            queries = to_unit_norm(queries)
        return np.concatenate([queries, vectors[-1:]])

    @property
    def heads(self) -> int:
        """How many vectors a user has."""
        return len(self.all_half_lives_s)


def _in_words(seconds: float) -> str:
    for unit_s, unit in _UNITS:
        if seconds >= unit_s and seconds % unit_s == 0:
            return f"{seconds / unit_s:g}{unit}"
    return f"{seconds:g}s"
