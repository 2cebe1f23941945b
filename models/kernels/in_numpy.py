"""The kernels in NumPy: what each of them does, and what they are where nothing was compiled.

Statistics are those of :class:`~freshet.models.statistics_columns.StatisticsColumns`: ``counts``
(capacity, 3 H) holds the clicks, the impressions and the expected clicks at H half-lives, ``times_s``
(capacity, 4) the times of publication, first event, last event and last click, NaN where unknown. Row -1
reads as nothing known.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from freshet.models.feature_priors import (
    AFFINITY_HALF_LIFE_S,
    AFFINITY_PRIOR_CLICKS,
    CO_CLICK_PRIOR_CLICKS,
    GLOBAL_PRIOR_CLICKS,
    GLOBAL_PRIOR_IMPRESSIONS,
    PRIOR_EXPECTED,
    PRIOR_IMPRESSIONS,
    PRIOR_LIFT,
    TREND_PRIOR,
)

Floats = NDArray[np.float64]

_PUBLISHED, _FIRST_SEEN, _LAST_EVENT, _LAST_CLICK = range(4)
_RATIOS, _STATISTICS = 12, 17
_AGE_SCALE = 1.0 / math.log(25.0)

# Each of the first twelve columns is scale * log((a x + b) / (c y + d)) - offset, of two counts: clicks are
# counts 0 to 3, by half-life, impressions 4 to 7, expected clicks 8 to 11. A count that decays at half-life
# h holds the events of h / ln 2: of an hourly rate, that many hours.
_OF_COUNTS = np.array([0, 1, 2, 3, 0, 1, 2, 3, 1, 7, 5, 4, 4, 5, 6, 7, 8, 9, 10, 11, 2, 7, 5, 4])
"""x of each column, then y."""
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
"""b, then d."""
_OF_NUMERATORS = (1.0, 1.0, 1.0, 1.0, 1.0 / 3.0, 1.0, 1.0, 1.0)
_OF_IMPRESSIONS = (1.0, 1.0, 1.0, 1.0)
"""a of the lifts, the trend and the impressions, then c of the rates; the others depend on everybody's."""
_SCALE = np.array([1.0] * 8 + [1.0 / 3.0] + [1.0 / 5.0] * 3)
_OFFSET = np.array([math.log(PRIOR_LIFT)] * 4 + [0.0] * 8)
_UNDECAYED = np.array([7, 3])
"""Impressions and clicks."""


def rows_of(row_of: Mapping[str, int], ids: Iterable[str]) -> NDArray[np.int64]:
    """What ``row_of`` has of each of ``ids``, shape (n,); -1 where it has nothing."""
    get = row_of.get
    return np.array([get(news_id, -1) for news_id in ids], np.int64)


def canonical_order(ids: Iterable[str], keys: dict[str, int]) -> list[str]:
    """The distinct ones of ``ids`` by their CRC-32, then by themselves; ``keys`` remembers the former."""
    distinct = set(ids)
    for news_id in distinct:
        if news_id not in keys:
            keys[news_id] = crc32(news_id.encode())
    return sorted(distinct, key=lambda news_id: (keys[news_id], news_id))


