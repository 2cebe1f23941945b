"""Training loop: every model that is trained by gradients goes through :func:`fit`.

Guarantees:

- The same seed gives the same weights, on one kind of machine with one number of threads: the random numbers
  of epoch ``e`` come from ``(seed, e)`` alone.
- The weights that are kept are those of the epoch with the best validation score.
- With a checkpoint, a run that was interrupted or killed goes on when it is started again, and ends as it
  would have ended, provided that the task's batches depend on nothing but the random numbers they are given.
- A loss that is not finite stops the run before its weights are saved anywhere.

The optimizer is Adam (Kingma and Ba, 2015) with decoupled weight decay on matrices, not on vectors such as
biases (AdamW; Loshchilov and Hutter, 2019). On CUDA the forward pass runs in bfloat16 where torch's autocast
allows it; weights, gradients' sums and the optimizer stay in float32.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Literal, Protocol, get_args

import numpy as np
import torch
from torch import Tensor, nn

from freshet.models.training.checkpoint import (
    TrainingError,
    TrainingState,
    load_checkpoint,
    restore_random_state,
    save_checkpoint,
)
from freshet.models.training.observer import Observer, Unobserved
from freshet.models.training.setting_ranges import check_at_least, check_positive
from freshet.models.training.stop_request import StopRequest

__all__ = [
    "FitResult",
    "FitSettings",
    "Observer",
    "Task",
    "TrainingError",
    "TrainingInterrupted",
    "Unobserved",
    "fit",
    "training_device",
]

CUDA_LOSSES_HELD = 16
"""Batches between two reads of the loss: each read waits for the device."""
WARMUP = 0.1
"""Share of all epochs in which the rate rises: Adam's first averages are over few gradients, and a tuned
encoder needs small steps then."""

Schedule = Literal["constant", "linear"]


class Task(Protocol):
    """Model under training, with its data."""

    @property
    def module(self) -> nn.Module:
        """Module under training; :func:`fit` moves it to the device.

        Its whole state is kept in memory twice and in the checkpoint: constants such as text vectors belong
        in a buffer with ``persistent=False``.
        """
        ...

    @property
    def examples(self) -> int:
        """Number of examples of one epoch, approximately."""
        ...

    def batches(self, rng: np.random.Generator) -> Iterator[dict[str, Tensor]]:
        """Yield one epoch of batches of CPU tensors; the first tensor's length is the number of examples."""
        ...

    def loss(self, batch: dict[str, Tensor]) -> Tensor:
        """Mean loss over the batch's examples, a scalar; the batch is on the module's device."""
        ...

    def validate(self) -> tuple[float, dict[str, float]]:
        """Score, higher is better, and figures to report; called in eval mode without gradients."""
        ...


@dataclass(frozen=True)
class FitSettings:
    """Settings of a run, apart from its task.

    Raises:
        ValueError: A value is out of range.
    """

    epochs: int = 10
    """Maximum number of epochs."""
    patience: int = 2
    """Number of epochs without a better validation score after which the run stops."""
    learning_rate: float = 1e-3
    schedule: Schedule = "constant"
    """Course of the learning rate; ``linear`` rises for ``WARMUP`` of all epochs, then falls to 0."""
    weight_decay: float = 0.0
    """Weight decay of matrices, decoupled from the gradient."""
    seed: int = 0
    device: str = "auto"
    """Device, such as ``cpu`` or ``cuda:1``; ``auto`` takes CUDA where there is any."""
    gradient_clip: float = 5.0
    """Maximum norm of all gradients; 0 clips nothing."""
    checkpoint: Path | None = None
    """File that is written after each epoch, and read if it exists. Delete it once the result is safe."""
    run: str = ""
    """Identity of the run (data, model, settings): a checkpoint of another run is refused."""

    def __post_init__(self) -> None:
        """Check the ranges."""
        check_at_least(self, 1, "epochs", "patience")
        check_at_least(self, 0, "weight_decay", "gradient_clip", "seed")
        check_positive(self, "learning_rate")
        if self.schedule not in get_args(Schedule):
            raise ValueError(f"schedule is {self.schedule!r}, must be one of {', '.join(get_args(Schedule))}")

    def rate_at(self, progress: float) -> float:
        """Learning rate after a share ``progress`` of all epochs."""
        if self.schedule == "constant":
            return self.learning_rate
        return self.learning_rate * min(progress / WARMUP, (1.0 - progress) / (1.0 - WARMUP))


