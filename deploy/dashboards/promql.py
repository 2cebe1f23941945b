"""PromQL that all panels share: what is selected, per second, quantiles, shares.

Guarantee: no query divides by zero. A share of nothing is 0, or 1 where it says how much went well, so that a
quiet night looks neither like a failure nor like a gap. A quantile of nothing is not a number: a gap.
"""

from __future__ import annotations

WINDOW = "$__rate_interval"
"""Grafana's: at least four scrapes."""
HOUR = "1h"
"""For what happens seldom."""
_SELECTED = ('job=~"$job"', 'instance=~"$instance"')
_NONE_PER_SECOND = "1e-9"


def series(name: str, *conditions: str) -> str:
    """The series ``name`` of the jobs and instances that are chosen at the top of the dashboard."""
    return f"{name}{{{', '.join((*_SELECTED, *conditions))}}}"


def per_second(name: str, *conditions: str, by: str = "", window: str = WINDOW) -> str:
    """The rate of a counter, summed over all but the labels ``by``."""
    return f"{_sum(by)}(rate({series(name, *conditions)}[{window}]))"


def increase(name: str, *conditions: str, by: str = "", window: str = HOUR) -> str:
    """How much a counter has grown, summed over all but the labels ``by``."""
    return f"{_sum(by)}(increase({series(name, *conditions)}[{window}]))"


def quantile(q: float, histogram: str, *conditions: str, by: str = "") -> str:
    """The quantile ``q`` of what was observed in the window."""
    labels = f"le, {by}" if by else "le"
    rates = per_second(f"{histogram}_bucket", *conditions, by=labels)
    return f"histogram_quantile({q:g}, {rates})"


def mean(histogram: str, *conditions: str, by: str = "") -> str:
    """The mean of what was observed in the window; 0 where nothing was."""
    return share(
        per_second(f"{histogram}_sum", *conditions, by=by),
        per_second(f"{histogram}_count", *conditions, by=by),
    )


def share(part: str, whole: str) -> str:
    """``part`` of ``whole``, both per second; 0 of nothing."""
    return f"{part} / clamp_min({whole}, {_NONE_PER_SECOND})"


def share_within(bound: float, histogram: str, *conditions: str, window: str = WINDOW) -> str:
    """The share of observations that are at most ``bound``, one of the histogram's; 1 of nothing."""
    whole = per_second(f"{histogram}_count", *conditions, window=window)
    within = per_second(f"{histogram}_bucket", *conditions, f'le="{float(bound)}"', window=window)
    return f"1 - {share(f'({whole} - {within})', whole)}"


def most(name: str, *conditions: str, by: str = "") -> str:
    """The largest of the series ``name`` for each ``by``: for what all workers measure alike."""
    return f"max{f' by ({by})' if by else ''} ({series(name, *conditions)})"


def budget_burn(bad: str, objective: float) -> str:
    """How many times as fast as allowed ``bad``, a share of the last hour, uses up what may be bad."""
    return f"({bad}) / {1 - objective:g}"


def answers_bad(window: str = HOUR) -> str:
    """The share of answers that took longer than 100 ms or came without the index; 0 of nothing."""
    answers = per_second("freshet_request_seconds_count", window=window)
    in_time = per_second("freshet_request_seconds_bucket", 'le="0.1"', window=window)
    degraded = per_second("freshet_degraded_answers_total", window=window)
    return f"clamp_max({share(f'({answers} - {in_time} + {degraded})', answers)}, 1)"


def _sum(by: str) -> str:
    return f"sum by ({by}) " if by else "sum"
