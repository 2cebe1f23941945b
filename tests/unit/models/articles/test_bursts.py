"""What the burst detector promises: news is found within the hour, business as usual is not news."""

from __future__ import annotations

import numpy as np
import pytest

from freshet.models.articles.bursts import BurstDetector, surprises
from freshet.models.articles.catalog import ArticleCatalog
from freshet.models.evaluation.simulation.burst_trial import BurstTrial, run

START_S = 1_767_592_800.0
HOUR_S = 3_600.0


def test_news_that_is_clicked_ten_times_as_often_is_found_within_half_an_hour() -> None:
    found = run(BurstTrial(factor=10.0, seed=1))
    assert len(found.delays_s) >= found.bursts - 2
    assert np.median(found.delays_s) <= 1_800
    assert found.false_alarms == 0


def test_a_day_without_news_raises_no_alarm() -> None:
    found = run(BurstTrial(factor=1.0, seed=2))
    assert (found.bursts, found.false_alarms) == (0, 0)


def test_being_shown_more_is_no_news() -> None:
    found = run(BurstTrial(factor=8.0, more_exposure=True, seed=3))
    assert (found.delays_s, found.false_alarms) == ((), 0)


def test_clicks_alone_are_enough_at_the_price_of_some_false_alarms() -> None:
    found = run(BurstTrial(factor=10.0, exposed=False, seed=4))
    assert len(found.delays_s) >= found.bursts - 2
    assert found.false_alarms <= 3


def one_article(clicks: float) -> ArticleCatalog:
    """N1 among many others, with so many clicks of late."""
    catalog = ArticleCatalog(1)
    for i in range(500):
        catalog.put_stats(f"M{i}", START_S, [2.0, 11, 70, 90], [30.0, 170, 1e3, 2e3], START_S - 86_400)
    recent = [clicks, clicks + 15, clicks + 60, clicks + 80]
    catalog.put_stats("N1", START_S, recent, [200.0, 900, 2e3, 3e3], START_S - 86_400)
    return catalog


def test_a_burst_begins_once_and_ends_when_the_surprise_is_gone() -> None:
    catalog, detector = one_article(60.0), BurstDetector()
    assert [burst.news_id for burst in detector.update(catalog, START_S)] == ["N1"]
    assert detector.update(catalog, START_S + 60) == ()
    (burst,) = detector.bursts
    assert burst.since_s == START_S
    assert burst.clicks > burst.expected_clicks
    detector.update(catalog, START_S + 6 * HOUR_S)
    assert detector.bursts == ()
    assert detector.begun == 1


def test_more_clicks_are_more_surprising_and_the_withdrawn_never_burst() -> None:
    found = [surprises(one_article(clicks), START_S).surprise[-1] for clicks in (0.0, 5.0, 15.0, 40.0, 90.0)]
    assert found == sorted(found)
    assert found[0] < 0 < found[-1]
    catalog = one_article(90.0)
    catalog.set_withdrawn("N1", True)
    assert BurstDetector().update(catalog, START_S) == ()


def test_at_most_so_many_bursts_are_held_the_most_surprising_first() -> None:
    catalog = ArticleCatalog(1)
    for i in range(20):
        recent = 50.0 + 5 * i
        counts = [recent, recent + 20, recent + 60, recent + 90]
        catalog.put_stats(f"N{i}", START_S, counts, [300.0, 900, 2e3, 3e3], START_S - 9e4)
    for i in range(2_000):
        catalog.put_stats(f"M{i}", START_S, [2.0, 11, 70, 90], [30.0, 170, 1e3, 2e3], START_S - 9e4)
    detector = BurstDetector(max_bursts=5)
    detector.update(catalog, START_S)
    assert [burst.news_id for burst in detector.bursts] == [f"N{i}" for i in range(19, 14, -1)]


def test_an_empty_catalog_has_no_bursts() -> None:
    assert BurstDetector().update(ArticleCatalog(1), START_S) == ()


@pytest.mark.parametrize("bad", [{"begins": 1.0, "ends": 2.0}, {"least_clicks": 0.0}, {"max_bursts": 0}])
def test_bounds_that_make_no_sense_are_refused(bad: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="must"):
        BurstDetector(**bad)  # type: ignore[arg-type] - one dict for three types
