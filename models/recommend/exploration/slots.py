r"""Slots of a list that explore, the articles that compete for them, and the propensities of what was shown.

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

from dataclasses import dataclass, replace
from math import comb

import numpy as np
from numpy.typing import NDArray

from freshet.models.articles.catalog import ArticleCatalog
from freshet.models.recommend.slate import Slate


@dataclass(frozen=True, slots=True)
class ExplorationSlots:
    """Limits on exploration: the slots of a list that explore, and the articles that may be explored.

    Raises:
        ValueError: A bound is not positive, or a position or budget negative.
    """

    budget: int = 1
    """The most explored slots of one list."""
    first: int = 1
    """First position (from 0) that may explore."""
    max_age_s: float = 6 * 3_600.0
    """Greatest age of a competitor, since published, else first seen; an undated article counts as new."""
    max_impressions: float = 100.0
    """Impressions of all time, without decay, at which an article stops competing."""

    def __post_init__(self) -> None:
        if self.budget < 0 or self.first < 0:
            raise ValueError(f"budget and first must not be negative, got {self.budget} and {self.first}")
        if self.max_age_s <= 0 or self.max_impressions <= 0:
            raise ValueError(
                f"max_age_s and max_impressions must be positive, got {self.max_age_s} "
                f"and {self.max_impressions}"
            )

    def competitors(self, slate: Slate, k: int) -> NDArray[np.intp]:
        """Positions (c,) of the articles that compete, in the slate's order."""
        catalog, order = slate.catalog, slate.order
        if not self.slots(k, len(order)):
            return order[:0]
        rest = order[k:]
        rows = slate.scored.rows[rest]
        published_at_s = catalog.published_at_s[rows]
        since_s = np.where(np.isnan(published_at_s), catalog.first_seen_s[rows], published_at_s)
        undecayed = undecayed_count(catalog)
        young = ~(slate.now_s - since_s >= self.max_age_s)
        fresh = young & (catalog.impressions[rows, undecayed] < self.max_impressions)
        return np.asarray(rest[fresh])

    def slots(self, k: int, candidates: int) -> int:
        """The number of slots of a list of ``k`` that may explore, given the number of candidates.

        >>> ExplorationSlots(budget=2, first=1).slots(k=10, candidates=2)
        1
        """
        return max(0, min(self.budget, min(k, candidates) - self.first))

    def fill(
        self,
        slate: Slate,
        k: int,
        choices: NDArray[np.intp],
        probabilities: NDArray[np.float64],
        rng: np.random.Generator,
    ) -> Slate:
        """The slate that shows ``choices`` in explored slots and the first of its order in all others.

        Args:
            slate: A scored slate.
            k: Length of the list.
            choices: Shape (m,), m at most :meth:`slots`: competitors, the first choice first.
            probabilities: Shape (m, m): probability that each choice is the first, second, ... choice.
            rng: Draws the positions of the explored slots.
        """
        m = len(choices)
        if m == 0:
            return slate.exploit(k)
        length = min(k, len(slate.order))
        room = length - self.first
        explored = np.zeros(length, np.bool_)
        explored[self.first + rng.choice(room, m, replace=False)] = True
        picks = np.empty(length, np.intp)
        picks[explored] = choices
        picks[~explored] = slate.order[: length - m]
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
        return replace(slate, picks=picks, propensities=propensities, explored=explored)


def undecayed_count(catalog: ArticleCatalog) -> int:
    """Index of the catalog's count that decays least."""
    return max(range(len(catalog.half_lives_s)), key=lambda j: catalog.half_lives_s[j] or np.inf)
