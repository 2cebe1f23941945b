"""What a training run shows on stderr: bars while it reads, encodes and trains, one line for each epoch."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from freshet.models.mind import BadLine

_BAD_LINES_SHOWN = 5
_NOT_SHOWN = frozenset({"epoch", "seconds", "examples_per_s"})


class TrainingProgress:
    """The observer of a training run; a context manager."""

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or Console(stderr=True)
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
        if self.bad_lines > _BAD_LINES_SHOWN:
            self._console.print(f"{self.bad_lines:,} lines were left out in all")

    def note(self, text: str) -> None:
        """A line that stays."""
        self._console.print(escape(text), highlight=False)

    def skipped(self, line: BadLine) -> None:
        """Tell of a line left out; only the first ones are shown."""
        self.bad_lines += 1
        if self.bad_lines <= _BAD_LINES_SHOWN:
            self.note(f"left out: {line.file}:{line.line}: {line.reason}")

    @contextmanager
    def reading(self, folder: Path) -> Iterator[Callable[[int, int], None]]:
        """A bar of bytes while ``folder`` is read."""
        with self._bar(f"reading {folder}") as told:
            yield told

    @contextmanager
    def encoding(self) -> Iterator[Callable[[int, int], None]]:
        """A bar of texts while they become vectors."""
        with self._bar("encoding texts") as told:
            yield told

    @contextmanager
    def training(self, model: str) -> Iterator[None]:
        """A bar for each epoch."""
        with self._bar(f"training {model}"):
            yield

    def batch(self, epoch: int, done: int, examples: int, loss: float) -> None:
        """See :class:`freshet.models.neural.training.Observer`."""
        if self._task is not None:
            self._bars.update(
                self._task, completed=done, total=examples, said=f"epoch {epoch}, loss {loss:.4f}"
            )

    def epoch(self, figures: Mapping[str, float]) -> None:
        """See :class:`freshet.models.neural.training.Observer`."""
        shown = "  ".join(f"{name} {value:.4f}" for name, value in figures.items() if name not in _NOT_SHOWN)
        speed = figures.get("examples_per_s")
        rate = f"  {speed:,.0f} examples/s" if speed else ""
        self.note(f"epoch {figures.get('epoch', 0):.0f}:  {shown}{rate}")

    @contextmanager
    def _bar(self, text: str) -> Iterator[Callable[[int, int], None]]:
        task = self._task = self._bars.add_task(escape(text), total=None, said="")

        def told(done: int, total: int) -> None:
            self._bars.update(task, completed=done, total=total)

        try:
            yield told
        finally:
            self._bars.remove_task(task)
            self._task = None
