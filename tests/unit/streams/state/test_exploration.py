"""Exploration and bursts on the stream are what the settings say."""

from __future__ import annotations

import numpy as np
import pytest
from prometheus_client import REGISTRY
from pydantic import ValidationError

from freshet.models.articles.catalog import ArticleCatalog
from freshet.models.recommend.candidates import BURST, with_bursts
from freshet.models.recommend.exploration.linucb import LinUcbExplorer
from freshet.models.recommend.exploration.plackett_luce import PlackettLuceExplorer
from freshet.models.recommend.exploration.thompson import ThompsonExplorer
from freshet.streams.monitoring.burst_monitor import BurstMonitor
from freshet.streams.settings import Settings
from freshet.streams.state.exploration import explorer_of

NOW_S = 1_767_592_800.0


def test_nothing_is_explored_unless_it_is_asked_for() -> None:
    assert explorer_of(Settings()) is None


@pytest.mark.parametrize(
    ("name", "kind"),
    [("thompson", ThompsonExplorer), ("linucb", LinUcbExplorer), ("plackett-luce", PlackettLuceExplorer)],
)
def test_the_setting_names_the_policy(name: str, kind: type, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FRESHET_EXPLORATION", name)
    assert isinstance(explorer_of(Settings()), kind)


def test_the_slots_and_bounds_are_those_of_the_settings() -> None:
    settings = Settings(
        exploration="thompson",
        exploration_slots=3,
        exploration_max_age_s=60.0,
        exploration_max_impressions=7.0,
    )
    explorer = explorer_of(settings)
    assert isinstance(explorer, ThompsonExplorer)
    assert (explorer.slots.budget, explorer.slots.max_age_s, explorer.slots.max_impressions) == (3, 60.0, 7.0)
    drawn = explorer_of(Settings(exploration="plackett-luce", exploration_temperature=0.4))
    assert drawn == PlackettLuceExplorer(0.4)


def test_a_policy_that_does_not_exist_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FRESHET_EXPLORATION", "epsilon")
    with pytest.raises(ValidationError, match="exploration"):
        Settings()


def bursting() -> ArticleCatalog:
    catalog = ArticleCatalog(1)
    for i in range(300):
        catalog.put_stats(f"M{i}", NOW_S, [2.0, 11, 70, 90], [30.0, 170, 1e3, 2e3], NOW_S - 86_400)
    catalog.put_article("N1", None, NOW_S - 86_400)
    catalog.put_stats("N1", NOW_S, [90.0, 105, 150, 170], [200.0, 900, 2e3, 3e3], NOW_S - 86_400)
    return catalog


def test_a_burst_is_shown_as_a_gauge_and_offered_as_a_candidate() -> None:
    catalog = bursting()
    monitor = BurstMonitor(catalog, 10.0)
    assert [burst.news_id for burst in monitor.detect()] == ["N1"]
    assert monitor.ids == ("N1",)
    assert REGISTRY.get_sample_value("freshet_bursting_articles") == 1.0
    found = with_bursts({"M1": ["newest"]}, monitor.ids, catalog)
    assert found == {"M1": ["newest"], "N1": [BURST]}
    assert with_bursts({"N1": ["trending"]}, monitor.ids, catalog) == {"N1": ["trending", BURST]}


def test_an_article_that_was_never_announced_is_no_candidate_however_it_bursts() -> None:
    catalog = bursting()
    assert np.isnan(catalog.published_at_s[catalog.row("M1")])
    assert with_bursts({}, ["M1", "unheard of"], catalog) == {}


def test_before_the_first_click_there_is_nothing_to_see() -> None:
    assert BurstMonitor(ArticleCatalog(1), 10.0).detect() == ()
