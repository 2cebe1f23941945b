"""Plain two-tower model of ratings: a vector for each user and each item, and their dot product.

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

from dataclasses import dataclass, field
from typing import ClassVar

from freshet.models.training.negatives import Negatives
from freshet.models.training.ratings.settings import HistoryPooling, RatingSettings


@dataclass(frozen=True)
class TwoTowerSettings(RatingSettings):
    """Settings of the plain two-tower model; the defaults are the published ones.

    Raises:
        ValueError: A value is out of range.
    """

    d: int = 16
    n_negatives: int = 10
    minimum_rating: float = 0.0
    """Lowest rating that counts as a positive; 0: every rating is one, whatever its stars."""

    id_embedding: int = field(init=False, default=0)
    negatives: Negatives = field(init=False, default="uniform")
    max_history: int = field(init=False, default=1)
    half_life_days: float = field(init=False, default=0.0)
    popularity_half_lives_days: tuple[float, ...] = field(init=False, default=())
    recency_half_life_days: float = field(init=False, default=0.0)
    dropout: float = field(init=False, default=0.0)
    user_ids: bool = field(init=False, default=True)
    user_id_dropout: float = field(init=False, default=0.0)

    model: ClassVar[str] = "two-tower"
    normalise: ClassVar[bool] = False
    genre_embedding = 0
    feature_embedding = 0

    def __post_init__(self) -> None:
        """Give the embeddings ``d`` dimensions: without layers they are the vectors themselves."""
        object.__setattr__(self, "id_embedding", self.d)
        super().__post_init__()

    @property
    def history_pooling(self) -> HistoryPooling:
        """Pooling: none, a user is an id."""
        return "none"
