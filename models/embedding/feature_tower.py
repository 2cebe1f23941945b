"""Article tower of a bundle, without torch: from an article's text and labels to its vector.

With x the text vector and e_f the row of feature f's table for the article's value of it,

    v = layers(concatenate(text_layers(x), e_f1, e_f2, ...)),   a layer: y = activation(W x + b),

the content tower of Vespa's news recommendation tutorial (part 4, 2021), with any part of it left out. Row 0
of a table stands for a value that the bundle does not know. With ``news_id`` as the only feature and no layer
it is the item table of a matrix factorization (Koren et al., 2009).

Guarantees: a vector depends on nothing but its own article and text vector, up to float rounding; the torch
twin, :class:`freshet.models.training.towers.feature_tower.FeatureTowerModule`, gives the same to 1e-5; an
article of which nothing is known that the tower reads has the zero vector, which scores 0 with everybody.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from freshet.models.embedding.bundle import Activation, Bundle, BundleError, Feature
from freshet.models.events.events import Article
from freshet.models.kernels.unit_norm import to_unit_norm
from freshet.models.ports import FloatMatrix

FeatureRows = Mapping[Feature, NDArray[np.int64]]
"""Rows (n,) of each feature's table, 0 for an unknown value."""

_CHUNK = 8_192
"""Articles computed at once: the activations of 160,000 articles would be larger than their vectors."""


class FeatureTower:
    """A :class:`~freshet.models.embedding.content_tower.ContentTower` of trained weights.

    Args:
        bundle: Its manifest's ``tower``, ``vocabularies`` and the weights ``article.*``.

    Raises:
        BundleError: A weight is missing, or its shape does not fit the manifest.
    """

    def __init__(self, bundle: Bundle) -> None:
        manifest = bundle.manifest
        self._bundle = bundle
        self._spec = spec = manifest.tower
        self._rows_by_value = {
            feature: value_rows(manifest.vocabularies.get(feature, ()))
            for feature in dict.fromkeys((*spec.features, "news_id"))
        }
        self._tables = [
            weight_of(bundle, f"article.{feature}.weight", (1 + len(self._rows_by_value[feature]), None))
            for feature in spec.features
        ]
        embedded = sum(table.shape[1] for table in self._tables)
        self._d_text = self._find_d_text(embedded)
        width = self._d_text
        self._text, width = read_layers(bundle, "article.text", spec.text, width)
        self._layers, width = read_layers(bundle, "article.layers", spec.layers, width + embedded)
        if width != manifest.d:
            raise BundleError(f"{bundle.folder}: the tower gives {width} dimensions, not d = {manifest.d}")

    @property
    def bundle(self) -> str:
        """The bundle's id."""
        return self._bundle.id

    @property
    def d(self) -> int:
        """The vectors' dimension."""
        return self._bundle.manifest.d

    @property
    def d_text(self) -> int:
        """The text vectors' dimension; 0 if the tower reads no text."""
        return self._d_text

    def vectors(self, text_vectors: FloatMatrix, articles: Sequence[Article]) -> FloatMatrix:
        """Article vectors (n, d), float32.

        Args:
            text_vectors: (n, d_text), a row of zeros without text; not read if the tower has no text part.
            articles: The ``n`` articles.

        Raises:
            ValueError: ``text_vectors`` has another shape.
        """
        values: dict[Feature, list[str]] = {
            "category": [article.category for article in articles],
            "subcategory": [article.subcategory for article in articles],
            "entity": [article.entities[0] if article.entities else "" for article in articles],
            "news_id": [article.news_id for article in articles],
        }
        return self.vectors_of(values, text_vectors, len(articles))

    def vectors_of(
        self, values: Mapping[Feature, Sequence[str]], text_vectors: FloatMatrix | None, n: int
    ) -> FloatMatrix:
        """Vectors (n, d), float32, of articles given as columns.

        Args:
            values: The ``n`` values of each feature that the tower reads.
            text_vectors: (n, d_text), zeros without text; ``None`` only if the tower reads no text.
            n: The number of articles.

        Raises:
            ValueError: ``text_vectors`` is missing or has another shape.
        """
        return self._compute(self._rows(values), text_vectors, n)

    def id_vectors(self, news_ids: Sequence[str]) -> FloatMatrix:
        """Vectors (n, d) of articles of which only the id is known; zeros for an id without a row.

        Raises:
            ValueError: The tower reads text.
        """
        empty = [""] * len(news_ids)
        values: dict[Feature, Sequence[str]] = {feature: empty for feature in self._spec.features}
        return self.vectors_of({**values, "news_id": news_ids}, None, len(news_ids))

    def biases(self, news_ids: Sequence[str]) -> NDArray[np.float32]:
        """Biases (n,) of articles by id, row 0 for an unknown id; zeros where the bundle has none."""
        table = self._bundle.weights.get("article.bias")
        if table is None:
            return np.zeros(len(news_ids), np.float32)
        rows = rows_of(self._rows_by_value["news_id"], news_ids)
        return table[rows]

    def _find_d_text(self, embedded: int) -> int:
        if not self._spec.uses_text:
            return 0
        weights, encoder = self._bundle.weights, self._bundle.manifest.encoder
        for name, beside in (("article.text.0.weight", 0), ("article.layers.0.weight", embedded)):
            if name in weights:
                return int(weights[name].shape[-1]) - beside
        if encoder is not None:
            return encoder.d
        return self._bundle.manifest.d - embedded

    def _rows(self, values: Mapping[Feature, Sequence[str]]) -> FeatureRows:
        return {
            feature: rows_of(self._rows_by_value[feature], values[feature]) for feature in self._spec.features
        }

    def _compute(self, rows: FeatureRows, text_vectors: FloatMatrix | None, n: int) -> FloatMatrix:
        if self._d_text and (text_vectors is None or text_vectors.shape != (n, self._d_text)):
            found = "none" if text_vectors is None else str(text_vectors.shape)
            raise ValueError(
                f"bundle {self.bundle} needs text vectors of shape {(n, self._d_text)}, got {found}: "
                "encode the texts with the bundle's encoder"
            )
        out = np.zeros((n, self.d), np.float32)
        for start in range(0, n, _CHUNK):
            part = slice(start, min(start + _CHUNK, n))
            known = np.zeros(part.stop - start, np.bool_)
            columns: list[NDArray[np.float32]] = []  # of (part, d_f) each
            if self._d_text and text_vectors is not None:
                text = text_vectors[part].astype(np.float32, copy=False)
                known |= text.any(axis=1)
                columns.append(apply_layers(self._text, text))
            for feature, table in zip(self._spec.features, self._tables, strict=True):
                known |= rows[feature][part] > 0
                columns.append(table[rows[feature][part]])
            vectors = apply_layers(self._layers, np.concatenate(columns, axis=1))
            if self._spec.normalise:
                vectors = to_unit_norm(vectors)
            out[part] = np.where(known[:, None], vectors, np.float32(0.0))
        return out


