"""What all vectors of a space have in common, taken away (Mu and Viswanath, 2018, "All-but-the-Top").

Word2vec's vectors share a large mean and a few directions that nearly all variance is along. Of words these
encode frequency; of news, which day it was: what is clicked together is what was new together. Whoever is
ranking articles of one hour learns nothing from them. Taking away the mean and the first principal components
leaves what differs within the day.
"""

from __future__ import annotations

import numpy as np

from freshet.models.ports import FloatMatrix

AS_THEY_ARE = -1
"""Instead of a number of components: not even the mean is taken away."""


def without_common_components(vectors: FloatMatrix, components: int) -> FloatMatrix:
    """Vectors (n, d), float32, without their mean and the first ``components`` principal components.

    Args:
        vectors: Shape (n, d).
        components: How many, 0 for the mean alone, ``AS_THEY_ARE`` for nothing. About d / 100 is usual.

    Raises:
        ValueError: ``components`` is below -1.
    """
    if components < AS_THEY_ARE:
        raise ValueError(f"components is {components}, must be at least {AS_THEY_ARE}")
    if components == AS_THEY_ARE:
        return vectors
    centred = vectors.astype(np.float64)
    centred -= centred.mean(axis=0)
    _, directions = np.linalg.eigh(centred.T @ centred)
    top = directions[:, ::-1][:, :components]
    kept: FloatMatrix = (centred - centred @ top @ top.T).astype(np.float32)
    return kept
