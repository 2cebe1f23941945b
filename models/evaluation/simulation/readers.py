r"""Simulated readers of a synthetic newspaper: their visits, and their clicks on the lists of a policy.

The world is that of :mod:`freshet.models.datasets.synthetic.world`, and its readers come, drift and change
their mood as in :mod:`freshet.models.datasets.synthetic.stream`. But a policy chooses their lists, and a list
need not get a click. A candidate at position i (from 0) is clicked with :math:`p = e(i)\, a`, independently.

Common random numbers: every policy has the same visits, moods and drifts, and one random number decides for
all policies whether a reader clicks an article in a visit: it does if the number is below p. So policies
differ by their lists, not by chance. (A click changes the reader's mood, so that later visits may differ.)

Time runs in windows of a few minutes. Within a window, articles' timeliness is constant, and each reader
comes at most once.
"""

from __future__ import annotations

from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass, replace
from operator import itemgetter

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
    """Shape (b,), rows of the world's readers, each at most once."""
    before: NDArray[np.int64]
    """Rows of the readers who came in the window before."""
    first: int
    """Number of visits in all windows before."""


def visits(world: World, seed: int) -> Iterator[Visits]:
    """Yield all windows with their visits, ``world.config.impressions`` in all; the world does not change."""
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
    """Readers of one policy's world.

    Args:
        world: Articles and readers; the readers are copied.
        seed: Seed, the same for all compared policies.
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
        """Begin a window; return the number of the world's articles that are published by then.

        An article counts as published in the window after its publication.
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
        """Articles that a reader clicked before the stream, the oldest first."""
        return [int(row) for row in self._histories[user] if row >= 0]

    def attractions(self, visit: int, articles: NDArray[np.int64]) -> NDArray[np.float64]:
        """Probability (n,) that the window's ``visit``-th reader clicks each article when looking at it."""
        user = self._current.users[visit]
        interest = self._world.articles.vectors[articles] @ self._minds[visit]
        shown = (self._shown[user][:, None] == articles).sum(axis=0)
        return attraction(interest + self._lasting[articles] + SEEN_BEFORE * shown)

    def show(self, visit: int, articles: NDArray[np.int64]) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        """Show a list; return the click probabilities (n,) at its articles' positions, and the clicks."""
        chances = examination(np.arange(len(articles))) * self.attractions(visit, articles)
        user = int(self._current.users[visit])
        clicked = self._luck(self._current.first + visit, articles) < chances
        place = (self._shown_count[user] + np.arange(len(articles))) % SHOWN
        self._shown[user, place] = articles
        self._shown_count[user] += len(articles)
        self._clicks += [(user, int(row)) for row in articles[clicked]]
        return chances, clicked

    def best_values(self, k: int) -> NDArray[np.float64]:
        """Expected clicks (b,) of the oracle's list of k in each of the window's visits.

        The oracle knows every probability and shows the best of all published articles that the reader has
        not clicked, the best first. Call it before the window's lists are shown.
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
        """End the window: apply its clicks to histories and moods."""
        if self._clicks:
            by_user = sorted(self._clicks, key=itemgetter(0))
            users, articles = np.array(by_user, np.int64).T
            remember(self._readers, users, articles, self._world.articles.vectors)
            self._clicks.clear()

    @property
    def _current(self) -> Visits:
        if self._visits is None:
            raise RuntimeError("no window has begun: call begin() first")
        return self._visits

    def _luck(self, visit: int, articles: NDArray[np.int64]) -> NDArray[np.float64]:
        """Hash a visit and each article to a number (n,) in [0, 1): splitmix64 (Steele, Lea, Flood, 2014)."""
        with np.errstate(over="ignore"):
            key = self._salt + np.uint64(visit) * np.uint64(0x9E3779B97F4A7C15)
            mixed = key + articles.astype(np.uint64) * np.uint64(0xD1342543DE82EF95)
            for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
                mixed = (mixed ^ (mixed >> np.uint64(shift))) * np.uint64(factor)
            mixed ^= mixed >> np.uint64(31)
        return (mixed >> np.uint64(11)).astype(np.float64) * 2.0**-53
