"""The linear schedule warms up, ends at nothing, and survives an interruption."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from freshet.models.training.loop import FitSettings, TrainingInterrupted, Unobserved, fit

SETTINGS = FitSettings(
    epochs=4, patience=4, learning_rate=0.1, schedule="linear", device="cpu", gradient_clip=0
)


class Drift:
    """One weight that every batch of 5 of 20 examples pushes alike: Adam moves it by the learning rate."""

    examples = 20

    def __init__(self, interrupt_at: int = -1) -> None:
        self.module: nn.Module = nn.Linear(1, 1, bias=False)
        nn.init.zeros_(next(self.module.parameters()))
        self.moves: list[float] = []
        self._interrupt_at = interrupt_at

    @property
    def weight(self) -> float:
        return float(next(self.module.parameters()).detach())

    def batches(self, rng: np.random.Generator) -> Iterator[dict[str, Tensor]]:
        for _ in range(4):
            yield {"x": torch.ones(5, 1)}

    def loss(self, batch: dict[str, Tensor]) -> Tensor:
        self.moves.append(self.weight)
        if len(self.moves) == self._interrupt_at:
            raise KeyboardInterrupt
        return -self.module(batch["x"]).mean()

    def validate(self) -> tuple[float, dict[str, float]]:
        return self.weight, {}


def test_the_rate_rises_then_falls_to_nothing_at_the_last_epochs_end() -> None:
    task = Drift()
    fit(task, SETTINGS, Unobserved())
    steps = np.diff([*task.moves, task.weight])
    assert len(steps) == 16
    progress = (np.arange(16) + 0.5) / 16
    assert steps == pytest.approx(0.1 * np.minimum(progress / 0.1, (1 - progress) / 0.9), rel=1e-3)


def test_the_constant_schedule_is_the_default() -> None:
    assert FitSettings().rate_at(0.01) == FitSettings().rate_at(0.99) == FitSettings().learning_rate


def test_a_run_that_goes_on_keeps_to_the_schedule(tmp_path: Path) -> None:
    settings = replace(SETTINGS, checkpoint=tmp_path / "checkpoint.safetensors")
    straight, resumed = Drift(), Drift()
    fit(straight, SETTINGS, Unobserved())
    with pytest.raises((KeyboardInterrupt, TrainingInterrupted)):
        fit(Drift(interrupt_at=10), settings, Unobserved())
    fit(resumed, settings, Unobserved())
    assert resumed.weight == straight.weight


def test_an_unknown_schedule_is_refused() -> None:
    with pytest.raises(ValueError, match="schedule is 'cosine'"):
        replace(SETTINGS, schedule="cosine")