def count_slate(  # noqa: PLR0917 - what the compiled one takes
    rows: NDArray[np.int64],
    clicked: NDArray[np.bool_],
    time_s: float,
    counts: Floats,
    times_s: Floats,
    has_clicks: NDArray[np.bool_],
    rates_per_s: Floats,
    sums: Floats,
    newest_s: float,
) -> float:
    """Count a slate into the statistics.

    Args:
        rows: Shape (n,): distinct, none of them -1.
        clicked: Shape (n,).
        time_s: Event time, whether before or after that of a row's last event.
        counts: Changed, as the following two.
        times_s: See above.
        has_clicks: Shape (capacity,): whether a row was ever clicked.
        rates_per_s: Shape (H,): 1 / half-life, 0 for none.
        sums: Shape (3, H): the counts of all rows as of ``newest_s``; changed.
        newest_s: The time of the sums, minus infinity before the first event.

    Returns:
        The time of the sums now.
    """
    heads, n = len(rates_per_s), len(rows)
    growth = np.tile(-rates_per_s, 3)
    times = times_s.take(rows, axis=0)
    last_s = times[:, _LAST_EVENT]
    counted = counts.take(rows, axis=0)
    counted *= np.exp2(np.fmax(time_s - last_s, 0.0)[:, None] * growth)
    added = np.zeros_like(counted)
    added[clicked, :heads] = 1.0
    added[:, heads : 2 * heads] = 1.0
    added[:, 2 * heads :] = 1.0 / n
    counted += added * np.exp2(np.fmax(last_s - time_s, 0.0)[:, None] * growth)
    times[clicked, _LAST_CLICK] = np.fmax(times[clicked, _LAST_CLICK], time_s)
    times[:, _LAST_EVENT] = np.fmax(last_s, time_s)
    times[:, _FIRST_SEEN] = np.fmin(times[:, _FIRST_SEEN], time_s)
    counts[rows] = counted
    times_s[rows] = times
    has_clicks[rows[clicked]] = True
    if time_s > newest_s:
        sums *= decayed(rates_per_s, time_s - newest_s)
        newest_s = time_s
    of_slate = np.array([[float(np.count_nonzero(clicked))], [float(n)], [1.0]])
    sums += of_slate * decayed(rates_per_s, newest_s - time_s)
    return newest_s


def decayed(rates_per_s: Floats, age_s: float) -> Floats:
    """What is left (H,) of counts after ``age_s``; everything, if that is negative."""
    if not 0.0 < age_s < math.inf:
        return np.ones(len(rates_per_s))
    return np.exp2(rates_per_s * -age_s)


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
    """Fill in the features ``log_ctr_30min`` to ``log_since_clicked``, which need the statistics alone.

    Args:
        x: Shape (n, F).
        first: The column of the first of these 17 features, which lie side by side.
        rows: Shape (n,), -1 where an article is unknown.
        now_s: Event time. Counts of a row whose last event is later are taken as they are.
        counts: At four half-lives: 30 min, 3 h, 24 h, none.
        times_s: See above.
        rates_per_s: Shape (4,): 1 / half-life, 0 for none.
        sums: Shape (3, 4): the counts of all rows as of ``newest_s``.
        newest_s: See above.
    """
    out = x[:, first : first + _STATISTICS]
    times = times_s.take(rows, axis=0)
    counted = counts.take(rows, axis=0)
    counted *= np.exp2(np.fmax(now_s - times[:, _LAST_EVENT], 0.0)[:, None] * np.tile(-rates_per_s, 3))
    clicks, impressions, expected = np.maximum(sums * decayed(rates_per_s, now_s - newest_s), 0.0)
    of_clicks = (impressions + GLOBAL_PRIOR_IMPRESSIONS) / (clicks + GLOBAL_PRIOR_CLICKS)
    of_expected = (clicks + 1.0) / (expected + 1.0)
    ratios: Floats = counted.take(_OF_COUNTS, axis=1)
    ratios *= (*of_clicks, *_OF_NUMERATORS, *_OF_IMPRESSIONS, *of_expected, 1.0 / 24.0, 0.0, 0.0, 0.0)
    ratios += _ADDED
    columns = out[:, :_RATIOS]
    np.divide(ratios[:, :_RATIOS], ratios[:, _RATIOS:], out=columns)
    np.log(columns, out=columns)
    columns *= _SCALE
    columns -= _OFFSET
    np.equal(counted.take(_UNDECAYED, axis=1), 0.0, out=out[:, _RATIOS : _RATIOS + 2])
    published_at_s = times[:, _PUBLISHED]
    np.copyto(times[:, _FIRST_SEEN], published_at_s, where=~np.isnan(published_at_s))
    hours = now_s - times[:, _FIRST_SEEN:]
    hours /= 3_600.0
    # fmax drops NaN: an article that is not even dated counts as new, and so does one from the future.
    np.fmax(hours, 0.0, out=hours)
    np.log1p(hours, out=hours)
    np.multiply(hours, _AGE_SCALE, out=out[:, _RATIOS + 2 :])


