"""Two towers over clicks, in the form that a stream can serve: the common part of DSSM and YouTube DNN.

    v = normalise(article_layers(concatenate(text part, e_category, ...))), u_j = the decayed mean of the
    vectors v of what was clicked (:mod:`freshet.models.training.towers.user_encoder`), q_j =
    normalise(user_layers(u_j)),   score(v) = sum_j mix_j (q_j . v).

The user's side pools the *article vectors*, so that both sides share one table, and only then goes through
its layers: a pooled vector is a sum that a stream updates with each click, and the layers are applied when it
is asked for. What cannot be served, and is therefore not here: a table of users by id, and attention between
the clicks of a history. Where vectors are normalised, the mix holds one over the temperature.
"""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from freshet.models.datasets.impression_log import ImpressionLog
from freshet.models.embedding.bundle import Activation, Feature, TowerSpec, UserSpec
from freshet.models.ports import FloatMatrix
from freshet.models.training.loop import FitSettings, Observer, fit
from freshet.models.training.negatives import Negatives
from freshet.models.training.ranker_offsets import joined, ranker_offsets
from freshet.models.training.setting_ranges import check_at_least, check_positive, check_share
from freshet.models.training.towers.feature_tower import MultiLayer
from freshet.models.training.towers.slate_model import Loss, SlateSettings, UserInputs
from freshet.models.training.towers.slate_task import SlateTask
from freshet.models.training.towers.slate_towers import SlateTowers
from freshet.models.training.towers.user_encoder import UserEncoder
from freshet.models.training.trained_model import TrainedModel


@dataclass(frozen=True)
class ClickTowerSettings(ABC):
    """Settings of both towers and their training; each model is a preset, a subclass with other defaults.

    Raises:
        ValueError: A value is out of range.
    """

    d: int = 128
    """Dimension of the towers' outputs."""
    use_text: bool = True
    text_width: int = 128
    """Outputs of the layer on the text vector."""
    user_widths: tuple[int, ...] = (256, 128)
    """Widths of the user tower's ReLU layers, before the last layer, which gives ``d``."""
    news_id_dropout: float = 0.5
    """Share of articles that are treated as new in training, where ids are embedded."""
    dropout: float = 0.1
    """Dropout rate after the towers' ReLU layers."""
    temperature: float = 0.1
    """Temperature that training starts from; the heads' mix, which holds its inverse, is trained."""
    minimum: int = 2
    """Articles that a category or entity must have to get an embedding."""
    negatives: Negatives = "skips"
    n_negatives: int = 20
    """Negatives for each click, where examples are clicks."""
    max_clicks: int = 50
    """Newest clicks that are pooled into a user's vector."""
    batch: int = 128
    """Examples of a batch."""

    # Fixed, unless a preset makes a setting of it.
    model: ClassVar[str]
    loss: ClassVar[Loss]
    user_layers = True
    batch_norm = False
    population = True
    prior_weight = 1.0
    residual = False

    def __post_init__(self) -> None:
        """Check the ranges."""
        check_at_least(self, 1, "d", "text_width", "minimum", *self._embedding_settings)
        if min((*self.article_widths, *self.user_widths, 1)) < 1:
            raise ValueError("a width is not positive")
        check_positive(self, "temperature")
        check_share(self, "news_id_dropout")
        if not (self.use_text or self.embeddings):
            raise ValueError("a tower without text and features knows nothing")
        self.slates()

    _embedding_settings: ClassVar[tuple[str, ...]]
    """Names of the settings that are dimensions of embeddings."""

    @property
    @abstractmethod
    def article_widths(self) -> tuple[int, ...]:
        """Widths of the article tower's ReLU layers, before the last layer, which gives ``d``."""

    @property
    @abstractmethod
    def embeddings(self) -> Mapping[Feature, int]:
        """Dimension of each feature's table."""

    @property
    @abstractmethod
    def half_lives_s(self) -> tuple[float, ...]:
        """Half-lives of the interest heads, which training starts from."""

    @property
    @abstractmethod
    def attention(self) -> bool:
        """Weigh a click by its article."""

    @property
    @abstractmethod
    def learn_decay(self) -> bool:
        """Train the half-lives."""

    def slates(self) -> SlateSettings:
        """Settings of an example; no skips are pooled."""
        return SlateSettings(
            loss=self.loss,
            negatives=self.negatives,
            n_negatives=self.n_negatives,
            max_clicks=self.max_clicks,
            max_skips=0,
            batch=self.batch,
            residual=self.residual and self.negatives == "skips",
        )

    def tower(self) -> TowerSpec:
        """Spec of the article tower."""
        return TowerSpec(
            uses_text=self.use_text,
            text=("relu",) if self.use_text else (),
            features=tuple(self.embeddings),
            layers=_activations(self.article_widths),
            normalise=True,
        )

    def user(self) -> UserSpec:
        """Spec of the user's side; without layers the pooled vectors are compared as they are."""
        return UserSpec(
            half_lives_s=self.half_lives_s,
            negative_half_life_s=86_400.0,
            prior_weight=self.prior_weight,
            attention=self.attention,
            population=True,
            layers=_activations(self.user_widths) if self.user_layers else (),
            # A pooled vector is as long as its evidence is strong; the order by cosine is the same.
            normalise=self.user_layers,
        )


