"""Trees on top of the online ranker: what bends and interacts is fitted anew, what it is worth is learned.

The trees (:mod:`freshet.models.evaluation.trees.boosted_trees`) are fitted to a sliding window of
impressions, again whenever enough has been learned since. Their output is one more input of an
:class:`~freshet.models.ranking.online_ranker.OnlineRanker`, which learns its weight with those of the
features, from 0 on (stacking; Wolpert, Neural Networks 1992). So trees that are of no use get no weight, and
between two fits the ranker still learns from every impression.

That weight is the likelihood's choice, which is not always what ranks best. So the output is added once more,
times one of a few shares: the one whose scores had the highest AUC so far, each impression ranked before it
was learned from (follow the leader; Hannan, "Approximation to Bayes risk in repeated play", 1957).

Guarantees: trees are fitted only to impressions that :meth:`StackedRanker.learn` was given before; so what
the online ranker sees of them on an impression is what they say of one that they have not seen, and an
evaluation that scores before it learns, with whatever delay, measures no leak. Memory is bounded by the
window. A fit costs the more the longer the window is, but one comes only after a share of it: the work per
impression stays the same.
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
"""The input that the trees' output is."""

Slate = tuple[NDArray[np.float32], NDArray[np.bool_]]
"""Features (n, len(FEATURES)) as when it was ranked, and clicks (n,)."""


@dataclass(frozen=True, slots=True)
class StackingSettings:
    """When trees are fitted, and how."""

    first_fit: int = 500
    """Impressions after which they are fitted for the first time."""
    refit_share: float = 0.1
    """They are fitted anew when this share of the window was learned since. AUC of a sample of MIND-small at
    20-60 %: 0.656 with a tenth, 0.653 with a quarter."""
    max_impressions: int = 20_000
    """In the window."""
    max_candidates: int = 500_000
    """In the window: with the features of today 68 MB."""
    trees: TreeSettings = field(default_factory=TreeSettings)
    shares: tuple[float, ...] = (0.0, 0.5, 1.0, 2.0)
    """What the trees' output can be multiplied by when it is added once more; the first until one leads."""
    leader_memory: float = 10_000.0
    """Impressions that the shares' AUCs are remembered for, exponentially."""

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
        start: Where the features' weights begin.
        online: How weights are learned.
        stacking: How trees are.
        fit: Makes trees of a window; another than scikit-learn's for tests.
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
        """Those of the last fit, none before."""
        self.fits = 0

    def __len__(self) -> int:
        """Impressions in the window."""
        return len(self._window)

    def score(self, x: NDArray[np.float32]) -> NDArray[np.float64]:
        """Scores (n,) of a slate's candidates with features (n, len(FEATURES))."""
        trees = self.trees.score(x)
        scores: NDArray[np.float64] = self._online.score(_inputs(x, trees)) + self.share * trees
        return scores

    def contributions(self, x: NDArray[np.float32]) -> NDArray[np.float64]:
        """What each input of the trees adds to each score, itself and by the trees.

        Args:
            x: Shape (n, len(FEATURES)): the whole slate.

        Returns:
            Shape (n, len(TREE_INPUTS)); a row sums to :meth:`score`'s.
        """
        inputs = _inputs(x, self.trees.score(x))
        total = np.zeros((len(x), len(TREE_INPUTS)))
        total[:, : len(FEATURES)] = self._online.contributions(inputs)[:, : len(FEATURES)]
        total += self.weight * self.trees.contributions(x)
        return total

    @property
    def weight(self) -> float:
        """Of the trees' output: what the online ranker has learned, and :attr:`share`."""
        return self._online.state().weights[TREES] + self.share

    @property
    def share(self) -> float:
        """By which the trees' output is added once more: the leader's."""
        return self._settings.shares[int(self._aucs.argmax())]

    def learn(
        self, x: NDArray[np.float32], clicked: NDArray[np.bool_], *, time_s: float | None = None
    ) -> bool:
        """Take the online ranker's step, keep the impression, and fit trees if it is time.

        Args:
            x: Shape (n, len(FEATURES)), as they were when the slate was ranked.
            clicked: Shape (n,).
            time_s: Event time, Unix seconds; without it nothing is forgotten.

        Returns:
            False if there is nothing to learn: no click, no skip, or not finite. Nothing is changed then.

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
        """Add to each share's AUC that of an impression, from the scores (n,) that came before learning."""
        shares = np.array(self._settings.shares)
        mixed = scores + shares[:, None] * trees
        labels = np.tile(clicked.astype(np.float64), len(shares))
        aucs = RankedSlates.of(labels, mixed.ravel(), np.full(len(shares), len(scores), np.intp)).auc()
        self._aucs *= 1.0 - 1.0 / self._settings.leader_memory
        self._aucs += aucs


def _inputs(x: NDArray[np.float32], trees: NDArray[np.float64]) -> NDArray[np.float32]:
    return np.column_stack([x, trees.astype(np.float32)])