Layer = tuple[Activation, NDArray[np.float32], NDArray[np.float32]]
"""Activation, weight (out, in), bias (out,)."""


def read_layers(
    bundle: Bundle, prefix: str, activations: Sequence[Activation], width: int
) -> tuple[list[Layer], int]:
    """Read the layers ``{prefix}.{i}`` of a bundle, and return them with the last one's width.

    ``width`` is the number of the first layer's inputs.

    Raises:
        BundleError: A weight is missing, or its shape does not fit.
    """
    layers: list[Layer] = []
    for i, activation in enumerate(activations):
        weight = weight_of(bundle, f"{prefix}.{i}.weight", (None, width))
        width = len(weight)
        layers.append((activation, weight, weight_of(bundle, f"{prefix}.{i}.bias", (width,))))
    return layers, width


def weight_of(bundle: Bundle, name: str, shape: tuple[int | None, ...]) -> NDArray[np.float32]:
    """Look up a weight and check its shape; ``None`` stands for any size.

    Raises:
        BundleError: It is missing, or has another shape.
    """
    weight = bundle.weights.get(name)
    if weight is None:
        raise BundleError(f"{bundle.folder}: the weights have no {name}, which the manifest asks for")
    fits = weight.ndim == len(shape) and all(
        wanted is None or size == wanted for size, wanted in zip(weight.shape, shape, strict=True)
    )
    if not fits:
        wanted = "(" + ", ".join("any" if size is None else str(size) for size in shape) + ")"
        raise BundleError(f"{bundle.folder}: {name} has shape {weight.shape}, the manifest asks for {wanted}")
    return weight


def apply_layers(layers: Sequence[Layer], x: NDArray[np.float32]) -> NDArray[np.float32]:
    """Apply layers to rows (n, in): (n, out) float32."""
    for activation, weight, bias in layers:
        x = activate(activation, x @ weight.T + bias)
    return x


def activate(activation: Activation, x: NDArray[np.float32]) -> NDArray[np.float32]:
    """Apply an activation to each number, float32."""
    if activation == "none":
        return x
    if activation == "relu":
        return np.maximum(x, np.float32(0.0))
    if activation == "tanh":
        return np.tanh(x)
    # By tanh, because exp(-x) overflows.
    sigmoid: NDArray[np.float32] = np.float32(0.5) + np.float32(0.5) * np.tanh(np.float32(0.5) * x)
    return sigmoid


def vocabulary(values: Iterable[str], *, minimum: int = 1, limit: int | None = None) -> tuple[str, ...]:
    """Distinct values that are not empty, the most frequent first, ties in alphabetical order.

    Args:
        values: Values of a feature, one for each article or event.
        minimum: Least frequency of an entry; rarer values cannot be learned.
        limit: Maximum number of entries.
    """
    counts = Counter(value for value in values if value)
    ordered = sorted(counts.items(), key=lambda entry: (-entry[1], entry[0]))
    return tuple(islice((value for value, count in ordered if count >= minimum), limit))


def value_rows(entries: Sequence[str]) -> dict[str, int]:
    """Table row of each entry of a vocabulary: ``1 + i``."""
    return {value: 1 + i for i, value in enumerate(entries)}


def rows_of(rows: Mapping[str, int], values: Sequence[str]) -> NDArray[np.int64]:
    """Table rows (n,) of values, 0 for an unknown value."""
    return np.fromiter((rows.get(value, 0) for value in values), np.int64, len(values))
