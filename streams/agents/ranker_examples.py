"""What the ranker learns from: impressions and late clicks, on their way from the user agent to the learner.

An impression that names an answer of this worker is learned from as it was answered; any other is ranked at
the moment it arrives, before it moves its user's state: test, then train. So nothing of an impression is in
the features that it teaches by. Ranking takes as long as all else that an impression causes: a worker that is
behind ranks only a share of the impressions of no known answer.

Guarantee: an impression that the user's state has applied already gives nothing, because its features could
know its clicks. So a crash may lose the examples of the batch under way; none is ever counted twice.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from typing import overload

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
from freshet.models.recommend.pipeline import Answer
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


class RankerExamples:
    """Collects examples and corrections, and adds them to an outbox.

    Args:
        settings: Whether to learn, and from which share of impressions when behind.
        catalog: What is known of articles.
        rankers: Whose model is learned.
        population: The mean of what is clicked, at a time.
        rolling_auc: Told how well answers were ordered.
    """

    def __init__(
        self,
        *,
        settings: Settings,
        catalog: ArticleCatalog,
        rankers: Rankers,
        population: Callable[[float], FloatVector],
        rolling_auc: RollingAuc,
    ) -> None:
        self._catalog = catalog
        self._rankers = rankers
        self._population = population
        self._rolling_auc = rolling_auc
        self._attribution = Attribution(settings.attribution_window_s)
        self._learn = settings.learn
        self._share = round(settings.learn_share * 2**32)
        self.behind = False
        """Whether impressions are waiting, so that only a share of them can be ranked."""
        self._topic = topic_name(settings, topics.RANKER_EXAMPLES.name)
        self._partitions = settings.partitions
        self._records: list[tuple[str, Source, bytes]] = []
        """With model and cause."""
        self.on_example: Callable[[Sequence[str], NDArray[np.float32], NDArray[np.bool_]], None] | None = None
        """Told of each impression that the bundle in service ranked: its articles, their features, which
        were clicked."""

    def answered(
        self, request: RecommendationRequest, time_s: float, answer: Answer, model: str | None = None
    ) -> None:
        """Remember what a request was answered with at ``time_s`` (event time, Unix seconds).

        ``model`` learns from what becomes of it; unset, that of the bundle in service does.
        """
        slate, picks = answer.slate, answer.picks
        ids = tuple(slate.ids[i] for i in picks.tolist())
        ranked = RankedSlate(ids, slate.features[picks], slate.scores[picks], model or self._rankers.model)
        self._attribution.answered(_of_user(request, request.request_id), time_s, ranked)

    def forget(self, user_id: str) -> None:
        """Drop what is remembered of answers to the user, and of what was shown."""
        self._attribution.forget(f"{user_id} ")

    def shown(self, impression: Impression, source: Source, time_s: float, state: UserState) -> None:
        """Learn of an impression, before ``state``, its user's, has applied it.

        Args:
            impression: What was shown.
            source: Topic, partition and offset of it.
            time_s: Its event time, Unix seconds.
            state: Seeded with the impression's history, if nothing was ever applied.
        """
        stream, partition, offset = source
        if offset <= state.offsets.get((stream, partition), -1):
            return

        def rank_now() -> RankedSlate:
            state.seed_history(time_s, impression.history, self._catalog)
            user = UserView.of(state, time_s, self._population(time_s))
            slate = score_slate(impression.candidates, user, self._catalog, self._rankers.get(), time_s)
            return RankedSlate(tuple(slate.ids), slate.features, slate.scores, self._rankers.model)

        example = self._attribution.shown(
            _of_user(impression, impression.impression_id),
            time_s,
            impression.candidates,
            impression.clicked,
            request_id=_of_user(impression, impression.request_id),
            otherwise=rank_now if self._is_ranked(impression.impression_id) else None,
        )
        if example is None:
            return
        if self.on_example is not None and example.slate.model == self._rankers.model:
            self.on_example(example.slate.ids, example.slate.features, example.clicked)
        if example.answered:
            self._rolling_auc.add(example.clicked, example.slate.scores)
        # Without a click there is nothing to learn yet; a late one's correction is then the whole lesson.
        if self._learn and example.clicked.any():
            self._add(source, time_s, example.slate, example.clicked)

    def clicked(self, click: Click, source: Source, time_s: float, state: UserState) -> None:
        """Learn of a click, before ``state``, its user's, has applied it; arguments as of :meth:`shown`."""
        stream, partition, offset = source
        if offset <= state.offsets.get((stream, partition), -1):
            return
        correction = self._attribution.clicked(
            time_s,
            click.news_id,
            impression_id=_of_user(click, click.impression_id),
            request_id=_of_user(click, click.request_id),
        )
        if correction is None:
            return
        if correction.answered and not correction.before.any():
            self._rolling_auc.add(correction.after, correction.slate.scores)
        if self._learn:
            self._add(source, time_s, correction.slate, correction.after, correction.before)

    def publish(self, outbox: Outbox, traces: RecordTraces | None = None) -> None:
        """Add everything collected to the next flush of ``outbox``, each record with its event's trace."""
        for model, (topic, partition, offset), record in self._records:
            headers = NO_HEADERS if traces is None else traces.headers_of(topic, partition, (offset,))
            target = partition_of(model, self._partitions)
            outbox.add(self._topic, target, model.encode(), record, headers)
        self._records.clear()

    def _is_ranked(self, impression_id: str) -> bool:
        """Whether to rank an impression of no known answer; by its id, not by chance."""
        return self._learn and (not self.behind or zlib.crc32(impression_id.encode()) < self._share)

    def _add(
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


@overload
def _of_user(event: Impression | Click | RecommendationRequest, name: str) -> str: ...


@overload
def _of_user(event: Impression | Click | RecommendationRequest, name: str | None) -> str | None: ...


def _of_user(event: Impression | Click | RecommendationRequest, name: str | None) -> str | None:
    """A request's or impression's id as one of this user: two logs may number theirs alike.

    No id has a space.
    """
    return None if name is None else f"{event.user_id} {name}"
