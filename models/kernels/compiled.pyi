from collections.abc import Collection, Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

def rows_of(row_of: dict[str, int], ids: Iterable[str]) -> NDArray[np.int64]: ...
def canonical_order(ids: Iterable[str], keys: dict[str, int]) -> list[str]: ...
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
def statistics_features(
    x: NDArray[np.float64],
    first: int,
    rows: NDArray[np.int64],
    now_s: float,
    counts: NDArray[np.float64],
    times_s: NDArray[np.float64],
    rates_per_s: NDArray[np.float64],
    sums: NDArray[np.float64],
    newest_s: float,
) -> None: ...
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
def order_slates(scores: NDArray[np.float64], sizes: NDArray[np.intp]) -> NDArray[np.intp]: ...
def slate_auc(
    labels: NDArray[np.float64], scores: NDArray[np.float64], sizes: NDArray[np.intp]
) -> NDArray[np.float64]: ...
def category_features(
    x: NDArray[np.float64],
    first: int,
    rows: NDArray[np.int64],
    now_s: float,
    recent: Sequence[tuple[float, str]],
    row_of: dict[str, int],
    codes: tuple[NDArray[np.int32], NDArray[np.int32]],
    shares: tuple[NDArray[np.float64], NDArray[np.float64]],
    lift: NDArray[np.float64],
) -> None: ...
def cross_features(
    x: NDArray[np.float64],
    ranked: int,
    rank: int,
    products: Collection[tuple[int, int, float]],
) -> None: ...
def newton_step(
    x: NDArray[np.float32],
    clicked: NDArray[np.bool_],
    weights: NDArray[np.float64],
    curvature: NDArray[np.float64],
    left: float,
    prior: float,
) -> tuple[NDArray[np.float64], NDArray[np.float64]] | None: ...
