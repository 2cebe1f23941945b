"""What one user can do to what is known of articles, and to the ranker: as much as an honest reader."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from freshet.models.articles.catalog import ArticleCatalog
from freshet.models.articles.counts import ArticleCounts
from freshet.models.events.events import Click, Impression, RankerExample, SlateBatch, from_unix_s
from freshet.models.ranking.linear import LinearRanker
from freshet.models.users.erasures import Erasures
from freshet.models.users.exposures import Exposures
from freshet.models.users.state import UserState
from freshet.models.users.user_share import MAX_CLICKS_AN_HOUR, MAX_MARKS, MAX_SHOWN_AN_HOUR, mark_of
from freshet.streams.agents.impression_ranker import ImpressionRanker
from freshet.streams.agents.user_agent import UserAgent
from freshet.streams.kafka.outbox import Outbox, partition_of
from freshet.streams.kafka.reader import RecordBatch
from freshet.streams.monitoring.rolling_auc import RollingAuc
from freshet.streams.settings import Settings
from freshet.streams.state.ranker_weights import Rankers
from freshet.streams.state.serving import pooling

START_S = 1_767_002_400.0
"""An hour's start."""
SETTINGS = Settings(dimension=4, topic_prefix="t.", max_exposures=20)
SLATE = tuple(f"N{i}" for i in range(6))
MANY = 5_000
LAW = settings(max_examples=50)


class Site(Outbox):
    """A user agent, and all that becomes of what it sends."""

    def __init__(self, articles: int = len(SLATE), on_event: Callable[[Any], None] | None = None) -> None:
        super().__init__(SETTINGS)
        self.state = UserState.empty(pooling(SETTINGS))
        self.counts: dict[str, ArticleCounts] = {}
        self.taught: list[RankerExample] = []
        self.happened: list[str] = []
        self._offsets: Counter[str] = Counter()
        self._added: list[tuple[str, bytes | None]] = []
        catalog = ArticleCatalog(SETTINGS.dimension)
        for i in range(articles):
            catalog.put_article(f"N{i}", np.eye(SETTINGS.dimension)[i % 4], START_S)
        states: Any = SimpleNamespace(
            get_or_create=lambda partition, user_id: self.state,
            erasures=Erasures(),
            write=self._write,
            pooling=pooling(SETTINGS),
        )
        progress: Any = SimpleNamespace(may_handle=lambda _: True, done=lambda _: None, lags=lambda: {})
        ranker = ImpressionRanker(
            settings=SETTINGS,
            catalog=catalog,
            rankers=Rankers(LinearRanker()),
            population=lambda _: np.zeros(4, np.float32),
            rolling_auc=RollingAuc(),
        )
        self.agent = UserAgent(
            settings=SETTINGS,
            states=states,
            catalog=catalog,
            outbox=self,
            progress=progress,
            population=lambda _: np.zeros(4, np.float32),
            impression_ranker=ranker,
            on_event=on_event,
        )

    def add_record(self, topic: str, partition: int, key: bytes | None, value: bytes | None, *_: Any) -> None:
        self._added.append((topic, value))

    async def flush(self) -> dict[tuple[str, int], int]:
        self.happened.append("delivered")
        for topic, value in self._added:
            if topic == "t.slate-batches":
                self._count(SlateBatch.from_json(value))
            elif topic == "t.ranker-examples":
                self.taught.append(RankerExample.from_json(value))
            else:
                assert topic == "t.user-vectors"
        self._added.clear()
        return {}

    async def _write(self, changed: Any, outbox: Outbox) -> None:
        await outbox.flush()
        self.happened.append("states")

    def _count(self, batch: SlateBatch) -> None:
        """What the statistics agent does."""
        for event in batch.events:
            source = (batch.source, batch.partition, event.offset)
            for news_id in {*event.shown, *event.clicked}:
                self.counts.setdefault(news_id, ArticleCounts()).apply(
                    source,
                    event.time_s,
                    int(news_id in event.shown),
                    int(news_id in event.clicked),
                    event.slate,
                    event.context if news_id in event.clicked else (),
                )
            for news_id in event.uncounted or ():
                if news_id in self.counts:
                    self.counts[news_id].pass_over(source)

    async def publish(self, *events: Impression | Click) -> None:
        batch: list[Any] = []
        for event in events:
            topic = "t.impressions" if isinstance(event, Impression) else "t.clicks"
            batch.append(
                SimpleNamespace(
                    topic=topic,
                    partition=partition_of("U", SETTINGS.partitions),
                    offset=self._offsets[topic],
                    key=b"U",
                    value=event.to_json(),
                    timestamp=0,
                    headers=(),
                )
            )
            self._offsets[topic] += 1
        await self.deliver(batch)

    async def deliver(self, batch: list[Any]) -> None:
        self.last = batch

        class Reader:
            async def batches(self, _: int) -> AsyncIterator[RecordBatch]:
                yield 0, batch

        await self.agent.run(Reader())  # type: ignore[arg-type]  # all that the agent asks of a reader

    def totals(self) -> dict[str, tuple[float, float, float]]:
        """Clicks, impressions and expected clicks of each article, undecayed."""
        return {
            news_id: (*(kind[-1] for kind in counts.at(counts.time_s)), counts.expected_at(counts.time_s)[-1])
            for news_id, counts in self.counts.items()
        }


