from collections.abc import Collection, Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

def rows_of(row_of: dict[str, int], ids: Iterable[str]) -> NDArray[np.int64]: ...
def canonical_order(ids: Iterable[str], keys: dict[str, int]) -> list[str]: ...
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
