"""What the catalog promises: rows that stay, sums that agree, and nothing stale."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from freshet.models.articles.catalog import STATS_HALF_LIVES_S, ArticleCatalog
from freshet.models.articles.counts import ArticleCounts
from freshet.models.articles.trending import TRENDING_PRIOR_IMPRESSIONS, population_vector, trending_scores

START_S = 1_573_000_000.0
HEADS = len(STATS_HALF_LIVES_S)
TINY = 1e-300
"""What has decayed below this is a subnormal number, with few digits left."""
LAW = settings(max_examples=40)


class Snapshot(NamedTuple):
    """An article's statistics, or its removal."""

    news_id: str
    time_s: float
    clicks: tuple[float, ...]
    impressions: tuple[float, ...]
    removed: bool


counts = st.tuples(*[st.floats(0, 1_000, width=32)] * HEADS)
snapshots = st.lists(
    st.builds(
        Snapshot,
        st.sampled_from(["N1", "N2", "N3", "N4"]),
        st.integers(0, 3 * 86_400).map(lambda seconds: START_S + seconds),
        counts,
        counts,
        st.sampled_from([False] * 5 + [True]),
    ),
    max_size=30,
)


def stats(
    catalog: ArticleCatalog, news_id: str, clicks: float, shown: float, time_s: float = START_S
) -> bool:
    return catalog.put_stats(news_id, time_s, [clicks] * HEADS, [shown] * HEADS, START_S)


