"""What long work on a folder shows on stderr: a bar for each stage, and lines that stay."""

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
    """A context manager."""

    def __init__(self, console: Terminal | None = None) -> None:
        self._console = console or Terminal(stderr=True)
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
        self.bad_lines = 0
        """Lines left out."""

    def __enter__(self) -> Self:
        self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bars.stop()
        self.sum_up()

    def note(self, text: str) -> None:
        """A line that stays."""
        self._console.print(text, highlight=False)

    def skipped(self, line: BadLine) -> None:
        """Tell of a line left out; only the first ones are shown."""
        self.bad_lines += 1
        if self.bad_lines <= _BAD_LINES_SHOWN:
            self.note(f"left out: {line.file}:{line.line}: {line.reason}")

    def sum_up(self) -> None:
        """Tell how many lines were left out, if more than were shown."""
        if self.bad_lines > _BAD_LINES_SHOWN:
            self.note(f"{self.bad_lines:,} lines were left out in all")

    @contextmanager
    def stage(self, text: str) -> Iterator[Callable[[int, int], None]]:
        """A bar; what it gives is told how much is done, and of how much."""
        task = self._task = self._bars.add_task(escape(text), total=None, said="")

        def told(done: int, total: int) -> None:
            self._bars.update(task, completed=done, total=total)

        try:
            yield told
        finally:
            self._bars.remove_task(task)
            self._task = None
