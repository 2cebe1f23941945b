"""What the index sorts trending articles by."""

from __future__ import annotations

import pytest

from freshet.models.articles.catalog import ArticleCatalog
from freshet.models.articles.trending import TRENDING_HALF_LIFE_S, most_popular, popularity


def test_the_most_popular_are_those_of_the_highest_popularity() -> None:
    catalog = ArticleCatalog(2)
    now_s = 1_000_000.0
    told = {}
    for news_id, clicks, age_s in (("old", 8.0, 4 * TRENDING_HALF_LIFE_S), ("a", 2.0, 0.0), ("b", 1.0, 0.0)):
        counts = [clicks] * 4
        catalog.put_stats(news_id, now_s - age_s, counts, [9.0] * 4, 0.0)
        told[news_id] = popularity(counts, now_s - age_s)
    catalog.put_stats("shown", now_s, [0.0] * 4, [9.0] * 4, 0.0)
    catalog.put_article("unseen", [1.0, 0.0], now_s)

    found = most_popular(catalog, 10)
    assert list(found) == ["a", "b", "old"]
    assert found == pytest.approx(told)
    assert list(most_popular(catalog, 1)) == ["a"]
    assert most_popular(ArticleCatalog(2), 5) == {}
