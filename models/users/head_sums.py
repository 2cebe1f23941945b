"""Decayed sums of article vectors, one for each interest head of a user.

For each head j with half-life h_j, and events i with article vectors v_i at times t_i,

    S_j = sum_i w_ij v_i,   Z_j = sum_i w_ij,   w_ij = exp(a_j(v_i)) * 2 ** (-(t - t_i) / h_j),
    u_j(t) = (S_j + prior_weight * m_j) / (Z_j + prior_weight),

with m_j the population's vector, and a_j the attention of :mod:`freshet.models.users.pooling`, 0 without a
trained bundle. Clicks feed every head but the last, skips (shown, not clicked) the last.

Guarantees, up to float32 rounding: the sums do not depend on the order of events, a late event counts with
its true age, and :meth:`HeadSums.merge` equals the sums of both users' events. The cost of an update does not
grow with the number of events.

Choices:

- **Every skip weighs 1** (times its attention), whatever its slate's length. The head is a mean, so the
  length only affects how soon it leaves the prior, and a click can take its skip back without the slate.
- **A click takes its skip back with the click's own age**, because the click may arrive first. An error of
  ``1 - 2 ** (-delay / half_life)`` of one skip remains: 0.05 % for a minute and a day.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from freshet.models.users.pooling import Pooling


class HeadSums:
    """S and Z of every head, as of the newest event.

    Args:
        pooling: Half-lives, attention and the weight of the prior.
        reference_s: Time of the newest event, Unix seconds; minus infinity before the first.
        sums: S, shape (heads, d); zeros if unset.
        weights: Z of each head; zeros if unset.
    """

    __slots__ = ("pooling", "reference_s", "sums", "weights")

    def __init__(
        self,
        pooling: Pooling,
        reference_s: float = -math.inf,
        sums: NDArray[np.float32] | None = None,
        weights: list[float] | None = None,
    ) -> None:
        self.pooling = pooling
        self.reference_s = reference_s
        # float32, as stored: otherwise a worker that restarted would continue from other numbers.
        self.sums = np.zeros((pooling.heads, pooling.d), np.float32) if sums is None else sums
        self.weights = [0.0] * pooling.heads if weights is None else weights

    def advance(self, time_s: float) -> list[float]:
        """Weights (heads,) of an event at ``time_s``; the newest event moves the reference time forward."""
        ahead_s = time_s - self.reference_s
        half_lives_s = self.pooling.all_half_lives_s
        if ahead_s < 0.0:
            return [2.0 ** (ahead_s / half_life_s) for half_life_s in half_lives_s]
        if ahead_s > 0.0:
            self.reference_s = time_s
            if not any(self.weights):
                return [1.0] * len(half_lives_s)
            left = [2.0 ** (-ahead_s / half_life_s) for half_life_s in half_lives_s]
            self.weights = [weight * rest for weight, rest in zip(self.weights, left, strict=True)]
            self.sums *= np.array(left, np.float32)[:, None]
        return [1.0] * len(half_lives_s)

    def add_click(self, vector: NDArray[np.float32], weights: list[float]) -> float:
        """Count a click on an article and return the weight of a fresh skip of it.

        Args:
            vector: The article's vector, shape (d,).
            weights: The event's weights from :meth:`advance`, shape (heads,).
        """
        skip = 1.0
        if self.pooling.attention is not None:
            counts = self.pooling.attention.of_heads(vector).tolist()
            weights = [weight * of_head for weight, of_head in zip(weights, counts, strict=True)]
            skip = counts[-1]
        for j, weight in enumerate(weights[:-1]):
            self.sums[j] += vector if weight == 1.0 else vector * np.float32(weight)
            self.weights[j] += weight
        return skip

    def add_skips(self, vectors: NDArray[np.float32], weight: float) -> None:
        """Count skips of articles with ``vectors`` (n, d), in an event of weight ``weight``."""
        skips, counted = self.pooling.pooled_skips(vectors)
        self.sums[-1] += skips if weight == 1.0 else skips * np.float32(weight)
        self.weights[-1] += weight * counted

    def take_back_skip(self, vector: NDArray[np.float32], weight: float) -> None:
        """Subtract a skip of weight ``weight`` of an article with ``vector`` (d,)."""
        self.sums[-1] -= vector * np.float32(weight)
        self.weights[-1] -= weight

    def add_past_clicks(self, vectors: NDArray[np.float32], times_s: NDArray[np.float64]) -> None:
        """Count clicks at ``times_s`` (n,), no later than the newest event, on ``vectors`` (n, d)."""
        sums, weights = self.pooling.pooled_clicks(vectors, self.reference_s - times_s)
        self.sums[:-1] += sums
        for j, weight in enumerate(weights):
            self.weights[j] += weight

    def replace_skips(
        self, vectors: NDArray[np.float32], counts: NDArray[np.float64], times_s: NDArray[np.float64]
    ) -> None:
        """Rebuild the last head from skips.

        Args:
            vectors: The skipped articles' vectors, shape (n, d).
            counts: Number of skips of each article, shape (n,).
            times_s: Times of the skips, shape (n,); those after the newest event count as fresh.
        """
        weights = counts * np.exp2(
            -np.maximum(self.reference_s - times_s, 0.0) / self.pooling.negative_half_life_s
        )
        if self.pooling.attention is not None:
            weights *= self.pooling.attention.of_skips(vectors)
        self.sums[-1] = weights.astype(np.float32) @ vectors
        self.weights[-1] = float(weights.sum())

    def evidence(self, now_s: float) -> NDArray[np.float64]:
        """Evidence Z of each head (heads,) at ``now_s``, in fresh events."""
        left = self._left_at(now_s)
        # A click can take back more of a skip than its age has left, so that Z falls below 0.
        return np.array([max(weight * rest, 0.0) for weight, rest in zip(self.weights, left, strict=True)])

    def vectors(self, now_s: float, population: NDArray[np.float32]) -> NDArray[np.float32]:
        """Vectors u of the heads, (heads, d), at ``now_s``, or as of the newest event if that is later.

        Args:
            now_s: Event time, Unix seconds.
            population: The vector of a head without evidence: (d,), or (heads, d).
        """
        if not any(self.weights):
            # No event had a vector: that is every user of a service without a bundle.
            vectors = np.empty(self.sums.shape, np.float32)
            vectors[:] = population
            return vectors
        prior = self.pooling.prior_weight
        left = self._left_at(now_s)
        weights = [max(weight * rest, 0.0) + prior for weight, rest in zip(self.weights, left, strict=True)]
        pooled: NDArray[np.float64] = self.sums * np.array(left)[:, None] + prior * population
        pooled /= np.array(weights)[:, None]
        return pooled.astype(np.float32)

    def merge(self, other: HeadSums) -> HeadSums:
        """Sums over the disjoint events of two users of one pooling."""
        merged = HeadSums(self.pooling, max(self.reference_s, other.reference_s))
        if merged.reference_s > -math.inf:
            for part in (self, other):
                left = part._left_at(merged.reference_s)
                merged.sums += part.sums * np.array(left, np.float32)[:, None]
                for j, rest in enumerate(left):
                    merged.weights[j] += part.weights[j] * rest
        return merged

    def _left_at(self, now_s: float) -> list[float]:
        """Decay factors (heads,) of the sums at ``now_s``; 1 before the newest event."""
        age_s = max(0.0, now_s - self.reference_s)
        return [2.0 ** (-age_s / half_life_s) for half_life_s in self.pooling.all_half_lives_s]
