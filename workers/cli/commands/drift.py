"""``freshet drift``: what has changed between two bundles, or between two periods of a folder."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from freshet.streams.settings import Settings
from freshet.workers.terminal.connection_options import settings_options
from freshet.workers.terminal.number_options import FiniteRange
from freshet.workers.terminal.printable import say
from freshet.workers.terminal.terminal import Terminal

if TYPE_CHECKING:
    from rich.progress import Progress

    from freshet.workers.evaluation.drift.report import OnBadLine

_FOLDER = click.Path(exists=True, file_okay=False, path_type=Path)


@click.command(
    name="drift",
    help=(
        "Compare two bundles on the articles of DIR, or two periods of DIR, a MIND folder.\n\n\b\n"
        "freshet drift DIR --bundle A --against B     neighbourhoods, norms, cosines, centroid\n"
        "freshet drift DIR --split 0.8 [--bundle A]   categories shown, clicked; new articles' vectors"
    ),
)
@click.argument("folder", metavar="DIR", type=_FOLDER)
@click.option("--bundle", type=_FOLDER, help="Whose vectors; with --split they may be left out.")
@click.option("--against", type=_FOLDER, help="Another bundle, on the same articles.")
@click.option(
    "--split",
    metavar="TIME|FRACTION",
    help="Compare what lies before and after 2019-11-13T06:00, or before and after 0.8 of the impressions.",
)
@click.option("--k", type=click.IntRange(1), default=10, show_default=True, help="Neighbours of an article.")
@click.option(
    "--max-psi", type=FiniteRange(0), metavar="X", help="Exit with 1 if a PSI of categories is above X."
)
@click.option(
    "--min-overlap",
    type=FiniteRange(0, 1),
    metavar="X",
    help="Exit with 1 if the mean overlap of neighbourhoods is below X.",
)
@click.option("--skip-bad-lines", is_flag=True, help="Go on at a line that cannot be read.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
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

    from rich.progress import Progress

    from freshet.workers.terminal.stage_progress import StageProgress

    console = Terminal(stderr=True)
    left_out = StageProgress(console)
    on_bad_line = left_out.skipped if skip_bad_lines else None
    with Progress(console=console, transient=True) as bars:
        if against is not None and bundle is not None:
            failed = _bundles(
                folder, bundle, against, k, min_overlap, settings, bars, on_bad_line, as_json=as_json
            )
        else:
            assert split is not None
            failed = _periods(folder, split, bundle, max_psi, settings, bars, on_bad_line, as_json=as_json)
    left_out.sum_up()
    if failed:
        raise click.ClickException(failed)


def _bundles(  # noqa: PLR0917
    folder: Path,
    bundle: Path,
    against: Path,
    k: int,
    min_overlap: float | None,
    settings: Settings,
    bars: Progress,
    on_bad_line: OnBadLine | None,
    *,
    as_json: bool,
) -> str:
    """Print the comparison; what is wrong with it, or nothing."""
    import orjson

    from freshet.workers.evaluation.drift.report import bundle_drift, bundle_drift_json
    from freshet.workers.evaluation.drift.tables import bundle_table

    before, after, drift = bundle_drift(
        folder, bundle, against, settings, _Stages(bars), k=k, on_bad_line=on_bad_line
    )
    bars.stop()
    if as_json:
        say(orjson.dumps(bundle_drift_json(before, after, drift)))
    else:
        Terminal().print(bundle_table(before.id, after.id, drift))
    if min_overlap is not None and drift.overlap.mean < min_overlap:
        return f"overlap@{k} is {drift.overlap.mean:.3f}, below --min-overlap {min_overlap:g}"
    return ""


def _periods(  # noqa: PLR0917
    folder: Path,
    split: str,
    bundle: Path | None,
    max_psi: float | None,
    settings: Settings,
    bars: Progress,
    on_bad_line: OnBadLine | None,
    *,
    as_json: bool,
) -> str:
    """Print the comparison; what is wrong with it, or nothing."""
    import orjson

    from freshet.workers.evaluation.drift.report import Split, folder_drift, folder_drift_json
    from freshet.workers.evaluation.drift.tables import period_tables

    try:
        at = Split.parse(split)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--split") from None
    drift = folder_drift(folder, at, bundle, settings, _Stages(bars), on_bad_line=on_bad_line)
    bars.stop()
    if as_json:
        say(orjson.dumps(folder_drift_json(folder, drift)))
    else:
        Terminal().print(period_tables(folder.name, drift))
    for name, slots in (("shown", drift.shown), ("clicked", drift.clicked)):
        if max_psi is not None and slots.shift is not None and slots.shift.psi > max_psi:
            return f"the PSI of categories {name} is {slots.shift.psi:.3f}, above --max-psi {max_psi:g}"
    return ""


class _Stages:
    """One bar for each stage."""

    def __init__(self, bars: Progress) -> None:
        self._bars = bars
        self._tasks: dict[str, int] = {}

    def __call__(self, stage: str, done: int, total: int) -> None:
        from rich.progress import TaskID

        if stage not in self._tasks:
            self._tasks[stage] = self._bars.add_task(stage, total=None)
        self._bars.update(TaskID(self._tasks[stage]), completed=done, total=total)
