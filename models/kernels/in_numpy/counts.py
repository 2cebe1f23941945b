"""Kernels in NumPy that count a slate and its clicks, and score candidates by co-clicks.

Statistics are those of :class:`~freshet.models.articles.statistics_columns.StatisticsColumns`: ``counts``
(capacity, 3 H) holds the clicks, the impressions and the expected clicks at H half-lives, ``times_s``
(capacity, 4) the times of publication, first event, last event and last click, NaN where unknown.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from freshet.models.kernels.priors import CO_CLICK_PRIOR_CLICKS
from freshet.models.kernels.statistics_layout import FIRST_SEEN, LAST_CLICK, LAST_EVENT, decayed

Floats = NDArray[np.float64]


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
    slate: int | None = None,
) -> float:
    """Count a slate into the statistics.

    Args:
        rows: Distinct rows (n,), none of them -1.
        clicked: Shape (n,).
        time_s: Event time, before or after that of a row's last event.
        counts: Shape (capacity, 3 H); changed.
        times_s: Shape (capacity, 4); changed.
        has_clicks: Whether a row was ever clicked, shape (capacity,); changed.
        rates_per_s: 1 / half-life, 0 for none, shape (H,).
        sums: Counts of all rows as of ``newest_s``, shape (3, H); changed.
        newest_s: Time of the sums, minus infinity before the first event.
        slate: Number of articles in the slate; unset: n. The compiled kernel supports only n.

    Returns:
        The new time of the sums.
    """
    heads, n = len(rates_per_s), len(rows)
    slate = n if slate is None else slate
    growth = np.tile(-rates_per_s, 3)  # (3 H,)
    times = times_s.take(rows, axis=0)  # (n, 4)
    last_s = times[:, LAST_EVENT]
    counted = counts.take(rows, axis=0)  # (n, 3 H)
    # Counts decay up to a newer event; a late event is added with its true age.
    counted *= np.exp2(np.fmax(time_s - last_s, 0.0)[:, None] * growth)
    added = np.zeros_like(counted)
    added[clicked, :heads] = 1.0
    added[:, heads : 2 * heads] = 1.0
    added[:, 2 * heads :] = 1.0 / slate
    counted += added * np.exp2(np.fmax(last_s - time_s, 0.0)[:, None] * growth)
    times[clicked, LAST_CLICK] = np.fmax(times[clicked, LAST_CLICK], time_s)
    times[:, LAST_EVENT] = np.fmax(last_s, time_s)
    times[:, FIRST_SEEN] = np.fmin(times[:, FIRST_SEEN], time_s)
    counts[rows] = counted
    times_s[rows] = times
    has_clicks[rows[clicked]] = True
    if time_s > newest_s:
        sums *= decayed(rates_per_s, time_s - newest_s)
        newest_s = time_s
    of_slate = np.array([[float(np.count_nonzero(clicked))], [float(n)], [n / slate]])  # (3, 1)
    sums += of_slate * decayed(rates_per_s, newest_s - time_s)
    return newest_s


def add_co_clicks(
    held: NDArray[np.int32], context: NDArray[np.int64], of_contexts: NDArray[np.int64]
) -> NDArray[np.int32]:
    """Add 1 to an article's count of each context, and to the sum of each context's counts.

    Args:
        held: Numbers of its contexts, and their counts, shape (2, k); the counts are changed.
        context: Distinct numbers (m,).
        of_contexts: Sum of each context's counts, by number; changed.

    Returns:
        ``held`` itself, or a longer array with new contexts at its end.
    """
    of_contexts[context] += 1
    same = held[0][:, None] == context  # (k, m)
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
    """Co-click scores as :meth:`~freshet.models.articles.co_clicks.CoClicks.scores` defines them.

    Args:
        contexts: Numbers and counts of the contexts (2, k) of each of the n candidates; None without any.
        recent: Numbers (m,) of the user's recent clicks, distinct except for -1, which is no context.
        of_contexts: Sum of each context's counts, by number.
        clicks: Clicks on each candidate, shape (n,).
        all_clicks: Clicks on all articles.

    Returns:
        Surprise and cosine, shape (n, 2); None if no candidate has any count with ``recent``.
    """
    recent = recent[recent >= 0]
    present = [i for i, counts in enumerate(contexts) if counts is not None]
    held = [counts for counts in contexts if counts is not None]
    if not held or not len(recent):
        return None
    numbers, counts = np.concatenate(held, axis=1)  # (sum of k,) each
    # Every pair of a candidate i and a recent click j that has a count.
    order = np.argsort(recent)
    at = np.minimum(np.searchsorted(recent, numbers, sorter=order), len(recent) - 1)
    shared = np.flatnonzero(recent[order[at]] == numbers)
    if not len(shared):
        return None
    i, j = np.repeat(present, [part.shape[1] for part in held])[shared], order[at[shared]]
    # Sums run in the order of the user's clicks, so that floats are rounded alike in every process.
    in_order = np.lexsort((j, i))
    i, j, count = i[in_order], j[in_order], counts[shared][in_order]
    before = of_contexts[recent[j]]
    surprise = np.log1p(
        count * (all_clicks / (before + CO_CLICK_PRIOR_CLICKS)) / (clicks[i] + CO_CLICK_PRIOR_CLICKS)
    )
    cosine = count / np.sqrt(before + 1.0)
    n = len(contexts)
    return np.stack([np.bincount(i, surprise, n), np.bincount(i, cosine, n) / np.sqrt(clicks + 1.0)], axis=1)
