"""The plain two-tower model of ratings: a vector for each user and each item, and their dot product.

    score(u, i) = e_u . e_i,   loss = log(1 + exp(-score)) of what was rated
                                    + log(1 + exp(score)) of each of 10 items drawn at random

It is matrix factorization on implicit feedback (Hu, Koren and Volinsky, 2008) trained with sampled negatives,
and the setting of RePlay's two-tower notebook: 16 dimensions, 10 random negatives for each positive, binary
cross-entropy, 30 epochs. It shows what a table of ids and nothing else can do: it knows neither recency nor
age nor genre, and a user without ratings is the mean of all others.

The published figure on MovieLens 100K is NDCG@10 .0345 for users known before the cut. This reaches about
.126, a little less than recommending the most rated films (.139). What the notebook does besides is not
known, but its figure is that of a model which has not learned popularity.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from freshet.models.datasets.movielens import Ratings
from freshet.models.training.loop import FitSettings, Observer
from freshet.models.training.ratings.settings import RatingSettings
from freshet.models.training.ratings.task import RatingOptions, train_ratings
from freshet.models.training.ratings.towers import RatingTowerSizes
from freshet.models.training.trained_model import TrainedModel

MODEL = "two-tower"


@dataclass(frozen=True)
class TwoTowerSettings:
    """The published setting.

    Raises:
        ValueError: A value is out of range.
    """

    d: int = 16
    n_negatives: int = 10
    minimum_rating: float = 0.0
    """From here on a rating is a positive; 0: every rating is one, whatever its stars."""
    batch_size: int = 512
    refit: bool = True

    def __post_init__(self) -> None:
        """Check the ranges."""
        self.checked()

    def checked(self) -> RatingSettings:
        """The same as settings of any two-tower model."""
        return RatingSettings(
            d=self.d,
            id_embedding=self.d,
            n_negatives=self.n_negatives,
            minimum_rating=self.minimum_rating,
            batch_size=self.batch_size,
            refit=self.refit,
        )


def train_two_tower_ratings(
    train: Ratings,
    validation: Ratings,
    settings: TwoTowerSettings,
    fit: FitSettings,
    observer: Observer,
) -> TrainedModel:
    """Train on ratings in the order of time.

    Args:
        train: Earlier in time.
        validation: Later; decides when to stop, and which epoch is kept.
        settings: The model's.
        fit: The loop's; the published one has ``epochs=30``.
        observer: Is told of progress.

    Raises:
        ValueError: There is nothing to learn from or to validate on.
    """
    sizes = RatingTowerSizes(
        d=settings.d,
        item_widths=(),
        user_widths=(),
        id_embedding=settings.d,
        genre_embedding=0,
        feature_embedding=0,
        user_ids=True,
        pooling="none",
        batch_norm=False,
        dropout=0.0,
        user_id_dropout=0.0,
        normalise=False,
        temperature=1.0,
        learn_temperature=False,
        half_life_s=math.inf,
        popularity=0,
    )
    options = RatingOptions(
        loss="logistic",
        negatives="uniform",
        n_negatives=settings.n_negatives,
        correct_sampling=False,
        minimum_rating=settings.minimum_rating,
        weigh_by_rating=False,
        batch_size=settings.batch_size,
        max_history=1,
        popularity_half_lives_days=(),
        recency_half_life_days=0.0,
        refit=settings.refit,
    )
    return train_ratings(MODEL, train, validation, sizes, options, fit, observer)
