"""The learner counts each example once, whoever learned from it, and publishes what it needs to go on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from aiokafka.errors import KafkaConnectionError
from prometheus_client import REGISTRY

from freshet.models.events.events import DeadLetter, RankerExample, RankerWeights, from_unix_s
from freshet.models.ranking.example_codec import FINGERPRINT, decoded, encoded
from freshet.models.ranking.features import FEATURES
from freshet.models.ranking.linear import LinearRanker
from freshet.models.ranking.online_ranker import OnlineRanker
from freshet.streams.agents import learner_agent
from freshet.streams.agents.learner_agent import LearnerAgent
from freshet.streams.kafka.outbox import Outbox
from freshet.streams.kafka.reader import RecordBatch
from freshet.streams.settings import Settings
from freshet.streams.state.ranker_weights import Rankers
from tests.waiting import HANG_S

SETTINGS = Settings(topic_prefix="t.", partitions=4)


def example(offset: int, **changed: Any) -> RankerExample:
    x = np.random.default_rng(offset).normal(size=(3, len(FEATURES))).astype(np.float32)
    fields = {
        "model": "default",
        "fingerprint": FINGERPRINT,
        "features": encoded(x),
        "clicked": (True, False, False),
        "source": "impressions",
        "partition": 0,
        "offset": offset,
        "time": from_unix_s(1_000.0),
    }
    return RankerExample.model_validate(fields | changed)


class Topics(Outbox):
    """Keeps what is delivered, and lets the rankers know of it, as their follower would."""

    def __init__(self, rankers: Rankers) -> None:
        super().__init__(SETTINGS)
        self.rankers = rankers
        self.weights: list[RankerWeights] = []
        self.letters: list[DeadLetter] = []
        self._added: list[tuple[str, bytes | None]] = []

    def add_record(self, topic: str, partition: int, key: bytes | None, value: bytes | None, *_: Any) -> None:
        self._added.append((topic, value))

    async def flush(self) -> dict[tuple[str, int], int]:
        for topic, value in self._added:
            if topic == "t.ranker-weights":
                self.weights.append(RankerWeights.from_json(value))
                self.rankers.apply(self.weights[-1])
            else:
                self.letters.append(DeadLetter.from_json(value))
        self._added.clear()
        return {}


class World:
    """A learner, one after another, on the same topics."""

    def __init__(self, model: str = "default") -> None:
        self.rankers = Rankers(LinearRanker(), model)
        self.topics = Topics(self.rankers)
        self.generation = 1
        self.done: list[Any] = []
        self.catch_ups: list[BaseException | None] = []
        """What catching up with the topic ends in, one after another."""

    async def learn(self, *examples: RankerExample, until: Callable[[], bool]) -> None:
        """A new learner handles ``examples`` until something is so."""

        async def catch_up() -> None:
            error = self.catch_ups.pop(0) if self.catch_ups else None
            if error is not None:
                raise error

        progress: Any = SimpleNamespace(
            may_handle=lambda generation: generation == self.generation, done=self.done.extend
        )
        agent = LearnerAgent(
            settings=SETTINGS,
            rankers=self.rankers,
            outbox=self.topics,
            progress=progress,
            catch_up=catch_up,
        )
        records = [
            SimpleNamespace(
                topic="t.ranker-examples",
                partition=0,
                offset=i,
                key=each.model.encode(),
                value=each.to_json(),
            )
            for i, each in enumerate(examples)
        ]

        async def batches(max_records: int) -> AsyncIterator[RecordBatch]:
            yield RecordBatch(self.generation, records)

        reader: Any = SimpleNamespace(batches=batches)
        self.agent = agent
        running = asyncio.create_task(agent.run(reader))
        try:
            async with asyncio.timeout(HANG_S):
                while not until():
                    await asyncio.sleep(0.001)
                    if running.done():
                        running.result()
        finally:
            running.cancel()
            await asyncio.wait([running])

    async def learn_all(self, *examples: RankerExample) -> RankerWeights:
        wanted = len(self.done) + len(examples)
        await self.learn(*examples, until=lambda: len(self.done) == wanted)
        return self.topics.weights[-1]


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(learner_agent, "PUBLISH_INTERVAL_S", 0.001)
    monkeypatch.setattr(learner_agent, "_RETRY_S", 0.001)


async def test_what_is_published_is_what_the_examples_teach() -> None:
    world, plain = World(), OnlineRanker()
    examples = [example(offset) for offset in range(50)]
    last = await world.learn_all(*examples)
    for each in examples:
        plain.learn(decoded(each), np.array(each.clicked))
    assert last.weights == dict(plain.ranker.weights)
    assert (last.model, last.revision, last.examples) == ("default", 50, 50)
    assert [(at.source, at.partition, at.offset) for at in last.offsets or ()] == [("impressions", 0, 49)]
    assert last.happened == "learned"
    assert last.auc is not None
    assert world.topics.weights[0].happened == "warm-start"
    assert world.topics.weights[0].weights.items() >= LinearRanker().weights.items()


async def test_a_learner_that_gives_its_partition_away_shows_no_auc_any_more() -> None:
    def shown() -> float | None:
        return REGISTRY.get_sample_value("freshet_ranker_auc_ratio", {"ranker": "learned"})

    world = World()
    await world.learn_all(*(example(offset) for offset in range(5)))
    assert shown() is not None
    await world.agent.release()
    assert shown() is None, "a gauge that nobody sets would stay as it was for ever"


async def test_another_learner_goes_on_where_the_last_one_published() -> None:
    examples = [example(offset) for offset in range(30)]
    whole, parts = World(), World()
    expected = await whole.learn_all(*examples)
    await parts.learn_all(*examples[:10])
    await parts.learn_all(*examples[5:30])  # the last records before a crash come again
    last = parts.topics.weights[-1]
    assert (last.weights, last.curvature) == (expected.weights, expected.curvature)
    assert (last.revision, last.examples, last.offsets) == (30, 30, expected.offsets)


async def test_sources_are_told_apart() -> None:
    world = World()
    last = await world.learn_all(
        example(5),
        example(5, partition=1),
        example(5, source="clicks", clicked_before=(False,) * 3),
        example(4),
    )
    assert last.examples == 3
    assert {(at.source, at.partition): at.offset for at in last.offsets or ()} == {
        ("impressions", 0): 5,
        ("impressions", 1): 5,
        ("clicks", 0): 5,
    }


async def test_an_example_of_another_version_is_skipped_and_a_broken_one_is_a_dead_letter() -> None:
    world = World()
    last = await world.learn_all(
        example(0, fingerprint="another"),
        example(1, features="no base64"),
        example(2, source="articles"),
        example(3, partition=4),
        example(4, model="never-served"),
        example(5),
    )
    assert last.examples == 1
    assert len(world.topics.letters) == 3
    assert {record.model for record in world.topics.weights} == {"default"}


async def test_another_bundles_model_is_learned_on_from_its_weights() -> None:
    world = World("new-bundle")
    world.rankers.apply(
        RankerWeights(model="old-bundle", revision=3, time=from_unix_s(0.0), weights={"fatigue": -2.0})
    )
    last = await world.learn_all(example(0, model="old-bundle"))
    assert (last.model, last.revision) == ("old-bundle", 4)
    assert last.weights["fatigue"] == pytest.approx(-2.0, abs=0.2)
    assert last.weights["clicked"] == pytest.approx(0.0, abs=0.2)


async def test_it_waits_until_the_latest_weights_are_known() -> None:
    world = World()
    world.catch_ups = [KafkaConnectionError("down"), TimeoutError()]
    assert (await world.learn_all(example(0))).examples == 1
    assert world.catch_ups == []


async def test_what_was_read_before_the_partitions_moved_is_left_to_others() -> None:
    world = World()
    world.catch_ups = [KafkaConnectionError("down")] * 3

    def moved() -> bool:
        if not world.catch_ups:
            world.generation = 2
        return world.generation == 2

    await world.learn(example(0), until=moved)
    assert world.topics.weights == []
    assert world.done == []
