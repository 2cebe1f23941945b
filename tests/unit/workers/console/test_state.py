"""What the console knows: what time it is on the stream, articles, readers, reasons, the pulse."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from freshet.models.articles.catalog import STATS_HALF_LIVES_S
from freshet.models.events.events import (
    ArticleStats,
    ArticleVector,
    DecayedCount,
    Recommendation,
    RecommendedArticle,
    from_unix_s,
)
from freshet.models.ranking.features import FEATURES
from freshet.models.recommend.candidates import TRENDING
from freshet.streams.settings import Settings
from freshet.workers.console.clock import StreamClock
from freshet.workers.console.memory import MAX_CLICKS, StreamMemory
from freshet.workers.console.pulse import Pulse
from freshet.workers.console.reasons import answer_json
from freshet.workers.processes.metrics_page import MetricsPage, MetricsUnavailable
from freshet.workers.terminal.recommendation_table import subject_of

WALL_S = 1_800_000_000.0
MONTH_S = 30 * 86_400.0
URL = "http://127.0.0.1:1/metrics"


def vector(news_id: str, published_at_s: float = WALL_S, bundle: str = "b1") -> ArticleVector:
    return ArticleVector(
        news_id=news_id,
        bundle=bundle,
        vector=(1.0, 0.0),
        published_at=from_unix_s(published_at_s),
        title=f"Title of {news_id}",
        category="news",
    )


def stats(news_id: str, clicks: float, time_s: float = WALL_S) -> ArticleStats:
    return ArticleStats(
        news_id=news_id,
        time=from_unix_s(time_s),
        counts=tuple(
            DecayedCount(half_life_s=half_life_s, clicks=clicks, impressions=100.0)
            for half_life_s in STATS_HALF_LIVES_S
        ),
        first_seen=from_unix_s(time_s - 60.0),
    )


def ids(listed: list[dict[str, object]]) -> list[object]:
    return [each["news_id"] for each in listed]


def test_the_clock_is_the_wall_clock_while_nothing_or_something_live_is_heard() -> None:
    clock = StreamClock(lambda: WALL_S)
    assert (clock.now_s, clock.live) == (WALL_S, True)
    clock.heard(WALL_S - 900.0, WALL_S)
    assert (clock.now_s, clock.live) == (WALL_S, True)


def test_the_clock_follows_a_replay_and_goes_on_between_its_events() -> None:
    wall_s = [WALL_S]
    clock = StreamClock(lambda: wall_s[0])
    clock.heard(WALL_S - MONTH_S, WALL_S)
    wall_s[0] += 5.0
    assert (clock.now_s, clock.live) == (WALL_S - MONTH_S + 5.0, False)
    clock.heard(WALL_S - MONTH_S + 600.0, WALL_S + 5.0)
    assert clock.now == datetime.fromtimestamp(WALL_S - MONTH_S + 600.0, UTC)


def test_a_quiet_live_stream_stays_live() -> None:
    clock = StreamClock(lambda: WALL_S)
    clock.heard(WALL_S - 86_400.0, WALL_S - 86_399.0)
    assert clock.live


def test_no_event_of_the_future_puts_the_clock_ahead() -> None:
    clock = StreamClock(lambda: WALL_S)
    clock.heard(WALL_S + 3_600.0, WALL_S)
    assert clock.now_s == WALL_S


def test_trending_goes_by_decayed_clicks_and_leaves_out_what_cannot_be_recommended() -> None:
    memory = StreamMemory()
    for news_id in ("N1", "N2", "N3"):
        memory.put_article(vector(news_id))
    memory.put_stats(stats("N1", 4.0))
    memory.put_stats(stats("N2", 8.0, WALL_S - 4 * 3 * 3_600.0))  # four half-lives ago: half a click is left
    memory.put_stats(stats("N3", 2.0))
    memory.put_stats(stats("N-unknown", 50.0))
    assert ids(memory.trending(5, WALL_S)) == ["N1", "N3", "N2"]
    assert memory.trending(5, WALL_S)[2]["clicks"] == 0.5
    assert memory.trending(5) == memory.trending(5, WALL_S)  # the time of the newest statistics
    memory.withdraw("N1")
    assert ids(memory.trending(1, WALL_S)) == ["N3"]


def test_newest_has_nothing_from_the_future_and_nothing_removed() -> None:
    memory = StreamMemory()
    for age_s, news_id in ((30.0, "N1"), (10.0, "N2"), (-60.0, "N3"), (20.0, "N4")):
        memory.put_article(vector(news_id, WALL_S - age_s))
    memory.remove_article("b1", "N4")
    memory.remove_article("another bundle", "N2")
    assert ids(memory.newest(5, WALL_S)) == ["N2", "N1"]


def test_the_memory_keeps_the_newest_articles_and_readers_only() -> None:
    memory = StreamMemory(max_articles=2, max_users=2)
    for i in range(3):
        memory.put_article(vector(f"N{i}"))
        memory.put_stats(stats(f"N{i}", 1.0))
        memory.add_visit(f"U{i}", WALL_S + i)
    assert memory.article("N0") is None
    assert len(memory.trending(5, WALL_S)) == 2
    assert [user["user_id"] for user in memory.users("", 5)] == ["U2", "U1"]
    for i in range(MAX_CLICKS + 5):
        memory.add_click("U2", f"N{i}", WALL_S + i)
    assert len(memory.clicks_of("U2")) == MAX_CLICKS
    assert memory.clicks_of("U2")[0]["news_id"] == f"N{MAX_CLICKS + 4}"


def test_readers_are_found_by_a_part_of_their_id_in_any_case() -> None:
    memory = StreamMemory()
    for user_id in ("Alice", "bob", "alina"):
        memory.add_click(user_id, "N1", WALL_S)
    assert [user["user_id"] for user in memory.users("ALI", 5)] == ["alina", "Alice"]
    assert len(memory.users("", 1)) == 1


def test_an_erased_reader_is_forgotten_and_comes_back_only_with_later_events() -> None:
    memory = StreamMemory()
    memory.add_click("U1", "N1", WALL_S)
    memory.erase("U1", WALL_S + 10.0)
    memory.add_click("U1", "N2", WALL_S + 5.0)
    assert memory.users("", 5) == []
    assert memory.clicks_of("U1") == []
    memory.add_click("U1", "N3", WALL_S + 20.0)
    assert ids(memory.clicks_of("U1")) == ["N3"]


def answer(reasons: dict[str, float], user_clicks: int = 3) -> Recommendation:
    item = RecommendedArticle(
        news_id="N1",
        score=sum(reasons.values()),
        title="Title",
        sources=("2h", TRENDING),
        reasons=reasons,
        because="N9",
        features={"dot_best": 0.5},
    )
    return Recommendation(
        request_id="R1",
        user_id="U1",
        time=from_unix_s(WALL_S),
        bundle="b1",
        ranker="b1-7",
        items=(item,),
        user_clicks=user_clicks,
    )


def test_reasons_are_sentences_of_what_moves_the_score_most_first() -> None:
    shown = answer_json(
        answer({"dot_best": 0.5, "dot_last": 0.25, "log_age": -1.0, "unseen": 0.001}),
        {"N9": "The ninth"}.__getitem__,
    )["items"][0]
    assert [(why["sentence"], why["effect"]) for why in shown["why"]] == [
        ("Its age speaks against it", -1.0),
        ("Close to what you read", 0.75),
    ]
    assert shown["why"][1]["features"] == [
        {"name": "dot_best", "value": 0.5, "effect": 0.5},
        {"name": "dot_last", "value": 0.0, "effect": 0.25},
    ]
    assert shown["because"] == {"news_id": "N9", "title": "The ninth"}
    assert shown["sources"] == ["your interests (2h)", "trending"]


def test_a_reader_of_nothing_is_not_told_what_they_read() -> None:
    shown = answer_json(answer({"dot_best": 0.5}, user_clicks=0), str)["items"][0]
    assert shown["why"][0]["sentence"] == "Close to what readers like"


@pytest.mark.parametrize("feature", FEATURES)
def test_every_feature_has_a_sentence_for_and_against(feature: str) -> None:
    subject = subject_of(feature)
    for effect in (1.0, -1.0):
        shown = answer_json(answer({feature: effect}), str)["items"][0]["why"][0]
        assert shown["sentence"] not in {f"{subject} speaks for it", f"{subject} speaks against it"}


def page(clicks: float, fast: float, slow: float, auc: float = 0.7) -> MetricsPage:
    return MetricsPage(
        f"""# TYPE freshet_events counter
