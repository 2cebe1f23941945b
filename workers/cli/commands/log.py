"""``freshet log``: write recommendations, impressions and clicks into a folder."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from freshet.streams.settings import Settings
from freshet.workers.cli.options import ANY_FOLDER, json_option
from freshet.workers.terminal.connection_options import connection_options
from freshet.workers.terminal.event_time import EventTime
from freshet.workers.terminal.results import show_result, two_column_table

if TYPE_CHECKING:
    from rich.table import Table

    from freshet.workers.evaluation.off_policy.export import LogWritten


@click.command(name="log")
@click.argument("folder", metavar="DIR", type=ANY_FOLDER)
@click.option("--from", "since", type=EventTime(), help="Time of the first impression. [default: all kept]")
@click.option("--until", type=EventTime(), help="Time before which impressions lie. [default: now]")
@click.option("--force", is_flag=True, help="Replace a log that exists.")
@json_option
@connection_options
def command(
    settings: Settings,
    *,
    folder: Path,
    since: datetime | None,
    until: datetime | None,
    force: bool,
    as_json: bool,
) -> None:
    """Write the running system's recommendations, impressions and clicks into DIR.

    DIR becomes a MIND folder (news.tsv, behaviors.tsv, published.tsv) to train and to evaluate on, with the
    recommendations and their propensities in recommendations.jsonl, for `freshet evaluate --off-policy`.
    Times are event times, in UTC unless an offset is given.
    """
    if since is not None and until is not None and until <= since:
        raise click.UsageError("--until must be later than --from")

    from freshet.workers.evaluation.off_policy.export import LogOptions, write_log
    from freshet.workers.terminal.stage_progress import StageProgress

    with StageProgress() as progress:
        written = write_log(LogOptions(folder, since, until, force), settings, progress)
        kept = written.answers_kept_since
        if kept is not None:
            progress.note(
                f"recommendations are kept since {kept:%Y-%m-%d %H:%M}Z only: earlier impressions are "
                "without theirs"
            )
    result = {"version": 1, "folder": str(folder), **asdict(written)}
    show_result(result, lambda: _table(folder, written), as_json=as_json)


def _table(folder: Path, written: LogWritten) -> Table:
    figures = {
        "impressions": written.impressions,
        "impressions with their recommendation": written.recommendations,
        "impressions with all propensities": written.propensities,
        "clicks": written.clicks,
        "clicks after the impression was published": written.late_clicks,
        "articles": written.articles,
        "left out: clicks that name no impression of the log": written.clicks_left,
        "left out: unreadable records": written.unreadable,
        "left out: impressions of erased users": written.erased,
    }
    return two_column_table(f"The log in {folder}", ((name, f"{n:,}") for name, n in figures.items()))
