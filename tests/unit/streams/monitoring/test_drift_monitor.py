"""The drift gauges say what the catalog has seen, and nothing while there is too little to say it with."""

from __future__ import annotations

import asyncio
import math

import numpy as np
import pytest

from freshet.models.articles.catalog import ArticleCatalog
from freshet.streams import metrics
from freshet.streams.monitoring.drift_monitor import (
    SAMPLE,
    DriftGauges,
    DriftMonitor,
    measured,
    sampled,
    show,
)
from tests.waiting import HANG_S

DAY_S = 86_400.0
NOW_S = 1_767_000_000.0


def _catalog(new_norm: float = 1.0, articles: int = 60, d: int = 4) -> ArticleCatalog:
    """Every third article is a day's, the others are a week old; N0, N2.. are sport, N1, N3.. politics."""
    rng = np.random.default_rng(0)
    catalog = ArticleCatalog(d)
    for i in range(articles):
        new = i % 3 == 0
        vector = rng.normal(size=d)
        vector *= (new_norm if new else 1.0) / np.linalg.norm(vector)
        age_s = 0.5 * DAY_S if new else 7 * DAY_S
        catalog.put_article(
            f"N{i}", vector, NOW_S - age_s, category="politics" if i % 2 else "sport", title=f"Title {i}"
        )
    return catalog


def _click(catalog: ArticleCatalog, first: int, times: int, time_s: float) -> None:
    """Clicks on the articles ``first``, ``first + 2`` and so on, which are of one category."""
    for i in range(times):
        catalog.count_slate([f"N{(first + 2 * i) % 60}"], np.array([True]), time_s)


def _gauges(catalog: ArticleCatalog) -> DriftGauges:
    return measured(sampled(catalog, np.random.default_rng(0)))


def test_nothing_is_said_of_an_empty_catalog() -> None:
    assert _gauges(ArticleCatalog(4)) == DriftGauges(None, None)


def test_clicks_that_move_to_another_category_are_a_shift() -> None:
    catalog = _catalog()
    _click(catalog, 0, 200, NOW_S - 8 * DAY_S)
    _click(catalog, 1, 200, NOW_S - 8 * DAY_S)
    _click(catalog, 1, 200, NOW_S)
    found = _gauges(catalog).psi
    assert found is not None
    assert found > 0.25


def test_clicks_that_stay_are_none() -> None:
    catalog = _catalog()
    for time_s in (NOW_S - 8 * DAY_S, NOW_S):
        _click(catalog, 0, 200, time_s)
        _click(catalog, 1, 100, time_s)
    found = _gauges(catalog).psi
    assert found is not None
    assert found < 0.01


def test_a_few_clicks_say_nothing() -> None:
    catalog = _catalog()
    _click(catalog, 0, 5, NOW_S - 8 * DAY_S)
    _click(catalog, 1, 5, NOW_S)
    assert _gauges(catalog).psi is None


def test_clicks_of_articles_without_a_category_are_left_out() -> None:
    catalog = _catalog()
    for time_s in (NOW_S - 8 * DAY_S, NOW_S):
        _click(catalog, 0, 100, time_s)
        _click(catalog, 1, 100, time_s)
    before = _gauges(catalog).psi
    for _ in range(300):
        catalog.count_slate(["N-never-announced"], np.array([True]), NOW_S)
    assert _gauges(catalog).psi == before


def test_a_click_is_recent_by_half_after_a_day() -> None:
    catalog = _catalog()
    _click(catalog, 0, 1, NOW_S - DAY_S)
    _click(catalog, 1, 1, NOW_S)
    sample = sampled(catalog, np.random.default_rng(0))
    sport, politics = (catalog.category_names.index(name) for name in ("sport", "politics"))
    assert sample.recent_clicks[[sport, politics]].tolist() == pytest.approx([0.5, 1.0])
    assert sample.older_clicks[[sport, politics]].tolist() == pytest.approx([0.5, 0.0])


def test_new_vectors_that_are_longer_show() -> None:
    found = _gauges(_catalog(new_norm=3.0)).vectors
    assert found is not None
    assert found.norms.relative == pytest.approx(2.0, rel=1e-5)
    assert (found.before, found.after) == (40, 20)


def test_withdrawn_articles_and_those_without_a_vector_are_left_out() -> None:
    catalog = _catalog(new_norm=3.0)
    for i in range(3, 60, 3):
        catalog.set_withdrawn(f"N{i}", True)
    catalog.put_article("N-blank", np.zeros(4), NOW_S - 7 * DAY_S)
    catalog.put_article("N-none", None, NOW_S - 7 * DAY_S)
    found = _gauges(catalog).vectors
    assert found is not None
    assert (found.before, found.after) == (40, 1)


def test_new_is_what_is_new_in_event_time() -> None:
    catalog = _catalog()
    _click(catalog, 0, 1, NOW_S + 30 * DAY_S)
    assert _gauges(catalog).vectors is None, "everything is old by now"


def test_a_large_catalog_is_sampled() -> None:
    catalog = _catalog(articles=6 * SAMPLE)
    found = _gauges(catalog).vectors
    assert found is not None
    assert (found.before, found.after) == (SAMPLE, SAMPLE)


async def test_the_monitor_sets_the_gauges_until_it_is_cancelled() -> None:
    monitor = asyncio.create_task(DriftMonitor(_catalog(new_norm=2.0), 0.01).run())
    deadline = asyncio.get_running_loop().time() + HANG_S
    while metrics.DRIFT_NORM_SHIFT._value.get() != pytest.approx(1.0, rel=1e-5):
        assert not monitor.done()
        assert asyncio.get_running_loop().time() < deadline
        await asyncio.sleep(0.01)
    monitor.cancel()
    with pytest.raises(asyncio.CancelledError):
        await monitor


async def test_an_interval_of_0_measures_nothing() -> None:
    await DriftMonitor(_catalog(), 0.0).run()


def test_what_is_unknown_is_not_a_number() -> None:
    show(DriftGauges(None, None))
    for gauge in (metrics.DRIFT_CATEGORIES_PSI, metrics.DRIFT_NORM_SHIFT, metrics.DRIFT_CENTROID_SHIFT):
        (sample,) = gauge.collect()[0].samples
        assert math.isnan(sample.value)