def clicked(second: float, news_id: str = "N0", **names: str) -> Click:
    return Click(user_id="U", news_id=news_id, time=from_unix_s(START_S + second), **names)


def shown(second: float, *clicks: str, slate: tuple[str, ...] = SLATE) -> Impression:
    return Impression(
        impression_id=f"I{second}",
        user_id="U",
        time=from_unix_s(START_S + second),
        candidates=slate,
        clicked=clicks,
    )


async def test_thousands_of_clicks_of_one_user_on_one_article_count_as_a_few() -> None:
    site = Site()
    await site.publish(clicked(0.0, "N1"))
    await site.publish(*(clicked(1.0 + i / 2) for i in range(MANY)))
    assert site.totals()["N0"][0] == MAX_CLICKS_AN_HOUR
    assert site.counts["N0"].contexts["N1"] <= MAX_CLICKS_AN_HOUR
    assert site.state.clicks == MANY + 1, "what they do to their own recommendations is their own affair"
    await site.publish(clicked(2 * 3_600.0))
    assert site.totals()["N0"][0] == MAX_CLICKS_AN_HOUR + 1, "a click of another hour counts"


async def test_thousands_of_clicked_impressions_of_one_user_teach_as_few_times() -> None:
    site = Site()
    await site.publish(*(shown(i / 2, "N0") for i in range(MANY)))
    clicks, impressions, expected = site.totals()["N0"]
    assert clicks == len(site.taught) == MAX_CLICKS_AN_HOUR
    assert impressions == site.totals()["N1"][1] == MAX_SHOWN_AN_HOUR
    assert expected == pytest.approx(MAX_SHOWN_AN_HOUR / len(SLATE))


