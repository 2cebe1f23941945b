"""In-batch negatives: the positives of a batch's other examples, their mask and their sampling correction.

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
    """Mask of the logits that take part in a batch's softmax.

    Args:
        users: Shape (B,), the user of each example.
        items: Shape (B,), the positive of each example.
        positives: Articles of each user that must not count as negatives.

    Returns:
        Shape (B, B): entry (i, j) says whether item j counts for user i: on the diagonal, where it is the
        positive, and wherever it is no positive of that user.
    """
    mask = ~positives.contains(np.asarray(users)[:, None], np.asarray(items)[None, :])
    mask &= np.asarray(items)[:, None] != np.asarray(items)[None, :]
    np.fill_diagonal(mask, True)
    return mask


def in_batch_log_q(counts: ArrayLike, items: ArrayLike) -> NDArray[np.float64]:
    """Logarithm of the probability that an example's positive is each of ``items``.

    Subtracted from a column's logits, it makes the in-batch softmax that over all articles (Yi et al., 2019,
    "Sampling-Bias-Corrected Neural Modeling for Large Corpus Item Recommendations", equation 3).

    Args:
        counts: Shape (n_items,), training examples with each item as their positive; 0 counts as 1.
        items: Any shape; the result has the same.
    """
    count = np.maximum(np.asarray(counts, np.float64), 1.0)
    result: NDArray[np.float64] = np.log(count[np.asarray(items)]) - np.log(count.sum())
    return result
