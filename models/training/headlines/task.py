r"""Training on headline tests: learns which words get a story clicked.

A test shows one story under several headlines. Given the test's C clicks, which arm each of them fell on is
multinomial with

.. math:: p_i = n_i e^{s_i} / \sum_j n_j e^{s_j},

where n are impressions and s the scores: whatever the arms share (story, page, hour) cancels, as in the
conditional logit (McFadden, "Conditional Logit Analysis of Qualitative Choice Behavior", 1974) and in
listwise ranking (ListNet, Cao et al., ICML 2007). The loss is the divergence of the clicks' shares from p,
each test weighted by its evidence :math:`C / (1 + C / (\kappa k))` for k arms: the noise of few clicks counts
against a test, but beyond :math:`\kappa` clicks an arm what is left is not noise, and no test may drown the
others.

The score is the first coordinate of the article's vector,

.. math:: v = W (x - \bar x), \quad s = e_1 \cdot v,

x the text vector of an encoder whose last layers are tuned with it
(:mod:`freshet.models.training.headlines.text_tuning`).
The first row of W starts as the ridge regression on the frozen vectors and is trained; the others are a fixed
random rotation, which keeps angles (Johnson and Lindenstrauss, 1984), so that articles can be compared by
what they are about. The population's vector is :math:`e_1`: a user of whom nothing is known is shown what
everybody clicks, and clicks add what this user reads.

What it cannot do: compare stories. It has only seen headlines compete for the same story.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from freshet.models.datasets.headline_tests import HeadlineTests
from freshet.models.embedding.bundle import TowerSpec, UserSpec
from freshet.models.embedding.text.pooling import TextPooling
from freshet.models.evaluation.headlines.pairwise import pairwise_accuracy
from freshet.models.evaluation.headlines.ridge import ridge_weights
from freshet.models.training.headlines.text_tuning import TextTuning, TokenStates
from freshet.models.training.loop import FitSettings, Observer, fit, training_device
from freshet.models.training.setting_ranges import check_at_least, check_positive, check_share
from freshet.models.training.trained_model import TrainedModel

ENCODER_FOLDER = "tuned-encoder"
_SCORED_TEXTS = 64
_DAY_S = 86_400.0


@dataclass(frozen=True)
class HeadlineSettings:
    """Settings of the model.

    Raises:
        ValueError: A value is out of range.
    """

    encoder: str = "minilm"
    layers: int = 4
    """Number of the encoder's layers that are kept: MiniLM's fourth knows most of headlines."""
    tuned_layers: int = 2
    pooling: TextPooling = "mean"
    dimension: int = 64
    dropout: float = 0.1
    """Dropout rate of the tuned layers."""
    evidence_clicks: float = 100.0
    """Kappa, clicks for each arm."""
    ridge_penalty: float = 1.0
    """Penalty of the ridge regression that the first row starts from."""
    tests_per_batch: int = 16
    half_life_h: float = 24.0
    """Half-life in hours of a user's clicks, when the bundle serves."""
    prior_weight: float = 20.0
    """Weight of the population's vector in fresh clicks, when the bundle serves."""

    def __post_init__(self) -> None:
        """Check the ranges."""
        check_at_least(self, 1, "layers", "dimension", "tests_per_batch")
        if not 0 <= self.tuned_layers <= self.layers:
            raise ValueError(f"tuned_layers is {self.tuned_layers}, it must be from 0 to layers")
        check_positive(self, "evidence_clicks", "ridge_penalty", "half_life_h", "prior_weight")
        check_share(self, "dropout")
        if self.pooling not in get_args(TextPooling):
            raise ValueError(f"pooling is {self.pooling!r}, it must be one of {get_args(TextPooling)}")


class HeadlineModel(nn.Module):
    """Tuned text encoder, and the weights of the score."""

    def __init__(self, encoder: TextTuning, weights: NDArray[np.float64]) -> None:
        super().__init__()
        self.encoder = encoder
        self.appeal = nn.Parameter(torch.from_numpy(weights.astype(np.float32)))

    def forward(self, states: Tensor, mask: Tensor) -> Tensor:
        """Scores (n,) of texts from the frozen layers' states (n, t, hidden) and the mask (n, t)."""
        scores: Tensor = self.encoder(states, mask) @ self.appeal
        return scores