class ClickTowers(SlateTowers):
    """Article and user tower; a :class:`~freshet.models.training.towers.slate_model.SlateModel`.

    Args:
        settings: Parts and widths of the towers.
        train: Impressions; their articles and labels get embeddings.
        text_vectors: Shape (articles, d_text); not read without a text layer.

    Raises:
        ValueError: ``text_vectors`` is missing or too short.
    """

    centred = True

    def __init__(
        self, settings: ClickTowerSettings, train: ImpressionLog, text_vectors: FloatMatrix | None
    ) -> None:
        super().__init__(
            settings.tower(),
            train,
            text_vectors,
            minimum=settings.minimum,
            text_width=settings.text_width,
            embedding=settings.embeddings,
            layers=(*settings.article_widths, settings.d),
            batch_norm=settings.batch_norm,
            dropout=settings.dropout,
            news_id_dropout=settings.news_id_dropout,
        )
        d, user = settings.d, settings.user()
        widths = (*settings.user_widths, d) if settings.user_layers else ()
        self.users = UserEncoder(d, user, layer_widths=widths, learn_decay=settings.learn_decay)
        if settings.batch_norm and widths:
            self.users.layers = MultiLayer(d, widths, user.layers, batch_norm=True, dropout=settings.dropout)
        with torch.no_grad():
            self.users.mix.div_(settings.temperature)
            if settings.population:
                # Vectors of zeros have no direction, and no gradient once normalised.
                nn.init.normal_(self.users.population, std=0.1)
        # Without training, a user without events is the zero vector, and all scores are 0.
        self.users.population.requires_grad_(settings.population)
        # Skips are not pooled in training: what a stream pools of them must not count.
        interests = torch.ones(user.heads)
        interests[-1] = 0.0
        self.register_buffer("interests", interests, persistent=False)
        self.interests: Tensor
        self.bias = nn.Parameter(torch.zeros(()))
        self.log_offset_scale = nn.Parameter(torch.zeros(()))

    def own_scores(self, numbers: Tensor) -> Tensor | None:
        """No score beside the vectors."""
        return None

    def user_vectors(self, users: Tensor, events: UserInputs) -> Tensor:
        """One vector (B, d) for each user's events."""
        queries = self.users(
            events.clicks, events.click_age_s, events.skips, events.skip_age_s
        )  # (B, heads, d)
        return torch.einsum("h,bhd->bd", self.users.mix * self.interests, queries)

    def export(self) -> dict[str, NDArray[np.float32]]:
        """Weights by the names of a bundle; the head of the skips has no part in the score."""
        weights = self.tower.export() | self.users.export()
        weights["user.mix"][-1] = 0.0
        return weights


def train_click_towers(  # noqa: PLR0917 - the signature that every model's training has
    train: ImpressionLog,
    validation: ImpressionLog,
    settings: ClickTowerSettings,
    fit_settings: FitSettings,
    observer: Observer,
    text_vectors: FloatMatrix | None,
) -> TrainedModel:
    """Train both towers on impressions, stop by later ones.

    Args:
        train: Impressions to train on.
        validation: Later impressions of the same log.
        settings: The model, a preset.
        fit_settings: Settings of the training loop.
        observer: Observer of the training.
        text_vectors: Shape (articles, d_text), zeros without text.

    Raises:
        ValueError: There is nothing to learn from, or ``text_vectors`` are missing.
        TrainingError: The loss is not finite, or the device cannot be used.
    """
    torch.manual_seed(fit_settings.seed)
    towers = ClickTowers(settings, train, text_vectors)
    slates = settings.slates()
    offsets = ranker_offsets(joined(train, validation)) if slates.residual else None
    task = SlateTask(towers, train, validation, slates, offsets)
    result = fit(task, fit_settings, observer)
    return TrainedModel(
        model=settings.model,
        d=settings.d,
        tower=towers.tower.exported_spec(),
        user=towers.users.exported_spec(),
        weights=towers.export(),
        examples=task.examples,
        vocabularies=towers.vocabularies,
        settings=dataclasses.asdict(settings),
        curve=result.curve,
        figures=result.figures,
    )


def _activations(widths: Sequence[int]) -> tuple[Activation, ...]:
    """ReLU after each of ``widths``, no activation after the last layer."""
    hidden: list[Activation] = ["relu"] * len(widths)
    return (*hidden, "none")
