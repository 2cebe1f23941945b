"""Index of the articles that each user clicked, which negative sampling excludes."""

from __future__ import annotations

from typing import Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from freshet.models.datasets.impression_log import ImpressionLog
from freshet.models.datasets.pair_set import PairSet
from freshet.models.datasets.ragged import concatenated_ranges


class PositiveIndex:
    """Set of positive pairs of user and item.

    Args:
        users: User number of each pair (pairs,).
        items: Item number of each pair (pairs,).
        n_users: Number of users; by default, one more than the largest.
        n_items: Number of items; by default, one more than the largest.

    Raises:
        ValueError: The columns differ in length, or a number is negative or too large.
    """

    def __init__(
        self, users: ArrayLike, items: ArrayLike, *, n_users: int | None = None, n_items: int | None = None
    ) -> None:
        user, item = np.asarray(users, np.int64), np.asarray(items, np.int64)
        if user.shape != item.shape or user.ndim != 1:
            raise ValueError(f"users {user.shape} and items {item.shape} must be columns of one length")
        self.n_users = _checked_size("users", user, n_users)
        self.n_items = _checked_size("items", item, n_items)
        self._pairs = PairSet(user, item, max(self.n_items, 1))
        self.items: NDArray[np.int32] = self._pairs.second.astype(np.int32)
        """Shape (pairs,): user ``u`` has ``items[starts[u] : starts[u + 1]]``, ascending."""
        self.starts: NDArray[np.int64] = self._pairs.starts(self.n_users)
        """Shape (n_users + 1,): bounds of the users' items."""
        self.item_counts: NDArray[np.int64] = np.bincount(self.items, minlength=self.n_items)
        """Shape (n_items,): number of users of each item."""

    @classmethod
    def of_log(cls, log: ImpressionLog) -> Self:
        """Index the clicks of a log and of its users' histories, for all its users and articles."""
        lengths = np.diff(log.slate_start)
        clicked = np.flatnonzero(log.clicked)
        click_user = np.repeat(log.user, lengths)[clicked]
        # (pairs,): distinct pairs of history and user, as one number.
        owner = np.sort(log.history.astype(np.int64) * len(log.user_ids) + log.user)
        owner = owner[np.diff(owner, prepend=-1) > 0]
        history, history_user = np.divmod(owner, max(len(log.user_ids), 1))
        history_lengths = np.diff(log.history_start)[history]
        # (history clicks,): positions in history_items.
        at = concatenated_ranges(log.history_start[history], history_lengths)
        return cls(
            np.concatenate([click_user, np.repeat(history_user, history_lengths)]),
            np.concatenate([log.candidates[clicked], log.history_items[at]]),
            n_users=len(log.user_ids),
            n_items=len(log.articles),
        )

    def __len__(self) -> int:
        return len(self._pairs)

    def of(self, user: int) -> NDArray[np.int32]:
        """Return the items of ``user``, ascending."""
        return self.items[int(self.starts[user]) : int(self.starts[user + 1])]

    def contains(self, users: ArrayLike, items: ArrayLike) -> NDArray[np.bool_]:
        """Whether pairs are positives; ``users`` and ``items`` are broadcast to the result's shape."""
        return self._pairs.contains(users, items)


def _checked_size(name: str, numbers: NDArray[np.int64], size: int | None) -> int:
    low, high = int(numbers.min(initial=0)), int(numbers.max(initial=-1))
    size = high + 1 if size is None else size
    if low < 0 or high >= size:
        raise ValueError(f"{name} go from {low} to {high}: they must be from 0 to before {size}")
    return size