def add_co_clicks(
    held: NDArray[np.int32], context: NDArray[np.int64], of_contexts: NDArray[np.int64]
) -> NDArray[np.int32]:
    """Add 1 to an article's count of each context, and to the sum of each context's counts.

    Args:
        held: Shape (2, k): the numbers of its contexts, and their counts; the counts are changed.
        context: Shape (m,): numbers, distinct.
        of_contexts: By number, the sum of a context's counts; changed.

    Returns:
        ``held`` itself, or a longer array, if contexts joined: these are at its end, in their order.
    """
    of_contexts[context] += 1
    same = held[0][:, None] == context
    held[1] += same.any(axis=1)
    joined = context[~same.any(axis=0)].astype(np.int32)
    if not len(joined):
        return held
    return np.concatenate([held, np.stack([joined, np.ones_like(joined)])], axis=1)


def co_click_scores(
    contexts: Sequence[NDArray[np.int32] | None],
    recent: NDArray[np.int64],
    of_contexts: NDArray[np.int64],
    clicks: Floats,
    all_clicks: float,
) -> Floats | None:
    """The sums that :meth:`~freshet.models.co_clicks.CoClicks.scores` documents.

    Args:
        contexts: Of each of the n candidates the numbers of its contexts and their counts (2, k); None
            without any.
        recent: Shape (m,): the numbers of the user's recent clicks, distinct but for -1, which is no context.
        of_contexts: By number, the sum of a context's counts.
        clicks: Shape (n,): on each candidate.
        all_clicks: Those on all articles.

    Returns:
        Surprise and cosine, shape (n, 2); None if no candidate shares anything.
    """
    recent = recent[recent >= 0]
    present = [i for i, counts in enumerate(contexts) if counts is not None]
    held = [counts for counts in contexts if counts is not None]
    if not held or not len(recent):
        return None
    numbers, counts = np.concatenate(held, axis=1)
    order = np.argsort(recent)
    at = np.minimum(np.searchsorted(recent, numbers, sorter=order), len(recent) - 1)
    shared = np.flatnonzero(recent[order[at]] == numbers)
    if not len(shared):
        return None
    i, j = np.repeat(present, [part.shape[1] for part in held])[shared], order[at[shared]]
    # In the order of the user's clicks, in which sums of floats are the same in every process.
    in_order = np.lexsort((j, i))
    i, j, count = i[in_order], j[in_order], counts[shared][in_order]
    before = of_contexts[recent[j]]
    surprise = np.log1p(
        count * (all_clicks / (before + CO_CLICK_PRIOR_CLICKS)) / (clicks[i] + CO_CLICK_PRIOR_CLICKS)
    )
    cosine = count / np.sqrt(before + 1.0)
    n = len(contexts)
    return np.stack([np.bincount(i, surprise, n), np.bincount(i, cosine, n) / np.sqrt(clicks + 1.0)], axis=1)


def order_slates(scores: Floats, sizes: NDArray[np.intp]) -> NDArray[np.intp]:
    """Where each slate's candidates are, the best first, slate after slate; equal scores in any order.

    Args:
        scores: Shape (sum of sizes,): of one slate after another, not NaN.
        sizes: Shape (slates,).
    """
    # Numbers of 16 bits are sorted by radix: half the time of a lexsort.
    kind = np.uint16 if len(sizes) <= 1 << 16 else np.intp
    slate = np.repeat(np.arange(len(sizes), dtype=kind), sizes)
    order = np.argsort(-scores)
    return order[np.argsort(slate[order], kind="stable")]


