"""Kernels: the inner loops of ranking and counting one slate, compiled if a C compiler was found.

On a slate of forty articles a call of NumPy costs more than what it computes, and a hundred of them would be
needed. :mod:`~freshet.models.kernels.in_numpy` defines each function and works everywhere;
:mod:`~freshet.models.kernels.compiled` implements them in Cython. They agree up to the rounding of float64:
one suite tests both. Either all functions are compiled or none.
"""

from __future__ import annotations

try:
    from freshet.models.kernels.compiled import (
        add_co_clicks,
        canonical_order,
        category_features,
        co_click_scores,
        count_slate,
        cross_features,
        newton_step,
        order_slates,
        rows_of,
        slate_auc,
        statistics_features,
    )
except ImportError:  # There was no C compiler; `freshet doctor` reports it.
    from freshet.models.kernels.in_numpy import (
        add_co_clicks,
        canonical_order,
        category_features,
        co_click_scores,
        count_slate,
        cross_features,
        newton_step,
        order_slates,
        rows_of,
        slate_auc,
        statistics_features,
    )

__all__ = [
    "COMPILED",
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

COMPILED = newton_step.__module__.startswith(f"{__name__}.compiled.")
"""Whether the kernels are compiled."""
