"""A replay's progress bar on stderr: one line for each stage, with the rate and the replay's clock."""

from __future__ import annotations

from types import TracebackType
from typing import Self

from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
)
from rich.text import Text

from freshet.workers.replay.report import ReplayProgress, Stage
from freshet.workers.replay.text import clock
from freshet.workers.terminal.terminal import Terminal

_TITLES: dict[Stage, str] = {
    "reading": "reading the folder",
    "articles": "articles published",
    "vectors": "articles with a vector",
    "impressions": "impressions",
}


class _RateColumn(ProgressColumn):
    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text("" if speed is None else f"{speed:,.0f}/s", style="progress.data.speed")


class ReplayBar:
    """Shows :class:`ReplayProgress` as it comes; a context manager."""

    def __init__(self, console: Terminal | None = None) -> None:
        self._tasks: dict[Stage, TaskID] = {}
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            _RateColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.fields[clock]}"),
            console=console or Terminal(stderr=True),
        )

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def show(self, progress: ReplayProgress) -> None:
        """Show how far the replay is."""
        if progress.stage not in self._tasks:
            for earlier in self._tasks.values():
                self._progress.stop_task(earlier)
            self._tasks[progress.stage] = self._progress.add_task(
                _TITLES[progress.stage], total=None, clock=""
            )
        self._progress.update(
            self._tasks[progress.stage],
            completed=progress.done,
            total=progress.total or None,
            clock=clock(progress.time_s),
        )
