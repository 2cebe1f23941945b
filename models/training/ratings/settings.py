"""Settings of two towers on ratings: one class that the towers and their training read, and checks.

Each model is a preset, a subclass: it changes defaults, turns a fixed attribute into a setting, or fixes a
setting with ``field(init=False)``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, Literal, get_args

from freshet.models.evaluation.ratings.baselines import SECONDS_PER_DAY
from freshet.models.training.negatives import Negatives
from freshet.models.training.setting_ranges import check_at_least, check_positive, check_share

RatingLoss = Literal["softmax", "logistic"]
HistoryPooling = Literal["none", "decayed", "attention"]

_TOWERS = (
    *("d", "item_widths", "user_widths", "id_embedding", "genre_embedding", "feature_embedding", "user_ids"),
    *("batch_norm", "dropout", "user_id_dropout", "normalise", "temperature", "learn_temperature"),
)
_TRAINING = (
    *("loss", "negatives", "n_negatives", "correct_sampling", "minimum_rating", "weigh_by_rating"),
    *("batch_size", "max_history", "popularity_half_lives_days", "recency_half_life_days", "refit"),
    "relevant_rating",
)


@dataclass(frozen=True)
class RatingSettings:
    """Settings of the two towers and of their training; a half-life of 0 days stands for no decay.

    Raises:
        ValueError: A value is out of range.
    """

    d: int = 32
    """Dimension of the towers' outputs."""
    id_embedding: int = 32
    """Dimension of the embeddings of user and item ids."""
    negatives: Negatives = "uniform"
    n_negatives: int = 100
    """Negatives for each like, where the batch itself does not give them."""
    minimum_rating: float = 4.0
    """Lowest rating that counts as a like, the positive example."""
    batch_size: int = 512
    max_history: int = 30
    """Newest likes that are pooled into a user's vector."""
    half_life_days: float = 0.0
    """Half-life of a like in the pooled history."""
    popularity_half_lives_days: tuple[float, ...] = ()
    """Half-lives of an item's popularity at the time of a rating; each adds one feature."""
    recency_half_life_days: float = 0.0
    """Half-life of an example's weight in the loss."""
    dropout: float = 0.2
    """Dropout rate after the towers' ReLU layers."""
    user_ids: bool = True
    """Embed user ids."""
    user_id_dropout: float = 0.3
    """Share of examples whose user is treated as unknown, so that row 0 learns to stand in."""
    refit: bool = True
    """Train once more with the validation's ratings, for as many epochs as were best."""

    # Fixed, unless a preset makes a setting of it.
    model: ClassVar[str]
    loss: ClassVar[RatingLoss] = "logistic"
    normalise: ClassVar[bool] = True
    learn_temperature: ClassVar[bool] = False
    relevant_rating: ClassVar[float] = 4.0
    genre_embedding = 16
    feature_embedding = 16
    batch_norm = False
    temperature = 1.0
    correct_sampling = False
    weigh_by_rating = False

    def __post_init__(self) -> None:
        """Check the ranges."""
        check_at_least(self, 1, "d", "id_embedding", "n_negatives", "max_history")
        check_at_least(self, 2, "batch_size")  # Batch normalization has no variance of a single example.
        check_at_least(self, 0, "half_life_days", "recency_half_life_days")
        check_share(self, "dropout", "user_id_dropout")
        check_positive(self, "temperature")
        if any(not days > 0.0 for days in self.popularity_half_lives_days):
            raise ValueError(
                f"popularity_half_lives_days are {self.popularity_half_lives_days}, must be positive"
            )
        if self.negatives == "skips" or self.negatives not in get_args(Negatives):
            kinds = [kind for kind in get_args(Negatives) if kind != "skips"]
            raise ValueError(f"negatives is {self.negatives!r}; for ratings there are {', '.join(kinds)}")
        widths = (*self.item_widths, *self.user_widths, 1)
        if min(widths) < 1 or self.genre_embedding < 0 or self.feature_embedding < 0:
            raise ValueError("a width is not positive")

    @property
    def item_widths(self) -> tuple[int, ...]:
        """Widths of the item tower's ReLU layers, before the last layer, which gives ``d``."""
        return ()

    @property
    def user_widths(self) -> tuple[int, ...]:
        """Widths of the user tower's ReLU layers, before the last layer, which gives ``d``."""
        return ()

    @property
    def history_pooling(self) -> HistoryPooling:
        """Pooling of a user's likes into one vector."""
        return "decayed"

    @property
    def half_life_s(self) -> float:
        """Half-life of a like in seconds, infinite without decay."""
        return self.half_life_days * SECONDS_PER_DAY if self.half_life_days else math.inf

    def record(self) -> dict[str, dict[str, object]]:
        """The settings by the names that a bundle's manifest has for them, as JSON."""
        return {
            "towers": {name: getattr(self, name) for name in _TOWERS}
            | {
                "pooling": self.history_pooling,
                # JSON has no infinity.
                "half_life_s": self.half_life_s if math.isfinite(self.half_life_s) else None,
                "popularity": len(self.popularity_half_lives_days),
            },
            "training": {name: getattr(self, name) for name in _TRAINING},
        }
