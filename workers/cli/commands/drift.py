"""``freshet drift``: measure the change between two bundles, or between two periods of a folder."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from freshet.streams.settings import Settings
from freshet.workers.cli.options import EXISTING_FOLDER, data_argument, json_option, skip_bad_lines_option
from freshet.workers.terminal.connection_options import settings_options
from freshet.workers.terminal.number_options import FiniteRange
from freshet.workers.terminal.results import show_result

if TYPE_CHECKING:
    from rich.console import RenderableType


@click.command(
    name="drift",
    help=(
        "Compare two bundles on the articles of DIR, or two periods of DIR, a MIND folder.\n\n\b\n"
        "freshet drift DIR --bundle A --against B     neighbourhoods, norms, cosines, centroid\n"
        "freshet drift DIR --split 0.8 [--bundle A]   categories shown, clicked; new articles' vectors"
    ),
)
@data_argument
@click.option("--bundle", type=EXISTING_FOLDER, help="Bundle to take vectors from; optional with --split.")
@click.option("--against", type=EXISTING_FOLDER, help="Another bundle, for the same articles.")
@click.option(
    "--split",
    metavar="TIME|FRACTION",
    help="Compare the periods before and after a time (2019-11-13T06:00) or a share of impressions (0.8).",
)
@click.option("--k", type=click.IntRange(1), default=10, show_default=True, help="Neighbours per article.")
@click.option(
    "--max-psi", type=FiniteRange(0), metavar="X", help="Exit with 1 if a PSI of categories is above X."
)
@click.option(
    "--min-overlap",
    type=FiniteRange(0, 1),
    metavar="X",
    help="Exit with 1 if the mean overlap of neighbourhoods is below X.",
)
@skip_bad_lines_option
@json_option
@settings_options("encoder")
def command(
    settings: Settings,
    *,
    folder: Path,
    bundle: Path | None,
    against: Path | None,
    split: str | None,
    k: int,
    max_psi: float | None,
    min_overlap: float | None,
    skip_bad_lines: bool,
    as_json: bool,
) -> None:
    """Compare two bundles, or two periods of DIR."""
    if (against is None) == (split is None):
        raise click.UsageError("either --against BUNDLE or --split TIME|FRACTION says what to compare")
    if against is not None and bundle is None:
        raise click.UsageError("--against needs --bundle: two bundles are compared")
    if against is None and min_overlap is not None:
        raise click.UsageError("--min-overlap goes with --against: periods have different articles")
    if against is not None and max_psi is not None:
        raise click.UsageError("--max-psi goes with --split: two bundles have the same categories")

    from freshet.workers.evaluation.drift.report import (
        Split,
        bundle_drift,
        bundle_drift_json,
        folder_drift,
        folder_drift_json,
    )
    from freshet.workers.evaluation.drift.tables import bundle_table, period_tables
    from freshet.workers.terminal.stage_progress import StageProgress

    problem = ""
    with StageProgress() as bars:
        on_bad_line = bars.skipped if skip_bad_lines else None
        if against is not None and bundle is not None:
            before, after, change = bundle_drift(
                folder, bundle, against, settings, bars.show_stage, k=k, on_bad_line=on_bad_line
            )
            result = bundle_drift_json(before, after, change)
            table: RenderableType = bundle_table(before.id, after.id, change)
            if min_overlap is not None and change.overlap.mean < min_overlap:
                problem = f"overlap@{k} is {change.overlap.mean:.3f}, below --min-overlap {min_overlap:g}"
        else:
            try:
                at = Split.parse(str(split))
            except ValueError as error:
                raise click.BadParameter(str(error), param_hint="--split") from None
            drift = folder_drift(folder, at, bundle, settings, bars.show_stage, on_bad_line=on_bad_line)
            result, table = folder_drift_json(folder, drift), period_tables(folder.name, drift)
            for name, slots in (("shown", drift.shown), ("clicked", drift.clicked)):
                if max_psi is not None and slots.shift is not None and slots.shift.psi > max_psi:
                    found = f"the PSI of categories {name} is {slots.shift.psi:.3f}"
                    problem = problem or f"{found}, above --max-psi {max_psi:g}"
    show_result(result, lambda: table, as_json=as_json)
    if problem:
        raise click.ClickException(problem)
