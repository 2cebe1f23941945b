"""The largest dot product as the nearest neighbour, for indexes that search by distance or by angle.

A recommender asks for the articles v with the largest q . v. An index of neighbours answers another question:
under the plain dot product a long vector is everybody's neighbour, a short one nobody's, and v is not even
its own. One more coordinate settles it (Bachrach et al. 2014, "Speeding Up the Xbox Recommender System Using
a Euclidean Transformation for Inner-Product Spaces"). With M the norm of the longest article::

    v' = (v, sqrt(M^2 - |v|^2))        q' = (q, 0)

All v' have the norm M and every dot product is what it was, so

- |q' - v'|^2 = |q|^2 + M^2 - 2 q . v : the nearest is the one with the largest dot product;
- cos(q', v') = q . v / (|q| M) : so is the one at the smallest angle, which is all that Annoy's ``angular``
  looks at (:func:`angular`).

What it cannot do: make hard queries easy. Lifted articles lie on a sphere, and queries on its equator: where
most articles are far shorter than the longest, they crowd at the pole, all about equally far from any query.
In float32 dot products that differ by less than about 1e-7 (M^2 + |q|^2) then tie under a distance.

Whether it helps a graph of neighbours that knows the dot product is a matter of measuring. It does in Qdrant:
recall@100 of clustered vectors whose norms differ by a factor of three, 10,000 of them, d = 64, m = 16,
ef = 256: 0.909 without, 0.999 with. It does not in FAISS and hnswlib, whose graphs of dot products find the
long articles through the many that link to them (Morozov and Babenko 2018, "Non-metric Similarity Graphs for
Maximum Inner Product Search"); ``freshet bench ann`` shows both. For a graph the common length is a matter of
quality, never of correctness: a vector longer than it keeps its own length.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from freshet.models.ports import FloatMatrix


def lifted(vectors: FloatMatrix, length: float) -> FloatMatrix:
    """``vectors`` (n, d) with the coordinate that makes each ``length`` long: (n, d + 1), float32.

    One that is longer already gets a 0 there. With ``length`` from :func:`longest` the order of distances to
    lifted queries is that of dot products.
    """
    missing = length**2 - np.square(vectors, dtype=np.float64).sum(axis=1)
    pad = np.sqrt(np.maximum(missing, 0.0)).astype(np.float32)
    return np.concatenate([vectors, pad[:, None]], axis=1)


def lifted_queries(queries: FloatMatrix) -> FloatMatrix:
    """``queries`` (h, d) as they meet lifted vectors: (h, d + 1), float32."""
    return np.concatenate([queries, np.zeros((len(queries), 1), np.float32)], axis=1)


def longest(vectors: FloatMatrix) -> float:
    """The length of the longest of ``vectors`` (lifted ones: the common length); 0 where there are none."""
    return float(np.sqrt(np.square(vectors, dtype=np.float64).sum(axis=1).max(initial=0.0)))


def angular(vectors: FloatMatrix) -> FloatMatrix:
    """``vectors`` (n, d) for an index that sees angles alone: lifted to the longest, of norm 1, (n, d + 1).

    Queries are :func:`lifted_queries`; their length does not matter. Without any vector that is not 0 all
    dot products are 0, and so are the rows given.
    """
    length = longest(vectors)
    if length == 0.0:
        return lifted(vectors, 0.0)
    # Divided first: a square of the longest float32 leaves float32, not of a vector of norm 1.
    return lifted((vectors / np.float64(length)).astype(np.float32), 1.0)


def dot_products(distances: NDArray[np.floating], query_norm: float, length: float) -> NDArray[np.float64]:
    """The dot products (n,) behind Euclidean ``distances`` (n,) of a lifted query to vectors of one length.

    Args:
        distances: |q' - v'|.
        query_norm: |q|.
        length: The common norm of the lifted vectors.
    """
    squared: NDArray[np.float64] = np.square(distances, dtype=np.float64)
    return (query_norm**2 + length**2 - squared) / 2.0