class TrainingInterrupted(KeyboardInterrupt):
    """A signal stopped the run; starting it again with its checkpoint resumes it."""


@dataclass(frozen=True)
class FitResult:
    """Figures of a run; the best weights are in the task's module."""

    curve: tuple[dict[str, float], ...]
    """Entry of each epoch: ``epoch``, ``loss``, ``seconds``, ``examples_per_s`` (without validation),
    ``score``, and the task's figures."""
    best_epoch: int
    """Number of the epoch that was kept, counted from 1."""
    examples_per_s: float
    """Examples per second over all epochs, without validation."""

    @property
    def figures(self) -> dict[str, float]:
        """Entry of the epoch that was kept."""
        return dict(self.curve[self.best_epoch - 1])

    @property
    def repeatable_curve(self) -> tuple[dict[str, float], ...]:
        """Curve without its times, which differ from run to run."""
        timings = ("seconds", "examples_per_s")
        return tuple({k: v for k, v in entry.items() if k not in timings} for entry in self.curve)


def training_device(name: str) -> torch.device:
    """Device of that name; ``auto`` takes CUDA where there is any.

    Raises:
        TrainingError: There is no such device.
    """
    try:
        device = torch.device("cuda" if torch.cuda.is_available() else "cpu") if name == "auto" else None
        device = device or torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise TrainingError(f"device {name!r} cannot be used: {error}") from error
    return device


def fit(task: Task, settings: FitSettings, observer: Observer) -> FitResult:
    """Train until the last epoch, until the score stops improving, or until a signal asks to stop.

    SIGINT and SIGTERM stop the run after the current batch, and the checkpoint is written. A second signal
    stops at once, and loses the work since the last checkpoint.

    Returns:
        Figures of the run. The task's module holds the best weights, on the device, in eval mode.

    Raises:
        TrainingInterrupted: A signal came; the checkpoint, where there is one, is written.
        TrainingError: The loss or the score is not finite, the device cannot be used, or a checkpoint
            (:class:`~freshet.models.training.checkpoint.CheckpointError`) belongs to another run.
    """
    run = _Run(task, settings, observer)
    with StopRequest() as stop:
        while not run.over and not stop.wanted:
            run.epoch(stop)
    if stop.wanted and not run.over:
        raise TrainingInterrupted
    return run.result()


