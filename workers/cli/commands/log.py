"""``freshet log``: write what was recommended, shown and clicked into a folder."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from freshet.streams.settings import Settings
from freshet.workers.terminal.connection_options import connection_options
from freshet.workers.terminal.event_time import EventTime
from freshet.workers.terminal.printable import say
from freshet.workers.terminal.terminal import Terminal

if TYPE_CHECKING:
    from rich.table import Table

    from freshet.workers.evaluation.off_policy.export import LogWritten


@click.command(name="log")
@click.argument("folder", metavar="DIR", type=click.Path(file_okay=False, path_type=Path))
@click.option("--from", "since", type=EventTime(), help="Impressions from then on. [default: all kept]")
@click.option("--until", type=EventTime(), help="Impressions before then. [default: until now]")
@click.option("--force", is_flag=True, help="Replace a log that is there.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
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
    """Write what the running system recommended, showed and got clicked into DIR.

    DIR becomes a MIND folder (news.tsv, behaviors.tsv, published.tsv), to train and to evaluate on, with the
    recommendations and their propensities in recommendations.jsonl, for `freshet evaluate --off-policy`.
    Times are the events' own, UTC unless they say otherwise.
    """
    if since is not None and until is not None and until <= since:
        raise click.UsageError("--until must be later than --from")

    import orjson

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
    if as_json:
        say(orjson.dumps({"version": 1, "folder": str(folder), **asdict(written)}).decode())
    else:
        Terminal().print(_table(folder, written))


def _table(folder: Path, written: LogWritten) -> Table:
    from rich.table import Table

    table = Table(title=f"The log in {folder}", show_header=False)
    table.add_column("what")
    table.add_column("figure", justify="right")
    for what, figure in (
        ("impressions", written.impressions),
        ("of them with their recommendation", written.recommendations),
        ("of them with all propensities", written.propensities),
        ("clicks", written.clicks),
        ("of them later than the impression", written.late_clicks),
        ("articles", written.articles),
        ("clicks that name no impression of the log: left out", written.clicks_left),
        ("unreadable records: left out", written.unreadable),
        ("impressions of erased users: left out", written.erased),
    ):
        table.add_row(what, f"{figure:,}")
    return table
