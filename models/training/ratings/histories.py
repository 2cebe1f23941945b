"""Features at the moment of each rating: the user's earlier likes, and each item's popularity.

Guarantee: a feature at a moment uses only strictly earlier ratings, so that no label leaks into its own
example.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from freshet.models.datasets.movielens import Ratings

NOTHING = -1
"""Padding of the items of a user with fewer likes; its age is 0."""
MAX_MOMENTS = 256
"""Moments at which popularity is known; 1 MB for 1,000 items and one half-life."""


def joined(earlier: Ratings, later: Ratings) -> Ratings:
    """Ratings of two slices of one set as one, the earlier slice first."""
    return replace(
        earlier,
        user=np.concatenate([earlier.user, later.user]),
        item=np.concatenate([earlier.item, later.item]),
        rating=np.concatenate([earlier.rating, later.rating]),
        time_s=np.concatenate([earlier.time_s, later.time_s]),
    )


class RatingHistories:
    """Index of each user's likes by time.

    Args:
        ratings: Ratings in the order of time.
        minimum_rating: Lowest rating that counts as a like.
    """

    def __init__(self, ratings: Ratings, minimum_rating: float) -> None:
        liked = np.flatnonzero(ratings.rating >= minimum_rating)
        by_user = liked[np.argsort(ratings.user[liked], kind="stable")]
        self._item, self._time_s = ratings.item[by_user], ratings.time_s[by_user]
        counts = np.bincount(ratings.user[by_user], minlength=len(ratings.user_ids))
        self._start = np.concatenate([np.zeros(1, np.int64), np.cumsum(counts)])
        # Ranks of times instead of times: user and time in one ascending number, without rounding.
        self._moments = np.unique(self._time_s)
        self._first_s = np.full(len(ratings.user_ids), np.inf)
        np.minimum.at(self._first_s, ratings.user, ratings.time_s)
        self._keys = self._key(ratings.user[by_user], self._time_s)

    def before(
        self, users: NDArray[np.integer], times_s: NDArray[np.float64], limit: int
    ) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
        """Look up the likes of users before a time, the newest first.

        Args:
            users: Shape (B,), by number.
            times_s: Shape (B,), Unix seconds.
            limit: Maximum number of items of each user.

        Returns:
            Items (B, L), ``NOTHING`` where there are fewer, and their ages (B, L) in seconds; L is the length
            of the longest row.
        """
        start = self._start[users]
        end = np.searchsorted(self._keys, self._key(users, times_s), side="left")
        n = np.minimum(end - start, limit)  # (B,)
        back = np.arange(int(n.max(initial=0)))  # (L,), 0 is the newest
        used = back < n[:, None]  # (B, L)
        at = np.where(used, end[:, None] - 1 - back, 0)
        items = np.full(used.shape, NOTHING, np.int32)
        age_s = np.zeros(used.shape, np.float32)
        items[used] = self._item[at[used]]
        age_s[used] = (times_s[:, None] - self._time_s[at])[used] if used.any() else 0.0
        return items, age_s

    def tenure_s(self, users: NDArray[np.integer], times_s: NDArray[np.float64]) -> NDArray[np.float32]:
        """Seconds (B,) since each user's first rating, high or low; 0 before it."""
        tenure_s: NDArray[np.float64] = np.maximum(times_s - self._first_s[users], 0.0)
        return tenure_s.astype(np.float32)

    def _key(self, users: NDArray[np.integer], times_s: NDArray[np.float64]) -> NDArray[np.int64]:
        rank = np.searchsorted(self._moments, times_s, side="left")
        return users.astype(np.int64) * (len(self._moments) + 1) + rank


class PopularityInTime:
    """Popularity in time: the logarithm of each item's decayed count of likes.

    With n_i(t) the sum over an item's earlier likes of ``2 ** (-(t - t_like) / half_life)``, the value is
    ``log(1 + n_i(t))``. It is known at no more than ``MAX_MOMENTS`` moments, between equal numbers of
    ratings; a time has the value of the last moment at or before it.

    Args:
        ratings: Ratings in the order of time, at least one.
        minimum_rating: Lowest rating that counts as a like.
        half_lives_s: Half-lives in seconds; each gives one value of each item.
    """

    def __init__(self, ratings: Ratings, minimum_rating: float, half_lives_s: Sequence[float]) -> None:
        steps = np.linspace(0, len(ratings), min(MAX_MOMENTS, len(ratings)), endpoint=False).astype(np.int64)
        self._moments_s = np.unique(ratings.time_s[steps])
        half_lives = np.asarray(half_lives_s, np.float64)
        liked = np.flatnonzero(ratings.rating >= minimum_rating)
        item, time_s = ratings.item[liked], ratings.time_s[liked]
        n_items = len(ratings.item_ids)
        counts = np.zeros((n_items, len(half_lives)))
        values = np.zeros((len(self._moments_s) + 1, n_items, len(half_lives)), np.float32)
        done, now_s = 0, float(ratings.time_s[0])
        moments = [*self._moments_s.tolist(), float(np.nextafter(ratings.time_s[-1], np.inf))]
        for step, moment_s in enumerate(moments):
            counts *= np.exp2(-(moment_s - now_s) / half_lives)
            until = int(np.searchsorted(time_s, moment_s, side="left"))
            fresh = np.exp2(-(moment_s - time_s[done:until, None]) / half_lives)
            np.add.at(counts, item[done:until], fresh)
            values[step] = np.log1p(counts)
            done, now_s = until, moment_s
        self._values = values

    def at(self, times_s: NDArray[np.float64], items: NDArray[np.integer]) -> NDArray[np.float32]:
        """Values (B, C, half-lives) of ``items`` (B, C) at ``times_s`` (B,).

        A time before the first rating has the values of that moment, when nothing was liked yet.
        """
        step = np.maximum(np.searchsorted(self._moments_s, times_s, side="right") - 1, 0)
        values: NDArray[np.float32] = self._values[step[:, None], items]
        return values

    @property
    def last(self) -> NDArray[np.float32]:
        """Values (items, half-lives) after the last rating."""
        last: NDArray[np.float32] = self._values[-1]
        return last
