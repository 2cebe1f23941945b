"""Baselines for lists from ratings: popularity, recent popularity and item-based neighbours.

A model that loses to popularity has learned nothing about users. On ratings split in time, recent popularity
is often the strongest baseline: users come back to rate new items.
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
    """Sum ``2 ** (-(now - t) / half_life)`` over the ratings of each item (items,).

    Args:
        ratings: Ratings, of which those after ``now_s`` are left out.
        now_s: Unix seconds.
        half_life_s: Half-life; infinite for plain counts.
        minimum_rating: Lowest rating that counts.
    """
    counted = (ratings.rating >= minimum_rating) & (ratings.time_s <= now_s)
    weights = np.exp2(-(now_s - ratings.time_s[counted]) / half_life_s)
    counts = np.bincount(ratings.item[counted], weights, len(ratings.item_ids))
    return counts.astype(np.float64, copy=False)


def popularity_scorer(
    ratings: Ratings, half_life_s: float = math.inf, minimum_rating: float = 0.0
) -> ItemScorer:
    """Score items by their number of ratings, decayed to the time of the last one."""
    counts = decayed_counts(ratings, float(ratings.time_s[-1]), half_life_s, minimum_rating)

    def scores(users: NDArray[np.int32]) -> NDArray[np.floating]:
        return np.broadcast_to(counts, (len(users), len(counts)))

    return scores


def item_neighbours_scorer(
    ratings: Ratings, *, neighbours: int = 50, shrinkage: float = 10.0, minimum_rating: float = 4.0
) -> ItemScorer:
    """Score items by item-based collaborative filtering (Sarwar et al., WWW 2001).

    The similarity of i and j is ``n_ij / (sqrt(n_i n_j) + shrinkage)`` with ``n_ij`` the users who liked both
    (the shrunk cosine of Bell and Koren, 2007). Users who liked nothing get popularity. Memory grows with the
    square of the number of items.

    Args:
        ratings: Training ratings.
        neighbours: Neighbours of each item; other items have similarity 0.
        shrinkage: Shrinkage of similarities that rest on few users.
        minimum_rating: Lowest rating of a liked item.
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
