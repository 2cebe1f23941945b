"""Examples a second through the training loop, against a bare loop over the same tensors.

The bare loop takes batches that are ready in memory through loss, backward pass and the same optimizer. What
the training loop does beside that is what is measured: it draws negatives, gathers the batches, clips
gradients and watches the loss. Both take turns, so that a busy machine slows both.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from torch import Tensor

from freshet.models.datasets.impression_log import ImpressionLog, read_impression_log
from freshet.models.datasets.synthetic.folder import write_synth
from freshet.models.datasets.synthetic.world import SynthConfig
from freshet.models.training.factorization.matrix_factorization import (
    ClickFactorization,
    MatrixFactorizationSettings,
)
from freshet.models.training.loop import FitSettings, Task, Unobserved, fit
from freshet.models.training.towers.content_tower import ContentModel, ContentTowerSettings
from freshet.models.training.towers.slate_task import SlateTask
from freshet.workers.bench.report import BenchReport, Figure, Machine

_D_TEXT = 384
_LEARNING_RATE = 1e-3
_Progress = Callable[[int, int], None]


class _Unvalidated:
    """A task whose validation costs nothing: it is not what is measured."""

    def __init__(self, task: Task) -> None:
        self._task = task
        self.module = task.module
        self.examples = task.examples
        self.batches = task.batches
        self.loss = task.loss

    def validate(self) -> tuple[float, dict[str, float]]:
        return 0.0, {}


def run(*, impressions: int, rounds: int, progress: _Progress) -> BenchReport:
    """Measure on a synthetic stream.

    Args:
        impressions: Of the stream.
        rounds: Epochs of each loop; the median counts.
        progress: Told how many are done, and of how many.
    """
    machine = Machine.here()
    torch.set_num_threads(1)
    with TemporaryDirectory(prefix="freshet-bench-") as temporary:
        folder = Path(temporary) / "stream"
        write_synth(
            folder, SynthConfig(users=impressions // 10, articles=800, impressions=impressions, seed=7)
        )
        log = read_impression_log(folder)
    cut = log.position_at(0.9)
    train, validation = log.slice(0, cut), log.slice(cut, len(log))
    tasks = _tasks(train, validation)
    total, done = 2 * rounds * len(tasks), 0
    seconds: dict[str, tuple[list[float], list[float]]] = {name: ([], []) for name in tasks}
    for number in range(rounds):
        for name, make in tasks.items():
            task = make()
            ready = list(task.batches(np.random.default_rng(number)))
            seconds[name][1].append(_bare_s(task, ready))
            progress(done := done + 1, total)
            seconds[name][0].append(_fit_s(make()))
            progress(done := done + 1, total)
    figures = [
        Figure(
            f"examples of {name}",
            tasks[name]().examples / median(ours),
            "/s",
            tasks[name]().examples / median(bare),
            "a bare loop over the same tensors",
        )
        for name, (ours, bare) in seconds.items()
    ]
    details: Mapping[str, Any] = {"impressions": len(train), "rounds": rounds, "threads": 1}
    return BenchReport("train", figures, machine, details)


def _tasks(train: ImpressionLog, validation: ImpressionLog) -> dict[str, Callable[[], Task]]:
    text_vectors = np.random.default_rng(0).normal(size=(len(train.articles), _D_TEXT)).astype(np.float32)

    def factorization() -> Task:
        return ClickFactorization(train, validation, MatrixFactorizationSettings(), 0)

    def content_tower() -> Task:
        settings = ContentTowerSettings(reference=True).resolved()
        return SlateTask(ContentModel(settings, train, text_vectors), train, validation, settings)

    return {"mf": factorization, "content-tower": content_tower}


def _bare_s(task: Task, ready: list[dict[str, Tensor]]) -> float:
    task.module.train()
    optimizer = torch.optim.AdamW(task.module.parameters(), lr=_LEARNING_RATE, weight_decay=0.0, fused=True)
    began = time.perf_counter()
    for batch in ready:
        loss = task.loss(batch)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it without types
        optimizer.step()
    return time.perf_counter() - began


def _fit_s(task: Task) -> float:
    settings = FitSettings(epochs=1, patience=1, learning_rate=_LEARNING_RATE, device="cpu")
    result = fit(_Unvalidated(task), settings, Unobserved())
    return result.curve[0]["seconds"]
