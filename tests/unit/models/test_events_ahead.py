"""No event changes what others' events say at a time by more than its own share, whatever its stamp.

An event is stamped by its producer's clock and taken in by a worker's. Each test compares what is known with
one event more and without it, at a time at or after all the others.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from freshet.models.articles.bursts import surprises
from freshet.models.articles.catalog import STATS_HALF_LIVES_S, ArticleCatalog
from freshet.models.articles.counts import ArticleCounts
from freshet.models.articles.trending import population_vector, trending_scores
from freshet.models.events.events import from_unix_s
from freshet.models.kernels.statistics_layout import CLICKS, EXPECTED, IMPRESSIONS
from freshet.models.users.state import Pooling, UserState
from freshet.streams.kafka.outbox import Outbox
from freshet.streams.records.intake import Intake
from freshet.streams.settings import Settings

NOW_S = 1_767_000_000.0
"""The worker's clock."""
DAY_S = 86_400.0
SETTINGS = Settings(max_clock_skew_s=2 * DAY_S, data_dir=Path("none"))
INTAKE = Intake(SETTINGS, Outbox(SETTINGS))
ARTICLES = ["N0", "N1", "N2"]
D = 2
POOLING = Pooling(D, (7_200.0, 7 * DAY_S), DAY_S, 1.0, 50, 200)
ROUNDING = 1e-4
LAW = settings(max_examples=50)

Event = tuple[float, int]
"""Stamp and which article is clicked, of the slate of all."""

articles = st.integers(0, len(ARTICLES) - 1)
# Half of them so near that they matter at the shortest half-life.
ages_s = st.floats(0.0, 1_800.0) | st.floats(0.0, 3 * DAY_S)
past = st.lists(st.tuples(ages_s.map(lambda age_s: NOW_S - age_s), articles), max_size=12)
stamps_s = ages_s.map(lambda age_s: NOW_S - age_s) | st.floats(0.0, 2 * DAY_S).map(lambda s: NOW_S + s)
anything = st.tuples(stamps_s, articles)
later = (st.floats(0.0, 1_800.0) | st.floats(0.0, DAY_S)).map(lambda seconds: NOW_S + seconds)
places = st.integers(0, 12)


def taken_in(stamp_s: float) -> float:
    """The time that the event counts at."""
    return INTAKE.checked_time_s(from_unix_s(stamp_s), NOW_S)


def with_one_more(others: list[Event], extra: Event, place: int) -> list[Event]:
    return [*others[:place], extra, *others[place:]]


def counts_of(events: list[Event]) -> ArticleCounts:
    """What is known of N0."""
    counts = ArticleCounts()
    for offset, (stamp_s, clicked) in enumerate(events):
        counts.apply(("impressions", 0, offset), taken_in(stamp_s), 1, int(clicked == 0), len(ARTICLES))
    return counts


def catalog_of(events: list[Event]) -> ArticleCatalog:
    catalog = ArticleCatalog(D)
    for i, news_id in enumerate(ARTICLES):
        catalog.put_article(news_id, [1.0, float(i)], NOW_S - 4 * DAY_S, category=f"c{i}")
    for stamp_s, clicked in events:
        catalog.count_slate(ARTICLES, np.arange(len(ARTICLES)) == clicked, taken_in(stamp_s))
    return catalog


def state_of(events: list[Event], catalog: ArticleCatalog) -> UserState:
    state = UserState.empty(POOLING)
    for offset, (stamp_s, clicked) in enumerate(events):
        source = ("impressions", 0, offset)
        state.apply_impression(source, taken_in(stamp_s), ARTICLES, [ARTICLES[clicked]], catalog)
    return state


def share(stamp_s: float, at_s: float, half_lives_s: tuple[float | None, ...]) -> NDArray[np.float64]:
    """The most that one event is worth at each half-life."""
    age_s = max(0.0, at_s - max(stamp_s, NOW_S)) if stamp_s > NOW_S else at_s - stamp_s
    return np.array([1.0 if h is None else 0.5 ** (age_s / h) for h in half_lives_s])


def assert_own_share(
    found: NDArray[np.float64] | Any, without: NDArray[np.float64] | Any, most: NDArray[np.float64]
) -> None:
    change = np.asarray(found) - np.asarray(without)
    assert (change >= -ROUNDING).all(), f"the others count for less: {change}"
    assert (change <= most + ROUNDING).all(), f"one event counts for more than it is worth: {change} > {most}"


