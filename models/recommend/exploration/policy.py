"""Exploration: which slots of a list go to articles that little is known of, and how likely each pick was."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from freshet.models.articles.catalog import ArticleCatalog
from freshet.models.ranking.scored_slate import ScoredSlate


@dataclass(frozen=True, slots=True)
class Explored:
    """A list after exploration, at most k long."""

    picks: NDArray[np.intp]
    """Shape (n,): positions in the scored slate, in the order shown."""
    propensities: NDArray[np.float64]
    """Shape (n,): the probability of each pick at its position, given the candidates."""
    explored: NDArray[np.bool_]
    """Shape (n,): which slots exploration filled."""


class Explorer(Protocol):
    """Chooses a list from a scored slate. The same arguments give the same list."""

    def choose(  # noqa: PLR0917 - a slate, and all that may be known of it
        self,
        slate: ScoredSlate,
        order: NDArray[np.intp],
        k: int,
        catalog: ArticleCatalog,
        now_s: float,
        seed: int,
    ) -> Explored:
        """The ``k`` articles to show.

        Args:
            slate: All candidates.
            order: Shape (len(slate.ids),): all positions of ``slate``; the first ``k`` are the list without
                exploration.
            k: How many to show; fewer where there are fewer candidates.
            catalog: What is known of articles.
            now_s: Event time, Unix seconds.
            seed: From 0 to 2 ** 64 - 1, a hash of the request's id.
        """
        ...


@runtime_checkable
class LearningExplorer(Explorer, Protocol):
    """An explorer that learns from the lists that were shown, those of other policies included."""

    def learn(self, ids: Sequence[str], x: NDArray[np.float32], clicked: NDArray[np.bool_]) -> None:
        """Take in a list.

        Args:
            ids: Distinct articles, in any order.
            x: Shape (n, len(FEATURES)), as they were when the list was made.
            clicked: Shape (n,).
        """
        ...
