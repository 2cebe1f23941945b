"""What each group of features is worth: rankers that learn without it, beside the one that has them all.

All see the same impressions in one pass, so that the differences can be resampled in pairs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Final

import numpy as np
from numpy.typing import NDArray

from freshet.models.features import FEATURES
from freshet.models.online_ranker import OnlineRanker, OnlineSettings
from freshet.models.ranking import LinearRanker

GROUPS: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {
        "dot products": (
            "dot_first",
            "dot_last",
            "dot_best",
            "dot_skips",
            "no_vector",
            "dot_by_maturity",
        ),
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
"""Features by what they rest on; a cross belongs to both of its factors."""


class WithoutFeatures:
    """An online ranker to which some features are always 0.

    Args:
        names: Features.
        start: Where to begin.
        settings: How to learn.

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
        """Scores (n,) of candidates with features (n, len(FEATURES))."""
        return self._ranker.score(x * self._kept)

    def learn(
        self, x: NDArray[np.float32], clicked: NDArray[np.bool_], *, time_s: float | None = None
    ) -> bool:
        """As :meth:`OnlineRanker.learn`."""
        return self._ranker.learn(x * self._kept, clicked, time_s=time_s)


def ablated(start: LinearRanker, settings: OnlineSettings) -> dict[str, WithoutFeatures]:
    """A ranker without each of :data:`GROUPS`, by what it lacks."""
    return {f"without {group}": WithoutFeatures(names, start, settings) for group, names in GROUPS.items()}
