"""Renders the report of an experiment for a terminal."""

from __future__ import annotations

import math

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from freshet.models.events.experiment import Experiment
from freshet.models.experiments.assignment import MISMATCH_P_VALUE, SampleRatio
from freshet.models.experiments.outcomes import METRICS, ExperimentOutcome, Measured
from freshet.models.experiments.sequential_test import MIN_USERS, Comparison
from freshet.workers.experiments.plan import served_by
from freshet.workers.experiments.report import Report, verdict


def report_tables(found: Report) -> RenderableType:
    """Render the variants, the check of the sample ratio, the comparisons and the verdicts."""
    outcome = found.outcome
    experiment = outcome.experiment
    state = "running" if found.running else "stopped"
    parts: list[RenderableType] = [
        Text(
            f"{experiment.name}, {state}, since {experiment.shares_since:%Y-%m-%d %H:%M:%S} UTC, "
            f"decided by {experiment.metric}",
            style="bold",
        ),
        _variants(outcome),
        *_warnings(found),
    ]
    if outcome.comparisons:
        parts.append(_comparisons(outcome))
        parts += [Text(f"{verdict(outcome, name)}.", style="bold") for name in outcome.comparisons]
    if min(variant.users_shown for variant in outcome.variants) < MIN_USERS:
        parts.append(f"Comparisons begin with {MIN_USERS} users of each variant who saw an answer.")
    return Group(*parts)


def experiments_table(running: list[tuple[Experiment, bool]]) -> Table:
    """Render a table of experiments and whether each is running."""
    table = Table("experiment", "state", "since", "variants", "decided by")
    for experiment, runs in running:
        variants = ", ".join(
            f"{variant.name}: {served_by(variant)}, {variant.share:.1%}" for variant in experiment.variants
        )
        table.add_row(
            experiment.name,
            "running" if runs else "stopped",
            f"{experiment.shares_since:%Y-%m-%d %H:%M}",
            variants,
            experiment.metric,
        )
    return table


def _variants(outcome: ExperimentOutcome) -> Table:
    variants = outcome.variants
    table = Table(
        "variant",
        *(variant.name for variant in variants),
        caption="intervals: 95 %, users as the unit, for one look",
    )
    table.add_row("ranker", *(variant.ranker for variant in variants))
    table.add_row("share", *(f"{variant.share:.1%}" for variant in variants))
    table.add_row("users answered", *(f"{variant.users:,}" for variant in variants))
    table.add_row("users who saw an answer", *(f"{variant.users_shown:,}" for variant in variants))
    table.add_row("impressions", *(f"{variant.impressions:,}" for variant in variants))
    table.add_row("clicks", *(f"{variant.clicks:,}" for variant in variants))
    for metric in METRICS:
        table.add_row(metric, *(_measured(variant.metrics[metric]) for variant in variants))
    return table


def _warnings(found: Report) -> list[Text]:
    outcome = found.outcome
    lines = [
        Text(f"Sample ratio of users {who}: {_ratio(ratio)}", style="bold red" if ratio.mismatch else "")
        for who, ratio in (("answered", outcome.answered), ("who saw an answer", outcome.seen))
    ]
    if outcome.users_of_two_variants:
        lines.append(
            Text(f"{outcome.users_of_two_variants:,} users were served by two variants: left out.", "yellow")
        )
    if outcome.answers_sent_twice:
        lines.append(Text(f"{outcome.answers_sent_twice:,} answers were sent twice: counted once."))
    if found.unreadable:
        lines.append(Text(f"{found.unreadable:,} records cannot be read: skipped.", "yellow"))
    if found.answers_kept_since is not None:
        lines.append(
            Text(
                f"Kafka has deleted answers from before {found.answers_kept_since:%Y-%m-%d %H:%M} UTC, which "
                "are not in this report: raise retention.ms of the topic recommendations.",
                "yellow",
            )
        )
    return lines


def _ratio(ratio: SampleRatio) -> str:
    if ratio.mismatch:
        return (
            f"MISMATCH, p = {ratio.p_value:.2g} (below {MISMATCH_P_VALUE:g}): users are missing from a "
            "variant. Find out why; until then no comparison below can be believed."
        )
    return f"fits the shares (chi-square {ratio.chi_square:.2f}, p = {ratio.p_value:.2g})"


def _comparisons(outcome: ExperimentOutcome) -> Table:
    control = outcome.experiment.variants[0].name
    first = next(iter(next(iter(outcome.comparisons.values())).values()))
    table = Table(
        "",
        "metric",
        "difference",
        f"interval ({1 - first.alpha:.1%})",
        "p",
        caption="always valid: at every look",
    )
    for name, of in outcome.comparisons.items():
        for metric, each in of.items():
            deciding = metric == outcome.experiment.metric
            table.add_row(
                f"{name} less {control}", metric, *_compared(each), style="bold" if deciding else "dim"
            )
    return table


def _compared(each: Comparison) -> tuple[str, str, str]:
    if math.isnan(each.difference):
        return "", "", ""
    interval = "not yet" if math.isinf(each.low) else f"{each.low:+.4f} to {each.high:+.4f}"
    return f"{each.difference:+.4f}", interval, f"{each.p_value:.3g}"


def _measured(measured: Measured) -> str:
    if math.isnan(measured.value):
        return ""
    if math.isnan(measured.low):
        return f"{measured.value:.4f}"
    return f"{measured.value:.4f} ({measured.low:.4f} to {measured.high:.4f})"
