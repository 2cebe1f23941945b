"""Progress of long work on stderr: a bar for each stage, and lines that stay."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Self

from rich.markup import escape
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from freshet.models.datasets.mind import BadLine
from freshet.workers.terminal.terminal import Terminal

_BAD_LINES_SHOWN = 5


class StageProgress:
    """A context manager that shows the bars and counts the lines left out."""

    def __init__(self) -> None:
        self._console = Terminal(stderr=True)
        self._bars = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.percentage:>3.0f} %"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[said]}"),
            console=self._console,
            transient=True,
        )
        self._task: TaskID | None = None
        self._tasks: dict[str, TaskID] = {}
        self.bad_lines = 0
        """Number of lines left out."""

    def __enter__(self) -> Self:
        self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bars.stop()
        if self.bad_lines > _BAD_LINES_SHOWN:
            self.note(f"{self.bad_lines:,} lines were left out in all")

    def note(self, text: str) -> None:
        """Print a line that stays."""
        self._console.print(text, highlight=False)

    def skipped(self, line: BadLine) -> None:
        """Count a line left out; the first ones are reported."""
        self.bad_lines += 1
        if self.bad_lines <= _BAD_LINES_SHOWN:
            self.note(f"left out: {line.file}:{line.line}: {line.reason}")

    @contextmanager
    def stage(self, text: str) -> Iterator[Callable[[float, float], None]]:
        """Show a bar for the length of a stage; call what is yielded with the amounts done and in all."""
        task = self._task = self._add_task(text)
        try:
            yield lambda done, total: self._bars.update(task, completed=done, total=total)
        finally:
            self._bars.remove_task(task)
            self._task = None

    def show_stage(self, stage: str, done: float, total: float) -> None:
        """Show the progress of a stage whose end is not announced; its bar stays until the last one ends."""
        if stage not in self._tasks:
            self._tasks[stage] = self._add_task(stage)
        self._bars.update(self._tasks[stage], completed=done, total=total)

    def _add_task(self, text: str) -> TaskID:
        return self._bars.add_task(escape(text), total=None, said="")
