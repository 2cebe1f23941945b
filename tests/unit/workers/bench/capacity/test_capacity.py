"""Capacity planning: what was measured is measured again, and plans grow as what they are made for."""

from __future__ import annotations

import gc
import json
import tracemalloc
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from freshet.models.articles.catalog import ArticleCatalog
from freshet.models.users.state import UserState
from freshet.workers.bench.capacity import plan as capacity
from freshet.workers.bench.capacity.plan import Site, plan
from freshet.workers.bench.capacity.records import ids, user_state
from freshet.workers.bench.capacity.text import in_words
from freshet.workers.cli.main import main
from tests.repository import ROOT

FIGURES = (ROOT / "docs" / "explanation" / "figures.md").read_text(encoding="utf-8")
SITE = Site(1_000_000, 100_000, 3_000_000, 3_000_000, 1_000)
TOLERANCE = 0.25
D = 64


def memory_bytes(make: Callable[[], Any]) -> int:
    """What is held by what ``make`` returns."""
    gc.collect()
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    made = make()
    gc.collect()
    after = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    del made
    return after - before


def catalog(articles: int) -> ArticleCatalog:
    made = ArticleCatalog(D)
    vector = np.ones(D, np.float32)
    for number, news_id in enumerate(ids(articles)):
        title = f"A headline of some fifty characters, as usual {number}"
        made.put_article(news_id, vector, 1.7e9 + number, title, f"c{number % 20}", f"s{number % 200}", "en")
        counts = [1.0, 2.0, 3.0, 4.0]
        made.put_stats(news_id, 1.7e9, counts, counts, 1.7e9, expected=counts, clicked_at_s=1.7e9)
    return made


def test_the_memory_of_an_article_in_the_catalog_is_what_plans_reckon_with() -> None:
    articles = 5_000
    measured = memory_bytes(lambda: catalog(articles)) / articles
    assert measured == pytest.approx(capacity.CATALOG_BYTES_PER_ARTICLE, rel=TOLERANCE)


def test_the_memory_of_a_co_click_is_what_plans_reckon_with() -> None:
    known, names, contexts = catalog(1_100), ids(1_100), 100

    def count() -> None:
        for news_id in names[contexts:]:
            known.co_clicks.add_click(news_id, names[:contexts])

    measured = memory_bytes(count) / (contexts * (len(names) - contexts))
    assert measured == pytest.approx(capacity.CO_CLICK_BYTES, rel=TOLERANCE)


def test_the_memory_of_a_cached_user_is_what_plans_reckon_with() -> None:
    """Plans reckon for readers of 20,000 articles; ids are held once: the same articles take less."""
    remembered = (D, 3, SITE.remembered_clicks, SITE.remembered_shown, SITE.shown)
    pooling = user_state(*remembered).pooling
    stored = [user_state(*remembered, first=5 * number).to_bytes() for number in range(200)]
    measured = memory_bytes(lambda: [UserState.from_bytes(value, pooling) for value in stored]) / len(stored)
    assert 0.6 < measured / capacity.CACHED_USER_BYTES < 1.0


@pytest.mark.parametrize(
    "figure",
    [
        f"{1 / capacity.IMPRESSION_S:,.0f}/s",
        f"{capacity.ANSWER_S * 1_000:g} ms of processor time",
        f"{capacity.TEXTS_PER_S:g}/s",
        f"{capacity.INDEX_BYTES_PER_ARTICLE:g} bytes",
    ],
)
def test_the_speeds_are_those_that_were_measured_last(figure: str) -> None:
    assert figure in FIGURES


def test_a_state_has_what_it_is_made_to_remember() -> None:
    state = user_state(D, 3, 20, 100, 10)
    assert len(state.recent_clicks()) == 20
    assert len(state.exposures) == 100
    assert plan(SITE).user_state_bytes == len(state.to_bytes())


def test_twice_the_users_take_twice_the_disk_of_users() -> None:
    def disk(site: Site, topic: str) -> float:
        return next(size.disk_bytes for size in plan(site).topics if size.topic == topic)

    twice = replace(SITE, users=2 * SITE.users)
    for topic in ("user-vectors", "user-state (changelog)"):
        assert disk(twice, topic) == pytest.approx(2 * disk(SITE, topic))
    assert disk(twice, "impressions") == disk(SITE, "impressions")
    days = replace(SITE, impressions_per_day=2 * SITE.impressions_per_day)
    assert disk(days, "impressions") == pytest.approx(2 * disk(SITE, "impressions"))


@pytest.mark.parametrize("peak", [1.0, 3.0, 50.0])
def test_workers_are_no_busier_than_asked_and_each_has_partitions(peak: float) -> None:
    planned = plan(replace(SITE, peak=peak))
    assert planned.worker_seconds_per_s <= planned.stream_workers * SITE.utilisation
    assert planned.partitions >= 4 * planned.stream_workers
    assert planned.partitions.bit_count() == 1


def test_what_compaction_keeps_twice_is_kept_on_every_replica() -> None:
    sizes = {size.topic: size for size in plan(replace(SITE, replication=1)).topics}
    assert sizes["articles"].records == 2 * SITE.articles
    thrice = {size.topic: size for size in plan(SITE).topics}
    assert thrice["articles"].disk_bytes == pytest.approx(3 * sizes["articles"].disk_bytes)


@pytest.mark.parametrize(
    "wrong",
    [{"users": 0}, {"replication": 0}, {"clicks": -0.1}, {"heads": 1}, {"peak": 0.5}, {"utilisation": 0.0}],
)
def test_a_site_that_cannot_be_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        replace(SITE, **wrong)


def test_the_verb_prints_the_plan_in_words_and_as_json() -> None:
    args = ["capacity", "--users", "1000000", "--articles", "100000", "--articles-per-day", "1000"]
    text = CliRunner().invoke(main, args)
    assert text.exit_code == 0
    planned = plan(SITE)
    assert in_words(planned.kafka_disk_bytes) in text.stdout
    printed = json.loads(CliRunner().invoke(main, [*args, "--json"]).stdout)
    assert printed == json.loads(json.dumps(planned.as_json()))


def test_bytes_are_said_in_the_unit_that_suits_them() -> None:
    assert [in_words(n) for n in (12, 1_234, 1.6e12, 2e16)] == ["12 B", "1.2 kB", "1.6 TB", "20.0 PB"]
