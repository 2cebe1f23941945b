"""``freshet soak``: run a whole system under steady traffic for long, and check that it stays healthy."""

from __future__ import annotations

import sys

import click

from freshet.workers.terminal.number_options import FiniteRange
from freshet.workers.terminal.results import show_result


@click.command(name="soak")
@click.option(
    "--minutes",
    type=FiniteRange(0.5, 24 * 60),
    default=25.0,
    show_default=True,
    help="Duration of the traffic.",
)
@click.option(
    "--impressions",
    type=FiniteRange(0.1, 1_000),
    default=20.0,
    show_default=True,
    help="Impressions per second, with their clicks.",
)
@click.option(
    "--requests", type=FiniteRange(0.1, 1_000), default=5.0, show_default=True, help="Requests per second."
)
@click.option(
    "--short-intervals",
    is_flag=True,
    help="Shorten intervals, so that each ends within the hour: polls, sessions, metadata, idle connections, "
    "segments, retention.",
)
@click.option("--no-embed", is_flag=True, help="Run no embedding worker; articles have no vectors.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object, with every sample.")
def command(
    *,
    minutes: float,
    impressions: float,
    requests: float,
    short_intervals: bool,
    no_embed: bool,
    as_json: bool,
) -> None:
    """Run a separate `freshet up` under steady traffic, and judge whether it could run for ever.

    The exit status is 1 if a request was not answered, events were left unread at the end, a member left its
    consumer group, or memory, threads, open files or log lines grew.
    """
    from freshet.workers.bench.report import figures_table
    from freshet.workers.soak.run import SoakOptions, soak
    from freshet.workers.terminal.stage_progress import StageProgress

    options = SoakOptions(60.0 * minutes, impressions, requests, short_intervals, not no_embed)
    with StageProgress() as progress, progress.stage("soak") as update:
        report = soak(options, lambda share: update(share, 1.0))
    title = f"freshet soak: {minutes:g} min, {impressions:g} impressions/s, {requests:g} requests/s"
    show_result(report.as_json(), lambda: figures_table(title, report.figures), as_json=as_json, markup=True)
    sys.exit(0 if report.reached else 1)
