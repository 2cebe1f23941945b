"""Cython kernels: all of them or, if one module could not be compiled, an ``ImportError``."""

from __future__ import annotations

from freshet.models.kernels.compiled.counts import add_co_clicks, co_click_scores, count_slate
from freshet.models.kernels.compiled.features import (
    canonical_order,
    category_features,
    cross_features,
    rows_of,
    statistics_features,
)
from freshet.models.kernels.compiled.ranking import newton_step, order_slates, slate_auc

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
