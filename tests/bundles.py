"""Small bundles with random weights, for tests of what happens to a bundle, not of how good it is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from freshet.models.embedding.bundle import (
    Bundle,
    EncoderSpec,
    Feature,
    Manifest,
    TowerSpec,
    TrainingRecord,
    UserSpec,
    save_bundle,
)

CATEGORIES = ("sport", "politics")


def random_bundle(
    folder: Path,
    *,
    name: str = "random",
    d: int = 16,
    encoder: EncoderSpec | None = None,
    features: Sequence[Feature] = ("category",),
    vocabularies: Mapping[str, tuple[str, ...]] | None = None,
    half_lives_s: tuple[float, ...] = (3_600.0, 86_400.0),
    attention: bool = False,
    population: bool = False,
    user_layers: bool = False,
    ranker_weights: Mapping[str, float] | None = None,
    end_s: float | None = None,
    seed: int = 0,
) -> Bundle:
    """Save a bundle whose tower is one layer over the text, if ``encoder`` is given, and ``features``.

    Vectors have norm 1, or 0 where nothing of the article is known.

    Args:
        folder: Of the bundle.
        name: The first part of its id.
        d: Dimension of its vectors.
        encoder: Of its texts; without one it reads no text.
        features: That it embeds, in 8 dimensions each.
        vocabularies: Of each feature; that of ``category`` is ``CATEGORIES`` by default.
        half_lives_s: One interest head each.
        attention: Give it ``user.attention``.
        population: Give it ``user.population``.
        user_layers: Give it one layer on each interest head.
        ranker_weights: By feature of the ranker.
        end_s: When its training data ends, Unix seconds.
        seed: Of the weights.
    """
    rng = np.random.default_rng(seed)
    user = UserSpec(
        half_lives_s=half_lives_s,
        negative_half_life_s=86_400.0,
        prior_weight=1.0,
        attention=attention,
        population=population,
        layers=("tanh",) if user_layers else (),
    )

    def normal(*shape: int) -> NDArray[np.float32]:
        return rng.normal(size=shape).astype(np.float32)

    known = {"category": CATEGORIES, **(vocabularies or {})}
    weights = {f"article.{feature}.weight": normal(1 + len(known[feature]), 8) for feature in features}
    width = 8 * len(features) + (0 if encoder is None else encoder.d)
    weights |= {"article.layers.0.weight": normal(d, width), "article.layers.0.bias": np.zeros(d, np.float32)}
    if attention:
        weights |= {"user.attention.weight": normal(user.heads, d), "user.attention.bias": normal(user.heads)}
    if population:
        weights["user.population"] = normal(user.heads, d)
    if user_layers:
        weights |= {"user.layers.0.weight": normal(d, d), "user.layers.0.bias": np.zeros(d, np.float32)}
    manifest = Manifest(
        name=name,
        model="random",
        d=d,
        encoder=encoder,
        tower=TowerSpec(
            uses_text=encoder is not None, features=tuple(features), layers=("none",), normalise=True
        ),
        user=user,
        vocabularies={feature: known[feature] for feature in features},
        ranker_weights=None if ranker_weights is None else dict(ranker_weights),
        training=TrainingRecord(
            folder="nowhere", data_sha256="0" * 64, examples=1_000, start_s=0.0, end_s=end_s, seed=seed
        ),
        figures={"auc": 0.5},
    )
    return save_bundle(folder, manifest, weights)
