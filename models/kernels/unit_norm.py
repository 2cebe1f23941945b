"""L2 normalisation of vectors, in the one form that all rooms use."""

from __future__ import annotations

from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

_Float = TypeVar("_Float", np.float32, np.float64)


def to_unit_norm(vectors: NDArray[_Float]) -> NDArray[_Float]:
    """Scale vectors (..., d) to L2 norm 1; a zero vector stays zero.

    >>> to_unit_norm(np.array([[3.0, 4.0], [0.0, 0.0]]))
    array([[0.6, 0.8],
           [0. , 0. ]])
    """
    norms = np.linalg.norm(vectors, axis=-1, keepdims=True)  # (..., 1)
    unit: NDArray[_Float] = np.divide(vectors, norms, out=np.zeros_like(vectors), where=norms > 0)
    return unit
