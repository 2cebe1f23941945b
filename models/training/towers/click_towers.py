"""Two towers over clicks, in the shape that a stream can serve: what DSSM and YouTube DNN have in common.

    v = normalise(article_layers(concatenate(text part, e_category, ...))), u_j = the decayed mean of the
    vectors v of what was clicked (:mod:`freshet.models.training.towers.user_encoder`), q_j =
    normalise(user_layers(u_j)),   score(v) = sum_j mix_j (q_j . v).

The user's side pools the *article vectors*, so that both sides share one table, and only then goes through
its layers: a pooled vector is a sum that a stream updates with each click, and the layers are applied when it
is asked for. What cannot be served, and is therefore not here: a table of users by id, and attention between
the clicks of a history. Where vectors are normalised, the mix holds one over the temperature.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from freshet.models.datasets.article_features import table_values
from freshet.models.datasets.impression_log import ImpressionLog
from freshet.models.embedding.bundle import Activation, Feature, TowerSpec, UserSpec
from freshet.models.embedding.feature_tower import vocabulary
from freshet.models.ports import FloatMatrix
from freshet.models.training.loop import FitSettings, Observer, fit
from freshet.models.training.negatives import shown_articles
from freshet.models.training.ranker_offsets import joined, ranker_offsets
from freshet.models.training.towers.feature_tower import (
    ArticleInputs,
    FeatureTowerModule,
    MultiLayer,
    TowerSizes,
)
from freshet.models.training.towers.slate_task import SlateSettings, SlateTask, UserInputs
from freshet.models.training.towers.user_encoder import UserEncoder
from freshet.models.training.trained_model import TrainedModel


@dataclass(frozen=True)
class ClickTowerSizes:
    """What the towers consist of."""

    d: int
    text_width: int
    """Of the layer on the text vector; 0 leaves texts out."""
    embedding: Mapping[Feature, int]
    """Of each feature's table."""
    article_widths: tuple[int, ...]
    """Of the ReLU layers before the last, which gives ``d``."""
    user_widths: tuple[int, ...] | None
    """Likewise; ``None``: the pooled vectors are compared as they are."""
    batch_norm: bool
    dropout: float
    news_id_dropout: float
    temperature: float
    half_lives_s: tuple[float, ...]
    attention: bool
    learn_decay: bool
    """Train the half-lives."""
    population: bool
    """Train what users without events are; otherwise they are the zero vector, and score nothing."""
    prior_weight: float
    minimum: int
    """Articles that a category or entity must have to get an embedding."""

    def tower(self) -> TowerSpec:
        """The article tower."""
        return TowerSpec(
            uses_text=self.text_width > 0,
            text=("relu",) if self.text_width else (),
            features=tuple(self.embedding),
            layers=_activations(self.article_widths),
            normalise=True,
        )

    def user(self) -> UserSpec:
        """The user's side."""
        layers = () if self.user_widths is None else _activations(self.user_widths)
        return UserSpec(
            half_lives_s=self.half_lives_s,
            negative_half_life_s=86_400.0,
            prior_weight=self.prior_weight,
            attention=self.attention,
            population=True,
            layers=layers,
            # A pooled vector is as long as its evidence is strong; the order by cosine is the same.
            normalise=self.user_widths is not None,
        )


