import numpy as np
from numpy.typing import NDArray

def count_slate(
    rows: NDArray[np.int64],
    clicked: NDArray[np.bool_],
    time_s: float,
    counts: NDArray[np.float64],
    times_s: NDArray[np.float64],
    has_clicks: NDArray[np.bool_],
    rates_per_s: NDArray[np.float64],
    sums: NDArray[np.float64],
    newest_s: float,
) -> float: ...
def add_co_clicks(
    held: NDArray[np.int32], context: NDArray[np.int64], of_contexts: NDArray[np.int64]
) -> NDArray[np.int32]: ...
def co_click_scores(
    contexts: list[NDArray[np.int32] | None],
    recent: NDArray[np.int64],
    of_contexts: NDArray[np.int64],
    clicks: NDArray[np.float64],
    all_clicks: float,
) -> NDArray[np.float64] | None: ...
