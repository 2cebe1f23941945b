"""What is told of a training run while it goes on, with or without torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol


class Observer(Protocol):
    """Is told how training goes; must return quickly, and not raise."""

    def batch(self, epoch: int, done: int, examples: int, loss: float) -> None:
        """``done`` of about ``examples`` examples of ``epoch`` are done; ``loss`` is the last batch's."""
        ...

    def epoch(self, figures: Mapping[str, float]) -> None:
        """An epoch is done: its entry of the curve."""
        ...


class Unobserved:
    """The observer who does not listen."""

    def batch(self, epoch: int, done: int, examples: int, loss: float) -> None:
        """Ignore a batch."""

    def epoch(self, figures: Mapping[str, float]) -> None:
        """Ignore an epoch."""
