"""What the models of ratings let one choose, checked in one place."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import get_args

from freshet.models.evaluation.ratings.baselines import SECONDS_PER_DAY
from freshet.models.training.negatives import Negatives


@dataclass(frozen=True)
class RatingSettings:
    """The settings that every two-tower model of ratings has; 0 days stands for no limit.

    Raises:
        ValueError: A value is out of range.
    """

    d: int = 32
    id_embedding: int = 32
    negatives: Negatives = "uniform"
    n_negatives: int = 100
    minimum_rating: float = 4.0
    """From here on a rating is a like, what the model learns to find."""
    batch_size: int = 512
    max_history: int = 30
    """The newest likes that are pooled."""
    half_life_days: float = 0.0
    """Of a like in the pooled history."""
    popularity_half_lives_days: tuple[float, ...] = ()
    """Of the item's popularity at the time of a rating, a number feature for each."""
    recency_half_life_days: float = 0.0
    """Of an example's weight in training."""
    dropout: float = 0.2
    user_ids: bool = True
    user_id_dropout: float = 0.3
    refit: bool = True
    """Train once more with the validation's ratings, for as many epochs as were best."""

    def __post_init__(self) -> None:
        """Check the ranges."""
        for name in ("d", "id_embedding", "n_negatives", "max_history"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}, must be at least 1")
        if self.batch_size < 2:  # noqa: PLR2004 - batch normalization has no variance of a single example
            raise ValueError(f"batch_size is {self.batch_size}, must be at least 2")
        for name in ("dropout", "user_id_dropout"):
            if not 0.0 <= getattr(self, name) < 1.0:
                raise ValueError(f"{name} is {getattr(self, name)}, must be from 0 to below 1")
        for name in ("half_life_days", "recency_half_life_days"):
            if not 0.0 <= getattr(self, name) < math.inf:
                raise ValueError(f"{name} is {getattr(self, name)}, must not be negative")
        if any(not days > 0.0 for days in self.popularity_half_lives_days):
            raise ValueError(
                f"popularity_half_lives_days are {self.popularity_half_lives_days}, not positive"
            )
        if self.negatives == "skips" or self.negatives not in get_args(Negatives):
            kinds = [kind for kind in get_args(Negatives) if kind != "skips"]
            raise ValueError(f"negatives is {self.negatives!r}; for ratings there are {', '.join(kinds)}")

    @property
    def half_life_s(self) -> float:
        """Of a like, infinite where nothing fades."""
        return self.half_life_days * SECONDS_PER_DAY if self.half_life_days else math.inf
