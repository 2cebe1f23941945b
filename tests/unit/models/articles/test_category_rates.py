"""What is said of categories: how much each is clicked, against its showings and against all clicks."""

from __future__ import annotations

import numpy as np
import pytest

from freshet.models.articles.catalog import ArticleCatalog
from freshet.models.articles.category_rates import INTERVAL_S

NOW_S = 1_700_000_000.0


@pytest.fixture
def catalog() -> ArticleCatalog:
    """Sports is clicked, finance is shown as often, and one article has no category."""
    catalog = ArticleCatalog(1)
    for news_id, category, subcategory in (
        ("N1", "sports", "football"),
        ("N2", "finance", "markets"),
        ("N3", "", ""),
    ):
        catalog.put_article(news_id, None, NOW_S, category=category, subcategory=subcategory)
    for second in range(60):
        clicked = np.array([second % 2 == 0, False, second % 2 == 1])
        catalog.count_slate(["N1", "N2", "N3"], clicked, NOW_S - second)
    return catalog


def test_a_category_that_is_clicked_more_than_its_showings_predict_has_a_lift(
    catalog: ArticleCatalog,
) -> None:
    categories, subcategories = catalog.category_rates(NOW_S)
    sports, finance = (catalog.category_names.index(name) for name in ("sports", "finance"))
    assert categories.lift[sports] > 0.3
    assert categories.lift[finance] < -0.3
    assert categories.lift[0] == 0.0, "no category is no category"
    football = catalog.subcategory_names.index("football")
    assert subcategories.lift[football] == pytest.approx(categories.lift[sports])


def test_shares_are_of_all_clicks_and_of_no_category_0(catalog: ArticleCatalog) -> None:
    categories, _ = catalog.category_rates(NOW_S)
    shares = categories.share
    assert shares.sum() == pytest.approx(1.0, abs=0.05)
    assert (
        shares[catalog.category_names.index("sports")] > 5 * shares[catalog.category_names.index("finance")]
    )


def test_rates_are_computed_anew_after_their_time_or_with_a_new_category(catalog: ArticleCatalog) -> None:
    first = catalog.category_rates(NOW_S)
    catalog.count_slate(["N2"], np.array([True]), NOW_S + 1)
    assert catalog.category_rates(NOW_S + INTERVAL_S - 1) is first
    later = catalog.category_rates(NOW_S + INTERVAL_S)
    assert later is not first
    catalog.put_article("N4", None, NOW_S, category="travel")
    assert len(catalog.category_rates(NOW_S + INTERVAL_S)[0].lift) == len(catalog.category_names)
