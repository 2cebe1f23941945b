"""Metrics by segment: of users, of times, and of kinds of candidates.

**Segments of impressions** hold whole impressions, by user or by time. **Segments of candidates** restrict
each slate to the candidates of one kind (:class:`~freshet.models.evaluation.slate_scores.Parts`), such as the
articles not shown before the cut; an impression counts if the restricted slate has a click and a skip. The
figures of the two are not comparable.

Intervals are percentile bootstrap intervals over impressions. Differences between two methods are computed on
the same resamples, so that their intervals are narrower than those of the methods.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial

import numpy as np
from numpy.typing import NDArray

from freshet.models.datasets.impression_log import ImpressionLog
from freshet.models.evaluation.ranking_metrics import Estimate, bootstrap
from freshet.models.evaluation.slate_scores import METRICS, AgeParts, Division, Parts, SlateScores

MIN_SEGMENT = 5
"""Impressions of the smallest segment that is reported."""
MAX_CATEGORIES = 20
"""Number of the most frequent categories that are reported; the others are reported together."""
_AGES = ("first hour", "1 to 6 hours", "6 to 24 hours", "1 to 7 days", "older")
_AGE_LIMITS_S = (3_600.0, 21_600.0, 86_400.0, 604_800.0)
_EARLIER_CLICKS = ("none", "1 to 4", "5 to 19", "20 and more")
_CLICK_LIMITS = (1, 5, 20)
OTHER = "(others)"
NO_CATEGORY = "(unknown)"
_BOOTSTRAP_ROWS = 10_000_000
"""Rows drawn for one interval: 1,000 resamples up to 10,000 impressions, at least 100 for more."""


@dataclass(frozen=True, slots=True)
class Segment:
    """Row of a table: the estimates of one segment by method."""

    name: str
    impressions: int
    methods: Mapping[str, Estimate]


@dataclass(frozen=True, slots=True)
class SegmentTable:
    """Segments of one division."""

    title: str
    metric: str
    of_candidates: bool
    """Whether slates are restricted to the segment's candidates."""
    segments: tuple[Segment, ...]


