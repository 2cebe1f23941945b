"""Trees on top of the online ranker: what bends and interacts is fitted anew, what it is worth is learned.

The trees (:mod:`freshet.models.boosted_trees`) are fitted to a sliding window of impressions, again whenever
enough has been learned since. Their output is one more input of an
:class:`~freshet.models.online_ranker.OnlineRanker`, which learns its weight with those of the features, from
0 on (stacking; Wolpert, Neural Networks 1992). So trees that are of no use get no weight, and between two
fits the ranker still learns from every impression.

Guarantees: trees are fitted only to impressions that :meth:`StackedRanker.learn` was given before; so what
the online ranker sees of them on an impression is what they say of one that they have not seen, and an
evaluation that scores before it learns, with whatever delay, measures no leak. Memory is bounded by the
window. A fit costs the more the longer the window is, but one comes only after a share of it: the work per
impression stays the same.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

from freshet.models.boosted_trees import TREE_INPUTS, BoostedTrees
from freshet.models.features import FEATURES
from freshet.models.online_ranker import OnlineRanker, OnlineSettings
from freshet.models.ranking import LinearRanker
from freshet.models.tree_fitting import TreeSettings, fit_trees

TREES: Final = "trees"
"""The input that the trees' output is."""

Slate = tuple[NDArray[np.float32], NDArray[np.bool_]]
"""Features (n, len(FEATURES)) as when it was ranked, and clicks (n,)."""


@dataclass(frozen=True, slots=True)
class StackingSettings:
    """When trees are fitted, and how."""

    first_fit: int = 500
    """Impressions after which they are fitted for the first time."""
    refit_share: float = 0.25
    """They are fitted anew when this share of the window was learned since."""
    max_impressions: int = 20_000
    """In the window."""
    max_candidates: int = 500_000
    """In the window: with the features' names of today 68 MB."""
    trees: TreeSettings = field(default_factory=TreeSettings)

    def __post_init__(self) -> None:
        if not 1 <= self.first_fit <= self.max_impressions:
            raise ValueError(
                f"first_fit is {self.first_fit}, must be 1 to max_impressions ({self.max_impressions})"
            )
        if not 0.0 < self.refit_share <= 1.0:
            raise ValueError(f"refit_share is {self.refit_share}, must be above 0 and at most 1")
        if self.max_candidates < 1:
            raise ValueError(f"max_candidates is {self.max_candidates}, must be at least 1")


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
        fit: Callable[[Iterable[Slate], TreeSettings], BoostedTrees] = fit_trees,
    ) -> None:
        self._online = OnlineRanker(start, online, (TREES,))
        self._settings = stacking or StackingSettings()
        self._fit = fit
        self._window: deque[Slate] = deque()
        self._candidates = 0
        self._since_fit = 0
        self.trees = BoostedTrees([])
        """Those of the last fit, none before."""
        self.fits = 0

    def __len__(self) -> int:
        """Impressions in the window."""
        return len(self._window)

    def score(self, x: NDArray[np.float32]) -> NDArray[np.float64]:
        """Scores (n,) of a slate's candidates with features (n, len(FEATURES))."""
        return self._online.score(self._inputs(x))

    def contributions(self, x: NDArray[np.float32]) -> NDArray[np.float64]:
        """What each input of the trees adds to each score, itself and by the trees.

        Args:
            x: Shape (n, len(FEATURES)): the whole slate.

        Returns:
            Shape (n, len(TREE_INPUTS)); a row sums to :meth:`score`'s.
        """
        inputs = self._inputs(x)
        total = np.zeros((len(x), len(TREE_INPUTS)))
        total[:, : len(FEATURES)] = self._online.contributions(inputs)[:, : len(FEATURES)]
        total += self.weight * self.trees.contributions(x)
        return total

    @property
    def weight(self) -> float:
        """Of the trees' output."""
        return self._online.state().weights[TREES]

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
        if not np.isfinite(x).all() or not self._online.learn(self._inputs(x), clicked, time_s=time_s):
            return False
        self._window.append((x, clicked))
        self._candidates += len(x)
        while len(self._window) > self._settings.max_impressions or (
            self._candidates > self._settings.max_candidates and len(self._window) > 1
        ):
            self._candidates -= len(self._window.popleft()[0])
        self._since_fit += 1
        due = self._settings.refit_share * len(self._window) if self.fits else self._settings.first_fit
        if self._since_fit >= due:
            self.trees = self._fit(self._window, self._settings.trees)
            self.fits += 1
            self._since_fit = 0
        return True

    def _inputs(self, x: NDArray[np.float32]) -> NDArray[np.float32]:
        return np.column_stack([x, self.trees.score(x).astype(np.float32)])
