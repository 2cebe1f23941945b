"""YouTube DNN on ratings; on clicks it is :mod:`freshet.models.training.towers.youtube_dnn`.

One table of items serves both sides; the user tower reads what the user liked, averaged or attended to, age,
gender and occupation, and no id. The loss is logistic, a positive weighted by its stars. Both variants of the
pooling are served here: a user's vector is computed when training ends and kept in the bundle.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from freshet.models.training.ratings.settings import HistoryPooling, RatingSettings
from freshet.models.training.ratings.towers import ATTENTION_HEADS


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
    """Widths of the user tower's ReLU layers, before the last layer, which gives ``d``."""
    item_widths: tuple[int, ...] = (128,)
    """Widths of the item tower's ReLU layers, before the last layer, which gives ``d``."""
    pooling: Literal["average", "attention"] = "average"
    temperature: float = 0.1
    """Temperature that training starts from."""
    weigh_by_rating: bool = True
    """Weight of a like in the loss: its stars instead of 1."""

    model: ClassVar[str] = "youtube-dnn"
    learn_temperature: ClassVar[bool] = True

    def __post_init__(self) -> None:
        """Check the ranges."""
        super().__post_init__()
        if self.pooling == "attention" and self.d % ATTENTION_HEADS:
            raise ValueError(f"d is {self.d}, must be divisible by the {ATTENTION_HEADS} heads of attention")

    @property
    def history_pooling(self) -> HistoryPooling:
        """Pooling of the history; an average is decayed pooling with an infinite half-life."""
        return "attention" if self.pooling == "attention" else "decayed"
