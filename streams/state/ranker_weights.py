"""Rankers of a worker by name, kept in step with ``ranker-weights``.

Guarantee: a lookup returns the latest weights that this worker has read, and always a complete ranker: a
ranker never changes, a new one replaces it. The worker answers no request before
:attr:`RankerWeightsFollower.caught_up` is set.

A model's name is the bundle that its weights were learned for, ``default`` where none is trained. So weights
of another bundle belong to another model, and a bundle without records on the topic starts with its own
weights. Three names need no record on the topic: the model's; ``default``, which is the model in service; and
``start``, its initial weights.
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
"""Name of the ranker of the model in service."""
START: Final = "start"
"""Name of that ranker with its initial weights."""

_MAX_WEIGHT = 1e6
"""Largest magnitude of a weight: weights are of roughly unit size, like the features."""


class Rankers:
    """Rankers by name: of the model in service, and of the bundles of experiments.

    Args:
        start: Initial ranker of the model in service.
        model: Name of that model on ``ranker-weights``.
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
        """Latest ranker of a model, or ``default`` or ``start``.

        Raises:
            KeyError: There is no ranker of that name; :meth:`names` lists those there are.
        """
        try:
            return self._rankers[name]
        except KeyError:
            raise KeyError(f"no ranker is called {name!r}; there are {', '.join(self.names())}") from None

    def begin(self, model: str, start: LinearRanker) -> None:
        """Add the initial ranker of another model: of a bundle beside the one in service."""
        self._starts[model] = replace(start, name=model)
        record = self._latest.get(model)
        if record is None:
            self._rankers[model] = self._starts[model]
        else:
            self.apply(record)

    def start_of(self, model: str) -> LinearRanker | None:
        """Initial ranker of a model; ``None`` for an unknown model."""
        return self._starts.get(model)

    def names(self) -> tuple[str, ...]:
        """Names of all rankers, sorted."""
        return tuple(sorted(self._rankers))

    def latest(self, model: str) -> RankerWeights | None:
        """Latest record of ``model`` on the topic."""
        return self._latest.get(model)

    def apply(self, record: RankerWeights) -> None:
        """Replace its model's ranker by ``record``.

        Unknown features are ignored, with a warning; features that the record lacks keep their initial
        weight, where that is known.

        Raises:
            EventError: The model's name is reserved, a weight is so large that scores would not be finite, or
                the curvature is invalid.
        """
        if record.model == START:
            raise EventError(f"RankerWeights: the name {START!r} is reserved")
        largest = max(map(abs, record.weights.values()), default=0.0)
        if largest > _MAX_WEIGHT:
            raise EventError(f"RankerWeights: a weight of {largest:g}, more than {_MAX_WEIGHT:g}")
        start = self._starts.get(record.model)
        state_of(record, start or self.start)
        if record.model == DEFAULT != self.model:
            return  # learned before a bundle was trained; now the name stands for the bundle's model
        unknown = tuple(sorted(set(record.weights) - set(FEATURES)))
        if unknown and (record.model, unknown) not in self._warned:
            self._warned.add((record.model, unknown))
            log.warning(
                "ranker %s has weights for %s, which this version does not know: ignored",
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
            settings,
            names,
            lambda record: self._intake.handle(record, self._learn_weights),
            outbox.flush,
            reports_catching_up=True,
        )

    def _learn_weights(self, record: Any) -> None:
        if record.value is not None:  # a tombstone: an operator wants a model forgotten at the next start
            self._rankers.apply(keyed(record, RankerWeights, "model"))
