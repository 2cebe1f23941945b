r"""Features of a candidate, the user and the moment, from which a ranker scores the candidate.

Only ``slate_rank`` looks at the other candidates; no feature depends on their order, on a label, or on
anything later than the moment. All are of roughly unit size and 0 where nothing is known, so that an unknown
candidate ranks as an average one. Everything is updated incrementally in bounded memory: by article in the
catalog, by user in the user's state.

With :math:`c_h, i_h, e_h` the candidate's clicks, impressions and expected clicks (1/n for a showing in a
slate of n) decayed at half-life h, :math:`g_h` the global click-through rate and :math:`r_h` the global
clicks per expected click at h, :math:`u_j` the user's vectors, v the candidate's and m the population's:

=======================  ========================================================================
feature                  value
=======================  ========================================================================
``dot_first``            :math:`u_j \cdot (v - m)` of the user's first head (shortest half-life)
``dot_last``             the same for the last interest head (the longest half-life)
``dot_best``             the largest over all interest heads
``dot_skips``            the same for the head that skipped articles feed
``no_vector``            1 if the article has no vector, so that the four above are 0
``log_ctr_30min``        :math:`\log((c_h / g_h + \rho\kappa) / (i_h + \kappa)) - \log\rho`
``log_ctr_3h``           the same, h = 3 h
``log_ctr_24h``          the same, h = 24 h
``log_ctr_all``          the same without decay
``log_lift_30min``       :math:`\log((c_h + 2) / (r_h e_h + 2))`, h = 30 min
``log_lift_3h``          the same, h = 3 h
``log_lift_24h``         the same, h = 24 h
``log_lift_all``         the same without decay
``trend``                log of the hourly clicks of the last 3 h over those of the last 24 h, / 3
``log_impressions``      :math:`\log(1 + i) / 5` without decay
``log_impressions_3h``   the same, h = 3 h
``log_impressions_30min`` the same, h = 30 min
``unseen``               1 if the article was never shown
``unclicked``            1 if it was never clicked
``log_age``              :math:`\log_{25}(1 + \text{hours})` since published, else since first seen
``log_since_shown``      the same since it was last shown to anybody
``log_since_clicked``    the same since anybody last clicked it
``fatigue``              :math:`\log(1 + n)`, n = times this user was shown it and did not click
``clicked``              1 if it is among this user's recent clicks
``co_click_surprise``    :math:`\log(1 + s) / 3`, s the surprise of :meth:`CoClicks.scores`
``co_click_cosine``      :math:`\log(1 + 10 c) / 3`, c the cosine of the same
``category_affinity``    log of the category's share of the user's recent clicks, half-life 7 days,
                         shrunk towards its share of everybody's, by the latter
``subcategory_affinity`` the same for the subcategory
``category_lift``        log of the category's clicks by its expected ones, both of everybody's, 24 h
``slate_rank``           the rank of ``log_lift_24h`` among the candidates, from -0.5 to 0.5
``log_age_by_hour``      ``log_age`` times the cosine of the hour of the day (UTC; 1 at midnight)
``dot_by_maturity``      ``dot_last`` times n / (n + 10), n = clicks of the user
``lift_by_maturity``     ``log_lift_24h`` times n / (n + 10)
``co_click_by_maturity`` ``co_click_surprise`` times n / (n + 10)
=======================  ========================================================================

Subtracting m changes no order among articles with vectors; it makes 0, the value of an article without one,
the average instead of an extreme. Click-through rates are shrunk towards rho = 2.5 times the global one, as
if that had been seen in kappa = 10 impressions: a new article gets the benefit of the doubt until it has been
shown a few times. A lift is shrunk towards 1; unlike a rate, it accounts for slate size: a click among 5
articles says less than a click among 100.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from freshet.models import kernels
from freshet.models.articles.catalog import ArticleCatalog
from freshet.models.kernels.statistics_layout import CLICKS
from freshet.models.users.view import UserView

_HALF_LIFE_NAMES = ("30min", "3h", "24h", "all")

FEATURES: Final = (
    "dot_first",
    "dot_last",
    "dot_best",
    "dot_skips",
    "no_vector",
    *(f"log_ctr_{name}" for name in _HALF_LIFE_NAMES),
    *(f"log_lift_{name}" for name in _HALF_LIFE_NAMES),
    "trend",
    "log_impressions",
    "log_impressions_3h",
    "log_impressions_30min",
    "unseen",
    "unclicked",
    "log_age",
    "log_since_shown",
    "log_since_clicked",
    "fatigue",
    "clicked",
    "co_click_surprise",
    "co_click_cosine",
    "category_affinity",
    "subcategory_affinity",
    "category_lift",
    "slate_rank",
    "log_age_by_hour",
    "dot_by_maturity",
    "lift_by_maturity",
    "co_click_by_maturity",
)
"""The columns of :func:`features`, in order."""

_MATURE_CLICKS = 10.0
_DAY_S = 86_400.0
_UNDECAYED = 3
"""Index of the count without decay."""

_COLUMN = {name: column for column, name in enumerate(FEATURES)}
_DOT = _COLUMN["dot_first"]
_NO_VECTOR = _COLUMN["no_vector"]
_STATISTICS = _COLUMN["log_ctr_30min"]
_LIFT_24H = _COLUMN["log_lift_24h"]
_FATIGUE, _CLICKED = _COLUMN["fatigue"], _COLUMN["clicked"]
_CO_CLICK = slice(_COLUMN["co_click_surprise"], _COLUMN["co_click_cosine"] + 1)
_CATEGORIES = _COLUMN["category_affinity"]
_SLATE_RANK = _COLUMN["slate_rank"]
_BY_HOUR = (_COLUMN["log_age"], _COLUMN["log_age_by_hour"])
_BY_MATURITY = (
    (_COLUMN["dot_last"], _COLUMN["dot_by_maturity"]),
    (_LIFT_24H, _COLUMN["lift_by_maturity"]),
    (_CO_CLICK.start, _COLUMN["co_click_by_maturity"]),
)
_CO_CLICK_SCALE = np.array([1.0, 10.0])


def features(
    catalog: ArticleCatalog,
    rows: NDArray[np.int64],
    ids: Sequence[str],
    user: UserView,
    now_s: float,
) -> NDArray[np.float32]:
    """Features of each candidate, shape (n, len(FEATURES)), finite.

    Args:
        catalog: Vectors, labels and statistics of the articles.
        rows: Shape (n,): the candidates' rows in ``catalog``, -1 where unknown.
        ids: The candidates' n news ids, distinct.
        user: The reader.
        now_s: Event time, Unix seconds.

    >>> user = UserView.of(None, 0.0, np.zeros(2, np.float32))
    >>> x = features(ArticleCatalog(d=2), np.array([-1]), ["N1"], user, 0.0)
    >>> [name for name, value in zip(FEATURES, x[0], strict=True) if value]
    ['no_vector', 'unseen', 'unclicked']
    """
    x = np.zeros((len(ids), len(FEATURES)))
    statistics = catalog.statistics
    kernels.statistics_features(
        x,
        _STATISTICS,
        rows,
        now_s,
        statistics.counts,
        statistics.times_s,
        statistics.rates_per_s,
        statistics.sums,
        statistics.newest_s,
    )
    _dots(x, catalog, rows, user)
    _user_counts(x, ids, user)
    if user.seen:
        clicks = statistics.counts[rows, _UNDECAYED]
        _co_clicks(
            x, catalog.co_clicks.scores(ids, user.seen, clicks, statistics.sums.item(CLICKS, _UNDECAYED))
        )
    if len(catalog.category_names) > 1:
        _categories(x, catalog, rows, user, now_s)
    _crosses(x, user, now_s)
    return x.astype(np.float32)


def _dots(x: NDArray[np.float64], catalog: ArticleCatalog, rows: NDArray[np.int64], user: UserView) -> None:
    if not catalog.vectors_held:
        x[:, _NO_VECTOR] = 1.0
        return
    has_vector = catalog.has_vector[rows]  # (n,)
    x[:, _NO_VECTOR] = ~has_vector
    dots = catalog.vectors[rows] @ user.vectors.T - user.dot_offsets  # (n, heads)
    dots[~has_vector] = 0.0
    interests = dots[:, :-1]  # all heads but that of the skips
    x[:, _DOT] = interests[:, 0]
    x[:, _DOT + 1] = interests[:, -1]
    x[:, _DOT + 2] = interests.max(axis=1)
    x[:, _DOT + 3] = dots[:, -1]


def _categories(
    x: NDArray[np.float64], catalog: ArticleCatalog, rows: NDArray[np.int64], user: UserView, now_s: float
) -> None:
    categories, subcategories = catalog.category_rates(now_s)
    kernels.category_features(
        x,
        _CATEGORIES,
        rows,
        now_s,
        user.recent,
        catalog.row_of,
        (catalog.category, catalog.subcategory),
        (categories.share, subcategories.share),
        categories.lift,
    )


def _user_counts(x: NDArray[np.float64], ids: Sequence[str], user: UserView) -> None:
    exposures, seen = user.exposures, user.seen
    if not exposures and not seen:
        return
    touched = (exposures.keys() | seen.keys()) & set(ids)
    if not touched:
        return
    for i, news_id in enumerate(ids):
        if news_id in touched:
            clicks = seen.get(news_id, 0)
            if clicks:
                x[i, _CLICKED] = 1.0
            skips = exposures.get(news_id, 0) - clicks
            if skips > 0:
                x[i, _FATIGUE] = math.log1p(skips)


def _co_clicks(x: NDArray[np.float64], scores: NDArray[np.float64] | None) -> None:
    if scores is None:
        return
    scores *= _CO_CLICK_SCALE
    np.log1p(scores, out=scores)
    np.divide(scores, 3.0, out=x[:, _CO_CLICK])


def _crosses(x: NDArray[np.float64], user: UserView, now_s: float) -> None:
    products = [(*_BY_HOUR, math.cos(now_s % _DAY_S / _DAY_S * 2.0 * math.pi))]
    if user.clicks:
        maturity = user.clicks / (user.clicks + _MATURE_CLICKS)
        products += [(*columns, maturity) for columns in _BY_MATURITY]
    kernels.cross_features(x, _LIFT_24H, _SLATE_RANK, products)
