"""Removal of the components that all vectors of a space share (Mu and Viswanath, 2018, "All-but-the-Top").

Word2vec's vectors share a large mean and a few directions with nearly all the variance. For words these
encode frequency; for news, the day: articles that are clicked together were new together. They do not help to
rank articles of one hour. Without the mean and the first principal components, the differences within the day
remain.
"""

from __future__ import annotations

import numpy as np

from freshet.models.ports import FloatMatrix

AS_THEY_ARE = -1
"""Number of components that leaves the vectors unchanged; not even the mean is removed."""


def without_common_components(vectors: FloatMatrix, components: int) -> FloatMatrix:
    """Remove the mean and the first ``components`` principal components from vectors (n, d), float32.

    Args:
        vectors: Shape (n, d).
        components: Number of components, 0 for the mean alone, ``AS_THEY_ARE`` for nothing; d / 100 is usual.

    Raises:
        ValueError: ``components`` is below -1.
    """
    if components < AS_THEY_ARE:
        raise ValueError(f"components is {components}, must be at least {AS_THEY_ARE}")
    if components == AS_THEY_ARE:
        return vectors
    centred = vectors.astype(np.float64)
    centred -= centred.mean(axis=0)
    _, directions = np.linalg.eigh(centred.T @ centred)  # (d, d), by growing variance
    top = directions[:, ::-1][:, :components]  # (d, components)
    kept: FloatMatrix = (centred - centred @ top @ top.T).astype(np.float32)
    return kept