freshet_events_total{{topic="freshet.clicks"}} {clicks}
# TYPE freshet_request_seconds histogram
freshet_request_seconds_bucket{{kind="list",le="0.1"}} {fast}
freshet_request_seconds_bucket{{kind="list",le="1.0"}} {fast + slow}
freshet_request_seconds_bucket{{kind="list",le="+Inf"}} {fast + slow}
# TYPE freshet_rolling_auc_ratio gauge
freshet_rolling_auc_ratio {auc}
# TYPE freshet_consumer_lag_events gauge
freshet_consumer_lag_events{{topic="freshet.clicks",partition="0"}} 3
"""
    )


class Pages:
    """Metrics pages that a test sets, and a clock that it moves."""

    def __init__(self, *urls: str) -> None:
        self.now_s = 0.0
        self.pages: dict[str, MetricsPage | None] = dict.fromkeys(urls)
        self.pulse = Pulse(urls, Settings(), lambda: self.now_s, self.read)

    def read(self, url: str) -> MetricsPage:
        found = self.pages[url]
        if found is None:
            raise MetricsUnavailable(f"{url}: refused")
        return found

    def look(self, after_s: float, **pages: MetricsPage | None) -> None:
        self.now_s += after_s
        for url, found in zip(self.pages, pages.values(), strict=False):
            self.pages[url] = found
        self.pulse.look()

    def clicks_per_s(self) -> float:
        return next(t["per_s"] for t in self.pulse.view["topics"] if t["topic"] == "clicks")


def test_the_pulse_sums_rates_over_processes() -> None:
    pages = Pages(URL, f"{URL}/2")
    pages.look(0.0, a=page(10, 0, 0), b=page(100, 0, 0))
    pages.look(2.0, a=page(14, 0, 0), b=page(110, 0, 0, auc=0.8))
    assert pages.clicks_per_s() == 7.0
    assert pages.pulse.view["lag"] == 6.0
    assert pages.pulse.view["auc"] == pytest.approx(0.75)
    assert pages.pulse.view["history"]["events_per_s"] == [0.0, 7.0]


def test_a_lag_that_all_processes_tell_is_not_added_up() -> None:
    stuck = MetricsPage('# TYPE freshet_group_lag_events gauge\nfreshet_group_lag_events{topic="t"} 50\n')
    pages = Pages(URL, f"{URL}/2")
    pages.look(0.0, a=stuck, b=stuck)
    assert pages.pulse.view["lag"] == 50.0


def test_a_process_started_anew_does_not_count_backwards() -> None:
    pages = Pages(URL)
    pages.look(0.0, a=page(1_000, 50, 0))
    pages.look(2.0, a=page(8, 2, 0))
    assert pages.clicks_per_s() == 4.0
    assert pages.pulse.view["latencies"]["answer"]["count"] == 2.0


def test_a_page_that_does_not_answer_is_a_problem_and_says_what_to_do() -> None:
    pages = Pages(URL)
    pages.look(0.0, a=None)
    assert pages.pulse.view["answering"] == 0
    assert pages.pulse.view["lag"] is None
    assert "freshet up" in pages.pulse.view["problems"][0]
    pages.look(2.0, a=page(1, 0, 0))
    assert pages.pulse.view["problems"] == []


def test_latencies_are_those_of_the_last_minute_else_of_all_time() -> None:
    pages = Pages(URL)
    pages.look(0.0, a=page(0, 100, 0))
    pages.look(2.0, a=page(0, 100, 0))
    answers = pages.pulse.view["latencies"]["answer"]
    assert (answers["recent"], answers["count"]) == (False, 100.0)
    assert answers["p50_s"] == pytest.approx(0.05)
    pages.look(2.0, a=page(0, 100, 10))
    answers = pages.pulse.view["latencies"]["answer"]
    assert (answers["recent"], answers["count"]) == (True, 10.0)
    assert answers["p50_s"] == pytest.approx(0.55)
    for _ in range(40):
        pages.look(2.0)
    assert not pages.pulse.view["latencies"]["answer"]["recent"]
