"""``freshet synth``: make a MIND-shaped stream whose ground truth is known."""

from __future__ import annotations

import time
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from freshet.workers.terminal.event_time import EventTime
from freshet.workers.terminal.number_options import SEED, FiniteRange
from freshet.workers.terminal.printable import say
from freshet.workers.terminal.terminal import Terminal

if TYPE_CHECKING:
    from rich.table import Table

    from freshet.models.datasets.synthetic.measures import SynthReport

_AUC_NAMES = {
    "oracle": "oracle: all but the position",
    "interest": "interest alone",
    "quality_and_timeliness": "quality and timeliness alone",
    "quality": "quality alone",
    "timeliness": "timeliness alone",
    "position": "position alone",
    "ctr_so_far": "click-through rate so far",
    "newest_first": "newest first",
}


@click.command(name="synth")
@click.argument("folder", metavar="DIR", type=click.Path(file_okay=False, path_type=Path))
@click.option("--users", type=click.IntRange(20), default=2_000, show_default=True, help="Readers in all.")
@click.option("--articles", type=click.IntRange(100), default=800, show_default=True, help="Articles in all.")
@click.option("--impressions", type=click.IntRange(1), default=20_000, show_default=True, help="Exactly.")
@click.option("--seed", type=SEED, default=7, show_default=True, help="The same seed, the same bytes.")
@click.option(
    "--hours",
    type=FiniteRange(1, 24 * 366),
    help="Length of the stream. [default: five impressions a day for each reader, 1 to 7 days]",
)
@click.option(
    "--start", type=EventTime(), default="2026-01-05T06:00Z", show_default=True, help="First moment."
)
@click.option(
    "--until-now",
    is_flag=True,
    help="Move --start by whole days, so that the stream ended within the last 24 hours.",
)
@click.option("--force", is_flag=True, help="Write into a folder that is not empty.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(
    *,
    folder: Path,
    users: int,
    articles: int,
    impressions: int,
    seed: int,
    hours: float | None,
    start: datetime,
    until_now: bool,
    force: bool,
    as_json: bool,
) -> None:
    """Make a MIND folder with known ground truth in DIR.

    Writes news.tsv, behaviors.tsv, published.tsv, truth.npy (why each candidate was clicked or not) and
    truth.json (the figures printed here).
    """
    import orjson
    from rich.progress import Progress

    from freshet.models.datasets.synthetic.folder import write_synth
    from freshet.models.datasets.synthetic.world import SynthConfig
    from freshet.workers.demo.newspaper import until_now as ended_by

    try:
        config = SynthConfig(
            users=users,
            articles=articles,
            impressions=impressions,
            seed=seed,
            hours=hours or 0.0,
            start_s=int(start.timestamp()),
        )
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    if until_now:
        config = ended_by(config, time.time())
    try:
        with Progress(console=Terminal(stderr=True), transient=True) as bar:
            task = bar.add_task(f"{impressions:,} impressions", total=1.0)
            report = write_synth(
                folder, config, overwrite=force, progress=lambda share: bar.update(task, completed=share)
            )
    except FileExistsError as error:
        raise click.ClickException(f"{error}. Name a new folder, or add --force to write into it.") from error
    except OSError as error:
        raise click.ClickException(f"{folder}: cannot be written: {error.strerror}") from error
    if as_json:
        say(orjson.dumps({"folder": str(folder), "seed": seed, **asdict(report)}).decode())
    else:
        Terminal().print(_table(folder, report))


def _table(folder: Path, report: SynthReport) -> Table:
    from rich.table import Table

    table = Table(title=f"A synthetic newspaper in {folder}", show_header=False)
    table.add_column("what")
    table.add_column("figure", justify="right")
    for what, figure in (
        ("hours", f"{report.hours:g}"),
        ("impressions", f"{report.impressions:,}"),
        ("readers seen", f"{report.users:,}"),
        ("articles (of them shown)", f"{report.articles:,} ({report.shown_articles:,})"),
        ("candidates", f"{report.candidates:,}"),
        ("clicks", f"{report.clicks:,}"),
        ("clicks per candidate", f"{report.click_rate:.1%}"),
        ("clicks per impression", f"{report.clicks_per_impression:.2f}"),
        ("impressions of readers without history", f"{report.newcomer_impressions:.1%}"),
        ("candidates younger than an hour", f"{report.fresh_candidates:.1%}"),
        ("clicks within 48 hours of publication", f"{report.clicks_within_48h:.1%}"),
        ("clicks on the most clicked tenth of articles", f"{report.clicks_on_popular:.1%}"),
    ):
        table.add_row(what, figure)
    table.add_section()
    for name, auc in sorted(report.auc.items(), key=lambda item: -item[1]):
        table.add_row(f"AUC, {_AUC_NAMES[name]}", f"{auc:.4f}")
    return table
