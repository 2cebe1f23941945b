import numpy as np
from numpy.typing import NDArray

def order_slates(scores: NDArray[np.float64], sizes: NDArray[np.intp]) -> NDArray[np.intp]: ...
def slate_auc(
    labels: NDArray[np.float64], scores: NDArray[np.float64], sizes: NDArray[np.intp]
) -> NDArray[np.float64]: ...
def newton_step(
    x: NDArray[np.float32],
    clicked: NDArray[np.bool_],
    weights: NDArray[np.float64],
    curvature: NDArray[np.float64],
    left: float,
    prior: float,
) -> tuple[NDArray[np.float64], NDArray[np.float64]] | None: ...
