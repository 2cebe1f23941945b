"""The learner agent: examples and corrections become the ranker's weights, each counted once.

The worker that owns a model's partition of ``ranker-examples`` learns that model. Guarantee: published
weights carry the offsets of all events that they have learned from, in the same record; a learner starts from
the latest record of its model and ignores events that are in it. So after any crash the weights are those of
a learner that never stopped. An example is done only after weights that include it are published.

:class:`freshet.models.ranking.guard.RankerGuard` rejects harmful examples and rolls harmful weights back. Its
comparison with the initial weights starts anew when the partition moves.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal

import numpy as np
from aiokafka.errors import KafkaError

from freshet.models.events.events import EventError, RankerExample, RankerWeights, SourceOffset, to_unix_s
from freshet.models.ranking.example_codec import FINGERPRINT, decoded
from freshet.models.ranking.guard import RankerGuard
from freshet.models.ranking.online_state_codec import encoded_curvature, learned_until, state_of
from freshet.streams import metrics
from freshet.streams.errors import PartitionsLost
from freshet.streams.kafka import topics
from freshet.streams.kafka.connection import topic_name
from freshet.streams.kafka.outbox import Outbox, partition_of
from freshet.streams.kafka.progress import Progress
from freshet.streams.kafka.reader import RecordReader
from freshet.streams.records.intake import Intake, keyed
from freshet.streams.records.tracing import STREAM
from freshet.streams.settings import Settings
from freshet.streams.state.ranker_weights import Rankers

log = logging.getLogger(__name__)

PUBLISH_INTERVAL_S = 2.0
_MAX_EXAMPLES = 64
"""Number of examples in one step."""
_YIELD_EVERY = 16
"""Number of examples between two turns of the event loop: a request waits 3 ms for them."""
_RETRY_S = 1.0
_SOURCES = (topics.IMPRESSIONS.name, topics.CLICKS.name)

Happened = Literal["warm-start", "learned", "rolled-back"]


@dataclass(slots=True)
class _Learning:
    """Learning state of one model."""

    guard: RankerGuard
    examples: int = 0
    offsets: dict[tuple[str, int], int] = field(default_factory=dict)
    """Last learned offset by source and partition."""
    unpublished: Happened | None = None


@dataclass(kw_only=True, eq=False)
class LearnerAgent:
    """Learns the models whose partitions this worker owns."""

    settings: Settings
    rankers: Rankers
    """Latest weights of every model, and the initial ones of the model in service."""
    outbox: Outbox
    progress: Progress
    catch_up: Callable[[], Awaitable[None]]
    """Waits until ``rankers`` has all weights published by now."""

    def __post_init__(self) -> None:
        self._intake = Intake(self.settings, self.outbox, STREAM)
        self._topic = topic_name(self.settings, topics.RANKER_WEIGHTS.name)
        self._generation = -1
        self._learning: dict[str, _Learning] = {}
        """Learning states by model."""
        self._undone: list[Any] = []
        """Records handled since weights were last published."""
        self.busy = asyncio.Lock()
        """Held while weights change or are published; giving partitions away waits for it."""

    async def run(self, reader: RecordReader) -> None:
        """Learn from the records of ``reader``. Fails, without a commit, where a delivery fails."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._publish_regularly())
            tasks.create_task(self._read(reader))

    async def release(self) -> None:
        """Publish the learned weights and forget them, before partitions move."""
        async with self.busy:
            await self._publish()
            self._learning.clear()
            self._generation = -1
            metrics.RANKER_AUC.clear()  # the next learner shows them

    async def _read(self, reader: RecordReader) -> None:
        async for generation, messages in reader.batches(_MAX_EXAMPLES):
            if generation != self._generation:
                await self._await_weights(generation)
            async with self.busy:
                if not self.progress.may_handle(generation):
                    continue
                if generation != self._generation:
                    # The partitions' previous owner may have published since.
                    self._learning.clear()
                    self._undone.clear()
                    self._generation = generation
                await self._apply(messages)

    async def _await_weights(self, generation: int) -> None:
        while self.progress.may_handle(generation):
            try:
                await self.catch_up()
                return
            except (KafkaError, TimeoutError) as error:
                log.warning("the latest weights cannot be read, trying again: %r", error)
                await asyncio.sleep(_RETRY_S)

    async def _apply(self, messages: list[Any]) -> None:
        started = time.perf_counter()
        for number, message in enumerate(messages, 1):
            if number % _YIELD_EVERY == 0:
                await asyncio.sleep(0)
            self._intake.handle(message, self._learn)
        self._undone += messages
        self._intake.traces.end_step("learn")
        metrics.BATCH_EVENTS.labels("learner").observe(len(messages))
        metrics.PROCESSING_SECONDS.labels("learner").observe(time.perf_counter() - started)

    def _learn(self, message: Any) -> None:
        example = keyed(message, RankerExample, "model")
        if example.source not in _SOURCES or example.partition >= self.settings.partitions:
            raise EventError(
                f"RankerExample: from {example.source}[{example.partition}]; there are {', '.join(_SOURCES)} "
                f"with {self.settings.partitions} partitions"
            )
        if example.fingerprint != FINGERPRINT:
            # A worker of another version made it: there are thousands while workers are replaced.
            metrics.RANKER_REFUSED.labels("other-features").inc()
            return
        x = decoded(example)
        learning = self._learning.get(example.model) or self._begin(example.model)
        if learning is None:
            metrics.RANKER_REFUSED.labels("other-model").inc()
            return
        source = example.source, example.partition
        if example.offset <= learning.offsets.get(source, -1):
            metrics.DUPLICATES.labels(message.topic).inc()
            return
        clicked = np.array(example.clicked)
        before = None if example.clicked_before is None else np.array(example.clicked_before)
        verdict = learning.guard.learn(x, clicked, before, time_s=to_unix_s(example.time))
        learning.offsets[source] = example.offset
        if verdict in {"learned", "rolled-back"}:
            learning.examples += 1
            learning.unpublished = "learned"
            metrics.RANKER_EXAMPLES.labels("example" if before is None else "correction").inc()
        else:
            metrics.RANKER_REFUSED.labels(verdict).inc()
        if verdict == "rolled-back":
            metrics.RANKER_ROLLBACKS.inc()
            log.warning(
                "ranker %s ranked worse than its initial weights and was rolled back, revision %d",
                example.model,
                learning.guard.ranker.revision,
            )
            self._add_weights(example.model, learning, "rolled-back")

    def _begin(self, model: str) -> _Learning | None:
        """Continue from the latest weights, or start with the initial ones; ``None`` if both are unknown."""
        record = self.rankers.latest(model)
        start = self.rankers.start_of(model)
        if start is None:
            if record is None:
                return None
            start = self.rankers.get(model)
        if record is None:
            learning = _Learning(RankerGuard(start))
            self._add_weights(model, learning, "warm-start")
        else:
            learning = _Learning(
                RankerGuard(start, state_of(record, start)),
                record.examples or 0,
                {(at.source, at.partition): at.offset for at in record.offsets or ()},
            )
        self._learning[model] = learning
        return learning

    async def _publish_regularly(self) -> None:
        while True:
            await asyncio.sleep(PUBLISH_INTERVAL_S)
            async with self.busy:
                if self.progress.may_handle(self._generation):
                    await self._publish()

    async def _publish(self) -> None:
        messages, self._undone = self._undone, []
        if not messages:
            return
        for model, learning in self._learning.items():
            if learning.unpublished is not None:
                self._add_weights(model, learning, learning.unpublished)
        try:
            await self.outbox.flush()
        except PartitionsLost as error:
            log.warning("%s", error)
            self._learning.clear()
            self._generation = -1
            return
        self.progress.done(messages)
        self._intake.traces.done()

    def _add_weights(self, model: str, learning: _Learning, happened: Happened) -> None:
        """Add the current weights to the next flush."""
        state, guard = learning.guard.state(), learning.guard
        record = RankerWeights(
            model=model,
            revision=state.revision,
            time=datetime.now(UTC),
            weights=dict(state.weights),
            features=state.features,
            curvature=encoded_curvature(state),
            learned_until=learned_until(state),
            examples=learning.examples,
            auc=guard.auc,
            start_auc=guard.start_auc,
            offsets=tuple(
                SourceOffset(source=source, partition=partition, offset=offset)
                for (source, partition), offset in learning.offsets.items()
            ),
            happened=happened,
        )
        partition = partition_of(model, self.settings.partitions)
        self.outbox.add_record(self._topic, partition, model.encode(), record.to_json())
        learning.unpublished = None
        of_service = model == self.rankers.model
        if of_service and guard.auc is not None and guard.start_auc is not None:
            metrics.RANKER_AUC.labels("learned").set(guard.auc)
            metrics.RANKER_AUC.labels("start").set(guard.start_auc)