@LAW
@given(past, anything, places, later)
def test_in_an_articles_counts(others: list[Event], extra: Event, place: int, at_s: float) -> None:
    found, without = counts_of(with_one_more(others, extra, place)), counts_of(others)
    most = share(extra[0], at_s, STATS_HALF_LIVES_S)
    for one, other in zip(found.at(at_s), without.at(at_s), strict=True):
        assert_own_share(one, other, most)
    assert_own_share(found.expected_at(at_s), without.expected_at(at_s), most / len(ARTICLES))


@LAW
@given(past, anything, places, later)
def test_in_the_catalogs_columns_and_their_sums(
    others: list[Event], extra: Event, place: int, at_s: float
) -> None:
    found, without = catalog_of(with_one_more(others, extra, place)), catalog_of(others)
    most = share(extra[0], at_s, STATS_HALF_LIVES_S)
    rows = np.arange(len(ARTICLES))
    for one, other in zip(found.decayed(rows, at_s), without.decayed(rows, at_s), strict=True):
        assert_own_share(one, other, most)
    one, other = found.statistics.all_at(at_s), without.statistics.all_at(at_s)
    for kind, in_slate in ((CLICKS, 1), (IMPRESSIONS, len(ARTICLES)), (EXPECTED, 1)):
        assert_own_share(one[kind], other[kind], in_slate * most)
    # Bursts look at the short half-life, what is trending at the middle one.
    assert_own_share(surprises(found, at_s).clicks, surprises(without, at_s).clicks, most[0])
    assert (
        np.abs(trending_scores(found, at_s) - trending_scores(without, at_s)) <= most[1] / 50.0 + 1e-9
    ).all()


@LAW
@given(past, anything, places, later)
def test_in_the_mean_of_what_is_clicked_and_the_rates_of_categories(
    others: list[Event], extra: Event, place: int, at_s: float
) -> None:
    """A weighted mean moves by at most the event's share of the weights, of a spread of at most 2."""
    found, without = catalog_of(with_one_more(others, extra, place)), catalog_of(others)
    weight = float(share(extra[0], at_s, (DAY_S,))[0])
    total = float(without.global_counts(at_s)[0][2])
    if total > 0.0:
        moved = np.linalg.norm(population_vector(found, at_s) - population_vector(without, at_s))
        assert moved <= 2.0 * weight / (total + weight) + ROUNDING
    (one, _), (other, _) = found.category_rates(at_s), without.category_rates(at_s)
    assert (np.abs(one.share - other.share) <= weight / (total + 1.0) + ROUNDING).all()


@LAW
@given(past, anything, places, later)
def test_in_a_users_evidence(others: list[Event], extra: Event, place: int, at_s: float) -> None:
    catalog = catalog_of([])
    found = state_of(with_one_more(others, extra, place), catalog).weights(at_s)
    without = state_of(others, catalog).weights(at_s)
    most = share(extra[0], at_s, POOLING.all_half_lives_s) * [1.0, 1.0, len(ARTICLES) - 1.0]
    assert_own_share(found, without, most)


def test_fresh_clicks_are_not_kept_down_by_one_from_the_future() -> None:
    """Of the clicks that were found to count as 1.0 for hours."""
    fresh = [(NOW_S, 0)] * 116
    assert counts_of([(NOW_S + 9 * 3_600.0, 0), *fresh]).at(NOW_S)[0][0] == pytest.approx(117.0)


def test_what_was_stored_with_a_time_ahead_does_not_keep_later_events_down() -> None:
    """As by a version that took events a day ahead as they were stamped."""
    counts = ArticleCounts()
    counts.apply(("clicks", 0, 0), NOW_S + 9 * 3_600.0, 0, 1)
    restored = ArticleCounts.from_bytes(counts.to_bytes())
    restored.settle(NOW_S)
    for offset in range(1, 117):
        restored.apply(("clicks", 0, offset), NOW_S, 0, 1)
    assert restored.at(NOW_S)[0] == pytest.approx((117.0,) * 4)
    assert restored.time_s == restored.clicked_at_s == restored.first_seen_s == NOW_S

    catalog = catalog_of([])
    state = UserState.empty(POOLING)
    state.apply_click(("clicks", 0, 0), NOW_S + 9 * 3_600.0, "N0", catalog, impression_known=False)
    state = UserState.from_bytes(state.to_bytes(), POOLING)
    state.settle(NOW_S)
    for offset in range(1, 11):
        state.apply_click(("clicks", 0, offset), NOW_S, "N1", catalog, impression_known=False)
    assert state.weights(NOW_S)[:-1] == pytest.approx(11.0)
    untouched = UserState.empty(POOLING)
    untouched.settle(NOW_S)
    assert untouched.reference_s == -math.inf
