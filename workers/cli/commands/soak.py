"""``freshet soak``: run a whole system under steady traffic for long, and see that it lives."""

from __future__ import annotations

import sys

import click

from freshet.workers.terminal.number_options import FiniteRange
from freshet.workers.terminal.printable import say
from freshet.workers.terminal.terminal import Terminal


@click.command(name="soak")
@click.option(
    "--minutes", type=FiniteRange(0.5, 24 * 60), default=25.0, show_default=True, help="Of traffic."
)
@click.option(
    "--impressions",
    type=FiniteRange(0.1, 1_000),
    default=20.0,
    show_default=True,
    help="Each second, with their clicks.",
)
@click.option("--requests", type=FiniteRange(0.1, 1_000), default=5.0, show_default=True, help="Each second.")
@click.option(
    "--short-intervals",
    is_flag=True,
    help="Shorten what runs into its limit within the hour: polls, sessions, metadata, idle connections, "
    "segments, retention.",
)
@click.option("--no-embed", is_flag=True, help="Leave the articles without vectors, and torch alone.")
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
    """Run `freshet up` of its own under steady traffic, and judge whether it could go on for ever.

    Exits with 1 where a request was not answered, events wait at the end, a member left its consumer group,
    or memory, threads, open files or log lines grow.
    """
    import orjson
    from rich.progress import Progress

    from freshet.workers.bench.report import figures_table
    from freshet.workers.soak.run import SoakOptions, soak

    options = SoakOptions(60.0 * minutes, impressions, requests, short_intervals, not no_embed)
    with Progress(console=Terminal(stderr=True), transient=True) as bars:
        bar = bars.add_task("soak", total=1.0)
        report = soak(options, lambda share: bars.update(bar, completed=share))
    if as_json:
        say(orjson.dumps(report.as_json()))
    else:
        title = f"freshet soak: {minutes:g} min, {impressions:g} impressions/s, {requests:g} requests/s"
        Terminal(markup=True).print(figures_table(title, report.figures))
    sys.exit(0 if report.reached else 1)
