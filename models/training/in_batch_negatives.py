"""The positives of a batch's other examples as negatives: which count, and what corrects their logits.

They cost no forward pass beyond the batch's own, and are drawn in proportion to how often an article is
clicked, which punishes popular articles; subtracting ``log q`` undoes that (Yi et al., 2019).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from freshet.models.datasets.positive_index import PositiveIndex


def in_batch_mask(
    users: NDArray[np.integer], items: NDArray[np.integer], positives: PositiveIndex
) -> NDArray[np.bool_]:
    """Which logits of a batch take part in its softmax.

    Args:
        users: Shape (B,), the user of each example.
        items: Shape (B,), the positive of each example.
        positives: What must not count as a negative.

    Returns:
        Shape (B, B): entry (i, j) says whether item j counts for user i: on the diagonal, where it is the
        positive, and wherever it is no positive of that user.
    """
    mask = ~positives.contains(np.asarray(users)[:, None], np.asarray(items)[None, :])
    mask &= np.asarray(items)[:, None] != np.asarray(items)[None, :]
    np.fill_diagonal(mask, True)
    return mask


def in_batch_log_q(counts: ArrayLike, items: ArrayLike) -> NDArray[np.float64]:
    """The logarithm of the probability that an example's positive is each of ``items``.

    Subtracted from a column's logits, it makes the in-batch softmax that over all articles (Yi et al., 2019,
    "Sampling-Bias-Corrected Neural Modeling for Large Corpus Item Recommendations", equation 3).

    Args:
        counts: Shape (n_items,), of how many training examples each item is the positive; those of
            an item without any count as 1.
        items: Any shape; the result has the same.
    """
    count = np.maximum(np.asarray(counts, np.float64), 1.0)
    result: NDArray[np.float64] = np.log(count[np.asarray(items)]) - np.log(count.sum())
    return result
