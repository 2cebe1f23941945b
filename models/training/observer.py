"""Observer of a training run, with or without torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol


class Observer(Protocol):
    """Observer of a training run; its methods must return quickly, and not raise."""

    def batch(self, epoch: int, done: int, examples: int, loss: float) -> None:
        """Record a batch: ``done`` of about ``examples`` examples of ``epoch``, and the batch's ``loss``."""
        ...

    def epoch(self, figures: Mapping[str, float]) -> None:
        """Record the figures of a finished epoch, its entry of the curve."""
        ...


class Unobserved:
    """Observer that ignores everything."""

    def batch(self, epoch: int, done: int, examples: int, loss: float) -> None:
        """Ignore a batch."""

    def epoch(self, figures: Mapping[str, float]) -> None:
        """Ignore an epoch."""