class _Run:
    """Run of one call of :func:`fit`."""

    def __init__(self, task: Task, settings: FitSettings, observer: Observer) -> None:
        self._task = task
        self._settings = settings
        self._observer = observer
        self._device = training_device(settings.device)
        self._module = task.module.to(self._device)
        self._trained = [weight for weight in self._module.parameters() if weight.requires_grad]
        self._optimizer = _adam(self._trained, settings)
        self._state = TrainingState()
        self._random: dict[str, Tensor] = {}
        """State of torch's random numbers in the middle of an epoch, where the run resumes."""
        path = settings.checkpoint
        if path is not None and path.exists():
            self._state, self._random = load_checkpoint(path, settings.run, self._module, self._optimizer)

    @property
    def over(self) -> bool:
        """Whether the last epoch is done, or the patience is exhausted."""
        done = len(self._state.curve)
        return done >= self._settings.epochs or done - self._state.best_epoch >= self._settings.patience

    def epoch(self, stop: StopRequest) -> None:
        """Train one epoch, or the rest of it; validate; save."""
        number = len(self._state.curve) + 1
        seeds = np.random.SeedSequence([self._settings.seed, number])
        torch.manual_seed(int(seeds.generate_state(1, np.uint64)[0]))
        batches = self._task.batches(np.random.default_rng(seeds))
        if self._state.batches:
            # Batches before the interruption are trained on already: they only advance the random numbers.
            for _ in islice(batches, self._state.batches):
                pass
            restore_random_state(self._random)
        self._module.train()
        if not self._train(number, batches, stop):
            self._save()
            return
        state = self._state
        if not state.examples:
            raise TrainingError("there is nothing to train on: the task gave no batch")
        self._module.eval()
        with torch.no_grad():
            score, figures = self._task.validate()
        if not math.isfinite(score):
            raise TrainingError(
                f"the validation score of epoch {number} is {score}: is there enough to validate?"
            )
        entry = {
            "epoch": float(number),
            "loss": state.loss_sum / state.examples,
            "seconds": state.seconds,
            "examples_per_s": state.examples / max(state.seconds, 1e-9),
            "score": score,
            **figures,
        }
        curve = [*state.curve, entry]
        self._state = TrainingState(curve, state.best)
        if self._state.best_epoch == number:
            self._state.best = {
                name: weight.detach().to("cpu", copy=True)
                for name, weight in self._module.state_dict().items()
            }
        self._save()
        self._observer.epoch(entry)

    def result(self) -> FitResult:
        state = self._state
        if state.best:
            self._module.load_state_dict(state.best)
        self._module.eval()
        seconds = sum(entry["seconds"] for entry in state.curve)
        examples = sum(entry["examples_per_s"] * entry["seconds"] for entry in state.curve)
        return FitResult(tuple(state.curve), state.best_epoch, examples / max(seconds, 1e-9))

    def _train(self, number: int, batches: Iterator[dict[str, Tensor]], stop: StopRequest) -> bool:
        """Train on the batches; returns whether the epoch's end was reached."""
        on_cuda = self._device.type == "cuda"
        held: list[tuple[int, Tensor]] = []
        started = time.perf_counter()
        for batch in batches:
            examples = len(next(iter(batch.values())))
            on_device = {name: self._moved(tensor) for name, tensor in batch.items()} if on_cuda else batch
            self._set_rate(number, self._state.examples + sum(n for n, _ in held) + examples / 2)
            held.append((examples, self._step(on_device)))
            self._state.batches += 1
            if not on_cuda or len(held) >= CUDA_LOSSES_HELD or stop.wanted:
                self._read_losses(held, number)
            now = time.perf_counter()
            self._state.seconds += now - started
            started = now
            if stop.wanted:
                return False
        self._read_losses(held, number)
        return True

    def _step(self, batch: dict[str, Tensor]) -> Tensor:
        with torch.autocast(self._device.type, torch.bfloat16, enabled=self._device.type == "cuda"):
            loss = self._task.loss(batch)
        self._optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
        if self._settings.gradient_clip:
            self._clip(self._settings.gradient_clip)
        self._optimizer.step()
        return loss.detach()

    def _clip(self, limit: float) -> None:
        gradients = [weight.grad for weight in self._trained if weight.grad is not None]
        norm = nn.utils.get_total_norm(gradients)
        # On the CPU a comparison is cheaper than a multiplication by 1; on CUDA it would wait.
        if self._device.type != "cpu" or norm.item() > limit:
            nn.utils.clip_grads_with_norm_(self._trained, limit, norm)

    def _set_rate(self, number: int, seen: float) -> None:
        """Set the learning rate of a batch in whose middle ``seen`` examples of the epoch are done."""
        part = min(1.0, seen / max(1, self._task.examples))
        rate = self._settings.rate_at((number - 1 + part) / self._settings.epochs)
        for group in self._optimizer.param_groups:
            group["lr"] = rate

    def _moved(self, tensor: Tensor) -> Tensor:
        return tensor.pin_memory().to(self._device, non_blocking=True)

    def _read_losses(self, held: list[tuple[int, Tensor]], number: int) -> None:
        """Add up the losses held back, and empty the list.

        Raises:
            TrainingError: One is not finite.
        """
        for examples, loss in held:
            value = loss.item()
            if not math.isfinite(value):
                raise TrainingError(
                    f"the loss is {value} in epoch {number} after {self._state.examples} examples: a smaller "
                    f"learning rate than {self._settings.learning_rate} may help; nothing of this was saved"
                )
            self._state.examples += examples
            self._state.loss_sum += value * examples
            self._observer.batch(number, self._state.examples, self._task.examples, value)
        held.clear()

    def _save(self) -> None:
        path = self._settings.checkpoint
        if path is not None:
            save_checkpoint(path, self._settings.run, self._module, self._optimizer, self._state)


def _adam(trained: list[nn.Parameter], settings: FitSettings) -> torch.optim.Optimizer:
    groups = [
        {"params": [weight for weight in trained if weight.ndim > 1], "weight_decay": settings.weight_decay},
        {"params": [weight for weight in trained if weight.ndim <= 1], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(
        [group for group in groups if group["params"]], lr=settings.learning_rate, fused=True
    )
