r"""The readers of a synthetic newspaper, shown lists by a policy: who comes when, and what is clicked.

The world is that of :mod:`freshet.models.datasets.synthetic.world`, its readers come, drift and change their
mood as in :mod:`freshet.models.datasets.synthetic.stream`; but what they are shown is what a policy chooses,
and a list need not get a click. A candidate at position i (from 0) is clicked with :math:`p = e(i)\, a`,
independently.

Common random numbers: every policy meets the same visits, moods and drifts, and a reader's click on an
article in one visit is decided by one number for all policies: clicked if it is below p. So two policies
differ by what they show, not by luck. (A click moves the reader's mood, so later visits may differ, as they
should.)

Time runs in windows of a few minutes; within one, articles' timeliness stands still, and each reader comes
once at most.
"""

from __future__ import annotations

from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from freshet.models.datasets.synthetic.stream import (
    SEEN_BEFORE,
    SHOWN,
    attraction,
    examination,
    feel,
    remember,
    visitors,
    window_plan,
)
from freshet.models.datasets.synthetic.world import World

_CHUNK = 256


@dataclass(frozen=True, slots=True)
class Visits:
    """One window's visits in the order of time."""

    start_s: float
    end_s: float
    times_s: NDArray[np.int64]
    """Shape (b,), Unix seconds, ascending."""
    users: NDArray[np.int64]
    """Shape (b,), rows of the world's readers; none twice."""
    before: NDArray[np.int64]
    """Who came in the window before."""
    first: int
    """Visits in all windows before."""


def visits(world: World, seed: int) -> Iterator[Visits]:
    """All windows with their visits, ``world.config.impressions`` in all; changes nothing."""
    rng = np.random.default_rng([seed, 1])
    edges, counts = window_plan(world, rng)
    before = np.empty(0, np.int64)
    first = 0
    for start_s, end_s, count in zip(edges[:-1].tolist(), edges[1:].tolist(), counts.tolist(), strict=True):
        users, times_s = before[:0], np.empty(0, np.int64)
        if count:
            users = visitors(world, before, count, (start_s, end_s), rng)
            times_s = np.sort(rng.integers(int(start_s), max(int(end_s), int(start_s) + 1), len(users)))
        yield Visits(start_s, end_s, times_s, users, before, first)
        before, first = users, first + len(users)


class SimulatedReaders:
    """The readers of one policy's world.

    Args:
        world: Articles and readers; the readers are copied.
        seed: The same for all policies that are compared.
    """

    def __init__(self, world: World, seed: int) -> None:
        self._histories = world.readers.clicked
        self._world = replace(world, readers=deepcopy(world.readers))
        self._readers = self._world.readers
        self._rng = np.random.default_rng([seed, 2])
        self._salt = np.uint64(np.random.SeedSequence([seed, 3]).generate_state(1, np.uint64)[0])
        n = len(self._readers.ids)
        self._shown = np.full((n, SHOWN), -1, np.int32)
        self._shown_count = np.zeros(n, np.int64)
        self._minds: NDArray[np.float32] = np.zeros((0, 0), np.float32)
        self._visits: Visits | None = None
        self._lasting: NDArray[np.float64] = np.zeros(0)
        self._clicks: list[tuple[int, int]] = []

    def begin(self, now: Visits) -> int:
        """Let the visits of a window begin; gives how many articles are published, the world's first.

        An article counts as published in the window that follows its publication.
        """
        readers, articles = self._readers, self._world.articles
        if len(now.users):
            feel(self._world, now.users, now.before, now.times_s, self._rng)
        self._minds = (readers.base + readers.drift + readers.mood)[now.users]
        self._visits = now
        published = int(np.searchsorted(articles.published_s, now.start_s))
        rows = np.arange(published)
        middle_s = np.full(published, 0.5 * (now.start_s + now.end_s))
        self._lasting = articles.quality[:published] + articles.timeliness(rows, middle_s)
        return published

    def history(self, user: int) -> list[int]:
        """The articles that a reader clicked before the stream, the oldest first."""
        return [int(row) for row in self._histories[user] if row >= 0]

    def attractions(self, visit: int, articles: NDArray[np.int64]) -> NDArray[np.float64]:
        """The chance (n,) that the window's ``visit``-th reader clicks each article once looked at."""
        user = self._current.users[visit]
        interest = self._world.articles.vectors[articles] @ self._minds[visit]
        shown = (self._shown[user][:, None] == articles).sum(axis=0)
        return attraction(interest + self._lasting[articles] + SEEN_BEFORE * shown)

    def show(self, visit: int, articles: NDArray[np.int64]) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        """Show a list: each article's chance of a click where it stands, and whether it was clicked, (n,)."""
        chances = examination(np.arange(len(articles))) * self.attractions(visit, articles)
        user = int(self._current.users[visit])
        clicked = self._luck(self._current.first + visit, articles) < chances
        place = (self._shown_count[user] + np.arange(len(articles))) % SHOWN
        self._shown[user, place] = articles
        self._shown_count[user] += len(articles)
        self._clicks += [(user, int(row)) for row in articles[clicked]]
        return chances, clicked

    def best_values(self, k: int) -> NDArray[np.float64]:
        """The oracle: for each of the window's visits (b,), the most clicks to be expected of a list of k.

        The oracle knows every chance and shows the best of all published articles that the reader has not
        clicked, the best first. To be asked before the window's lists are shown.
        """
        now, published = self._current, len(self._lasting)
        looks = examination(np.arange(k))
        values = np.zeros(len(now.users))
        for start in range(0, len(now.users), _CHUNK):
            users = now.users[start : start + _CHUNK]
            odds = self._minds[start : start + _CHUNK] @ self._world.articles.vectors[:published].T
            odds = odds.astype(np.float64) + self._lasting
            visit = np.arange(len(users))[:, None]
            shown = self._shown[users]
            np.add.at(odds, (np.broadcast_to(visit, shown.shape)[shown >= 0], shown[shown >= 0]), SEEN_BEFORE)
            clicked = self._readers.clicked[users]
            odds[np.broadcast_to(visit, clicked.shape)[clicked >= 0], clicked[clicked >= 0]] = -np.inf
            best = -np.sort(-np.partition(odds, published - k, axis=1)[:, published - k :], axis=1)
            values[start : start + _CHUNK] = attraction(best) @ looks
        return values

    def end(self) -> None:
        """End the window: clicks enter histories and moods."""
        if self._clicks:
            order = sorted(range(len(self._clicks)), key=lambda i: self._clicks[i][0])
            users, articles = np.array([self._clicks[i] for i in order], np.int64).T
            remember(self._readers, users, articles, self._world.articles.vectors)
            self._clicks.clear()

    @property
    def _current(self) -> Visits:
        if self._visits is None:
            raise RuntimeError("no window has begun: call begin() first")
        return self._visits

    def _luck(self, visit: int, articles: NDArray[np.int64]) -> NDArray[np.float64]:
        """A number in [0, 1) for a visit and each article: splitmix64 (Steele, Lea, Flood, 2014)."""
        with np.errstate(over="ignore"):
            key = self._salt + np.uint64(visit) * np.uint64(0x9E3779B97F4A7C15)
            mixed = key + articles.astype(np.uint64) * np.uint64(0xD1342543DE82EF95)
            for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
                mixed = (mixed ^ (mixed >> np.uint64(shift))) * np.uint64(factor)
            mixed ^= mixed >> np.uint64(31)
        return (mixed >> np.uint64(11)).astype(np.float64) * 2.0**-53
