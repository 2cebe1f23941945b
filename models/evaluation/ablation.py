"""Feature ablation: the loss in AUC of a ranker that learns without a group of features.

All rankers see the same impressions in one pass, so that their differences can be resampled in pairs. Groups
overlap (a click-through rate is nearly a lift): a ranker may do without either of two groups, but not both.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

import numpy as np
from numpy.typing import NDArray

from freshet.models.evaluation.ranking_metrics import Estimate
from freshet.models.evaluation.segments import estimates
from freshet.models.evaluation.slate_scores import METRICS, SlateScores
from freshet.models.ranking.features import FEATURES
from freshet.models.ranking.linear import LinearRanker
from freshet.models.ranking.online_ranker import OnlineRanker, OnlineSettings

GROUPS: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {
        "dot products": ("dot_first", "dot_last", "dot_best", "dot_skips", "no_vector", "dot_by_maturity"),
        "click-through rates": ("log_ctr_30min", "log_ctr_3h", "log_ctr_24h", "log_ctr_all"),
        "lifts": ("log_lift_30min", "log_lift_3h", "log_lift_24h", "log_lift_all", "lift_by_maturity"),
        "trend": ("trend",),
        "impressions": (
            "log_impressions",
            "log_impressions_3h",
            "log_impressions_30min",
            "unseen",
            "unclicked",
        ),
        "ages": ("log_age", "log_since_shown", "log_since_clicked"),
        "fatigue": ("fatigue", "clicked"),
        "co-clicks": ("co_click_surprise", "co_click_cosine", "co_click_by_maturity"),
        "categories": ("category_affinity", "subcategory_affinity", "category_lift"),
        "rank in the slate": ("slate_rank",),
        "hour of day": ("log_age_by_hour",),
        "user maturity": ("dot_by_maturity", "lift_by_maturity", "co_click_by_maturity"),
    }
)
"""Features by group; a cross belongs to the groups of both of its factors."""


class WithoutFeatures:
    """Online ranker that sees 0 for some features.

    Args:
        names: The hidden features.
        start: Ranker with the start weights.
        settings: Settings of the learning.

    Raises:
        ValueError: A name is no feature.
    """

    def __init__(
        self, names: Sequence[str], start: LinearRanker | None = None, settings: OnlineSettings | None = None
    ) -> None:
        unknown = sorted(set(names) - set(FEATURES))
        if unknown:
            raise ValueError(f"{', '.join(unknown)} is no feature; the features are {', '.join(FEATURES)}")
        self._kept: NDArray[np.float32] = np.array([name not in names for name in FEATURES], np.float32)
        self._ranker = OnlineRanker(start, settings)

    def score(self, x: NDArray[np.float32]) -> NDArray[np.float64]:
        """Score candidates (n,) with features (n, len(FEATURES))."""
        return self._ranker.score(x * self._kept)

    def learn(
        self, x: NDArray[np.float32], clicked: NDArray[np.bool_], *, time_s: float | None = None
    ) -> bool:
        """Learn as :meth:`OnlineRanker.learn` does, from the features that are not hidden."""
        return self._ranker.learn(x * self._kept, clicked, time_s=time_s)


@dataclass(frozen=True, slots=True)
class AblatedGroup:
    """Value of one group of features."""

    group: str
    features: tuple[str, ...]
    without: Estimate
    """AUC of a ranker that learns without the group."""
    loss: Estimate
    """AUC of the ranker with all features minus :attr:`without`, resampled in pairs."""
    alone: Estimate
    """AUC of a ranker that learns from this group only."""


def ablated(start: LinearRanker, settings: OnlineSettings) -> dict[str, WithoutFeatures]:
    """Make a ranker without each of :data:`GROUPS`, and one with that group only, by name."""
    rankers = {}
    for group, names in GROUPS.items():
        rankers[f"without {group}"] = WithoutFeatures(names, start, settings)
        others = [name for name in FEATURES if name not in names]
        rankers[f"only {group}"] = WithoutFeatures(others, start, settings)
    return rankers


def ablation(scores: SlateScores, method: str, seed: int = 0) -> tuple[AblatedGroup, ...]:
    """Estimate the value of each group to ``method``, the largest loss first.

    Args:
        scores: Metrics of ``method``, compared with the rankers of :func:`ablated`.
        method: The ranker with all features.
        seed: Seed of the resampling.
    """
    own = scores.values[:, scores.methods.index(method), METRICS.index("auc")].astype(np.float64)
    auc = dict(zip(scores.compared, scores.compared_auc.T.astype(np.float64), strict=True))
    columns = []
    for group in GROUPS:
        without = auc[f"without {group}"]
        columns += [without, own - without, auc[f"only {group}"]]
    found = estimates(np.column_stack(columns), seed)
    groups = [
        AblatedGroup(group, names, *found[3 * i : 3 * i + 3])
        for i, (group, names) in enumerate(GROUPS.items())
    ]
    return tuple(sorted(groups, key=lambda group: -group.loss.mean))
