"""Ranks impressions before they are applied, and turns them and late clicks into examples for the learner.

An impression that names an answer of this worker is learned from as it was answered. Any other one is ranked
when it arrives, before it moves its user's state: test, then train. So no feature knows the clicks that it is
to predict. Ranking takes as long as everything else that an impression causes: a worker that is behind ranks
only a share of the impressions that name no known answer.

Guarantee: an impression that the user's state has already applied gives no example, because its features
could know its clicks. So a crash may lose the examples of the current batch, but none is counted twice.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import orjson
from numpy.typing import NDArray

from freshet.models.articles.catalog import ArticleCatalog
from freshet.models.articles.counts import Source
from freshet.models.events.events import Click, Impression, RecommendationRequest, from_unix_s
from freshet.models.ports import FloatVector
from freshet.models.ranking.attribution import Attribution, RankedSlate
from freshet.models.ranking.example_codec import FINGERPRINT, encoded
from freshet.models.ranking.scored_slate import score_slate
from freshet.models.recommend.slate import Slate
from freshet.models.users.state import UserState
from freshet.models.users.view import UserView
from freshet.streams.kafka import topics
from freshet.streams.kafka.connection import topic_name
from freshet.streams.kafka.headers import NO_HEADERS
from freshet.streams.kafka.outbox import Outbox, partition_of
from freshet.streams.monitoring.rolling_auc import RollingAuc
from freshet.streams.records.tracing import RecordTraces
from freshet.streams.settings import Settings
from freshet.streams.state.ranker_weights import Rankers

OnExample = Callable[[Sequence[str], NDArray[np.float32], NDArray[np.bool_]], None]
"""Receives an impression's n news ids, their features (n, features) and which were clicked (n,)."""


@dataclass(kw_only=True, eq=False)
class ImpressionRanker:
    """Collects examples and corrections, and adds them to an outbox."""

    settings: Settings
    """Whether to learn, and from which share of impressions when behind."""
    catalog: ArticleCatalog
    rankers: Rankers
    population: Callable[[float], FloatVector]
    """Mean vector (d,) of clicked articles at a time."""
    rolling_auc: RollingAuc
    """Gauge of how well answers were ordered."""
    on_example: OnExample | None = None
    """Called with each impression that the bundle in service ranked."""

    def __post_init__(self) -> None:
        self._attribution = Attribution(self.settings.attribution_window_s)
        self._learn = self.settings.learn
        self._share = round(self.settings.learn_share * 2**32)
        self.behind = False
        """True while impressions wait, so that only a share of them can be ranked."""
        self._topic = topic_name(self.settings, topics.RANKER_EXAMPLES.name)
        self._partitions = self.settings.partitions
        self._records: list[tuple[str, Source, bytes]] = []
        """Examples by model and source event."""

    def answered(
        self, request: RecommendationRequest, time_s: float, slate: Slate, model: str | None = None
    ) -> None:
        """Remember the answer to a request at ``time_s`` (event time, Unix seconds).

        ``model`` learns from its impression; ``None`` stands for the model of the bundle in service.
        """
        scored, picks = slate.scored, slate.picks
        ids = tuple(scored.ids[i] for i in picks.tolist())
        features, scores = scored.features[picks], scored.scores[picks]  # (k, features), (k,)
        ranked = RankedSlate(ids, features, scores, model or self.rankers.model)
        self._attribution.answered(f"{request.user_id} {request.request_id}", time_s, ranked)

    def forget(self, user_id: str) -> None:
        """Drop the user's remembered answers and impressions."""
        self._attribution.forget(f"{user_id} ")

    def learn(self, event: Impression | Click, source: Source, time_s: float, state: UserState) -> None:
        """Learn from an event before ``state``, its user's, has applied it.

        Args:
            event: The impression or click.
            source: The event's topic, partition and offset.
            time_s: Event time, Unix seconds.
            state: Seeded with an impression's history, if nothing was ever applied.
        """
        stream, partition, offset = source
        if offset <= state.offsets.get((stream, partition), -1):
            return
        if isinstance(event, Impression):
            self._learn_impression(event, source, time_s, state)
        else:
            self._learn_click(event, source, time_s)

    def _learn_impression(
        self, impression: Impression, source: Source, time_s: float, state: UserState
    ) -> None:
        def rank_now() -> RankedSlate:
            state.seed_history(time_s, impression.history, self.catalog)
            user = UserView.of(state, time_s, self.population(time_s))
            slate = score_slate(impression.candidates, user, self.catalog, self.rankers.get(), time_s)
            return RankedSlate(tuple(slate.ids), slate.features, slate.scores, self.rankers.model)

        example = self._attribution.shown(
            f"{impression.user_id} {impression.impression_id}",
            time_s,
            impression.candidates,
            impression.clicked,
            request_id=_of_user(impression, impression.request_id),
            otherwise=rank_now if self._is_ranked(impression.impression_id) else None,
        )
        if example is None:
            return
        if self.on_example is not None and example.slate.model == self.rankers.model:
            self.on_example(example.slate.ids, example.slate.features, example.clicked)
        if example.answered:
            self.rolling_auc.add_answer(example.clicked, example.slate.scores)
        # Without a click there is nothing to learn yet; a late one's correction is then the whole lesson.
        if self._learn and example.clicked.any():
            self._add_example(source, time_s, example.slate, example.clicked)

    def _learn_click(self, click: Click, source: Source, time_s: float) -> None:
        correction = self._attribution.clicked(
            time_s,
            click.news_id,
            impression_id=_of_user(click, click.impression_id),
            request_id=_of_user(click, click.request_id),
        )
        if correction is None:
            return
        if correction.answered and not correction.before.any():
            self.rolling_auc.add_answer(correction.after, correction.slate.scores)
        if self._learn:
            self._add_example(source, time_s, correction.slate, correction.after, correction.before)

    def publish(self, outbox: Outbox, traces: RecordTraces | None = None) -> None:
        """Add all collected examples to the next flush of ``outbox``, each with its event's trace."""
        for model, (topic, partition, offset), record in self._records:
            headers = NO_HEADERS if traces is None else traces.headers_of(topic, partition, (offset,))
            target = partition_of(model, self._partitions)
            outbox.add_record(self._topic, target, model.encode(), record, headers)
        self._records.clear()

    def _is_ranked(self, impression_id: str) -> bool:
        """Whether to rank an impression that names no known answer: decided by its id, not by chance."""
        return self._learn and (not self.behind or zlib.crc32(impression_id.encode()) < self._share)

    def _add_example(
        self,
        source: Source,
        time_s: float,
        slate: RankedSlate,
        clicked: NDArray[np.bool_],
        before: NDArray[np.bool_] | None = None,
    ) -> None:
        stream, partition, offset = source
        example = {
            "version": 1,
            "model": slate.model,
            "fingerprint": FINGERPRINT,
            "features": encoded(slate.features),
            "clicked": clicked.tolist(),
            "source": stream,
            "partition": partition,
            "offset": offset,
            "time": from_unix_s(time_s),
        }
        if before is not None:
            example["clicked_before"] = before.tolist()
        self._records.append((slate.model, source, orjson.dumps(example)))


def _of_user(event: Impression | Click, name: str | None) -> str | None:
    """An optional id, made unique to its user: two logs may number alike, and no id has a space."""
    return None if name is None else f"{event.user_id} {name}"