def estimates(values: NDArray[np.floating], seed: int = 0) -> list[Estimate]:
    """Estimate the means of the columns, each without its NaNs.

    Args:
        values: Shape (n, m), n at least 1.
        seed: Seed of the resampling.
    """
    found: list[Estimate] = [Estimate(np.nan, np.nan, np.nan)] * values.shape[1]
    complete = ~np.isnan(values)
    # Columns with the same rows missing are resampled together, which keeps their correlation.
    patterns: dict[bytes, list[int]] = {}
    for column in range(values.shape[1]):
        patterns.setdefault(complete[:, column].tobytes(), []).append(column)
    for columns in patterns.values():
        kept = values[complete[:, columns[0]]][:, columns].astype(np.float64)
        if not len(kept):
            continue
        resamples = min(1_000, max(100, _BOOTSTRAP_ROWS // len(kept)))
        low, high = bootstrap(kept, resamples=resamples, seed=seed)
        for column, *figures in zip(columns, kept.mean(axis=0), low, high, strict=True):
            found[column] = Estimate(*(float(figure) for figure in figures))
    return found


def overall(scores: SlateScores, seed: int = 0) -> Mapping[str, Mapping[str, Estimate]]:
    """Estimate each method's metrics over all measured impressions; metrics that are all NaN are left out."""
    values = scores.values
    flat = iter(estimates(values.reshape(len(values), -1), seed))  # (methods * metrics,)
    found = {method: dict(zip(METRICS, flat, strict=False)) for method in scores.methods}
    return {
        method: {metric: each for metric, each in by_metric.items() if not np.isnan(each.mean)}
        for method, by_metric in found.items()
    }


def differences(scores: SlateScores, method: str, seed: int = 0) -> Mapping[str, Estimate]:
    """Estimate how much higher the AUC of ``method`` is than each other method's, resampled in pairs."""
    auc = scores.values[:, :, METRICS.index("auc")].astype(np.float64)  # (n, methods)
    own = scores.methods.index(method)
    others = [name for name in scores.methods if name != method]
    found = estimates(auc[:, [own]] - np.delete(auc, own, axis=1), seed)
    return dict(zip(others, found, strict=True))


def article_parts(
    log: ImpressionLog, shown_in_training: NDArray[np.integer], published_at_s: NDArray[np.float64]
) -> dict[str, Division]:
    """Divide candidates by whether they were shown before the cut, by age, by news row and by category.

    Args:
        log: The log.
        shown_in_training: Shape (articles,): impressions of each article before the cut.
        published_at_s: Shape (articles,), Unix seconds.
    """
    parts: dict[str, Division] = {
        "article": Parts(
            ("shown before the cut", "not shown before the cut"), (shown_in_training == 0).astype(np.int32)
        ),
        "age when shown": AgeParts(_AGES, np.array(_AGE_LIMITS_S), published_at_s, log.time_s),
    }
    announced = log.articles.announced
    if announced.any() and not announced.all():
        parts["news row"] = Parts(
            ("with a line in news.tsv", "without a line in news.tsv"), (~announced).astype(np.int32)
        )
    frequent = [name for name, _ in Counter(log.articles.categories).most_common(MAX_CATEGORIES + 1) if name]
    if frequent:
        names = (*sorted(frequent[:MAX_CATEGORIES]), OTHER, NO_CATEGORY)
        number_of = {name: number for number, name in enumerate(names)}
        number_of[""] = len(names) - 1
        codes = [number_of.get(name, len(names) - 2) for name in log.articles.categories]
        parts["category"] = Parts(names, np.array(codes, np.int32))
    return parts


def segment_tables(
    scores: SlateScores, log: ImpressionLog, position: int, metric: str = "auc", seed: int = 0
) -> tuple[SegmentTable, ...]:
    """Tables of impressions by user, hour and day, and of candidates by part.

    Args:
        scores: The collected metrics.
        log: The whole log.
        position: The cut: users and articles before it are known.
        metric: Metric of the tables of impressions; tables of candidates have the AUC.
        seed: Seed of the resampling.
    """
    measured = scores.positions
    values = scores.values[:, :, METRICS.index(metric)]
    time_s = log.time_s[measured]
    day = (time_s // 86_400).astype(np.int64)
    hour = (time_s % 86_400 // 3_600).astype(np.int64)
    first_day = int(day.min()) if len(day) else 0
    last_day = int(day.max()) if len(day) else -1
    days = [f"{datetime.fromtimestamp(86_400 * i, UTC):%Y-%m-%d}" for i in range(first_day, last_day + 1)]
    kinds = _user_kinds(log, position, measured)
    clicks = np.searchsorted(_CLICK_LIMITS, earlier_clicks(log)[measured], side="right")
    table = partial(_table, methods=scores.methods, seed=seed)
    tables = [
        table("users", metric, _USERS, kinds, values),
        table("clicks of the user before", metric, _EARLIER_CLICKS, clicks, values),
        table("hour of the day (UTC)", metric, [f"{h:02}" for h in range(24)], hour, values),
        table("day (UTC)", metric, days, day - first_day, values),
    ]
    for name, parts in scores.parts.items():
        auc = scores.part_scores(name)
        title = f"candidates by {name}"
        tables.append(table(title, "auc", parts.names, auc.codes, auc.auc, of_candidates=True))
    return tuple(found for found in tables if found.segments)


def over_time(scores: SlateScores, log: ImpressionLog, bins: int = 24, seed: int = 0) -> SegmentTable:
    """AUC of each method in ``bins`` periods of equally many impressions, named by their first time."""
    measured = scores.positions
    bins = max(1, min(bins, len(measured) // 20))
    code = np.arange(len(measured)) * bins // max(len(measured), 1)
    starts = np.searchsorted(code, np.arange(bins))
    names = [
        f"{datetime.fromtimestamp(float(log.time_s[measured[start]]), UTC):%Y-%m-%d %H:%M}"
        for start in starts.tolist()
    ]
    values = scores.values[:, :, METRICS.index("auc")]
    return _table("time", "auc", names, code, values, methods=scores.methods, seed=seed)


_USERS = ("known before the cut", "with a history only", "new: no event, no history")


def _user_kinds(log: ImpressionLog, position: int, measured: NDArray[np.int64]) -> NDArray[np.int64]:
    known = np.zeros(len(log.user_ids), np.bool_)
    known[log.user[:position]] = True
    users_seen, first_line = np.unique(log.user, return_index=True)
    has_history = np.zeros(len(log.user_ids), np.bool_)
    has_history[users_seen] = np.diff(log.history_start)[log.history[first_line]] > 0
    users = log.user[measured]
    return np.where(known[users], 0, np.where(has_history[users], 1, 2))


def earlier_clicks(log: ImpressionLog) -> NDArray[np.int64]:
    """Earlier clicks (impressions,) of each impression's user, in the log and in the user's first history."""
    before = np.concatenate([np.zeros(1, np.int64), np.cumsum(log.clicked)])
    clicks = before[log.slate_start[1:]] - before[log.slate_start[:-1]]
    order = np.argsort(log.user, kind="stable")
    _, first, lines = np.unique(log.user[order], return_index=True, return_counts=True)
    so_far = np.cumsum(clicks[order]) - clicks[order]
    history = np.diff(log.history_start)[log.history[order[first]]]
    earlier = np.empty(len(log), np.int64)
    earlier[order] = so_far - np.repeat(so_far[first] - history, lines)
    return earlier


def _table(
    title: str,
    metric: str,
    names: Sequence[str],
    codes: NDArray[np.integer],
    values: NDArray[np.floating],
    *,
    methods: Sequence[str],
    of_candidates: bool = False,
    seed: int,
) -> SegmentTable:
    segments = []
    for code, name in enumerate(names):
        part = values[codes == code]
        if len(part) >= MIN_SEGMENT:
            found = dict(zip(methods, estimates(part, seed), strict=True))
            segments.append(Segment(name, len(part), found))
    return SegmentTable(title, metric, of_candidates, tuple(segments))
