"""Maximum inner product search with indexes that search by distance or by angle.

A recommender asks for the articles v with the largest q . v, but an index of neighbours assumes a distance:
under the plain dot product a long vector is everybody's neighbour, and a short one not even its own. One more
coordinate makes both equal (Bachrach et al. 2014, "Speeding Up the Xbox Recommender System Using a Euclidean
Transformation for Inner-Product Spaces"). With M the norm of the longest article::

    v' = (v, sqrt(M^2 - |v|^2))        q' = (q, 0)

All v' have the norm M and the dot products do not change, so

- |q' - v'|^2 = |q|^2 + M^2 - 2 q . v : the nearest has the largest dot product;
- cos(q', v') = q . v / (|q| M) : so has the one at the smallest angle, as for Annoy (:func:`angular`).

Limits: lifted articles lie on a sphere, and queries on its equator. Where most articles are far shorter than
the longest, they crowd at the pole, all about equally far from any query. In float32, dot products that
differ by less than about 1e-7 (M^2 + |q|^2) then tie under a distance.

The transformation helps some graph indexes that know the dot product. In Qdrant, recall@100 rises from 0.909
to 0.999 (10,000 clustered vectors, norms that differ by a factor of three, d = 64, m = 16, ef = 256). It does
not help FAISS and hnswlib, whose graphs reach long articles through many links (Morozov and Babenko 2018,
"Non-metric Similarity Graphs for Maximum Inner Product Search"); ``freshet bench ann`` shows both. For a
graph, a vector longer than the common length costs quality, never correctness.
"""

from __future__ import annotations

import numpy as np

from freshet.models.ports import FloatMatrix


def lifted(vectors: FloatMatrix, length: float) -> FloatMatrix:
    """Add the coordinate that gives ``vectors`` (n, d) the norm ``length``: (n, d + 1), float32.

    It is 0 for a longer vector. With ``length`` from :func:`longest` the order of distances to lifted queries
    is that of dot products.
    """
    missing = length**2 - np.square(vectors, dtype=np.float64).sum(axis=1)
    pad = np.sqrt(np.maximum(missing, 0.0)).astype(np.float32)
    return np.concatenate([vectors, pad[:, None]], axis=1)


def lifted_queries(queries: FloatMatrix) -> FloatMatrix:
    """Add a zero coordinate to ``queries`` (h, d), to search lifted vectors: (h, d + 1), float32."""
    return np.concatenate([queries, np.zeros((len(queries), 1), np.float32)], axis=1)


def longest(vectors: FloatMatrix) -> float:
    """Largest norm of ``vectors`` (n, d); 0 where there are none."""
    return float(np.sqrt(np.square(vectors, dtype=np.float64).sum(axis=1).max(initial=0.0)))


def angular(vectors: FloatMatrix) -> FloatMatrix:
    """Lift ``vectors`` (n, d) to the longest and scale them to norm 1, for an index of angles: (n, d + 1).

    Search them with :func:`lifted_queries` of any length. If all vectors are 0, so are the rows returned.
    """
    length = longest(vectors)
    if length == 0.0:
        return lifted(vectors, 0.0)
    # Divided first: a square of the longest float32 leaves float32, not of a vector of norm 1.
    return lifted((vectors / np.float64(length)).astype(np.float32), 1.0)
