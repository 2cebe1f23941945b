"""What leaves the user agent for the learner: features that know nothing of their own clicks, each once."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from freshet.models.articles.catalog import ArticleCatalog
from freshet.models.events.events import Click, Impression, RankerExample, RecommendationRequest, from_unix_s
from freshet.models.ranking.example_codec import decoded
from freshet.models.ranking.features import FEATURES
from freshet.models.ranking.linear import LinearRanker
from freshet.models.recommend.pipeline import recommend
from freshet.models.users.state import UserState
from freshet.models.users.view import UserView
from freshet.streams import metrics
from freshet.streams.agents.impression_ranker import ImpressionRanker, OnExample
from freshet.streams.kafka.outbox import Outbox, partition_of
from freshet.streams.monitoring.rolling_auc import RollingAuc
from freshet.streams.settings import Settings
from freshet.streams.state.ranker_weights import Rankers
from freshet.streams.state.serving import pooling

D = 4
NOW_S = 1_767_000_000.0
POPULATION = np.full(D, 0.5, np.float32)
SLATE = ("A", "B", "C", "D")


class Records(Outbox):
    """Keeps what is added."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self.added: list[tuple[str, int, bytes | None, bytes | None]] = []

    def add_record(self, topic: str, partition: int, key: bytes | None, value: bytes | None, *_: Any) -> None:
        self.added.append((topic, partition, key, value))


class World:
    """One user, and what the user agent does with events."""

    def __init__(self, on_example: OnExample | None = None, **settings: Any) -> None:
        self.settings = Settings(dimension=D, topic_prefix="t.", **settings)
        self.catalog = ArticleCatalog(D)
        for i, news_id in enumerate(SLATE):
            self.catalog.put_article(news_id, np.eye(D, dtype=np.float32)[i], NOW_S - 3_600.0 * i)
        self.state = UserState.empty(pooling(self.settings))
        self.rankers = Rankers(LinearRanker(), "some-bundle")
        self.ranker = ImpressionRanker(
            settings=self.settings,
            catalog=self.catalog,
            rankers=self.rankers,
            population=lambda now_s: POPULATION,
            rolling_auc=RollingAuc(),
            on_example=on_example,
        )

    def shown(self, offset: int, *clicked: str, **fields: Any) -> None:
        """What the user agent does with an impression."""
        named = {"impression_id": f"I{offset}"} | fields
        impression = Impression(
            user_id="U", time=from_unix_s(NOW_S), candidates=SLATE, clicked=clicked, **named
        )
        source = ("impressions", 3, offset)
        self.ranker.learn(impression, source, NOW_S, self.state)
        self.state.apply_impression(source, NOW_S, SLATE, clicked, self.catalog, history=impression.history)

    def clicked(self, offset: int, news_id: str, user_id: str = "U", **names: Any) -> None:
        click = Click(user_id=user_id, news_id=news_id, time=from_unix_s(NOW_S + 1.0), **names)
        source = ("clicks", 3, offset)
        self.ranker.learn(click, source, NOW_S + 1.0, self.state)
        self.state.apply_click(source, NOW_S + 1.0, news_id, self.catalog, impression_known=True)

    def asked(self, request_id: str) -> None:
        request = RecommendationRequest(
            request_id=request_id, user_id="U", time=from_unix_s(NOW_S), candidates=SLATE
        )
        user = UserView.of(self.state, NOW_S, POPULATION)
        slate = recommend(request, user, self.catalog, self.rankers.get(), NOW_S)
        self.ranker.answered(request, NOW_S, slate)

    def records(self) -> list[RankerExample]:
        outbox = Records(self.settings)
        self.ranker.publish(outbox)
        partition = partition_of("some-bundle", self.settings.partitions)
        for topic, target, key, _ in outbox.added:
            assert (topic, target, key) == ("t.ranker-examples", partition, b"some-bundle")
        return [RankerExample.from_json(value) for _, _, _, value in outbox.added]


@pytest.fixture
def world() -> World:
    return World()


def column(record: RankerExample, feature: str) -> list[float]:
    values: list[float] = decoded(record)[:, FEATURES.index(feature)].tolist()
    return values


