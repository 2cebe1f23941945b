"""Lists that request after request asks for, remembered until what they list changes.

Which articles are the newest or the most popular depends on nothing of a request but its filter, and most
requests have the same: asking Qdrant Edge for both took a fifth of an answer's time. Guarantee: a list is
never given after :meth:`RememberedLists.forget` that was asked for before it, nor when it is older than lists
may be.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Hashable

from freshet.models.ports import Hit

MAX_LISTS = 64
"""Of requests that each have a filter of their own only the first so many are kept."""
_STEP = 64


class RememberedLists:
    """Lists by what was asked; safe to use from several threads.

    Args:
        max_age_s: Of a list, where others may change what it lists.
    """

    def __init__(self, max_age_s: float = math.inf) -> None:
        self._max_age_s = max_age_s
        self._lists: dict[Hashable, list[Hit]] = {}
        self._since_s = time.monotonic()

    def forget(self) -> None:
        """Forget everything, because what is listed has changed."""
        # A new one: what is being asked for at this moment goes into the old one, which nobody reads.
        self._lists = {}
        self._since_s = time.monotonic()

    def first(self, k: int, question: Hashable, ask: Callable[[int], list[Hit]]) -> list[Hit]:
        """The first ``k`` of the list that answers ``question``.

        Args:
            k: At least 1.
            question: What is asked, but for the length.
            ask: Gives so many of the list; it is called with at least ``k``.
        """
        if time.monotonic() - self._since_s >= self._max_age_s:
            self.forget()
        lists = self._lists
        # Rounded up, because lengths differ from request to request by what is to be dropped from them.
        length = -(-k // _STEP) * _STEP
        key = (question, length)
        found = lists.get(key)
        if found is None:
            found = ask(length)
            if len(lists) < MAX_LISTS:
                lists[key] = found
        return found[:k]
