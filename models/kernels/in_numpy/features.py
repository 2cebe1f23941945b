"""Feature kernels in NumPy.

Statistics are those of :mod:`~freshet.models.kernels.in_numpy.counts`. Row -1 is an unknown article.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from freshet.models.kernels.priors import (
    AFFINITY_HALF_LIFE_S,
    AFFINITY_PRIOR_CLICKS,
    GLOBAL_PRIOR_CLICKS,
    GLOBAL_PRIOR_IMPRESSIONS,
    PRIOR_EXPECTED,
    PRIOR_IMPRESSIONS,
    PRIOR_LIFT,
    TREND_PRIOR,
)
from freshet.models.kernels.statistics_layout import FIRST_SEEN, LAST_EVENT, PUBLISHED, decayed

Floats = NDArray[np.float64]

_RATIOS, _STATISTICS = 12, 17
_AGE_SCALE = 1.0 / math.log(25.0)

# Each of the first twelve columns is scale * log((a x + b) / (c y + d)) - offset, for two counts x and y.
# Counts 0 to 3 are clicks, by half-life, 4 to 7 impressions, 8 to 11 expected clicks. A count that decays at
# half-life h holds the events of h / ln 2: of an hourly rate, that many hours.
_OF_COUNTS = np.array([0, 1, 2, 3, 0, 1, 2, 3, 1, 7, 5, 4, 4, 5, 6, 7, 8, 9, 10, 11, 2, 7, 5, 4])
"""Indices of x of each column, then of y."""
_ADDED = np.array(
    [PRIOR_LIFT * PRIOR_IMPRESSIONS] * 4
    + [PRIOR_EXPECTED] * 4
    + [TREND_PRIOR]
    + [1.0] * 3
    + [PRIOR_IMPRESSIONS] * 4
    + [PRIOR_EXPECTED] * 4
    + [TREND_PRIOR]
    + [1.0] * 3
)
"""Values of b, then of d."""
_OF_NUMERATORS = (1.0, 1.0, 1.0, 1.0, 1.0 / 3.0, 1.0, 1.0, 1.0)
_OF_IMPRESSIONS = (1.0, 1.0, 1.0, 1.0)
"""Values of a for the lifts, the trend and the impressions, then of c for the rates; others vary."""
_SCALE = np.array([1.0] * 8 + [1.0 / 3.0] + [1.0 / 5.0] * 3)
_OFFSET = np.array([math.log(PRIOR_LIFT)] * 4 + [0.0] * 8)
_UNDECAYED = np.array([7, 3])
"""Indices of the undecayed impressions and clicks."""


def rows_of(row_of: Mapping[str, int], ids: Iterable[str]) -> NDArray[np.int64]:
    """Rows (n,) of ``ids`` in ``row_of``; -1 where one is missing."""
    get = row_of.get
    return np.array([get(news_id, -1) for news_id in ids], np.int64)


def canonical_order(ids: Iterable[str], keys: dict[str, int]) -> list[str]:
    """Distinct ``ids`` in the order of their CRC-32, then of the ids; ``keys`` caches the CRC-32."""
    pairs = []
    for news_id in set(ids):
        key = keys.get(news_id)
        if key is None:
            key = keys[news_id] = crc32(news_id.encode())
        pairs.append((key, news_id))
    return [news_id for _, news_id in sorted(pairs)]


def statistics_features(  # noqa: PLR0917 - what the compiled one takes
    x: Floats,
    first: int,
    rows: NDArray[np.int64],
    now_s: float,
    counts: Floats,
    times_s: Floats,
    rates_per_s: Floats,
    sums: Floats,
    newest_s: float,
) -> None:
    """Fill in the features ``log_ctr_30min`` to ``log_since_clicked``, which need only the statistics.

    Args:
        x: Features, shape (n, F); changed.
        first: Column of the first of these 17 adjacent features.
        rows: Rows (n,), -1 where an article is unknown.
        now_s: Event time. Counts of a row whose last event is later are not changed.
        counts: Shape (capacity, 12), with the half-lives 30 min, 3 h, 24 h and none.
        times_s: Shape (capacity, 4).
        rates_per_s: 1 / half-life, 0 for none, shape (4,).
        sums: Counts of all rows as of ``newest_s``, shape (3, 4).
        newest_s: Time of the sums.
    """
    out = x[:, first : first + _STATISTICS]
    times = times_s.take(rows, axis=0)  # (n, 4)
    counted = counts.take(rows, axis=0)  # (n, 12)
    counted *= np.exp2(np.fmax(now_s - times[:, LAST_EVENT], 0.0)[:, None] * np.tile(-rates_per_s, 3))
    clicks, impressions, expected = np.maximum(sums * decayed(rates_per_s, now_s - newest_s), 0.0)
    of_clicks = (impressions + GLOBAL_PRIOR_IMPRESSIONS) / (clicks + GLOBAL_PRIOR_CLICKS)  # (4,)
    of_expected = (clicks + 1.0) / (expected + 1.0)  # (4,)
    ratios: Floats = counted.take(_OF_COUNTS, axis=1)  # (n, 24): numerators, then denominators
    ratios *= (*of_clicks, *_OF_NUMERATORS, *_OF_IMPRESSIONS, *of_expected, 1.0 / 24.0, 0.0, 0.0, 0.0)
    ratios += _ADDED
    columns = out[:, :_RATIOS]
    np.divide(ratios[:, :_RATIOS], ratios[:, _RATIOS:], out=columns)
    np.log(columns, out=columns)
    columns *= _SCALE
    columns -= _OFFSET
    np.equal(counted.take(_UNDECAYED, axis=1), 0.0, out=out[:, _RATIOS : _RATIOS + 2])
    published_at_s = times[:, PUBLISHED]
    np.copyto(times[:, FIRST_SEEN], published_at_s, where=~np.isnan(published_at_s))
    hours = now_s - times[:, FIRST_SEEN:]
    hours /= 3_600.0
    # fmax drops NaN: an article without a date counts as new, and so does one from the future.
    np.fmax(hours, 0.0, out=hours)
    np.log1p(hours, out=hours)
    np.multiply(hours, _AGE_SCALE, out=out[:, _RATIOS + 2 :])


def category_features(  # noqa: PLR0917 - what the compiled one takes
    x: Floats,
    first: int,
    rows: NDArray[np.int64],
    now_s: float,
    recent: Sequence[tuple[float, str]],
    row_of: Mapping[str, int],
    codes: tuple[NDArray[np.int32], NDArray[np.int32]],
    shares: tuple[Floats, Floats],
    lift: Floats,
) -> None:
    """Fill in the features ``category_affinity``, ``subcategory_affinity`` and ``category_lift``.

    Args:
        x: Features, shape (n, F); changed.
        first: Column of the first of these three adjacent features.
        rows: Rows (n,), -1 where an article is unknown.
        now_s: Event time.
        recent: Times and articles of the user's recent clicks.
        row_of: Rows of articles.
        codes: Codes of all rows' categories and subcategories, 0 for the empty name, shape (capacity,) each.
        shares: Shares of all users' clicks, by code.
        lift: Lift of categories, by code.
    """
    out = x[:, first : first + 3]
    of_rows = codes[0][rows]
    if not of_rows.any():
        return
    out[:, 2] = lift[of_rows]
    if not recent:
        return
    clicked = rows_of(row_of, [news_id for _, news_id in recent])
    weights = np.array(  # (m,)
        [2.0 ** ((time_s - now_s) / AFFINITY_HALF_LIFE_S) if time_s < now_s else 1.0 for time_s, _ in recent]
    )
    for k, (of_articles, of_everybody) in enumerate(zip(codes, shares, strict=True)):
        share = np.bincount(of_articles[clicked], weights, len(of_everybody)).astype(np.float64, copy=False)
        share[0] = 0.0  # (codes,): the user's decayed clicks in each category
        total = float(share.sum())
        if total == 0.0:
            continue
        share /= of_everybody
        share += AFFINITY_PRIOR_CLICKS
        share /= total + AFFINITY_PRIOR_CLICKS
        np.log(share, out=share)
        share[0] = 0.0
        out[:, k] = share[of_articles[rows]]


def cross_features(
    x: Floats,
    ranked: int,
    rank: int,
    products: Collection[tuple[int, int, float]],
) -> None:
    """Fill in the features that are computed from other features.

    Args:
        x: Features, shape (n, F); changed.
        ranked: Column by which rows are ranked.
        rank: Column for the ranks, from -0.5 to 0.5, with the mean rank for equal values.
        products: Triples of a column, the column for its multiple, and the factor.
    """
    # Rounded, so that equal counts that were summed in another order have equal ranks.
    rounded = x[:, ranked].astype(np.float32)
    ordered = np.sort(rounded)
    below = ordered.searchsorted(rounded, "left") + ordered.searchsorted(rounded, "right")
    x[:, rank] = below / (2.0 * len(x)) - 0.5
    for column, product, factor in products:
        np.multiply(x[:, column], factor, out=x[:, product])
