"""Gradient-boosted trees stacked on the online ranker, which learns their weight.

Trees (:mod:`freshet.models.evaluation.trees.boosted_trees`) are refitted to a sliding window of impressions
whenever enough has been learned since. Their output is one more input of an
:class:`~freshet.models.ranking.online_ranker.OnlineRanker`, which learns its weight from 0 on (stacking;
Wolpert, Neural Networks 1992). So useless trees get no weight, and the ranker still learns from every
impression between two fits.

That weight maximises the likelihood, which is not always the best ranking. So the output is added once more,
times one of a few shares: the one with the highest prequential AUC so far (follow the leader; Hannan,
"Approximation to Bayes risk in repeated play", 1957).

Trees are fitted only to impressions that :meth:`StackedRanker.learn` was given before, so that an evaluation
that scores before it learns has no leak. Memory is bounded by the window. A fit takes longer the larger the
window, but there is only one for a share of the window: the work per impression is constant.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

from freshet.models.evaluation.ranking_metrics import RankedSlates
from freshet.models.evaluation.trees.boosted_trees import TREE_INPUTS, BoostedTrees
from freshet.models.evaluation.trees.tree_fitting import TreeSettings, fit_trees
from freshet.models.ranking.features import FEATURES
from freshet.models.ranking.linear import LinearRanker
from freshet.models.ranking.online_ranker import OnlineRanker, OnlineSettings

TREES: Final = "trees"
"""Name of the input that holds the trees' output."""

Slate = tuple[NDArray[np.float32], NDArray[np.bool_]]
"""Features (n, len(FEATURES)) at the ranking, and clicks (n,)."""


@dataclass(frozen=True, slots=True)
class StackingSettings:
    """Settings of the stacking."""

    first_fit: int = 500
    """Impressions before the first fit."""
    refit_share: float = 0.1
    """Share of the window that is learned between two fits. AUC of a sample of MIND-small at 20-60 %: 0.656
    with a tenth, 0.653 with a quarter."""
    max_impressions: int = 20_000
    """Largest number of impressions in the window."""
    max_candidates: int = 500_000
    """Largest number of candidates in the window; with today's features 68 MB."""
    trees: TreeSettings = field(default_factory=TreeSettings)
    shares: tuple[float, ...] = (0.0, 0.5, 1.0, 2.0)
    """Candidate factors of the trees' output that is added once more; the first until another one leads."""
    leader_memory: float = 10_000.0
    """Impressions over which the shares' AUCs decay exponentially."""

    def __post_init__(self) -> None:
        if not 1 <= self.first_fit <= self.max_impressions:
            raise ValueError(
                f"first_fit is {self.first_fit}, must be 1 to max_impressions ({self.max_impressions})"
            )
        if not 0.0 < self.refit_share <= 1.0:
            raise ValueError(f"refit_share is {self.refit_share}, must be above 0 and at most 1")
        if self.max_candidates < 1:
            raise ValueError(f"max_candidates is {self.max_candidates}, must be at least 1")
        if not self.shares or not all(0.0 <= share < math.inf for share in self.shares):
            raise ValueError(f"shares is {self.shares}, must be numbers that are not negative")
        if not 1.0 <= self.leader_memory < math.inf:
            raise ValueError(f"leader_memory is {self.leader_memory}, must be at least 1")