def test_an_impression_is_learned_from_as_it_was_before_it_was_applied(world: World) -> None:
    world.shown(0, "A")
    (record,) = world.records()
    assert column(record, "fatigue") == [0.0] * 4
    assert column(record, "clicked") == [0.0] * 4
    assert sum(record.clicked) == 1
    assert record.clicked_before is None
    assert (record.source, record.partition, record.offset) == ("impressions", 3, 0)
    assert record.time == from_unix_s(NOW_S)
    world.shown(1, "A")
    (later,) = world.records()
    assert sum(column(later, "clicked")) == 1.0
    assert sum(value > 0.0 for value in column(later, "fatigue")) == 3


def test_a_redelivered_impression_teaches_nothing(world: World) -> None:
    world.shown(0, "A")
    assert len(world.records()) == 1
    world.shown(0, "A", impression_id="after a restart".replace(" ", "-"))
    world.shown(0, "A")
    assert world.records() == []


def test_a_history_is_known_when_its_impression_is_ranked(world: World) -> None:
    whole = UserState.empty(pooling(world.settings))
    whole.apply_impression(("impressions", 3, 0), NOW_S, SLATE, ("B",), world.catalog, history=("A",))
    world.shown(0, "B", history=("A",))
    (record,) = world.records()
    assert sum(column(record, "clicked")) == 1.0
    assert world.state.to_bytes() == whole.to_bytes(), "ranking first changes nothing"


def test_an_answer_is_learned_from_as_it_was_answered(world: World) -> None:
    world.asked("R")
    world.shown(0, "B", impression_id="other")
    world.records()
    world.shown(1, "A", request_id="R")
    (record,) = world.records()
    assert column(record, "clicked") == [0.0] * 4, "the answer did not know the click on B"


def test_a_late_click_corrects(world: World) -> None:
    world.asked("R")
    world.shown(0, request_id="R")
    assert world.records() == [], "without a click there is nothing to learn"
    world.clicked(0, "C", request_id="R")
    world.clicked(0, "C", request_id="R")
    world.clicked(1, "D", impression_id="I0")
    first, second = world.records()
    assert (first.source, first.offset) == ("clicks", 0)
    assert first.clicked_before == (False,) * 4
    assert second.clicked_before == first.clicked
    assert sum(second.clicked) == 2


def test_ids_are_a_users_own(world: World) -> None:
    world.shown(0, "A")
    world.records()
    world.clicked(0, "B", user_id="V", impression_id="I0")
    assert world.records() == []
    world.clicked(1, "B", impression_id="I0")
    assert len(world.records()) == 1


def test_answers_are_measured_when_their_clicks_are_known(world: World) -> None:
    metrics.ROLLING_AUC.set(-1.0)
    world.shown(0, "A")
    assert metrics.ROLLING_AUC._value.get() == -1.0, "nobody was answered"
    world.asked("R")
    world.shown(1, request_id="R")
    assert metrics.ROLLING_AUC._value.get() == -1.0
    world.clicked(0, "A", request_id="R")
    assert 0.0 <= metrics.ROLLING_AUC._value.get() <= 1.0


def test_learning_can_be_turned_off() -> None:
    world = World(learn=False)
    world.asked("R")
    world.shown(0, "A")
    world.shown(1, "A", request_id="R")
    world.clicked(0, "B", request_id="R")
    assert world.records() == []


def test_a_worker_that_is_behind_ranks_a_share_and_learns_from_all_that_it_answered() -> None:
    world = World(learn_share=0.3)
    world.ranker.behind = True
    for offset in range(400):
        world.shown(offset, "A")
    examples = world.records()
    assert 60 < len(examples) < 180
    for offset in range(400):
        world.clicked(offset, "B", impression_id=f"I{offset}")
    assert len(world.records()) == len(examples)
    for offset in range(400, 410):
        world.asked(f"R{offset}")
        world.shown(offset, "A", request_id=f"R{offset}")
    assert len(world.records()) == 10
    world.ranker.behind = False
    for offset in range(410, 420):
        world.shown(offset, "A")
    assert len(world.records()) == 10


def test_an_explorer_learns_from_each_impression_once() -> None:
    told: list[tuple[list[str], list[bool]]] = []
    world = World(lambda ids, x, clicked: told.append((sorted(ids), clicked.tolist())))
    world.shown(0, "B")
    world.shown(0, "B")
    world.shown(1)
    assert [ids for ids, _ in told] == [sorted(SLATE)] * 2
    assert [sum(clicked) for _, clicked in told] == [1, 0]
