"""Article side of all models of slates: a feature tower over the articles of a log."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from freshet.models.datasets.article_features import table_values
from freshet.models.datasets.impression_log import ImpressionLog
from freshet.models.embedding.bundle import Feature, TowerSpec
from freshet.models.embedding.feature_tower import vocabulary
from freshet.models.ports import FloatMatrix
from freshet.models.training.negatives import shown_articles
from freshet.models.training.towers.feature_tower import ArticleInputs, FeatureTowerModule, TowerSizes


class SlateTowers(nn.Module):
    """Article tower of a :class:`~freshet.models.training.towers.slate_model.SlateModel`.

    Args:
        spec: Parts of the article tower.
        train: Impressions; their articles and labels get embeddings.
        text_vectors: Shape (articles, d_text); not read without a text layer.
        minimum: Articles that a category or entity must have to get an embedding.
        text_width: Outputs of the layer on the text vector.
        embedding: Dimension of each feature's table.
        layers: Outputs of each layer after the concatenation.
        standardise: Standardise text vectors by the training articles' mean and deviation.
        batch_norm: Batch normalization, before each activation of ``layers``.
        dropout: Dropout rate after the activations of ``layers``.
        text_dropout: Dropout rate after the activation of the layer on the text.
        news_id_dropout: Share of articles whose id is hidden in training.

    Raises:
        ValueError: ``text_vectors`` is missing or too short, or no article has a text.
    """

    log_offset_scale: nn.Parameter

    def __init__(
        self,
        spec: TowerSpec,
        train: ImpressionLog,
        text_vectors: FloatMatrix | None,
        *,
        minimum: int,
        text_width: int,
        embedding: Mapping[Feature, int],
        layers: tuple[int, ...],
        standardise: bool = True,
        batch_norm: bool = False,
        dropout: float = 0.0,
        text_dropout: float = 0.0,
        news_id_dropout: float = 0.0,
    ) -> None:
        super().__init__()
        shown = shown_articles(train)
        self.vocabularies = _vocabularies(train, spec.features, shown, minimum)
        # Tensors that never change: not in checkpoints, and on the module's device from the first batch on.
        inputs = ArticleInputs.of(train.articles, spec, self.vocabularies, text_vectors)
        for feature, rows in inputs.rows.items():
            self.register_buffer(f"rows_{feature}", rows, persistent=False)
        self.register_buffer("text", inputs.text, persistent=False)
        sizes = TowerSizes(
            d_text=0 if inputs.text is None else inputs.text.shape[1],
            text=(text_width,) if spec.uses_text else (),
            entries={feature: len(entries) for feature, entries in self.vocabularies.items()},
            embedding={feature: embedding[feature] for feature in spec.features},
            layers=layers,
        )
        self.tower = FeatureTowerModule(
            spec,
            sizes,
            batch_norm=batch_norm,
            dropout=dropout,
            text_dropout=text_dropout,
            news_id_dropout=news_id_dropout,
        )
        if standardise and inputs.text is not None:
            seen = inputs.text[torch.from_numpy(shown)]
            self.tower.standardise(seen[seen.any(dim=1)].numpy())

    @property
    def module(self) -> nn.Module:
        """Module under training."""
        return self

    @property
    def offset_scale(self) -> Tensor:
        """Factor of the ranker's score by ids, positive."""
        return self.log_offset_scale.exp()

    def article_vectors(self, numbers: Tensor) -> Tensor:
        """Vectors (n, d) of articles (n,)."""
        rows: dict[str, Tensor] = {
            feature: self.get_buffer(f"rows_{feature}")[numbers] for feature in self.tower.spec.features
        }
        text = self.get_buffer("text")[numbers] if self.tower.spec.uses_text else None
        vectors: Tensor = self.tower(ArticleInputs(rows, text))
        return vectors


def _vocabularies(
    train: ImpressionLog, features: Sequence[Feature], shown: NDArray[np.int64], minimum: int
) -> dict[str, tuple[str, ...]]:
    """Values of what was shown in training: an entry that only later articles have would stay untrained."""
    values: Mapping[Feature, Sequence[str]] = table_values(train.articles)
    numbers = shown.tolist()
    return {
        feature: vocabulary(
            (values[feature][number] for number in numbers), minimum=1 if feature == "news_id" else minimum
        )
        for feature in features
    }