class StackedRanker:
    """Learns an online ranker over the features and the output of trees.

    Args:
        start: Ranker with the features' start weights.
        online: Settings of the online ranker.
        stacking: Settings of the trees.
        fit: Function that fits trees to a window; tests replace scikit-learn's.
    """

    def __init__(
        self,
        start: LinearRanker | None = None,
        online: OnlineSettings | None = None,
        stacking: StackingSettings | None = None,
        fit: Callable[[Sequence[Slate], TreeSettings], BoostedTrees] = fit_trees,
    ) -> None:
        self._online = OnlineRanker(start, online, (TREES,))
        self._settings = stacking or StackingSettings()
        self._fit = fit
        self._window: deque[Slate] = deque()
        self._candidates = 0
        self._since_fit = 0
        self._aucs: NDArray[np.float64] = np.zeros(len(self._settings.shares))
        self.trees = BoostedTrees([])
        """Trees of the last fit, none before the first."""
        self.fits = 0

    def __len__(self) -> int:
        """Number of impressions in the window."""
        return len(self._window)

    def score(self, x: NDArray[np.float32]) -> NDArray[np.float64]:
        """Score a slate's candidates (n,) with features (n, len(FEATURES))."""
        trees = self.trees.score(x)
        scores: NDArray[np.float64] = self._online.score(_inputs(x, trees)) + self.share * trees
        return scores

    def contributions(self, x: NDArray[np.float32]) -> NDArray[np.float64]:
        """Contributions (n, len(TREE_INPUTS)) of each input to each score, by its weight and by the trees.

        A row sums to the candidate's score.

        Args:
            x: Shape (n, len(FEATURES)): the whole slate.
        """
        inputs = _inputs(x, self.trees.score(x))
        total = np.zeros((len(x), len(TREE_INPUTS)))
        total[:, : len(FEATURES)] = self._online.contributions(inputs)[:, : len(FEATURES)]
        total += self.weight * self.trees.contributions(x)
        return total

    @property
    def weight(self) -> float:
        """Weight of the trees' output: the online ranker's plus :attr:`share`."""
        return self._online.state().weights[TREES] + self.share

    @property
    def share(self) -> float:
        """Leading factor of the trees' output that is added once more."""
        return self._settings.shares[int(self._aucs.argmax())]

    def learn(
        self, x: NDArray[np.float32], clicked: NDArray[np.bool_], *, time_s: float | None = None
    ) -> bool:
        """Take the online ranker's step, keep the impression, and refit the trees if they are due.

        Args:
            x: Shape (n, len(FEATURES)), the features at the ranking.
            clicked: Shape (n,).
            time_s: Event time, Unix seconds; without it nothing is forgotten.

        Returns:
            False, without any change, if there is no click, no skip, or a feature that is not finite.

        Raises:
            TreeFittingError: scikit-learn is not installed.
        """
        if not 0 < int(np.count_nonzero(clicked)) < len(clicked) or not np.isfinite(x).all():
            return False
        trees = self.trees.score(x)
        inputs = _inputs(x, trees)
        scores = self._online.score(inputs)
        if not self._online.learn(inputs, clicked, time_s=time_s):
            return False
        if self.fits:
            self._compare(scores, trees, clicked)
        self._window.append((x, clicked))
        self._candidates += len(x)
        while len(self._window) > self._settings.max_impressions or (
            self._candidates > self._settings.max_candidates and len(self._window) > 1
        ):
            self._candidates -= len(self._window.popleft()[0])
        self._since_fit += 1
        due = self._settings.refit_share * len(self._window) if self.fits else self._settings.first_fit
        if self._since_fit >= due:
            self.trees = self._fit(tuple(self._window), self._settings.trees)
            self.fits += 1
            self._since_fit = 0
        return True

    def _compare(
        self, scores: NDArray[np.float64], trees: NDArray[np.float64], clicked: NDArray[np.bool_]
    ) -> None:
        """Add an impression's AUC of each share, from the scores (n,) before learning."""
        shares = np.array(self._settings.shares)
        mixed = scores + shares[:, None] * trees  # (shares, n)
        labels = np.tile(clicked.astype(np.float64), len(shares))
        aucs = RankedSlates.of(labels, mixed.ravel(), np.full(len(shares), len(scores), np.intp)).auc()
        self._aucs *= 1.0 - 1.0 / self._settings.leader_memory
        self._aucs += aucs


def _inputs(x: NDArray[np.float32], trees: NDArray[np.float64]) -> NDArray[np.float32]:
    return np.column_stack([x, trees.astype(np.float32)])