def listwise_loss(scores: Tensor, clicks: Tensor, impressions: Tensor, weight: Tensor) -> Tensor:
    """Weighted mean divergence of the tests' clicks from the predicted ones, a scalar; see the module.

    Args:
        scores: (tests, arms), any number where there is no arm.
        clicks: (tests, arms), 0 where there is no arm; each test has a click.
        impressions: (tests, arms), 0 where there is no arm.
        weight: (tests,), mean about 1.
    """
    observed = clicks / clicks.sum(1, keepdim=True)  # (tests, arms): shares of the clicks
    arm = impressions > 0
    logits = (scores + impressions.clamp_min(1.0).log()).masked_fill(~arm, -torch.inf)
    predicted = logits.log_softmax(1).masked_fill(~arm, 0.0)  # (tests, arms): logarithms of shares
    divergence = torch.special.xlogy(observed, observed) - observed * predicted
    loss: Tensor = (weight * divergence.sum(1)).mean()
    return loss


def evidence(tests: HeadlineTests, evidence_clicks: float) -> NDArray[np.float32]:
    """Weights (tests,) of tests, of mean 1; 0 for a test without clicks or with one arm."""
    clicks = np.add.reduceat(tests.clicks, tests.arm_start[:-1])
    arms = np.diff(tests.arm_start)
    weight = np.where(arms > 1, clicks / (1.0 + clicks / (evidence_clicks * arms)), 0.0)
    if not weight.any():
        raise ValueError(f"{tests.source}: no test to train on has two headlines and a click")
    scaled: NDArray[np.float32] = (weight / weight[weight > 0].mean()).astype(np.float32)
    return scaled


class HeadlineTask:
    """Headline tests under training; a :class:`~freshet.models.training.loop.Task`.

    Args:
        model: Module under training.
        train: Tests to learn from.
        validation: Tests that decide which epoch is kept.
        states: States of the frozen layers, for the arms of both.
        settings: Settings of the model.
    """

    def __init__(
        self,
        model: HeadlineModel,
        train: HeadlineTests,
        validation: HeadlineTests,
        states: tuple[TokenStates, TokenStates],
        settings: HeadlineSettings,
    ) -> None:
        self._model = model
        self._train, self._validation = train, validation
        self._states, self._validation_states = states
        self._per_batch = settings.tests_per_batch
        self._weight = evidence(train, settings.evidence_clicks)
        self._used = np.flatnonzero(self._weight)
        # A batch costs its longest headline times its headlines: tests of similar length go together.
        self._longest = np.maximum.reduceat(self._states.lengths, train.arm_start[:-1])

    @property
    def module(self) -> nn.Module:
        """Module under training."""
        return self._model

    @property
    def examples(self) -> int:
        """Number of tests of one epoch."""
        return len(self._used)

    def batches(self, rng: np.random.Generator) -> Iterator[dict[str, Tensor]]:
        """Yield the tests in a random order, tests of similar length together."""
        shuffled = self._used[rng.permutation(len(self._used))]
        noisy = self._longest[shuffled] + rng.uniform(-1.0, 1.0, len(shuffled))
        by_length = shuffled[np.argsort(noisy)]
        starts = rng.permutation(np.arange(0, len(by_length), self._per_batch))
        for start in starts.tolist():
            yield self._batch(np.sort(by_length[start : start + self._per_batch]))

    def loss(self, batch: dict[str, Tensor]) -> Tensor:
        """Listwise loss of a batch, see :func:`listwise_loss`."""
        scores = self._model(batch["states"], batch["mask"])[batch["arm"]]
        return listwise_loss(scores.float(), batch["clicks"], batch["impressions"], batch["weight"])

    def validate(self) -> tuple[float, dict[str, float]]:
        """Compute the pairwise accuracy on the significant pairs, the score, and on all pairs."""
        scores = self._scores(self._validation_states)
        significant = pairwise_accuracy(self._validation, scores, resamples=1)
        every = pairwise_accuracy(self._validation, scores, significant_only=False, resamples=1)
        figures = {"accuracy": significant.accuracy, "accuracy_all_pairs": every.accuracy}
        return significant.accuracy, figures

    def _batch(self, tests: NDArray[np.int64]) -> dict[str, Tensor]:
        first, sizes = self._train.arm_start[tests], np.diff(self._train.arm_start)[tests]
        slot = np.arange(int(sizes.max()))  # (a,)
        is_arm = slot < sizes[:, None]  # (b, a)
        arms = np.where(is_arm, first[:, None] + slot, first[:, None])
        number = np.cumsum(is_arm).reshape(is_arm.shape) - 1
        states, mask = self._states.batch(arms[is_arm])
        return {
            "weight": torch.from_numpy(self._weight[tests]),
            "clicks": torch.from_numpy(np.where(is_arm, self._train.clicks[arms], 0).astype(np.float32)),
            "impressions": torch.from_numpy(
                np.where(is_arm, self._train.impressions[arms], 0).astype(np.float32)
            ),
            "arm": torch.from_numpy(np.where(is_arm, number, 0)),
            "states": states,
            "mask": mask,
        }

    def _scores(self, states: TokenStates) -> NDArray[np.float64]:
        scores = np.empty(len(states.lengths))
        for texts, padded, mask in _by_length(states, self._model.appeal.device):
            scores[texts] = self._model(padded, mask).float().cpu().numpy()
        return scores


