"""NumPy kernels: the definition of each, and the fallback if the compiled ones are missing."""

from __future__ import annotations

from freshet.models.kernels.in_numpy.counts import add_co_clicks, co_click_scores, count_slate
from freshet.models.kernels.in_numpy.features import (
    canonical_order,
    category_features,
    cross_features,
    rows_of,
    statistics_features,
)
from freshet.models.kernels.in_numpy.ranking import newton_step, order_slates, slate_auc

__all__ = [
    "add_co_clicks",
    "canonical_order",
    "category_features",
    "co_click_scores",
    "count_slate",
    "cross_features",
    "newton_step",
    "order_slates",
    "rows_of",
    "slate_auc",
    "statistics_features",
]
