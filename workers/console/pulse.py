"""Pulse of the stream: rates and quantiles of the last minute, summed over the workers' metrics pages.

A page that does not answer is reported as a problem and left out. When it is back, earlier counts are not
counted twice; the counts of a restarted process do not make rates negative.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from freshet.streams.kafka import topics
from freshet.streams.kafka.connection import topic_name
from freshet.streams.settings import Settings
from freshet.workers.processes.metrics_page import Buckets, MetricsPage, MetricsUnavailable

WINDOW_S = 60.0
_HISTORY = 90
_TIMEOUT_S = 2.0

_TOPICS = (topics.IMPRESSIONS, topics.CLICKS, topics.REQUESTS, topics.ARTICLES)
_HISTOGRAMS: Mapping[str, str] = {
    "answer": "freshet_request_seconds",
    "freshness": "freshet_published_to_recommendable_seconds",
    "click": "freshet_click_to_vector_seconds",
}
_AUC = "freshet_rolling_auc_ratio"
_LAG = "freshet_consumer_lag_events"
_GROUP_LAG = "freshet_group_lag_events"
_TOTALS: Mapping[str, str] = {
    "degraded": "freshet_degraded_answers_total",
    "dead_letters": "freshet_dead_letters_total",
}


@dataclass(frozen=True, slots=True)
class _Look:
    """Figures of one metrics page at one moment."""

    time_s: float
    events: Mapping[str, float]
    histograms: Mapping[str, Buckets]
    totals: Mapping[str, float]
    auc: float
    lag: float
    group_lag: float
    """Lag of all processes together: every page has the same value."""


@dataclass(slots=True)
class _Process:
    """Looks at one page within the window, and the problem of the last one."""

    looks: deque[_Look] = field(default_factory=deque)
    problem: str | None = None


class Pulse:
    """Reader of metrics pages; one thread calls :meth:`look`, any thread may read :attr:`view`.

    Args:
        urls: Addresses of the pages.
        settings: Settings with the topics' prefix.
        clock_s: Clock, in monotonic seconds.
        read: Function that reads a page.
    """

    def __init__(
        self,
        urls: Sequence[str],
        settings: Settings,
        clock_s: Callable[[], float] = time.monotonic,
        read: Callable[[str], MetricsPage] = lambda url: MetricsPage.read_url(url, _TIMEOUT_S),
    ) -> None:
        self._topics = {topic.name: topic_name(settings, topic.name) for topic in _TOPICS}
        self._clock_s = clock_s
        self._read = read
        self._processes = {url: _Process() for url in urls}
        self._history: dict[str, deque[float | None]] = {}
        self.view: dict[str, Any] = {}
        """Figures for the page; empty before the first look."""

    def look(self) -> None:
        """Read all pages and renew :attr:`view`."""
        for url, process in self._processes.items():
            try:
                page = self._read(url)
            except MetricsUnavailable as error:
                process.problem = f"{error}. Is a worker running there (`freshet up`, --metrics URL)?"
                process.looks.clear()
                continue
            process.problem = None
            process.looks.append(self._seen(page))
            while process.looks[-1].time_s - process.looks[0].time_s > WINDOW_S:
                process.looks.popleft()
        self.view = self._viewed()

    def _seen(self, page: MetricsPage) -> _Look:
        return _Look(
            time_s=self._clock_s(),
            events={
                name: page.total("freshet_events_total", topic=full) for name, full in self._topics.items()
            },
            histograms={name: page.buckets(histogram) for name, histogram in _HISTOGRAMS.items()},
            totals={name: page.total(total) for name, total in _TOTALS.items()},
            auc=page.total(_AUC),
            lag=page.total(_LAG),
            group_lag=page.total(_GROUP_LAG),
        )

    def _viewed(self) -> dict[str, Any]:
        alive = [process.looks for process in self._processes.values() if process.looks]
        rates = {name: sum(_rate(looks, name) for looks in alive) for name in self._topics}
        aucs = [looks[-1].auc for looks in alive if looks[-1].auc > 0.0]
        latencies = {name: _latency([_quantiles_of(looks, name) for looks in alive]) for name in _HISTOGRAMS}
        measures: dict[str, float | None] = {
            **{f"{name}_per_s": rate for name, rate in rates.items()},
            "events_per_s": sum(rates.values()) if alive else None,
            "auc": sum(aucs) / len(aucs) if aucs else None,
            "lag": _lag([looks[-1] for looks in alive]),
            **{
                f"{name}_{q}_s": latency[f"{q}_s"] if latency["recent"] else None
                for name, latency in latencies.items()
                for q in ("p50", "p99")
            },
        }
        for name, value in measures.items():
            self._history.setdefault(name, deque(maxlen=_HISTORY)).append(value)
        return {
            "processes": len(self._processes),
            "answering": len(alive),
            "problems": [each.problem for each in self._processes.values() if each.problem is not None],
            "events_per_s": measures["events_per_s"],
            "topics": [{"topic": name, "per_s": rate} for name, rate in rates.items()],
            "latencies": latencies,
            "auc": measures["auc"],
            "lag": measures["lag"],
            **{name: sum(looks[-1].totals[name] for looks in alive) for name in _TOTALS},
            "history": {name: list(values) for name, values in self._history.items()},
        }


def _lag(last: Sequence[_Look]) -> float | None:
    """Return the lag in events: the sum over the processes, or the broker's figure if that is higher."""
    if not last:
        return None
    return max(sum(look.lag for look in last), *(look.group_lag for look in last))


def _rate(looks: Sequence[_Look], topic: str) -> float:
    """Return the events per second between the last two looks."""
    if len(looks) < 2:  # noqa: PLR2004 - a rate is between two moments
        return 0.0
    before, last = looks[-2], looks[-1]
    more = last.events[topic] - before.events[topic]
    if more < 0:
        more = last.events[topic]  # The process was restarted.
    return more / max(last.time_s - before.time_s, 1e-3)


def _quantiles_of(looks: Sequence[_Look], name: str) -> tuple[Buckets, Buckets]:
    """Return what was observed within the window, and since the process started."""
    first, last = looks[0].histograms[name], looks[-1].histograms[name]
    if not first.count or len(looks) < 2:  # noqa: PLR2004 - what is new is between two moments
        return (last if len(looks) > 1 else Buckets((), ())), last
    if last.count < first.count:
        return last, last
    return last.since(first), last


def _latency(of_processes: Sequence[tuple[Buckets, Buckets]]) -> dict[str, Any]:
    """Take quantiles of the window; if nothing was observed in it, since the processes started."""
    recent = _summed([recent for recent, _ in of_processes])
    shown = recent if recent.count else _summed([total for _, total in of_processes])
    return {
        "p50_s": shown.quantile(0.5),
        "p99_s": shown.quantile(0.99),
        "count": shown.count,
        "recent": bool(recent.count),
    }


def _summed(parts: Sequence[Buckets]) -> Buckets:
    """Sum histograms of one kind."""
    counts: dict[float, float] = {}
    for part in parts:
        for bound, count in zip(part.bounds, part.counts, strict=True):
            counts[bound] = counts.get(bound, 0.0) + count
    bounds = sorted(counts)
    return Buckets(bounds, [counts[bound] for bound in bounds])
