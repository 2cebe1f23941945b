"""Article tower under training: :class:`freshet.models.embedding.feature_tower.FeatureTower` in torch.

Same parts, same names of weights, same result to 1e-5 once :meth:`FeatureTowerModule.export` has written
them. What exists in training only leaves no trace in a bundle: dropout; batch normalization (Ioffe and
Szegedy, 2015) and the standardization of text vectors, which are folded into their layers; and, on demand,
the embedding of the article's id.

The id's embedding memorises what one article's clicks say beyond its content. ``news_id_dropout`` hides it
(row 0 stands in) for a share of the articles of each batch, so that the rest of the tower learns to do
without it; exporting without it then makes every article what a new one is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from freshet.models.datasets.article_features import feature_rows
from freshet.models.datasets.impression_log import ArticleTable
from freshet.models.embedding.bundle import Activation, Feature, TowerSpec
from freshet.models.embedding.feature_tower import FeatureRows
from freshet.models.ports import FloatMatrix
from freshet.models.training.tensors import to_numpy, unit_vectors

_SMALLEST_DEVIATION = 1e-3
"""Summand of the deviations: a number that is constant in all texts must not become huge in the next text."""
_EMBEDDING_STD = 0.1
"""Standard deviation of a table's initial values: small, so that a rare entry has little effect."""


@dataclass(frozen=True)
class ArticleInputs:
    """Inputs of a tower, as tensors on one device."""

    rows: Mapping[str, Tensor]
    """Table rows of each feature, (n,) int64."""
    text: Tensor | None = None
    """Text vectors (n, d_text) float32."""

    @classmethod
    def of(
        cls,
        articles: ArticleTable,
        spec: TowerSpec,
        vocabularies: Mapping[str, Sequence[str]],
        text_vectors: FloatMatrix | None,
    ) -> Self:
        """Inputs of all articles of a log.

        Raises:
            ValueError: The tower reads text and ``text_vectors`` (articles, d_text) is missing or too short.
        """
        text = None
        if spec.uses_text:
            if text_vectors is None or len(text_vectors) != len(articles):
                found = "none" if text_vectors is None else f"{len(text_vectors)}"
                raise ValueError(
                    f"the tower reads text: {len(articles)} text vectors are needed, got {found}"
                )
            text = torch.from_numpy(np.ascontiguousarray(text_vectors, np.float32))
        rows: FeatureRows = feature_rows(articles, spec.features, vocabularies)
        return cls({feature: torch.from_numpy(row) for feature, row in rows.items()}, text)


@dataclass(frozen=True)
class TowerSizes:
    """Widths of a tower's parts; :meth:`check` compares them with the tower."""

    d_text: int = 0
    """Dimension of the text vector."""
    text: tuple[int, ...] = ()
    """Outputs of each layer on the text vector."""
    entries: Mapping[str, int] = field(default_factory=dict)
    """Number of entries of each feature's vocabulary; the table has a row more."""
    embedding: Mapping[str, int] = field(default_factory=dict)
    """Dimension of each feature's table."""
    layers: tuple[int, ...] = ()
    """Outputs of each layer on the concatenation."""

    def check(self, spec: TowerSpec) -> None:
        """Raise ``ValueError`` unless the sizes fit ``spec``."""
        if len(self.text) != len(spec.text) or len(self.layers) != len(spec.layers):
            raise ValueError(
                f"{len(self.text)} text layers and {len(self.layers)} layers have a width, "
                f"the tower has {len(spec.text)} and {len(spec.layers)}"
            )
        if bool(self.d_text) != spec.uses_text:
            raise ValueError(f"d_text is {self.d_text}, but uses_text is {spec.uses_text}")
        missing = [name for name in spec.features if name not in self.entries or name not in self.embedding]
        if missing:
            raise ValueError(f"no size for the tables of {', '.join(missing)}")


