"""YouTube DNN on ratings; on clicks it is :mod:`freshet.models.training.towers.youtube_dnn`.

One table of items serves both sides; the user tower reads what the user liked, averaged or attended to, age,
gender and occupation, and no id. The loss is logistic, a positive weighted by its stars. Both variants of the
pooling are served here: a user's vector is computed when training ends and kept in the bundle.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from freshet.models.datasets.movielens import Ratings
from freshet.models.training.loop import FitSettings, Observer
from freshet.models.training.ratings.settings import RatingSettings
from freshet.models.training.ratings.task import RatingOptions, train_ratings
from freshet.models.training.ratings.towers import ATTENTION_HEADS, RatingTowerSizes
from freshet.models.training.trained_model import TrainedModel

MODEL = "youtube-dnn"


@dataclass(frozen=True)
class YoutubeDnnRatingSettings(RatingSettings):
    """Settings of the YouTube DNN on ratings.

    Raises:
        ValueError: A value is out of range.
    """

    d: int = 64
    id_embedding: int = 64
    popularity_half_lives_days: tuple[float, ...] = (2.0,)
    recency_half_life_days: float = 14.0
    n_negatives: int = 20
    user_ids: bool = False
    genre_embedding: int = 16
    feature_embedding: int = 16
    user_widths: tuple[int, ...] = (256, 128)
    item_widths: tuple[int, ...] = (128,)
    """Before the last, which gives ``d``."""
    pooling: Literal["average", "attention"] = "average"
    temperature: float = 0.1
    """The first; it is learned."""
    weigh_by_rating: bool = True

    def __post_init__(self) -> None:
        """Check the ranges."""
        super().__post_init__()
        if not self.temperature > 0.0:
            raise ValueError(f"temperature is {self.temperature}, must be positive")
        if min((*self.user_widths, *self.item_widths, 1)) < 1 or self.genre_embedding < 0:
            raise ValueError("a width is not positive")
        if self.pooling == "attention" and self.d % ATTENTION_HEADS:
            raise ValueError(f"d is {self.d}, must be divisible by the {ATTENTION_HEADS} heads of attention")


def train_youtube_dnn_ratings(
    train: Ratings,
    validation: Ratings,
    settings: YoutubeDnnRatingSettings,
    fit: FitSettings,
    observer: Observer,
) -> TrainedModel:
    """Train on ratings in the order of time.

    Args:
        train: Earlier in time.
        validation: Later; decides when to stop.
        settings: The model's.
        fit: The loop's.
        observer: Is told of progress.

    Raises:
        ValueError: There is nothing to learn from or to validate on.
    """
    sizes = RatingTowerSizes(
        d=settings.d,
        item_widths=settings.item_widths,
        user_widths=settings.user_widths,
        id_embedding=settings.id_embedding,
        genre_embedding=settings.genre_embedding,
        feature_embedding=settings.feature_embedding,
        user_ids=settings.user_ids,
        pooling="attention" if settings.pooling == "attention" else "decayed",
        batch_norm=False,
        dropout=settings.dropout,
        user_id_dropout=settings.user_id_dropout,
        normalise=True,
        temperature=settings.temperature,
        learn_temperature=True,
        half_life_s=settings.half_life_s,
        popularity=len(settings.popularity_half_lives_days),
    )
    options = RatingOptions(
        loss="logistic",
        negatives=settings.negatives,
        n_negatives=settings.n_negatives,
        correct_sampling=False,
        minimum_rating=settings.minimum_rating,
        weigh_by_rating=settings.weigh_by_rating,
        batch_size=settings.batch_size,
        max_history=settings.max_history,
        popularity_half_lives_days=settings.popularity_half_lives_days,
        recency_half_life_days=settings.recency_half_life_days,
        refit=settings.refit,
    )
    return train_ratings(MODEL, train, validation, sizes, options, fit, observer)
