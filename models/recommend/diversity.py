r"""Maximal marginal relevance: a list that is good as a whole, not ten times the same story.

Items are picked one by one, each the one that maximises
:math:`\lambda\, r_i - (1 - \lambda) \max_{j\ \text{picked}} \max(0, \cos(v_i, v_j))` with r the scores scaled
to [0, 1] (Carbonell and Goldstein, "The Use of MMR, Diversity-Based Reranking", SIGIR 1998). The first pick
always is the best score; lambda = 1 keeps the order of the scores.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from freshet.models.kernels.unit_norm import to_unit_norm


def maximal_marginal_relevance(
    scores: NDArray[np.float64],
    vectors: NDArray[np.float32],
    k: int,
    diversity: float,
) -> list[int]:
    """Positions of the ``k`` picks, in the order picked; the first of equal candidates is picked.

    >>> vectors = np.array([[1, 0], [1, 0], [0, 1]], np.float32)
    >>> maximal_marginal_relevance(np.array([3.0, 2.9, 2.0]), vectors, k=2, diversity=0.5)
    [0, 2]

    Args:
        scores: Shape (n,), larger is better.
        vectors: Shape (n, d), of any length; a row of zeros is similar to nothing.
        k: How many to pick; fewer where there are fewer candidates.
        diversity: 1 - lambda, from 0 (scores alone) to 1 (dissimilarity alone, after the first pick).

    Raises:
        ValueError: The shapes do not fit, or ``diversity`` is outside [0, 1].
    """
    n = len(scores)
    if vectors.ndim != 2 or len(vectors) != n:  # noqa: PLR2004 - a matrix
        raise ValueError(f"vectors must have the shape ({n}, d), got {vectors.shape}")
    if not 0.0 <= diversity <= 1.0:
        raise ValueError(f"diversity must be from 0 to 1, got {diversity}")
    k = min(k, n)
    if k < 1:
        return []
    if diversity == 0.0:
        return [int(i) for i in np.argsort(-scores, kind="stable")[:k]]
    lowest, highest = float(scores.min()), float(scores.max())
    span = highest - lowest
    relevance = (scores - lowest) / span if span > 0 else np.zeros(n)
    unit = to_unit_norm(vectors)  # (n, d)
    marginal = (1.0 - diversity) * relevance  # (n,)
    similarity = np.zeros(n)  # (n,): the largest cosine with any pick so far
    # By the raw scores: scaled ones may tie by rounding.
    pick = int(np.argmax(scores))
    picks = [pick]
    free = np.ones(n, np.bool_)
    for _ in range(k - 1):
        free[pick] = False
        np.maximum(similarity, unit @ unit[pick], out=similarity)
        pick = int(np.argmax(np.where(free, marginal - diversity * similarity, -np.inf)))
        picks.append(pick)
    return picks
