r"""Which slots of a list are for exploration, who competes for them, and how likely what was shown was.

A list of k has at most ``budget`` explored slots. Which of the positions from ``first`` on they are is drawn
for each list, uniformly without replacement: what is explored is then looked at as much as the average of
those positions, and so are the articles around it. All other slots keep the order without exploration.

An article competes while it is younger than ``max_age_s`` and has been shown less than ``max_impressions``
times, and is not in the list anyway.

With A positions to choose from, m explored slots and t of the A positions before position j, the chance that
j is explored and has e explored slots before it is

.. math:: \binom{t}{e} \binom{A - t - 1}{m - 1 - e} \Big/ \binom{A}{m},

and that j is not explored and has e before it the same with m in place of m - 1 (hypergeometric). So the
propensities of the kept articles are exact, and those of the explored as exact as the policy's probability
that an article is its first, second, ... choice.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import comb

import numpy as np
from numpy.typing import NDArray

from freshet.models.articles.catalog import ArticleCatalog
from freshet.models.ranking.scored_slate import ScoredSlate
from freshet.models.recommend.exploration.policy import Explored


@dataclass(frozen=True, slots=True)
class ExplorationSlots:
    """How much of a list explores, and what may be explored.

    Raises:
        ValueError: A bound is not positive, or a position or budget negative.
    """

    budget: int = 1
    """The most slots of one list."""
    first: int = 1
    """The first position (from 0) that may explore."""
    max_age_s: float = 6 * 3_600.0
    """Since published, else since first seen; an article that is not dated counts as new."""
    max_impressions: float = 100.0
    """Of all time."""

    def __post_init__(self) -> None:
        if self.budget < 0 or self.first < 0:
            raise ValueError(f"budget and first must not be negative, got {self.budget} and {self.first}")
        if self.max_age_s <= 0 or self.max_impressions <= 0:
            raise ValueError(
                f"max_age_s and max_impressions must be positive, got {self.max_age_s} "
                f"and {self.max_impressions}"
            )

    def competitors(
        self,
        slate: ScoredSlate,
        order: NDArray[np.intp],
        k: int,
        catalog: ArticleCatalog,
        now_s: float,
    ) -> NDArray[np.intp]:
        """Positions (c,) in ``slate`` of those who compete, in the order of ``order``."""
        if not self.slots(k, len(order)):
            return order[:0]
        rest = order[k:]
        rows = slate.rows[rest]
        published_at_s = catalog.published_at_s[rows]
        since_s = np.where(np.isnan(published_at_s), catalog.first_seen_s[rows], published_at_s)
        undecayed = undecayed_count(catalog)
        young = ~(now_s - since_s >= self.max_age_s)
        fresh = young & (catalog.impressions[rows, undecayed] < self.max_impressions)
        return np.asarray(rest[fresh])

    def slots(self, k: int, candidates: int) -> int:
        """How many slots of a list of ``k`` may explore, where there are ``candidates``."""
        return max(0, min(self.budget, min(k, candidates) - self.first))

    def fill(
        self,
        order: NDArray[np.intp],
        k: int,
        choices: NDArray[np.intp],
        probabilities: NDArray[np.float64],
        rng: np.random.Generator,
    ) -> Explored:
        """The list: ``choices`` in explored slots, the first of ``order`` in all others.

        Args:
            order: Shape (n,): the order without exploration.
            k: The list's length.
            choices: Shape (m,), m at most :meth:`slots`: competitors, the first choice first.
            probabilities: Shape (m, m): that each of them is the first, second, ... choice.
            rng: Draws the positions.
        """
        length = min(k, len(order))
        m, room = len(choices), length - self.first
        if m == 0:
            return Explored(order[:length], np.ones(length), np.zeros(length, np.bool_))
        explored = np.zeros(length, np.bool_)
        explored[self.first + rng.choice(room, m, replace=False)] = True
        picks = np.empty(length, np.intp)
        picks[explored] = choices
        picks[~explored] = order[: length - m]
        propensities = np.ones(length)
        nth = kept = 0
        for position in range(length):
            before = max(0, position - self.first)
            after = room - before - 1
            if explored[position]:
                chances = [comb(before, e) * comb(after, m - 1 - e) for e in range(m)]
                propensities[position] = float(np.dot(probabilities[nth], chances)) / comb(room, m)
                nth += 1
            else:
                if position >= self.first:
                    e = position - kept
                    propensities[position] = comb(before, e) * comb(after, m - e) / comb(room, m)
                kept += 1
        return Explored(picks, propensities, explored)


def undecayed_count(catalog: ArticleCatalog) -> int:
    """Which of the catalog's counts decays least."""
    return max(range(len(catalog.half_lives_s)), key=lambda j: catalog.half_lives_s[j] or np.inf)