class ClickTowers(nn.Module):
    """Both towers; a :class:`~freshet.models.training.towers.slate_task.SlateModel`.

    Args:
        sizes: What they consist of.
        train: Which articles and values there are to learn of.
        text_vectors: Shape (articles, d_text); not looked at without a text layer.

    Raises:
        ValueError: ``text_vectors`` is missing or too short.
    """

    centred = True

    def __init__(
        self, sizes: ClickTowerSizes, train: ImpressionLog, text_vectors: FloatMatrix | None
    ) -> None:
        super().__init__()
        spec = sizes.tower()
        shown = shown_articles(train)
        self.vocabularies = _vocabularies(train, spec.features, sizes.minimum)
        inputs = ArticleInputs.of(train.articles, spec, self.vocabularies, text_vectors)
        self._features = tuple(inputs.rows)
        for feature, rows in inputs.rows.items():
            self.register_buffer(f"rows_{feature}", rows, persistent=False)
        self.register_buffer("text", inputs.text, persistent=False)
        self.tower = FeatureTowerModule(
            spec,
            TowerSizes(
                d_text=0 if inputs.text is None else inputs.text.shape[1],
                text=(sizes.text_width,) if sizes.text_width else (),
                entries={feature: len(entries) for feature, entries in self.vocabularies.items()},
                embedding={feature: sizes.embedding[feature] for feature in spec.features},
                layers=(*sizes.article_widths, sizes.d),
            ),
            batch_norm=sizes.batch_norm,
            dropout=sizes.dropout,
            news_id_dropout=sizes.news_id_dropout,
        )
        if inputs.text is not None:
            seen = inputs.text[torch.from_numpy(shown)]
            self.tower.standardise(seen[seen.any(dim=1)].numpy())
        user = sizes.user()
        widths = () if sizes.user_widths is None else (*sizes.user_widths, sizes.d)
        self.users = UserEncoder(sizes.d, user, layer_widths=widths, learn_decay=sizes.learn_decay)
        if sizes.batch_norm and widths:
            self.users.layers = MultiLayer(
                sizes.d, widths, user.layers, batch_norm=True, dropout=sizes.dropout
            )
        with torch.no_grad():
            self.users.mix.div_(sizes.temperature)
            if sizes.population:
                # Vectors of zeros have no direction, and no gradient once normalised.
                nn.init.normal_(self.users.population, std=0.1)
        self.users.population.requires_grad_(sizes.population)
        # Skips are not pooled in training: what a stream pools of them must not count.
        interests = torch.ones(user.heads)
        interests[-1] = 0.0
        self.register_buffer("interests", interests, persistent=False)
        self.interests: Tensor
        self.bias = nn.Parameter(torch.zeros(()))
        self.log_offset_scale = nn.Parameter(torch.zeros(()))

    @property
    def module(self) -> nn.Module:
        """All that is trained."""
        return self

    @property
    def offset_scale(self) -> Tensor:
        """What the ranker's score by ids is multiplied by."""
        return self.log_offset_scale.exp()

    def article_vectors(self, numbers: Tensor) -> Tensor:
        """Vectors (n, d) of articles (n,)."""
        rows = {feature: self.get_buffer(f"rows_{feature}")[numbers] for feature in self._features}
        text = self.get_buffer("text")[numbers] if self.tower.spec.uses_text else None
        vectors: Tensor = self.tower(ArticleInputs(rows, text))
        return vectors

    def own_scores(self, numbers: Tensor) -> Tensor | None:
        """Nothing beside the vectors."""
        return None

    def user_vectors(self, users: Tensor, events: UserInputs) -> Tensor:
        """One vector (B, d) for each user's events."""
        queries = self.users(events.clicks, events.click_age_s, events.skips, events.skip_age_s)
        return torch.einsum("h,bhd->bd", self.users.mix * self.interests, queries)

    def export(self) -> dict[str, NDArray[np.float32]]:
        """The weights by the names of a bundle; the head of the skips has no part in the score."""
        weights = self.tower.export() | self.users.export()
        weights["user.mix"][-1] = 0.0
        return weights


def train_click_towers(  # noqa: PLR0917 - as the models' own functions, with the three that they make
    model: str,
    train: ImpressionLog,
    validation: ImpressionLog,
    sizes: ClickTowerSizes,
    slates: SlateSettings,
    settings: Mapping[str, object],
    fit_settings: FitSettings,
    observer: Observer,
    text_vectors: FloatMatrix | None,
) -> TrainedModel:
    """Train both towers on impressions, stop by later ones.

    Args:
        model: Its name.
        train: To train on.
        validation: Later ones of the same log.
        sizes: The towers.
        slates: What an example is.
        settings: For the record.
        fit_settings: The loop's.
        observer: Is told how it goes.
        text_vectors: Shape (articles, d_text), zeros without text.

    Raises:
        ValueError: There is nothing to learn from, or ``text_vectors`` are missing.
        TrainingError: The loss is not finite, or the device cannot be used.
    """
    torch.manual_seed(fit_settings.seed)
    towers = ClickTowers(sizes, train, text_vectors)
    offsets = ranker_offsets(joined(train, validation)) if slates.residual else None
    task = SlateTask(towers, train, validation, slates, offsets)
    result = fit(task, fit_settings, observer)
    return TrainedModel(
        model=model,
        d=sizes.d,
        tower=towers.tower.exported_spec(),
        user=towers.users.exported_spec(),
        weights=towers.export(),
        examples=task.examples,
        vocabularies=towers.vocabularies,
        settings=dict(settings),
        curve=result.curve,
        figures=result.figures,
    )


def _activations(widths: Sequence[int]) -> tuple[Activation, ...]:
    """ReLU after each of ``widths``, nothing after the last layer."""
    hidden: list[Activation] = ["relu"] * len(widths)
    return (*hidden, "none")


def _vocabularies(
    train: ImpressionLog, features: Sequence[Feature], minimum: int
) -> dict[str, tuple[str, ...]]:
    """Of what was shown in training: an entry that only later articles have would stay untrained."""
    values = table_values(train.articles)
    numbers = shown_articles(train).tolist()
    return {
        feature: vocabulary(
            (values[feature][number] for number in numbers), minimum=1 if feature == "news_id" else minimum
        )
        for feature in features
    }
