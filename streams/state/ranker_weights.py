"""The rankers that a worker can rank with, by name, kept in step with ``ranker-weights``.

Guarantee: whoever asks gets the latest weights that this worker has read, whole: a ranker never changes, a
new one takes its place. :attr:`RankerWeightsFollower.caught_up` is set when everything that was on the topic
at the start has been read; the worker answers nothing before.

A model's name is the bundle that its weights were learned for, ``default`` where none is trained. So weights
that are on the topic for another bundle are another model's, and a bundle without any begins with its own.
Three names need no record on the topic: the model's, ``default``, which always is the model served, and
``start``, which is what that began with.
"""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import Any, Final

from freshet.models.events.events import EventError, RankerWeights
from freshet.models.ranking.features import FEATURES
from freshet.models.ranking.linear import LinearRanker
from freshet.models.ranking.online_state_codec import state_of
from freshet.streams import metrics
from freshet.streams.kafka import topics
from freshet.streams.kafka.compacted_topic import CompactedTopics
from freshet.streams.kafka.connection import topic_name
from freshet.streams.kafka.outbox import Outbox
from freshet.streams.records.intake import Intake, keyed
from freshet.streams.settings import Settings

log = logging.getLogger(__name__)

DEFAULT: Final = "default"
"""The ranker of the model being served."""
START: Final = "start"
"""What that one was before it learned anything."""

_MAX_WEIGHT = 1e6
"""Weights are of roughly unit size, as features are."""


class Rankers:
    """Rankers by name.

    Args:
        start: How the model being served ranks until it has learned.
        model: Its name on ``ranker-weights``.
    """

    def __init__(self, start: LinearRanker, model: str = DEFAULT) -> None:
        self.model = model
        self.start = replace(start, name=model)
        self._starts = {model: self.start}
        self._latest: dict[str, RankerWeights] = {}
        self._rankers: dict[str, LinearRanker] = {
            START: replace(start, name=START),
            DEFAULT: self.start,
            model: self.start,
        }
        self._warned: set[tuple[str, tuple[str, ...]]] = set()

    def get(self, name: str = DEFAULT) -> LinearRanker:
        """The latest ranker called ``name``: a model's name, ``default`` or ``start``.

        Raises:
            KeyError: There is none; :meth:`names` are those there are.
        """
        try:
            return self._rankers[name]
        except KeyError:
            raise KeyError(f"no ranker is called {name!r}; there are {', '.join(self.names())}") from None

    def begin(self, model: str, start: LinearRanker) -> None:
        """Know how another model ranks until it has learned: that of a bundle beside the one in service."""
        self._starts[model] = replace(start, name=model)
        record = self._latest.get(model)
        if record is None:
            self._rankers[model] = self._starts[model]
        else:
            self.apply(record)

    def start_of(self, model: str) -> LinearRanker | None:
        """How a model ranks before it has learned anything; ``None`` where that is not known here."""
        return self._starts.get(model)

    def names(self) -> tuple[str, ...]:
        """What :meth:`get` knows, sorted."""
        return tuple(sorted(self._rankers))

    def latest(self, model: str) -> RankerWeights | None:
        """The latest record of ``model`` on the topic."""
        return self._latest.get(model)

    def apply(self, record: RankerWeights) -> None:
        """Rank with ``record`` from now on, where its model is asked for.

        Features that this version does not have are ignored, with a warning; those that the record does not
        know keep the start's weight, where that is known.

        Raises:
            EventError: The record's name is one that no model may have, a weight is so large that scores
                would not be finite, or its curvature is not one.
        """
        if record.model == START:
            raise EventError(f"RankerWeights: no model may be called {START!r}")
        largest = max(map(abs, record.weights.values()), default=0.0)
        if largest > _MAX_WEIGHT:
            raise EventError(f"RankerWeights: a weight of {largest:g}, more than {_MAX_WEIGHT:g}")
        start = self._starts.get(record.model)
        state_of(record, start or self.start)
        if record.model == DEFAULT != self.model:
            return  # learned while no bundle was trained; here the name is that of the bundle's own
        unknown = tuple(sorted(set(record.weights) - set(FEATURES)))
        if unknown and (record.model, unknown) not in self._warned:
            self._warned.add((record.model, unknown))
            log.warning(
                "ranker %s has weights for %s, which are no features of this version: ignored",
                record.model,
                ", ".join(unknown),
            )
        weights = {} if start is None else dict(start.weights)
        weights |= {name: weight for name, weight in record.weights.items() if name in FEATURES}
        ranker = LinearRanker(weights, record.model, record.revision)
        self._latest[record.model] = record
        self._rankers[record.model] = ranker
        if record.model == self.model:
            self._rankers[DEFAULT] = ranker
            metrics.RANKER_EXAMPLES_LEARNED.set(record.examples or 0)


class RankerWeightsFollower(CompactedTopics):
    """Reads all of ``ranker-weights`` into ``rankers``.

    Args:
        settings: Where Kafka is.
        rankers: Receives every record.
        outbox: Receives the dead letters of records that cannot be decoded.
    """

    def __init__(self, settings: Settings, rankers: Rankers, outbox: Outbox) -> None:
        self._rankers = rankers
        self._intake = Intake(settings, outbox)
        names = [topic_name(settings, topics.RANKER_WEIGHTS.name)]
        super().__init__(
            settings, names, lambda record: self._intake.handle(record, self._learn_weights), outbox.flush
        )

    def _learn_weights(self, record: Any) -> None:
        if record.value is not None:  # a tombstone: an operator wants a model forgotten at the next start
            self._rankers.apply(keyed(record, RankerWeights, "model"))
