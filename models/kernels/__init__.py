"""The inner loops of ranking and counting one slate, compiled where a C compiler was there at installation.

On a slate of forty articles a call of NumPy costs more than what it computes, and there would be a hundred
of them. :mod:`~freshet.models.kernels.in_numpy` says what each function does, and works everywhere;
:mod:`~freshet.models.kernels.compiled` does the same in Cython. They agree but for the rounding of float64:
one suite tests both. All functions are of the one or all of the other.
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
except ImportError:  # No C compiler was there; `freshet doctor` says so.
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
"""Whether these are the compiled ones."""