def train_headlines(
    train: HeadlineTests,
    validation: HeadlineTests,
    settings: HeadlineSettings,
    fit_settings: FitSettings,
    observer: Observer,
) -> TrainedModel:
    """Train on headline tests; the tuned encoder is saved beside the checkpoint, and moves into the bundle.

    Raises:
        ValueError: There is no such encoder, no test to train on, or no significant pair to validate on.
        TrainingError: See :func:`~freshet.models.training.loop.fit`.
    """
    device = training_device(fit_settings.device)
    torch.manual_seed(fit_settings.seed)
    encoder = TextTuning(
        settings.encoder,
        layers=settings.layers,
        tuned_layers=settings.tuned_layers,
        pooling=settings.pooling,
        dropout=settings.dropout,
    )
    states = (
        encoder.frozen_states(train.headlines, device=device),
        encoder.frozen_states(validation.headlines, device=device),
    )
    encoder.eval().to(device)
    frozen = text_vectors(encoder, states[0])
    model = HeadlineModel(encoder, ridge_weights(train, frozen, settings.ridge_penalty))
    task = HeadlineTask(model, train, validation, states, settings)
    result = fit(task, fit_settings, observer)
    parent = fit_settings.checkpoint.parent if fit_settings.checkpoint else Path(tempfile.mkdtemp())
    encoder.save(parent / ENCODER_FOLDER)
    return TrainedModel(
        model="headlines",
        d=settings.dimension,
        tower=TowerSpec(uses_text=True, layers=("none",)),
        user=UserSpec(
            half_lives_s=(settings.half_life_h * 3_600.0,),
            negative_half_life_s=settings.half_life_h * 3_600.0,
            prior_weight=settings.prior_weight,
            population=True,
        ),
        weights=_weights(model, text_vectors(encoder, states[0]), settings.dimension, fit_settings.seed),
        examples=task.examples,
        settings=asdict(settings),
        curve=result.curve,
        figures=result.figures,
        encoder=encoder.spec,
        tuned_encoder=parent / ENCODER_FOLDER,
    )


def text_vectors(encoder: TextTuning, states: TokenStates) -> NDArray[np.float32]:
    """Text vectors (texts, d_text) from the frozen layers' states; the encoder must be in eval mode."""
    device = next(encoder.parameters(), torch.empty(0)).device
    vectors = np.empty((len(states.lengths), encoder.d), np.float32)
    with torch.no_grad():
        for texts, padded, mask in _by_length(states, device):
            vectors[texts] = encoder(padded, mask).cpu().numpy()
    return vectors


def _by_length(
    states: TokenStates, device: torch.device
) -> Iterator[tuple[NDArray[np.int64], Tensor, Tensor]]:
    """Batches of texts of like length: their numbers (n,), padded states (n, t, hidden) and mask (n, t)."""
    by_length = np.argsort(states.lengths, kind="stable")
    for start in range(0, len(by_length), _SCORED_TEXTS):
        texts = by_length[start : start + _SCORED_TEXTS]
        padded, mask = states.batch(texts)
        yield texts, padded.to(device), mask.to(device)


def _weights(
    model: HeadlineModel, vectors: NDArray[np.float32], d: int, seed: int
) -> dict[str, NDArray[np.float32]]:
    """Weights of the bundle: the score's row, a random rotation for the other rows, and the population."""
    appeal = model.appeal.detach().cpu().numpy().astype(np.float64)
    mean = vectors.mean(axis=0, dtype=np.float64)
    # As large as the score, so that neither drowns the other in a dot product.
    spread = np.sqrt(((vectors - mean) ** 2).sum(axis=1).mean())
    random = np.random.default_rng(seed).normal(size=(vectors.shape[1], min(d - 1, vectors.shape[1])))
    rotation = np.linalg.qr(random)[0].T / spread
    matrix = np.concatenate((appeal[None], rotation))  # (d, d_text)
    population = np.zeros((2, len(matrix)), np.float32)
    population[0, 0] = 1.0
    return {
        "article.layers.0.weight": matrix.astype(np.float32),
        "article.layers.0.bias": (-matrix @ mean).astype(np.float32),
        "user.population": population,
        "user.mix": np.array([1.0, 0.0], np.float32),
    }
