"""Renders off-policy estimates for a terminal."""

from __future__ import annotations

from collections.abc import Callable

from rich.console import Group, RenderableType

from freshet.models.evaluation.off_policy.estimate import OffPolicyEstimate
from freshet.models.evaluation.ranking_metrics import Estimate
from freshet.workers.evaluation.off_policy.estimate import OffPolicyReport
from freshet.workers.terminal.figure_table import figure_table


def render(report: OffPolicyReport) -> RenderableType:
    """Render the estimates side by side, and a sentence on the reliability of each."""
    found = next(iter(report.values.values()))
    shows = (
        "by falling score" if report.temperature is None else f"drawn at temperature {report.temperature:g}"
    )
    table = figure_table(
        *("", *report.values),
        title=(
            f"Ranker {report.ranker}, {shows}, on {found.lists:,} logged lists of "
            f"{found.users:,} users; {found.confidence:.0%} intervals"
        ),
        caption=(
            "effective lists: effective sample size; no support: lists on which the ranker would show an "
            "article with propensity 0"
        ),
    )
    for label, cell in _ROWS:
        table.add_row(label, *(cell(value) for value in report.values.values()))
        if label in {_SERVED, _GAIN}:
            table.add_section()
    names_of: dict[str, list[str]] = {}
    for name, trust in report.trusts().items():
        names_of.setdefault(f"{trust.verdict}. {' '.join(trust.reasons)}", []).append(name)
    lines = [f"{', '.join(names)}: can it be trusted? {sentence}" for sentence, names in names_of.items()]
    return Group(table, *lines)


def _cell(estimate: Estimate | None, form: str = ".4f") -> str:
    if estimate is None:
        return ""
    return f"{estimate.mean:{form}} ({estimate.low:{form}} to {estimate.high:{form}})"


_SERVED = "served (logged)"
_GAIN = "SNIPS - served"
_ROWS: tuple[tuple[str, Callable[[OffPolicyEstimate], str]], ...] = (
    (_SERVED, lambda found: _cell(found.on_policy)),
    ("IPS", lambda found: _cell(found.ips)),
    ("clipped IPS", lambda found: _cell(found.clipped)),
    ("SNIPS", lambda found: _cell(found.snips)),
    ("doubly robust", lambda found: _cell(found.doubly_robust)),
    (_GAIN, lambda found: _cell(found.gain, "+.4f")),
    ("effective lists", lambda found: f"{found.effective_sample_size:,.0f}"),
    ("mean weight", lambda found: _cell(found.mean_weight, ".3f")),
    ("largest weight", lambda found: f"{found.largest_weight:,.1f}"),
    ("slots clipped (at)", lambda found: f"{found.clipped_slots:,} ({found.clip:,.1f})"),
    ("no support", lambda found: f"{found.zero_support:.1%}"),
)