@LAW
@given(snapshots, st.integers(0, 86_400))
def test_global_counts_equal_the_sum_over_rows(taken: list[Snapshot], later_s: int) -> None:
    catalog = ArticleCatalog(2)
    for snapshot in taken:
        if snapshot.removed:
            catalog.remove(snapshot.news_id)
        else:
            catalog.put_stats(
                snapshot.news_id, snapshot.time_s, snapshot.clicks, snapshot.impressions, START_S
            )
    now_s = START_S + 3 * 86_400 + later_s
    clicks, impressions = catalog.decayed(np.arange(len(catalog.ids)), now_s)
    all_clicks, all_impressions = catalog.global_counts(now_s)
    np.testing.assert_allclose(all_clicks, clicks.sum(axis=0), rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(all_impressions, impressions.sum(axis=0), rtol=1e-9, atol=1e-9)


@LAW
@given(st.lists(st.tuples(st.integers(0, 50), st.integers(0, 50)), min_size=1, max_size=10), st.data())
def test_stale_snapshots_are_ignored(grown: list[tuple[int, int]], data: st.DataObject) -> None:
    clicks, impressions = 0, 0
    history = []
    for more_clicks, more_impressions in grown:
        clicks, impressions = clicks + more_clicks, impressions + more_impressions
        history.append((clicks, impressions))
    catalog = ArticleCatalog(2)
    for clicked, shown in data.draw(st.permutations(history)):
        stats(catalog, "N1", clicked, shown)
    row = catalog.row("N1")
    assert (catalog.clicks[row, -1], catalog.impressions[row, -1]) == history[-1]


@LAW
@given(
    st.lists(
        st.tuples(
            st.integers(0, 3 * 86_400),
            st.dictionaries(st.sampled_from(["N1", "N2", "N3", "N4"]), st.booleans(), min_size=1),
        ),
        max_size=15,
    )
)
def test_counting_slates_equals_the_snapshots_of_their_articles(
    slates: list[tuple[int, dict[str, bool]]],
) -> None:
    counting, told = ArticleCatalog(2), ArticleCatalog(2)
    articles: dict[str, ArticleCounts] = {}
    for offset, (second, slate) in enumerate(slates):
        counting.count_slate(list(slate), np.array(list(slate.values())), START_S + second)
        for news_id, clicked in slate.items():
            counts = articles.setdefault(news_id, ArticleCounts())
            counts.apply(("impressions", 0, offset), START_S + second, 1, int(clicked))
    for news_id, counts in articles.items():
        told.put_stats(news_id, counts.time_s, *counts.at(counts.time_s), counts.first_seen_s)
    now_s = START_S + 4 * 86_400
    rows, other_rows = counting.rows(list(articles)), told.rows(list(articles))
    np.testing.assert_allclose(
        counting.decayed(rows, now_s), told.decayed(other_rows, now_s), rtol=1e-9, atol=TINY
    )
    np.testing.assert_allclose(counting.global_counts(now_s), told.global_counts(now_s), rtol=1e-9, atol=TINY)
    np.testing.assert_array_equal(counting.stats_time_s[rows], told.stats_time_s[other_rows])
    np.testing.assert_array_equal(counting.first_seen_s[rows], told.first_seen_s[other_rows])


def test_growth_keeps_rows() -> None:
    catalog = ArticleCatalog(3)
    n = 5_000
    for i in range(n):
        catalog.put_article(f"N{i}", [i, 1, 2], START_S + i, f"title {i}", f"category {i % 7}")
        stats(catalog, f"N{i}", 1.0, float(i))
    ids = [f"N{i}" for i in range(n)]
    rows = catalog.rows(ids)
    assert rows.dtype == np.int64
    assert [catalog.ids[row] for row in rows] == ids
    assert catalog.vectors[rows, 0].tolist() == list(range(n))
    assert catalog.published_at_s[rows].tolist() == [START_S + i for i in range(n)]
    assert catalog.impressions[rows, 0].tolist() == list(range(n))
    assert [catalog.titles[row] for row in rows[:3]] == ["title 0", "title 1", "title 2"]
    assert [catalog.category_names[catalog.category[row]] for row in rows[:3]] == [
        "category 0",
        "category 1",
        "category 2",
    ]
    assert catalog.has_vector.sum() == len(catalog) == n


@pytest.mark.parametrize("articles", [0, 1_022, 1_023, 1_024, 2_047])
def test_row_of_an_unknown_article_reads_as_nothing_known(articles: int) -> None:
    catalog = ArticleCatalog(3)
    for i in range(articles):
        catalog.put_article(f"N{i}", [1, 2, 3], START_S, "t", "c", "s", "en")
        stats(catalog, f"N{i}", 1.0, 2.0)
        catalog.set_withdrawn(f"N{i}", True)
    rows = catalog.rows(["nobody", "N0"])
    assert rows.tolist() == [-1, 0 if articles else -1]
    assert catalog.row("nobody") == -1
    assert not catalog.vectors[-1].any()
    assert not catalog.has_vector[-1]
    assert not catalog.withdrawn[-1]
    assert math.isnan(catalog.published_at_s[-1])
    assert math.isnan(catalog.first_seen_s[-1])
    assert (catalog.category[-1], catalog.subcategory[-1], catalog.language[-1]) == (0, 0, 0)
    clicks, impressions = catalog.decayed(np.array([-1, -1]), START_S)
    assert clicks.shape == impressions.shape == (2, HEADS)
    assert not clicks.any()
    assert not impressions.any()


def test_statistics_come_before_the_article_and_outlive_its_updates() -> None:
    catalog = ArticleCatalog(2)
    stats(catalog, "N1", 3.0, 9.0)
    row = catalog.row("N1")
    assert not catalog.has_vector[row]
    catalog.set_withdrawn("N1", True)
    assert catalog.put_article("N1", [1, 2], START_S, "title", "news") == row
    assert catalog.put_article("N1", [3, 4], START_S, "better title", "sports") == row
    assert catalog.vectors[row].tolist() == [3.0, 4.0]
    assert catalog.titles[row] == "better title"
    assert catalog.category_names[catalog.category[row]] == "sports"
    assert catalog.clicks[row].tolist() == [3.0] * HEADS
    assert catalog.withdrawn[row]


def test_removed_article_is_unknown_and_its_row_is_used_again() -> None:
    catalog = ArticleCatalog(2)
    row = catalog.put_article("N1", [1, 2], START_S, "title", "news")
    stats(catalog, "N1", 3.0, 9.0)
    catalog.set_withdrawn("N1", True)
    assert catalog.remove("N1")
    assert not catalog.remove("N1")
    assert "N1" not in catalog
    assert len(catalog) == 0
    assert not catalog.global_counts(START_S)[0].any()
    assert catalog.put_article("N2", None, math.nan) == row
    assert catalog.ids[row] == "N2"
    assert catalog.titles[row] == ""
    assert not catalog.withdrawn[row]
    assert not catalog.clicks[row].any()


def test_counts_decay_from_their_own_time() -> None:
    catalog = ArticleCatalog(2)
    stats(catalog, "N1", 8.0, 16.0, START_S)
    stats(catalog, "N2", 8.0, 16.0, START_S + 10_800)
    clicks, impressions = catalog.decayed(catalog.rows(["N1", "N2"]), START_S + 10_800)
    assert clicks[:, 1].tolist() == [4.0, 8.0]
    assert impressions[:, 1].tolist() == [8.0, 16.0]
    assert clicks[:, 3].tolist() == [8.0, 8.0]
    past, _ = catalog.decayed(catalog.rows(["N1"]), START_S - 86_400)
    assert past[0].tolist() == [8.0] * HEADS


def test_trending_wants_recent_evidence() -> None:
    catalog = ArticleCatalog(2)
    stats(catalog, "lucky", 1.0, 1.0)
    stats(catalog, "popular", 50.0, 100.0)
    stats(catalog, "ignored", 0.0, 100.0)
    stats(catalog, "old", 50.0, 100.0, START_S - 86_400)
    stats(catalog, "withdrawn", 50.0, 100.0)
    catalog.set_withdrawn("withdrawn", True)
    scores = dict(zip(catalog.ids, trending_scores(catalog, START_S).tolist(), strict=True))
    assert scores["popular"] == pytest.approx(50 / (100 + TRENDING_PRIOR_IMPRESSIONS))
    assert scores["popular"] > scores["lucky"] > scores["old"] > 0
    assert scores["ignored"] == scores["withdrawn"] == 0


def test_population_is_the_click_weighted_mean_vector() -> None:
    catalog = ArticleCatalog(2)
    assert population_vector(catalog, START_S).tolist() == [0.0, 0.0]
    catalog.put_article("N1", [1, 0], START_S)
    catalog.put_article("N2", [0, 1], START_S)
    stats(catalog, "without a vector", 100.0, 100.0)
    assert population_vector(catalog, START_S).tolist() == [0.5, 0.5]
    stats(catalog, "N1", 6.0, 9.0, START_S - 86_400)
    stats(catalog, "N2", 1.0, 9.0)
    population = population_vector(catalog, START_S)
    assert population.dtype == np.float32
    np.testing.assert_allclose(population, [0.75, 0.25])


def test_revision_tells_when_vectors_change() -> None:
    catalog, other = ArticleCatalog(2), ArticleCatalog(2)
    seen = {catalog.revision, other.revision}
    for change in (
        lambda: catalog.put_article("N1", [1, 2], START_S),
        lambda: other.put_article("N1", [1, 2], START_S),
        lambda: catalog.put_article("N1", None, START_S),
        lambda: catalog.put_article("N2", [1, 2], START_S),
        lambda: catalog.remove("N2"),
    ):
        before = (catalog.revision, other.revision)
        change()
        changed = {catalog.revision, other.revision} - set(before)
        assert len(changed) == 1
        assert not changed & seen
        seen |= changed
    before = (catalog.revision, other.revision)
    stats(catalog, "N3", 1.0, 1.0)
    assert (catalog.revision, other.revision) == before


@pytest.mark.parametrize("vector", [[1.0], [1.0, math.nan], [[1.0, 2.0]]])
def test_bad_vector_is_refused_and_changes_nothing(vector: list[float]) -> None:
    catalog = ArticleCatalog(2)
    with pytest.raises(ValueError, match="'N1'"):
        catalog.put_article("N1", vector, START_S)
    assert "N1" not in catalog


@pytest.mark.parametrize(
    ("time_s", "clicks", "shown"),
    [
        (math.nan, [1.0] * HEADS, [1.0] * HEADS),
        (1.0, [1.0], [1.0] * HEADS),
        (1.0, [math.inf] * HEADS, [1.0] * HEADS),
    ],
)
def test_bad_statistics_are_refused_and_change_nothing(
    time_s: float, clicks: list[float], shown: list[float]
) -> None:
    catalog = ArticleCatalog(2)
    with pytest.raises(ValueError, match="'N1'"):
        catalog.put_stats("N1", time_s, clicks, shown, START_S)
    assert "N1" not in catalog


def test_impossible_catalogs_are_refused() -> None:
    with pytest.raises(ValueError, match="d is 0"):
        ArticleCatalog(0)
    with pytest.raises(ValueError, match="half_lives_s"):
        ArticleCatalog(2, ())
    with pytest.raises(ValueError, match="half_lives_s"):
        ArticleCatalog(2, (0.0, None))


def test_a_catalog_beside_another_shares_all_but_the_vectors() -> None:
    catalog = ArticleCatalog(2)
    catalog.put_article("N1", [1.0, 0.0], START_S, title="One", category="sports")
    other = catalog.beside(3)
    assert (other.d, other.vectors_held, other.row("N1")) == (3, 0, catalog.row("N1"))
    for i in range(catalog.capacity):  # past the capacity that both began with
        catalog.put_article(f"N{i}", [0.0, 1.0], START_S + i, category="finance")
    other.put_vector("N1", [1.0, 2.0, 3.0])
    other.put_vector("N-other", [4.0, 5.0, 6.0])
    stats(other, "N1", 2.0, 5.0)
    row = catalog.row("N1")
    assert other.capacity == catalog.capacity
    assert catalog.vectors[row].tolist() == [0.0, 1.0]
    assert other.vectors[row].tolist() == [1.0, 2.0, 3.0]
    assert not catalog.has_vector[catalog.row("N-other")]
    assert catalog.clicks[row].tolist() == other.clicks[row].tolist() == [2.0] * HEADS
    assert other.newest_published_at_s == catalog.newest_published_at_s
    assert not other.has_vector[-1]

    revision = other.revision
    catalog.remove("N1")
    assert other.revision != revision
    other.put_article("N-new", None, START_S)
    assert other.row("N-new") == row
    assert not other.has_vector[row], "a row is given to another article without what it held"

    other.close()
    other.close()
    for i in range(catalog.capacity):
        catalog.put_article(f"M{i}", [0.0, 1.0], START_S)
    assert len(other.vectors) < catalog.capacity, "what was closed grows no more"
