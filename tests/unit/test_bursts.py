"""What the burst detector promises: news is found within the hour, business as usual is not news."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pytest
from numpy.typing import NDArray

from freshet.models.bursts import BurstDetector, surprises
from freshet.models.catalog import ArticleCatalog
from freshet.models.synth_world import visit_rate

START_S = 1_767_592_800.0
HOUR_S = 3_600.0
STEP_S = 120.0
ARTICLES = 200
BURST_S = 2 * HOUR_S
WARM_UP_S = 12 * HOUR_S


@dataclass
class Newspaper:
    """Articles that come and go with the rhythm of the day; some burst an hour or more after publication."""

    seed: int
    factor: float
    hours: float = 36.0
    exposed: bool = True
    more_exposure: bool = False
    delays_s: dict[int, float] = field(default_factory=dict)
    false_alarms: int = 0

    def run(self) -> Newspaper:
        rng = np.random.default_rng(self.seed)
        end_s = self.hours * HOUR_S
        catalog, detector = ArticleCatalog(1), BurstDetector()
        rate = rng.lognormal(np.log(60.0), 1.0, ARTICLES) / HOUR_S
        click_rate = rng.beta(4, 60, ARTICLES)
        born_s = rng.uniform(-24 * HOUR_S, end_s, ARTICLES)
        life_s = rng.lognormal(np.log(8 * HOUR_S), 0.4, ARTICLES)
        chosen = np.flatnonzero((born_s > WARM_UP_S) & (born_s < end_s - 8 * HOUR_S))[:8]
        burst_s = np.full(ARTICLES, np.inf)
        burst_s[chosen] = born_s[chosen] + rng.uniform(1, 5, len(chosen)) * HOUR_S
        ids = [f"N{row}" for row in range(ARTICLES)]
        for news_id, published_s in zip(ids, born_s, strict=True):
            catalog.put_article(news_id, None, START_S + published_s)
        for now_s in np.arange(STEP_S, end_s, STEP_S):
            age_s = now_s - born_s
            busy = visit_rate(np.array([now_s + START_S]))[0] * rate
            expected = np.where(age_s > 0, busy * np.exp2(-np.maximum(age_s, 0) / life_s), 0.0) * STEP_S
            bursting = (burst_s <= now_s) & (now_s < burst_s + BURST_S)
            factor = np.where(bursting, self.factor, 1.0)
            shown = rng.poisson(expected / click_rate * (factor if self.more_exposure else 1.0))
            clicks = rng.poisson(expected * factor)
            count(catalog, ids, clicks, shown * self.exposed, START_S + now_s)
            for burst in detector.update(catalog, START_S + now_s):
                row = int(burst.news_id[1:])
                if bursting[row]:
                    self.delays_s.setdefault(row, now_s - burst_s[row])
                elif now_s > WARM_UP_S:
                    self.false_alarms += 1
        self.bursts = len(chosen)
        return self


def count(
    catalog: ArticleCatalog,
    ids: list[str],
    clicks: NDArray[np.integer],
    shown: NDArray[np.integer],
    time_s: float,
) -> None:
    """Add events as the statistics would publish them."""
    for i in np.flatnonzero(clicks + shown).tolist():
        row = catalog.row(ids[i])
        held_clicks, held_shown = (column[0] for column in catalog.decayed(np.array([row]), time_s))
        first_s = catalog.first_seen_s[row]
        catalog.put_stats(
            ids[i],
            time_s,
            (held_clicks + clicks[i]).tolist(),
            (held_shown + shown[i]).tolist(),
            time_s if np.isnan(first_s) else float(first_s),
        )


def test_news_that_is_clicked_ten_times_as_often_is_found_within_half_an_hour() -> None:
    found = Newspaper(seed=1, factor=10.0).run()
    assert len(found.delays_s) >= found.bursts - 2
    assert np.median(list(found.delays_s.values())) <= 1_800
    assert found.false_alarms == 0


def test_a_day_without_news_raises_no_alarm() -> None:
    assert Newspaper(seed=2, factor=1.0).run().false_alarms == 0


def test_being_shown_more_is_no_news() -> None:
    found = Newspaper(seed=3, factor=8.0, more_exposure=True).run()
    assert not found.delays_s
    assert found.false_alarms == 0


def test_clicks_alone_are_enough_at_the_price_of_some_false_alarms() -> None:
    found = Newspaper(seed=4, factor=10.0, exposed=False).run()
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
