r"""Metrics of recommendation lists beyond accuracy: coverage, diversity and novelty.

None of them measures whether a list is good: random order has the best coverage and novelty. Read them beside
the ranking metrics.

- **Coverage**: the share of the articles that could have been recommended which is in any list (Herlocker
  et al., "Evaluating collaborative filtering recommender systems", TOIS 2004, §4.1).
- **Diversity** of a list: the mean of :math:`1 - \cos(v_i, v_j)` over its pairs (Smyth and McClave,
  "Similarity vs. diversity", ICCBR 2001), from 0 (always the same) over 1 (unrelated) to at most 2.
- **Novelty** of a list: the mean self-information :math:`-\log_2 p_i` in bits, with :math:`p_i` the article's
  share of earlier clicks (Zhou et al., "Solving the apparent diversity-accuracy dilemma of recommender
  systems", PNAS 2010). Each count is raised by one click: articles without clicks get a finite value.

Lists are rows of article numbers, -1 where a list is shorter.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from freshet.models.ports import FloatMatrix

Lists = NDArray[np.integer]
"""Shape (lists, k): article numbers, -1 for none."""


def coverage(lists: Lists, recommendable: int) -> float:
    """Share of ``recommendable`` articles that appear in any of the lists.

    Raises:
        ValueError: There are fewer recommendable articles than the lists hold, or none.

    >>> coverage(np.array([[0, 1], [1, -1]]), recommendable=4)
    0.5
    """
    found = len(np.unique(lists[lists >= 0]))
    if recommendable < max(found, 1):
        raise ValueError(f"the lists hold {found} articles, of {recommendable} that can be recommended")
    return found / recommendable


def diversity(lists: Lists, vectors: FloatMatrix) -> NDArray[np.float64]:
    """Mean cosine distance (lists,) between the articles of each list; NaN with fewer than two vectors.

    Args:
        lists: Shape (lists, k).
        vectors: Shape (articles, d); articles whose vector is zero are ignored.

    >>> vectors = np.array([[1, 0], [0, 1], [1, 0]], np.float32)
    >>> diversity(np.array([[0, 1], [0, 2]]), vectors).tolist()
    [1.0, 0.0]
    """
    held = lists >= 0
    listed = np.where(held, lists, 0)
    norms = np.linalg.norm(vectors, axis=1)
    held &= norms[listed] > 0
    # The sum of a list's cosines is |sum of unit vectors|^2: nothing of size k^2 is needed.
    sums = np.zeros((len(lists), vectors.shape[1]))
    for column, present in zip(listed.T, held.T, strict=True):
        sums[present] += vectors[column[present]] / norms[column[present], None]
    n = held.sum(axis=1)
    pairs = n * (n - 1.0)
    cosines = (sums**2).sum(axis=1) - n
    mean: NDArray[np.float64] = np.divide(cosines, pairs, out=np.full(len(lists), np.nan), where=pairs > 0)
    return 1.0 - mean


def self_information(clicks: NDArray[np.integer]) -> NDArray[np.float64]:
    """Self-information (articles,) in bits of a click on each article, from counts of clicks (articles,).

    >>> self_information(np.array([2, 0])).round(3).tolist()
    [0.415, 2.0]
    """
    smoothed = clicks + 1.0
    bits: NDArray[np.float64] = -np.log2(smoothed / smoothed.sum())
    return bits


def novelty(lists: Lists, information: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mean self-information (lists,) of each list's articles, in bits; NaN for an empty list.

    Args:
        lists: Shape (lists, k).
        information: Shape (articles,), see :func:`self_information`.
    """
    held = lists >= 0
    bits = np.where(held, information[np.where(held, lists, 0)], 0.0).sum(axis=1)
    n = held.sum(axis=1)
    mean: NDArray[np.float64] = np.divide(bits, n, out=np.full(len(lists), np.nan), where=n > 0)
    return mean