async def test_late_clicks_on_known_impressions_teach_as_few_times() -> None:
    site = Site()
    for i in range(MANY // 100):
        await site.publish(shown(i))
        await site.publish(clicked(i + 0.5, impression_id=f"I{i}"))
    assert site.totals()["N0"][0] == len(site.taught) == MAX_CLICKS_AN_HOUR


async def test_a_page_that_is_loaded_again_and_again_does_not_wear_its_articles_out() -> None:
    """Nor where it shows more articles than are remembered of a user."""
    long = tuple(f"N{i}" for i in range(3 * SETTINGS.max_exposures))
    site = Site(len(long))
    await site.publish(*(shown(i / 2, slate=long) for i in range(MANY // 10)))
    assert {impressions for _, impressions, _ in site.totals().values()} == {MAX_SHOWN_AN_HOUR}


async def test_clicking_round_and_round_more_articles_than_are_remembered_counts_no_more() -> None:
    articles = SETTINGS.max_recent_clicks + 10
    site = Site(articles)
    await site.publish(*(clicked(i / 2, f"N{i % articles}") for i in range(MANY)))
    assert max(clicks for clicks, _, _ in site.totals().values()) <= MAX_CLICKS_AN_HOUR


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (shown(1.0, "N0"), shown(1.0, "N0")),
        (clicked(1.0), clicked(1.0)),
        (clicked(1.0, impression_id="I7"), clicked(9.0, impression_id="I7")),
        (clicked(1.0, click_id="c7"), clicked(9.0, click_id="c7")),
        (clicked(1.0, impression_id="I7", click_id="c7"), clicked(9.0, click_id="c7")),
    ],
)
async def test_an_event_that_is_published_again_changes_nothing(
    first: Impression | Click, second: Impression | Click
) -> None:
    told: list[Any] = []
    once, thrice = Site(), Site(on_event=told.append)
    await once.publish(first)
    await thrice.publish(first, second)
    await thrice.publish(second)
    assert told == [first]
    assert thrice.totals() == once.totals()
    assert len(thrice.taught) == len(once.taught)
    a, b = thrice.state, once.state
    assert (a.clicks, a.exposures, a.recent_clicks()) == (b.clicks, b.exposures, b.recent_clicks())
    now_s = START_S + 60.0
    assert a.weights(now_s).tolist() == b.weights(now_s).tolist()


async def test_different_events_are_not_taken_for_one() -> None:
    site = Site()
    ids = [{"click_id": "c1"}, {"click_id": "c2"}, {"impression_id": "I1"}]
    await site.publish(*(clicked(1.0, **names) for names in ids))
    assert site.totals()["N0"][0] == 3.0
    again = shown(1.0)
    await site.publish(again, again.model_copy(update={"time": again.time + timedelta(days=1)}))
    assert site.totals()["N1"][1] == 2.0, "who numbers impressions anew each day loses none"


async def test_what_does_not_count_is_known_to_the_statistics_before_the_state_says_that_it_was_applied() -> (
    None
):
    """Else a crash in between would have the events counted in full when they come again."""
    site = Site()
    await site.publish(shown(0.0, "N0"))
    assert site.happened == ["delivered", "states"], "one delivery where everything counts"
    site.happened.clear()
    await site.publish(*(shown(1.0 + i, "N0") for i in range(30)), clicked(60.0), clicked(60.0))
    assert site.happened == ["delivered", "delivered", "states"]
    before = site.totals()
    await site.deliver(site.last)
    assert site.totals() == before, "redelivered, they are whole, and known by their offsets"


def test_a_state_grows_by_at_most_half_a_kilobyte_of_marks() -> None:
    state, catalog = UserState.empty(pooling(SETTINGS)), ArticleCatalog(SETTINGS.dimension)
    sizes = []
    for offset in range(3 * MAX_MARKS):
        click = clicked(float(offset), click_id=f"c{offset:03}")
        source = ("clicks", 0, offset)
        assert state.apply_click(
            source, START_S, "N0", catalog, impression_known=False, mark=mark_of(click)
        ), "marks of different events differ"
        sizes.append(len(state.to_bytes()))
    plain = UserState.empty(pooling(SETTINGS))
    for offset in range(3 * MAX_MARKS):
        plain.apply_click(("clicks", 0, offset), START_S, "N0", catalog, impression_known=False)
    assert sizes[-1] - len(plain.to_bytes()) == 8 * MAX_MARKS


@LAW
@given(
    st.lists(st.tuples(st.integers(0, 3 * 3_600), st.sets(st.integers(0, 9), min_size=1)), max_size=60),
    st.integers(1, 6),
)
def test_showings_that_count_are_bounded_in_any_order_and_with_any_memory(
    slates: list[tuple[int, set[int]]], limit: int
) -> None:
    exposures, counted = Exposures(limit, {}), Counter[str]()
    for second, numbers in slates:
        slate, time_s = sorted(f"N{i}" for i in numbers), START_S + second
        counted.update(set(slate) - exposures.shown_in_hour(slate, time_s, MAX_SHOWN_AN_HOUR))
        exposures.add_slate(slate, time_s)
    hours = len({second // 3_600 for second, _ in slates})
    assert all(times <= hours * MAX_SHOWN_AN_HOUR for times in counted.values())


@LAW
@given(st.lists(st.tuples(st.integers(0, 3_599), st.integers(0, 5)), max_size=40))
def test_a_reader_who_sees_each_article_a_few_times_counts_in_full(shown_at: list[tuple[int, int]]) -> None:
    exposures, times = Exposures(200, {}), Counter[int]()
    for second, number in shown_at:
        times[number] += 1
        if times[number] <= MAX_SHOWN_AN_HOUR:
            slate, time_s = [f"N{number}"], START_S + second
            assert not exposures.shown_in_hour(slate, time_s, MAX_SHOWN_AN_HOUR)
            exposures.add_slate(slate, time_s)