class MultiLayer(nn.Module):
    """Layers under training: linear, batch normalization where asked for, activation, dropout.

    A layer without activation is an output: it has neither batch normalization nor dropout.
    """

    def __init__(
        self,
        width: int,
        widths: Sequence[int],
        activations: Sequence[Activation],
        *,
        batch_norm: bool = False,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.activations = tuple(activations)
        sizes = [width, *widths]
        self.linears = nn.ModuleList(nn.Linear(n, m) for n, m in pairwise(sizes))
        self.norms = nn.ModuleList(
            nn.BatchNorm1d(m) if batch_norm and activation != "none" else nn.Identity()
            for m, activation in zip(widths, activations, strict=True)
        )
        self.dropout = nn.Dropout(dropout)
        self.width = sizes[-1]

    def forward(self, x: Tensor) -> Tensor:
        """Apply the layers: (n, in) to (n, out)."""
        for linear, norm, activation in zip(self.linears, self.norms, self.activations, strict=True):
            x = activate(activation, norm(linear(x)))
            if activation != "none":
                x = self.dropout(x)
        return x

    def export(self, prefix: str) -> dict[str, NDArray[np.float32]]:
        """Weights ``{prefix}.{i}.weight`` and ``.bias``, with batch normalization folded in."""
        weights = {}
        for i, (linear, norm) in enumerate(zip(self.linears, self.norms, strict=True)):
            assert isinstance(linear, nn.Linear)
            weight, bias = linear.weight.detach().double(), linear.bias.detach().double()
            if isinstance(norm, nn.BatchNorm1d):
                assert norm.running_mean is not None and norm.running_var is not None
                scale = norm.weight.detach().double() / (norm.running_var.double() + norm.eps).sqrt()
                weight = weight * scale[:, None]
                bias = (bias - norm.running_mean.double()) * scale + norm.bias.detach().double()
            weights[f"{prefix}.{i}.weight"] = to_numpy(weight)
            weights[f"{prefix}.{i}.bias"] = to_numpy(bias)
        return weights


class FeatureTowerModule(nn.Module):
    """Tower of ``spec`` under training.

    Args:
        spec: Parts of the tower.
        sizes: Widths of the parts.
        batch_norm: Batch normalization, before each activation of ``layers``.
        dropout: Dropout rate after the activations of ``layers``.
        text_dropout: Dropout rate after the activations of the layers on the text.
        news_id_dropout: Share of articles whose id is hidden in training.

    Raises:
        ValueError: ``sizes`` does not fit ``spec``.
    """

    def __init__(
        self,
        spec: TowerSpec,
        sizes: TowerSizes,
        *,
        batch_norm: bool = False,
        dropout: float = 0.0,
        text_dropout: float = 0.0,
        news_id_dropout: float = 0.0,
    ) -> None:
        super().__init__()
        sizes.check(spec)
        self.spec = spec
        self.news_id_dropout = news_id_dropout
        self.text = MultiLayer(sizes.d_text, sizes.text, spec.text, dropout=text_dropout)
        self.text_mean: Tensor
        self.text_scale: Tensor
        self.register_buffer("text_mean", torch.zeros(sizes.d_text), persistent=False)
        self.register_buffer("text_scale", torch.ones(sizes.d_text), persistent=False)
        self.tables = nn.ModuleDict(
            {
                feature: nn.Embedding(1 + sizes.entries[feature], sizes.embedding[feature])
                for feature in spec.features
            }
        )
        for table in self.tables.values():
            assert isinstance(table, nn.Embedding)
            nn.init.normal_(table.weight, std=_EMBEDDING_STD)
        width = self.text.width + sum(sizes.embedding[feature] for feature in spec.features)
        self.layers = MultiLayer(width, sizes.layers, spec.layers, batch_norm=batch_norm, dropout=dropout)

    @property
    def d(self) -> int:
        """The vectors' dimension."""
        return self.layers.width

    def standardise(self, text_vectors: FloatMatrix) -> None:
        """Standardize text vectors by the mean and deviation of these.

        A text vector of norm 1 has numbers of about 0.05, and those of BERT's first token have much in
        common: a layer takes longer to learn from either.

        Args:
            text_vectors: Shape (n, d_text), of articles with text.

        Raises:
            ValueError: The tower has no layer on the text alone, or there is no text.
        """
        if not self.spec.text or not len(text_vectors):
            raise ValueError("standardized text needs a text layer that takes it in, and a text")
        vectors = torch.from_numpy(np.ascontiguousarray(text_vectors, np.float64))
        scale = 1.0 / (vectors.std(dim=0, correction=0) + _SMALLEST_DEVIATION)
        self.text_mean.copy_(vectors.mean(dim=0))
        self.text_scale.copy_(scale)

    def forward(self, inputs: ArticleInputs) -> Tensor:
        """Article vectors (n, d) float32; zero for an article of which nothing is known."""
        columns, known = [], []
        if self.spec.uses_text:
            assert inputs.text is not None, "the tower reads text"
            columns.append(self.text((inputs.text - self.text_mean) * self.text_scale))
            known.append(inputs.text.any(dim=1))
        for feature in self.spec.features:
            rows = inputs.rows[feature]
            if feature == "news_id" and self.training and self.news_id_dropout > 0.0:
                hidden = torch.rand(rows.shape, device=rows.device) < self.news_id_dropout
                rows = rows.masked_fill(hidden, 0)
            columns.append(self.tables[feature](rows))
            known.append(rows > 0)
        vectors: Tensor = self.layers(torch.cat(columns, dim=1)).float()  # (n, d)
        if self.spec.normalise:
            vectors = unit_vectors(vectors)
        return vectors * torch.stack(known).any(dim=0).unsqueeze(1)

    def exported_spec(self, *, without_news_id: bool = False) -> TowerSpec:
        """Spec of the exported tower."""
        features: tuple[Feature, ...] = tuple(
            feature for feature in self.spec.features if not (without_news_id and feature == "news_id")
        )
        return self.spec.model_copy(update={"features": features})

    def export(self, *, without_news_id: bool = False) -> dict[str, NDArray[np.float32]]:
        """Weights by the names of :mod:`freshet.models.embedding.bundle`.

        Args:
            without_news_id: Leave the id's table out, as if every article were unknown to it: what its row 0
                adds to the first layer becomes part of that layer's bias.

        Raises:
            ValueError: ``without_news_id`` of a tower that has no layer to take the id's part.
        """
        weights = self.text.export("article.text") | self.layers.export("article.layers")
        if self.spec.text:
            weight = weights["article.text.0.weight"] * to_numpy(self.text_scale)
            weights["article.text.0.weight"] = weight
            weights["article.text.0.bias"] -= weight @ to_numpy(self.text_mean)
        for feature, table in self.tables.items():
            assert isinstance(table, nn.Embedding)
            weights[f"article.{feature}.weight"] = to_numpy(table.weight)
        if without_news_id and "news_id" in self.spec.features:
            if not self.spec.layers:
                raise ValueError("a tower without layers cannot be exported without its ids")
            unknown = weights.pop("article.news_id.weight")[0].astype(np.float64)
            before = self.spec.features[: self.spec.features.index("news_id")]
            start = self.text.width + sum(self._embedding(feature) for feature in before)
            columns = slice(start, start + len(unknown))
            layer = weights["article.layers.0.weight"]
            bias = weights["article.layers.0.bias"] + layer[:, columns].astype(np.float64) @ unknown
            weights["article.layers.0.bias"] = bias.astype(np.float32)
            weights["article.layers.0.weight"] = np.delete(layer, columns, axis=1)
        return weights

    def _embedding(self, feature: str) -> int:
        table = self.tables[feature]
        assert isinstance(table, nn.Embedding)
        return table.embedding_dim


def activate(activation: Activation, x: Tensor) -> Tensor:
    """Apply an activation to each number."""
    if activation == "sigmoid":
        return x.sigmoid()
    if activation == "relu":
        return x.relu()
    return x.tanh() if activation == "tanh" else x
