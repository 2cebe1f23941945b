"""Renders a simulation for a terminal."""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.text import Text

from freshet.models.evaluation.simulation.measures import LONGEST_SEARCH_H
from freshet.models.evaluation.simulation.run import NO_EXPLORATION
from freshet.workers.evaluation.simulation.run import (
    RELATIVE,
    Interval,
    OffPolicyCheck,
    PolicySummary,
    SimulationReport,
)
from freshet.workers.terminal.figure_table import figure_table

_ROWS = (
    ("clicks_per_list", "clicks per list", ".4f"),
    ("value", "expected clicks per list", ".4f"),
    ("regret", "regret against the oracle's list", ".2%"),
    ("greedy_value", "  of its own list without exploration", ".4f"),
    ("explored_slots", "explored slots per list", ".2f"),
    ("lost_in_other_slots", "  clicks lost in the other slots", ".4f"),
    ("won_in_explored_slots", "  clicks won in the explored ones", ".4f"),
    ("hits_shown_h", "hours until a hit was shown 20 times", ".3f"),
    ("hits_clicked_h", "hours until it was clicked 5 times", ".3f"),
    ("hits_trending_h", "hours until it was in the trending 10", ".3f"),
    ("hits_missed", "hits not in the trending 10 within 6 h", ".1%"),
    ("hit_exposure", "hits' share of exposures", ".2%"),
    ("young_hit_exposure", "  of exposures of articles under 3 h", ".2%"),
    ("bursts", "bursts seen to begin", ".0f"),
    ("bursts_on_news", "  of hits and breaking stories", ".1%"),
)
_EXPLORED_ONLY = ("explored_slots", "lost_in_other_slots", "won_in_explored_slots")


def render(report: SimulationReport) -> RenderableType:
    """Render the report."""
    world = report.options.config.world
    seeds = report.options.seeds
    caption = "one world: no intervals; --seeds 5 gives some"
    if report.summaries[0].figures["value"].high is not None:
        caption = "means over worlds, 95 % intervals; below: differences to none, within each world"
    elif seeds > 1:
        caption = "means over worlds; intervals need scipy: pip install 'freshet[train]'"
    table = figure_table(
        *("what", *(summary.name for summary in report.summaries)),
        title=f"{seeds} synthetic world{'s' if seeds > 1 else ''}, {world.impressions:,} lists of "
        f"{report.options.config.k} for each policy, {world.articles:,} articles in {world.hours:g} hours",
        caption=caption,
    )
    for name, text, form in _ROWS:
        table.add_row(text, *(_cell(summary, name, form) for summary in report.summaries))
    parts: list[RenderableType] = [table]
    if report.off_policy is not None:
        parts.append(Text(_check(report.off_policy)))
    parts.append(
        Text(
            f"A hit found later than {LONGEST_SEARCH_H:g} hours after publication, or never, counts as found "
            f"then. {report.lists_per_s:,.0f} lists/s."
        )
    )
    return Group(*parts)


def _cell(summary: PolicySummary, name: str, form: str) -> str:
    figure = _interval(summary.figures[name], form)
    if summary.name == NO_EXPLORATION:
        return figure
    value = format(summary.figures[name].value, form)
    if name in _EXPLORED_ONLY:
        return value
    return f"{value}\n{_interval(summary.against_none[name], '+.2%' if name in RELATIVE else '+' + form)}"


def _interval(found: Interval, form: str) -> str:
    """Format the mean, and half the width of its symmetric interval."""
    text = format(found.value, form)
    return text if found.high is None else f"{text} ±{format(found.high - found.value, form.lstrip('+'))}"


def _check(check: OffPolicyCheck) -> str:
    found = check.estimate
    return (
        f"From the log of plackett-luce, the list of best scores would get "
        f"{found.ips.mean:.4f} [{found.ips.low:.4f}, {found.ips.high:.4f}] clicks (IPS), "
        f"{found.snips.mean:.4f} [{found.snips.low:.4f}, {found.snips.high:.4f}] (SNIPS); "
        f"the truth is {check.truth:.4f}. Effective sample size {found.effective_sample_size:,.0f} of "
        f"{found.lists:,} lists."
    )
