"""Vectors made equally long without changing a dot product, so that a graph can find the largest ones.

An HNSW graph links neighbours; under the plain dot product a long vector is everybody's neighbour and a
short one nobody's, and the short one is lost. One more coordinate makes all vectors equally long, and the
query's is 0: every dot product stays what it was, and its order is now that of the distance (Bachrach et al.
2014, "Speeding Up the Xbox Recommender System Using a Euclidean Transformation for Inner-Product Spaces").
Recall@100 of clustered vectors whose norms differ by a factor of three, 10,000 of them, d = 64, m = 16,
ef = 256: 0.909 without, 0.999 with.

The common length is a matter of quality, never of correctness: a vector longer than it keeps its own length.
"""

from __future__ import annotations

import numpy as np

from freshet.models.ports import FloatMatrix


def lifted(vectors: FloatMatrix, length: float) -> FloatMatrix:
    """``vectors`` (n, d) with the coordinate that makes each ``length`` long: (n, d + 1)."""
    missing = length**2 - np.square(vectors, dtype=np.float64).sum(axis=1)
    pad = np.sqrt(np.maximum(missing, 0.0)).astype(np.float32)
    return np.concatenate([vectors, pad[:, None]], axis=1)


def lifted_queries(queries: FloatMatrix) -> FloatMatrix:
    """``queries`` (h, d) as they meet lifted vectors: (h, d + 1)."""
    return np.concatenate([queries, np.zeros((len(queries), 1), np.float32)], axis=1)


def longest(vectors: FloatMatrix) -> float:
    """The length of the longest of ``vectors`` (lifted ones: the common length); 0 where there are none."""
    return float(np.sqrt(np.square(vectors, dtype=np.float64).sum(axis=1).max(initial=0.0)))
