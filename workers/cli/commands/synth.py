"""``freshet synth``: make a MIND folder whose ground truth is known."""

from __future__ import annotations

import time
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from freshet.workers.cli.options import ANY_FOLDER, json_option, refusing
from freshet.workers.terminal.event_time import EventTime
from freshet.workers.terminal.number_options import SEED, FiniteRange
from freshet.workers.terminal.results import show_result, two_column_table

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
@click.argument("folder", metavar="DIR", type=ANY_FOLDER)
@click.option("--users", type=click.IntRange(20), default=2_000, show_default=True, help="Number of readers.")
@click.option(
    "--articles", type=click.IntRange(100), default=800, show_default=True, help="Number of articles."
)
@click.option(
    "--impressions", type=click.IntRange(1), default=20_000, show_default=True, help="Number of impressions."
)
@click.option("--seed", type=SEED, default=7, show_default=True, help="The same seed gives the same bytes.")
@click.option(
    "--hours",
    type=FiniteRange(1, 24 * 366),
    help="Length of the stream. [default: five impressions a day for each reader, 1 to 7 days]",
)
@click.option(
    "--start", type=EventTime(), default="2026-01-05T06:00Z", show_default=True, help="Begin of the stream."
)
@click.option(
    "--until-now",
    is_flag=True,
    help="Move --start by whole days, so that the stream ends within the last 24 hours.",
)
@click.option("--force", is_flag=True, help="Write into a folder that is not empty.")
@json_option
def command(
    *,
    folder: Path,
    impressions: int,
    seed: int,
    hours: float | None,
    start: datetime,
    until_now: bool,
    force: bool,
    as_json: bool,
    **sizes: int,
) -> None:
    """Make a MIND folder with known ground truth in DIR.

    Writes news.tsv, behaviors.tsv, published.tsv, truth.npy (why each candidate was clicked or not) and
    truth.json (the figures printed here).
    """
    from freshet.models.datasets.synthetic.folder import write_synth
    from freshet.models.datasets.synthetic.world import SynthConfig
    from freshet.workers.demo.newspaper import until_now as ended_by
    from freshet.workers.terminal.stage_progress import StageProgress

    with refusing(ValueError):
        start_s = int(start.timestamp())
        config = SynthConfig(impressions=impressions, seed=seed, hours=hours or 0.0, start_s=start_s, **sizes)
    if until_now:
        config = ended_by(config, time.time())
    try:
        with StageProgress() as bars, bars.stage(f"{impressions:,} impressions") as update:
            report = write_synth(folder, config, overwrite=force, progress=lambda share: update(share, 1.0))
    except FileExistsError as error:
        raise click.ClickException(f"{error}. Name a new folder, or add --force to write into it.") from error
    except OSError as error:
        raise click.ClickException(f"{folder}: cannot be written: {error.strerror}") from error
    result = {"folder": str(folder), "seed": seed, **asdict(report)}
    show_result(result, lambda: _table(folder, report), as_json=as_json)


def _table(folder: Path, report: SynthReport) -> Table:
    figures = (
        ("hours", f"{report.hours:g}"),
        ("impressions", f"{report.impressions:,}"),
        ("readers seen", f"{report.users:,}"),
        ("articles (shown at least once)", f"{report.articles:,} ({report.shown_articles:,})"),
        ("candidates", f"{report.candidates:,}"),
        ("clicks", f"{report.clicks:,}"),
        ("clicks per candidate", f"{report.click_rate:.1%}"),
        ("clicks per impression", f"{report.clicks_per_impression:.2f}"),
        ("impressions of readers without history", f"{report.newcomer_impressions:.1%}"),
        ("candidates younger than an hour", f"{report.fresh_candidates:.1%}"),
        ("clicks within 48 hours of publication", f"{report.clicks_within_48h:.1%}"),
        ("clicks on the most clicked tenth of articles", f"{report.clicks_on_popular:.1%}"),
    )
    by_auc = sorted(report.auc.items(), key=lambda item: -item[1])
    aucs = ((f"AUC, {_AUC_NAMES[name]}", f"{auc:.4f}") for name, auc in by_auc)
    return two_column_table(f"A synthetic newspaper in {folder}", figures, aucs)
