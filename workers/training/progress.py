"""Progress of a training run on stderr: bars while it reads, encodes and trains, a line for each epoch."""

from __future__ import annotations

from collections.abc import Mapping

from freshet.workers.terminal.stage_progress import StageProgress

_NOT_SHOWN = frozenset({"epoch", "seconds", "examples_per_s"})


class TrainingProgress(StageProgress):
    """Progress of stages, and :class:`~freshet.models.training.observer.Observer` of a training run."""

    def batch(self, epoch: int, done: int, examples: int, loss: float) -> None:
        """Advance the bar."""
        if self._task is not None:
            self._bars.update(
                self._task, completed=done, total=examples, said=f"epoch {epoch}, loss {loss:.4f}"
            )

    def epoch(self, figures: Mapping[str, float]) -> None:
        """Print the figures of an epoch in one line."""
        shown = "  ".join(f"{name} {value:.4f}" for name, value in figures.items() if name not in _NOT_SHOWN)
        speed = figures.get("examples_per_s")
        rate = f"  {speed:,.0f} examples/s" if speed else ""
        self.note(f"epoch {figures.get('epoch', 0):.0f}:  {shown}{rate}")
