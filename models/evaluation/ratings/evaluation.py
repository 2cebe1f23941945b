"""Rating prediction by a bundle: its RMSE, beside baselines without a model.

A bundle trained on ratings predicts ``bias + user.bias + article.bias + user . article``, with those terms
that it has, clipped to the range of its training ratings (weight ``rating.range``). Unknown users and items
contribute nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from freshet.models.datasets.movielens import Ratings, random_split
from freshet.models.embedding.bundle import Bundle, BundleError, Manifest
from freshet.models.embedding.feature_tower import FeatureTower, rows_of, value_rows, weight_of
from freshet.models.evaluation.ranking_metrics import Estimate
from freshet.models.evaluation.ratings.damped_means import DampedMeans
from freshet.models.evaluation.ratings.metrics import rmse_estimate


def rate(bundle: Bundle, ratings: Ratings) -> NDArray[np.float32]:
    """Predict ratings (n,), in stars, from the users and items of ``ratings``.

    Raises:
        BundleError: The bundle was not trained on ratings.
    """
    vocabularies, weights = bundle.manifest.vocabularies, bundle.weights
    if "rating.range" not in weights:
        raise BundleError(
            f"{bundle.id} ({bundle.manifest.model}) predicts no ratings: train mf on a MovieLens folder"
        )
    low, high = weight_of(bundle, "rating.range", (2,))
    user_ids = vocabularies.get("user_id", ())
    users = rows_of(value_rows(user_ids), ratings.user_ids)[ratings.user]
    tower = FeatureTower(bundle)
    table = weight_of(bundle, "user.table.weight", (1 + len(user_ids), tower.d))
    items = tower.id_vectors(ratings.item_ids)
    predictions = np.einsum("nd,nd->n", table[users], items[ratings.item])
    predictions += tower.biases(ratings.item_ids)[ratings.item]
    if "user.bias" in weights:
        predictions += weight_of(bundle, "user.bias", (1 + len(user_ids),))[users]
    if "bias" in weights:
        predictions += weight_of(bundle, "bias", (1,))
    clipped: NDArray[np.float32] = predictions.clip(low, high)
    return clipped


@dataclass(frozen=True)
class RatingReport:
    """RMSEs on ratings that were not trained on, in stars."""

    ratings: int
    model: Estimate
    """RMSE of the bundle."""
    mean: Estimate
    """RMSE of the mean training rating."""
    means: Estimate
    """RMSE of the user and item biases."""
    new_users: int
    """Ratings by users without a training rating."""
    new_items: int
    """Ratings of items without a training rating."""

    @property
    def methods(self) -> dict[str, Estimate]:
        """RMSEs by method, the bundle's last."""
        return {"mean": self.mean, "user and item means": self.means, "bundle": self.model}


def held_out(manifest: Manifest, ratings: Ratings) -> tuple[Ratings, Ratings]:
    """Split ratings as the bundle's training did, into those trained or validated on and the rest.

    Raises:
        BundleError: It was trained on other ratings, or on all, or its manifest has no split.
    """
    record = manifest.training
    if record.data_sha256 != ratings.sha256:
        raise BundleError(f"{manifest.id} was trained on {record.folder}, which is not this set of ratings")
    until = record.settings.get("until")
    if not isinstance(until, int | float):
        raise BundleError(f"{manifest.id} does not say which ratings it was trained on (settings.until)")
    seen, rest = random_split(ratings, 1.0 - until, record.seed)
    if not len(rest):
        raise BundleError(f"{manifest.id} was trained on all ratings: train it with --until 0.8")
    return seen, rest


def evaluate_ratings(bundle: Bundle, ratings: Ratings) -> RatingReport:
    """Measure a bundle on the ratings that its training left out.

    Args:
        bundle: A bundle trained on a random part of ``ratings``.
        ratings: The whole set.

    Raises:
        BundleError: See :func:`rate` and :func:`held_out`.
    """
    seen, rest = held_out(bundle.manifest, ratings)
    predictions = rate(bundle, rest)
    low, high = seen.rating_range
    means = DampedMeans.of(seen)
    return RatingReport(
        len(rest),
        rmse_estimate(predictions, rest.rating),
        rmse_estimate(np.full(len(rest), means.mean), rest.rating),
        rmse_estimate(means.rate(rest).clip(low, high), rest.rating),
        _without(seen.user, rest.user, len(ratings.user_ids)),
        _without(seen.item, rest.item, len(ratings.item_ids)),
    )


def extreme_titles(
    bundle: Bundle, ratings: Ratings, components: int = 3, count: int = 5, min_ratings: int = 50
) -> list[tuple[tuple[str, ...], tuple[str, ...]]]:
    """List the films at both ends of the first principal components of the item vectors.

    Args:
        bundle: A bundle with item vectors by id.
        ratings: Ratings with titles.
        components: Number of components.
        count: Films at each end.
        min_ratings: Fewest ratings of a listed film; with few ratings, vectors are near zero.

    Returns:
        The titles at the lower and the upper end of each component; the sign of a component is arbitrary.
    """
    vectors = FeatureTower(bundle).id_vectors(ratings.item_ids)
    often = np.bincount(ratings.item, minlength=len(ratings.item_ids)) >= min_ratings
    kept = np.flatnonzero(often & vectors.any(axis=1))
    centred = vectors[kept] - vectors[kept].mean(axis=0)
    _, _, axes = np.linalg.svd(centred, full_matrices=False)
    ends = []
    for axis in axes[:components]:
        order = kept[np.argsort(centred @ axis, kind="stable")]
        low, high = order[:count], order[-count:][::-1]
        ends.append((tuple(ratings.titles[i] for i in low), tuple(ratings.titles[i] for i in high)))
    return ends


def _without(seen: NDArray[np.int32], rest: NDArray[np.int32], size: int) -> int:
    known = np.zeros(size, np.bool_)
    known[seen] = True
    return int((~known[rest]).sum())