def slate_auc(labels: Floats, scores: Floats, sizes: NDArray[np.intp]) -> Floats:
    """The area under the ROC curve of each slate, shape (slates,): a tie counts one half.

    Args:
        labels: Shape (sum of sizes,): 1 clicked, 0 skipped, both in every slate.
        scores: Of the same shape, not NaN.
        sizes: Shape (slates,).
    """
    order = order_slates(scores, sizes)
    starts = np.cumsum(sizes) - sizes
    scores, labels = scores[order], labels[order]
    new = np.concatenate([[True], scores[1:] != scores[:-1]])
    new[starts] = True
    ties = np.flatnonzero(new)
    lengths = np.diff(ties, append=len(scores))
    ranks = np.arange(1.0, len(scores) + 1.0) - np.repeat(starts, sizes)
    mean_ranks = np.repeat(np.add.reduceat(ranks, ties) / lengths, lengths)
    clicked = np.add.reduceat(labels, starts)
    below = clicked * (sizes + 1) - np.add.reduceat(labels * mean_ranks, starts) - clicked * (clicked + 1) / 2
    area: Floats = below / (clicked * (sizes - clicked))
    return area


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
        x: Shape (n, F).
        first: The column of the first of these three, which lie side by side.
        rows: Shape (n,), -1 where an article is unknown.
        now_s: Event time.
        recent: Times and articles of the user's recent clicks.
        row_of: The rows of articles.
        codes: Shape (capacity,) each: of all rows' categories and subcategories, 0 for the empty name.
        shares: By code, the share of everybody's clicks.
        lift: By code of a category.
    """
    out = x[:, first : first + 3]
    of_rows = codes[0][rows]
    if not of_rows.any():
        return
    out[:, 2] = lift[of_rows]
    if not recent:
        return
    clicked = rows_of(row_of, [news_id for _, news_id in recent])
    weights = np.array(
        [2.0 ** ((time_s - now_s) / AFFINITY_HALF_LIFE_S) if time_s < now_s else 1.0 for time_s, _ in recent]
    )
    for k, (of_articles, of_everybody) in enumerate(zip(codes, shares, strict=True)):
        share = np.bincount(of_articles[clicked], weights, len(of_everybody)).astype(np.float64, copy=False)
        share[0] = 0.0
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
    """Fill in the features that are made of others.

    Args:
        x: Shape (n, F).
        ranked: The column to rank the rows by.
        rank: The column that gets the ranks, from -0.5 to 0.5, the mean rank for equal values.
        products: Triples of a column, the column that is to hold a multiple of it, and the factor.
    """
    # Rounded, because equal counts that were summed in another order must not be ranked by that.
    rounded = x[:, ranked].astype(np.float32)
    ordered = np.sort(rounded)
    below = ordered.searchsorted(rounded, "left") + ordered.searchsorted(rounded, "right")
    x[:, rank] = below / (2.0 * len(x)) - 0.5
    for column, product, factor in products:
        np.multiply(x[:, column], factor, out=x[:, product])


def newton_step(  # noqa: PLR0917 - what the compiled one takes
    x: NDArray[np.float32],
    clicked: NDArray[np.bool_],
    weights: Floats,
    curvature: Floats,
    left: float,
    prior: float,
) -> tuple[Floats, Floats] | None:
    """The online Newton step of :mod:`freshet.models.online_ranker` for one slate.

    Args:
        x: Shape (n, F).
        clicked: Shape (n,), some but not all.
        weights: Shape (F,).
        curvature: Shape (F, F), before the slate; not changed.
        left: What is left of it at the slate's time, the rest having gone back to the prior.
        prior: Times the identity, the curvature of the start.

    Returns:
        What is to be taken from the weights (F,), and the curvature after the slate (F, F); None where a
        number is not finite or the equations have no solution.
    """
    inputs = x.astype(np.float64)
    shares = np.vecdot(inputs, weights)
    shares -= np.maximum.reduce(shares)
    np.exp(shares, out=shares)
    shares /= np.add.reduce(shares)
    mean = shares @ inputs
    gradient = mean - (clicked @ inputs) / np.count_nonzero(clicked)
    if not math.isfinite(float(np.add.reduce(gradient))):
        return None
    inputs -= mean
    inputs *= np.sqrt(shares)[:, None]
    after: Floats = curvature * left
    # Every len + 1st number is on the diagonal.
    after.reshape(-1)[:: len(after) + 1] += (1.0 - left) * prior
    after += inputs.T @ inputs
    try:
        step = np.asarray(np.linalg.solve(after, gradient), np.float64)
    except np.linalg.LinAlgError:
        return None
    return (step, after) if math.isfinite(float(np.add.reduce(step))) else None
