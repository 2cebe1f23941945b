"""Each user's clicks as a sequence: the sentences of item2vec and the rows of the item graph."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from freshet.models.datasets.impression_log import ImpressionLog
from freshet.models.datasets.movielens import Ratings
from freshet.models.datasets.ragged import concatenated_ranges


@dataclass(frozen=True)
class ClickSequences:
    """Sequences of items in one array. Treat the arrays as read-only."""

    items: NDArray[np.int32]
    """Shape (clicks,): item numbers."""
    starts: NDArray[np.int64]
    """Shape (sequences + 1,): sequence ``s`` is ``items[starts[s] : starts[s + 1]]``, the oldest first."""
    n_items: int
    """Number of items, whether they occur or not."""

    @classmethod
    def of_log(cls, log: ImpressionLog) -> Self:
        """Concatenate each user's history at the first impression in the log and the clicks in the log.

        Sequence ``u`` belongs to user ``u``; it is empty for a user without clicks, or without impressions in
        this slice of the log. Clicks of an impression are in the order of its candidates.
        """
        users = len(log.user_ids)
        first = np.full(users, -1, np.int64)  # (users,): first impression; the last assignment wins
        first[log.user[::-1]] = np.arange(len(log))[::-1]
        history = np.where(first >= 0, log.history[first], 0) if len(log) else np.zeros(users, np.int64)
        begin = log.history_start[history]
        lengths = log.history_start[history + 1] - begin
        at = concatenated_ranges(begin, lengths)  # (history clicks,): positions in history_items
        clicks = np.flatnonzero(log.clicked)
        impression = np.searchsorted(log.slate_start, clicks, side="right") - 1
        return cls._by_user(
            np.concatenate([np.repeat(np.arange(users), lengths), log.user[impression]]),
            np.concatenate([log.history_items[at], log.candidates[clicks]]),
            users,
            len(log.articles),
        )

    @classmethod
    def of_ratings(cls, ratings: Ratings, min_rating: float = 0.0) -> Self:
        """List each user's items with at least ``min_rating`` stars, in the order of time."""
        liked = ratings.rating >= min_rating
        users = len(ratings.user_ids)
        return cls._by_user(ratings.user[liked], ratings.item[liked], users, len(ratings.item_ids))

    @classmethod
    def _by_user(cls, user: NDArray[np.integer], items: NDArray[np.int32], users: int, n_items: int) -> Self:
        order = np.argsort(user, kind="stable")
        starts = np.concatenate([[0], np.cumsum(np.bincount(user, minlength=users))]).astype(np.int64)
        return cls(items[order], starts, n_items)

    def __len__(self) -> int:
        return len(self.starts) - 1

    def __getitem__(self, number: int) -> NDArray[np.int32]:
        """Return the items of a sequence."""
        return self.items[int(self.starts[number]) : int(self.starts[number + 1])]

    @property
    def counts(self) -> NDArray[np.int64]:
        """Number of occurrences of each item (n_items,)."""
        return np.bincount(self.items, minlength=self.n_items)

    @property
    def rows(self) -> NDArray[np.int64]:
        """Sequence number of each click (clicks,)."""
        return np.repeat(np.arange(len(self)), np.diff(self.starts))

    def latest(self, limit: int) -> Self:
        """Keep at most the ``limit`` latest clicks of each sequence."""
        lengths = np.diff(self.starts)
        from_end = np.repeat(self.starts[1:], lengths) - np.arange(len(self.items))
        starts = np.concatenate([[0], np.cumsum(np.minimum(lengths, limit))]).astype(np.int64)
        return type(self)(self.items[from_end <= limit], starts, self.n_items)
