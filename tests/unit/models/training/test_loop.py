"""Training is repeatable, keeps the best weights, stops in time, and goes on where it was interrupted."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from freshet.models.training.checkpoint import CheckpointError, TrainingError
from freshet.models.training.loop import FitResult, FitSettings, TrainingInterrupted, Unobserved, fit

SETTINGS = FitSettings(epochs=6, patience=6, learning_rate=0.05, device="cpu")
BATCH = 16


class Regression:
    """A small network on made-up points; dropout draws torch's random numbers, the order NumPy's."""

    def __init__(self, scores: list[float] | None = None, poison_after: int | None = None) -> None:
        torch.manual_seed(1)
        self.module: nn.Module = nn.Sequential(nn.Linear(3, 8), nn.Dropout(0.5), nn.Linear(8, 1))
        rng = np.random.default_rng(5)
        self.x = rng.normal(size=(100, 3)).astype(np.float32)
        self.y = (self.x @ np.array([1.0, -2.0, 0.5], np.float32))[:, None]
        self.scores = scores
        self.examples = len(self.x)
        self.modes: list[bool] = []
        self._poison_after = poison_after
        self._validations = 0

    def batches(self, rng: np.random.Generator) -> Iterator[dict[str, Tensor]]:
        order = rng.permutation(len(self.x))
        for at, start in enumerate(range(0, len(order), BATCH)):
            rows = order[start : start + BATCH]
            x = self.x[rows] * (np.nan if at == self._poison_after else 1.0)
            yield {"x": torch.from_numpy(x.astype(np.float32)), "y": torch.from_numpy(self.y[rows])}

    def loss(self, batch: dict[str, Tensor]) -> Tensor:
        return nn.functional.mse_loss(self.module(batch["x"]), batch["y"])

    def validate(self) -> tuple[float, dict[str, float]]:
        assert not torch.is_grad_enabled()
        self.modes.append(self.module.training)
        self._validations += 1
        error = float(nn.functional.mse_loss(self.module(torch.from_numpy(self.x)), torch.from_numpy(self.y)))
        score = -error if self.scores is None else self.scores[self._validations - 1]
        return score, {"mse": error}


class Watching:
    """Calls back when so many batches have been seen."""

    def __init__(self, at_batch: int = -1, act: Callable[[], None] = lambda: None) -> None:
        self.batches: list[tuple[int, int, int]] = []
        self.epochs: list[Mapping[str, float]] = []
        self._at, self._act = at_batch, act

    def batch(self, epoch: int, done: int, examples: int, loss: float) -> None:
        self.batches.append((epoch, done, examples))
        if len(self.batches) == self._at:
            self._act()

    def epoch(self, figures: Mapping[str, float]) -> None:
        self.epochs.append(figures)


def _weights(task: Regression) -> list[Tensor]:
    return [parameter.detach().clone() for parameter in task.module.parameters()]


def _same(one: Regression, other: Regression) -> bool:
    return all(map(torch.equal, _weights(one), _weights(other)))


def _interrupt() -> None:
    signal.raise_signal(signal.SIGINT)


def test_the_same_seed_gives_the_same_weights_and_another_seed_others() -> None:
    one, two, other = Regression(), Regression(), Regression()
    curve = fit(one, SETTINGS, Unobserved()).repeatable_curve
    torch.rand(7)
    assert fit(two, SETTINGS, Unobserved()).repeatable_curve == curve
    fit(other, replace(SETTINGS, seed=1), Unobserved())
    assert _same(one, two)
    assert not _same(one, other)


def test_training_learns_and_reports_every_batch_and_epoch() -> None:
    task, watching = Regression(), Watching()
    result = fit(task, SETTINGS, watching)
    assert result.curve[-1]["mse"] < result.curve[0]["mse"]
    assert [entry["epoch"] for entry in watching.epochs] == [1, 2, 3, 4, 5, 6]
    assert watching.batches[:7] == [(1, done, 100) for done in (16, 32, 48, 64, 80, 96, 100)]
    assert result.examples_per_s > 0
    assert tuple(watching.epochs) == result.curve


def test_validation_runs_in_eval_mode_without_gradients() -> None:
    task = Regression()
    fit(task, SETTINGS, Unobserved())
    assert task.modes == [False] * 6
    assert not task.module.training


def test_the_best_epoch_is_kept_and_patience_ends_the_run() -> None:
    short, long = Regression(), Regression([0.1, 0.3, 0.2, 0.3, 0.9, 0.9])
    fit(short, replace(SETTINGS, epochs=2), Unobserved())
    result = fit(long, replace(SETTINGS, patience=2), Unobserved())
    assert (result.best_epoch, len(result.curve)) == (2, 4)
    assert result.figures["score"] == 0.3
    assert _same(long, short), "the second epoch's weights are back"


@pytest.mark.parametrize("at_batch", [3, 7, 12, 23])
def test_an_interrupted_run_goes_on_to_the_same_result(tmp_path: Path, at_batch: int) -> None:
    settings = replace(SETTINGS, checkpoint=tmp_path / "runs" / "checkpoint.safetensors")
    straight, broken, resumed = Regression(), Regression(), Regression()
    expected = fit(straight, SETTINGS, Unobserved())
    watching = Watching(at_batch, _interrupt)
    with pytest.raises(TrainingInterrupted):
        fit(broken, settings, watching)
    assert len(watching.batches) == at_batch, "the batch is finished, no other begun"
    result = fit(resumed, settings, Unobserved())
    assert result.repeatable_curve == expected.repeatable_curve
    assert _same(straight, resumed)


def test_a_run_killed_after_an_epoch_goes_on_to_the_same_result(tmp_path: Path) -> None:
    settings = replace(SETTINGS, checkpoint=tmp_path / "checkpoint.safetensors")
    straight, resumed = Regression(), Regression()
    expected = fit(straight, SETTINGS, Unobserved())
    fit(Regression(), replace(settings, epochs=3), Unobserved())
    result = fit(resumed, settings, Unobserved())
    assert result.repeatable_curve == expected.repeatable_curve
    assert _same(straight, resumed)


def test_a_finished_run_is_not_run_again(tmp_path: Path) -> None:
    settings = replace(SETTINGS, checkpoint=tmp_path / "checkpoint.safetensors")
    first, again, watching = Regression(), Regression(), Watching()
    expected = fit(first, settings, Unobserved())
    assert fit(again, settings, watching) == expected
    assert watching.batches == []
    assert _same(first, again)


def test_a_second_signal_acts_at_once(tmp_path: Path) -> None:
    def twice() -> None:
        _interrupt()
        _interrupt()

    with pytest.raises(KeyboardInterrupt):
        fit(Regression(), SETTINGS, Watching(2, twice))


def test_signals_mean_what_they_meant_once_training_is_over() -> None:
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    with pytest.raises(TrainingInterrupted):
        fit(Regression(), SETTINGS, Watching(2, _interrupt))
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before


def test_a_loss_that_is_not_finite_is_an_error_and_never_saved(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.safetensors"
    with pytest.raises(TrainingError, match=r"loss is nan in epoch 1 after 32 examples: a smaller learning"):
        fit(Regression(poison_after=2), replace(SETTINGS, checkpoint=path), Unobserved())
    assert not path.exists()


def test_a_score_that_is_not_finite_is_an_error() -> None:
    with pytest.raises(TrainingError, match="validation score of epoch 1 is nan"):
        fit(Regression([float("nan")]), SETTINGS, Unobserved())


def test_a_checkpoint_of_another_run_or_model_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.safetensors"
    settings = replace(SETTINGS, epochs=1, checkpoint=path, run="one")
    fit(Regression(), settings, Unobserved())
    with pytest.raises(CheckpointError, match="belongs to another run"):
        fit(Regression(), replace(settings, run="two"), Unobserved())
    larger = Regression()
    larger.module = nn.Sequential(nn.Linear(3, 9), nn.Dropout(), nn.Linear(9, 1))
    with pytest.raises(CheckpointError, match="another model"):
        fit(larger, settings, Unobserved())


def test_a_damaged_checkpoint_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.safetensors"
    fit(Regression(), replace(SETTINGS, epochs=1, checkpoint=path), Unobserved())
    path.write_bytes(path.read_bytes()[:-5])
    with pytest.raises(CheckpointError, match="cannot be read"):
        fit(Regression(), replace(SETTINGS, checkpoint=path), Unobserved())


def test_writing_leaves_only_the_checkpoint(tmp_path: Path) -> None:
    fit(Regression(), replace(SETTINGS, checkpoint=tmp_path / "checkpoint.safetensors"), Unobserved())
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint.safetensors"]


def test_no_batch_and_no_device_are_clear_errors() -> None:
    task = Regression()
    task.x = task.x[:0]
    with pytest.raises(TrainingError, match="nothing to train on"):
        fit(task, SETTINGS, Unobserved())
    with pytest.raises(TrainingError, match="'abacus' cannot be used"):
        fit(Regression(), replace(SETTINGS, device="abacus"), Unobserved())


@pytest.mark.parametrize("name", ["epochs", "patience", "learning_rate"])
def test_settings_out_of_range_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match=f"{name} is 0"):
        replace(SETTINGS, **{name: 0})


class Indifferent(Regression):
    """All weights are equally good: what moves them is not the loss."""

    def loss(self, batch: dict[str, Tensor]) -> Tensor:
        return 0.0 * super().loss(batch)


def test_weight_decay_shrinks_matrices_and_spares_biases() -> None:
    task, decayed = Indifferent(), Indifferent()
    fit(decayed, replace(SETTINGS, epochs=1, weight_decay=1.0), Unobserved())
    for before, after in zip(_weights(task), _weights(decayed), strict=True):
        if before.ndim > 1:
            assert float(after.norm()) < float(before.norm())
        else:
            assert torch.equal(before, after)


class Steep(Regression):
    """The gradient is a million times as long as it should be."""

    def loss(self, batch: dict[str, Tensor]) -> Tensor:
        return 1e6 * super().loss(batch)


@pytest.mark.parametrize(("task", "clipped"), [(Regression, False), (Steep, True)])
def test_only_gradients_longer_than_the_limit_are_shortened(task: type[Regression], clipped: bool) -> None:
    norms: list[float] = []

    class Recording(task):  # type: ignore[misc, valid-type]
        def validate(self) -> tuple[float, dict[str, float]]:
            gradients = [p.grad for p in self.module.parameters() if p.grad is not None]
            norms.append(float(nn.utils.get_total_norm(gradients)))
            return super().validate()  # type: ignore[no-any-return]

    fit(Recording(), replace(SETTINGS, epochs=1, gradient_clip=50.0), Unobserved())
    assert (norms[0] == pytest.approx(50.0, rel=1e-4)) == clipped
    assert norms[0] < 50.1


def test_results_carry_figures_of_the_best_epoch_only() -> None:
    curve = ({"epoch": 1.0, "score": 0.2}, {"epoch": 2.0, "score": 0.1})
    assert FitResult(curve, 1, 0.0).figures == curve[0]
