"""What any model of ratings must beat: popularity, recent popularity, and the neighbours of what was liked.

A model that loses to popularity has learned nothing about users that is worth its training. On ratings cut in
time the strongest of them is often recent popularity: what is new is what people come back to rate.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from freshet.models.datasets.movielens import Ratings
from freshet.models.evaluation.ratings.top_n import ItemScorer

SECONDS_PER_DAY = 86_400.0


def decayed_counts(
    ratings: Ratings, now_s: float, half_life_s: float = math.inf, minimum_rating: float = 0.0
) -> NDArray[np.float64]:
    """Of each item (items,), the sum over its ratings of ``2 ** (-(now - t) / half_life)``.

    Args:
        ratings: Ratings after ``now_s`` are left out.
        now_s: Unix seconds.
        half_life_s: Infinite for plain counts.
        minimum_rating: Ratings below do not count.
    """
    counted = (ratings.rating >= minimum_rating) & (ratings.time_s <= now_s)
    weights = np.exp2(-(now_s - ratings.time_s[counted]) / half_life_s)
    counts = np.bincount(ratings.item[counted], weights, len(ratings.item_ids))
    return counts.astype(np.float64, copy=False)


def popularity_scorer(
    ratings: Ratings, half_life_s: float = math.inf, minimum_rating: float = 0.0
) -> ItemScorer:
    """Every user gets what has most ratings, decayed to the time of the last one."""
    counts = decayed_counts(ratings, float(ratings.time_s[-1]), half_life_s, minimum_rating)

    def scores(users: NDArray[np.int32]) -> NDArray[np.floating]:
        return np.broadcast_to(counts, (len(users), len(counts)))

    return scores


def item_neighbours_scorer(
    ratings: Ratings, *, neighbours: int = 50, shrinkage: float = 10.0, minimum_rating: float = 4.0
) -> ItemScorer:
    """What resembles the items that the user liked (Sarwar et al., "Item-based collaborative filtering").

    That is of 2001. The similarity of i and j is ``n_ij / (sqrt(n_i n_j) + shrinkage)`` with ``n_ij`` the
    users who liked both (the shrunk cosine of Bell and Koren, 2007). A user who liked nothing is served by
    popularity. Takes memory in the square of the number of items.

    Args:
        ratings: To learn from.
        neighbours: Of each item; the others have similarity 0.
        shrinkage: Makes little of what few users say.
        minimum_rating: From here on a user liked an item.
    """
    liked = ratings.rating >= minimum_rating
    likes = np.zeros((len(ratings.user_ids), len(ratings.item_ids)), np.float32)
    likes[ratings.user[liked], ratings.item[liked]] = 1.0
    together = likes.T @ likes
    norms = np.sqrt(np.diag(together))
    scale = norms[:, None] * norms[None, :] + shrinkage
    similarity = np.divide(together, scale, out=np.zeros_like(together), where=together > 0)
    np.fill_diagonal(similarity, 0.0)
    if neighbours < len(similarity):
        smallest = np.partition(similarity, -neighbours, axis=1)[:, -neighbours, None]
        similarity[similarity < smallest] = 0.0
    popularity = decayed_counts(ratings, float(ratings.time_s[-1]), minimum_rating=minimum_rating)

    def scores(users: NDArray[np.int32]) -> NDArray[np.floating]:
        liked_by = likes[users]
        without = ~liked_by.any(axis=1)
        result: NDArray[np.float32] = liked_by @ similarity
        result[without] = popularity
        return result

    return scores
