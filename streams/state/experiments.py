"""Running experiments: the assignment of users to variants, and live metrics of each variant.

Guarantee: every worker serves a user by the same variant, before and after any restart, because the
assignment is a function of the records on ``control`` and the user's id. Where two experiments claim a user,
the older one keeps them, so that a new experiment never moves users of another one.

The metrics cover this process since its start, for dashboards and alerts: counters may be summed over
workers, gauges are each worker's own. ``freshet experiment report`` reads the topics instead.
"""

from __future__ import annotations

import logging
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime

import numpy as np

from freshet.models.evaluation.ranking_metrics import auc
from freshet.models.events.control import Control
from freshet.models.events.events import Click, Impression, Recommendation
from freshet.models.events.experiment import Experiment, Variant
from freshet.models.experiments.assignment import Assigner, sample_ratio
from freshet.models.ranking.linear import LinearRanker
from freshet.streams import metrics
from freshet.streams.state.ranker_weights import DEFAULT, START, Rankers
from freshet.streams.state.variant_bundles import VariantBundle, VariantBundles

log = logging.getLogger(__name__)

_MAX_OPEN = 20_000
"""Number of answers that wait for their impressions and clicks."""
_WINDOW = 1_000
"""Number of impressions in a rolling AUC."""
_MAX_USERS = 100_000
"""Number of distinct users kept for each experiment; enough for a sample ratio within half a percent."""
_CHECK_EVERY = 100
"""Number of new users between two sample-ratio checks."""


@dataclass(frozen=True, slots=True)
class Treatment:
    """Ranker and bundle by which an experiment serves a user."""

    experiment: str
    variant: str
    ranker: LinearRanker
    bundle: VariantBundle | None = None
    """Bundle of the variant; ``None``: the bundle in service."""


@dataclass(slots=True)
class _Running:
    experiment: Experiment
    assigner: Assigner
    users: set[int] = field(default_factory=set)
    users_of: dict[str, int] = field(default_factory=dict)
    recent_auc: dict[str, deque[float]] = field(default_factory=dict)
    lowest_p_value: float = 1.0


@dataclass(slots=True)
class _Open:
    """Answer that waits for its impression and clicks."""

    experiment: str
    variant: str
    scores: dict[str, float]
    """Scores by news id."""
    ranked: bool
    """True if the request named the candidates."""
    clicked: set[str] = field(default_factory=set)


@dataclass(eq=False)
class Experiments:
    """Running experiments, as the records on ``control`` define them."""

    rankers: Rankers
    bundles: VariantBundles | None = None
    """Bundles of the variants; opens those that are needed."""
    in_service: Callable[[], str] = str
    """Id of the bundle that serves all other users."""

    def __post_init__(self) -> None:
        self._running: dict[str, _Running] = {}
        self._open: OrderedDict[str, _Open] = OrderedDict()
        self._warned: set[tuple[str, str]] = set()

    def apply(self, control: Control) -> None:
        """Start, change or stop an experiment; other controls are ignored."""
        if control.experiment is None:
            return
        if control.kind == "experiment-stopped":
            ended = self._running.pop(control.subject, None)
            if ended is not None:
                _forget_gauges(ended.experiment)
        elif control.kind == "experiment-started":
            experiment = control.experiment
            before = self._running.get(experiment.name)
            if before is not None and before.experiment == experiment:
                return
            self._running[experiment.name] = _Running(experiment, Assigner(experiment))
            by_age = sorted(
                self._running.values(), key=lambda each: (each.experiment.created_at, each.experiment.name)
            )
            self._running = {each.experiment.name: each for each in by_age}
            _count_from_zero(experiment)
        self._need_bundles()

    def _need_bundles(self) -> None:
        if self.bundles is not None:
            variants = [variant for each in self._running.values() for variant in each.experiment.variants]
            named = {variant.bundle for variant in variants if variant.bundle is not None}
            self.bundles.need(named - {self.in_service()})

    def names(self) -> tuple[str, ...]:
        """Names of the running experiments, in order of precedence."""
        return tuple(self._running)

    def treatment(self, user_id: str, time: datetime) -> Treatment | None:
        """Treatment of a user at the event time ``time``; ``None`` outside all experiments.

        A variant whose ranker or bundle is not available serves nobody: its users are served as if there were
        no experiment and are not counted, which the sample-ratio check shows.
        """
        for running in self._running.values():
            if not running.experiment.runs_at(time):
                continue
            variant = running.assigner.variant(user_id)
            if variant is None:
                continue
            name = running.experiment.name
            try:
                return self._by(name, variant)
            except LookupError as error:
                if (name, variant.name) not in self._warned:
                    self._warned.add((name, variant.name))
                    log.error("experiment %s cannot serve variant %s: %s", name, variant.name, error)
                return None
        return None

    def _by(self, experiment: str, variant: Variant) -> Treatment:
        """Treatment by ``variant``.

        Raises:
            LookupError: Its ranker or its bundle is not available.
        """
        if variant.bundle is None or variant.bundle == self.in_service():
            return Treatment(experiment, variant.name, self.rankers.get(variant.ranker))
        bundle = None if self.bundles is None else self.bundles.get(variant.bundle)
        if bundle is None:
            raise LookupError(f"bundle {variant.bundle} is missing, or its vectors are still being read")
        if variant.ranker == START:
            return Treatment(experiment, variant.name, bundle.serving.ranker, bundle)
        name = bundle.serving.model if variant.ranker == DEFAULT else variant.ranker
        return Treatment(experiment, variant.name, self.rankers.get(name), bundle)

    def answered(self, answer: Recommendation, *, ranked: bool) -> None:
        """Count an answer, and await its impression; ``ranked`` if its request named the candidates."""
        if answer.experiment is None or answer.variant is None:
            return
        metrics.EXPERIMENT_ANSWERS.labels(answer.experiment, answer.variant).inc()
        scores = {item.news_id: item.score for item in answer.items}
        self._open[answer.request_id] = _Open(answer.experiment, answer.variant, scores, ranked)
        if len(self._open) > _MAX_OPEN:
            self._open.popitem(last=False)

    def observe(self, event: Impression | Click) -> None:
        """Count an impression or click that names an answer; call it once for each event."""
        found = self._open.get(event.request_id or "")
        if found is None:
            return
        if isinstance(event, Click):
            self._count_clicks(found, (event.news_id,))
            return
        metrics.EXPERIMENT_IMPRESSIONS.labels(found.experiment, found.variant).inc()
        self._count_clicks(found, event.clicked)
        running = self._running.get(found.experiment)
        if running is not None:
            self._count_user(running, found.variant, event.user_id)
            if found.ranked:
                _score(running, found, event)

    def _count_clicks(self, found: _Open, news_ids: Iterable[str]) -> None:
        new = set(news_ids) - found.clicked
        found.clicked |= new
        if new:
            metrics.EXPERIMENT_CLICKS.labels(found.experiment, found.variant).inc(len(new))

    def _count_user(self, running: _Running, variant: str, user_id: str) -> None:
        experiment = running.experiment
        if variant not in {each.name for each in experiment.variants}:
            return  # answered before the variants were changed
        key = hash(user_id)
        if key in running.users or len(running.users) >= _MAX_USERS:
            return
        running.users.add(key)
        running.users_of[variant] = running.users_of.get(variant, 0) + 1
        if len(running.users) % _CHECK_EVERY == 0:
            counts = [running.users_of.get(each.name, 0) for each in experiment.variants]
            ratio = sample_ratio(counts, [each.share for each in experiment.variants])
            running.lowest_p_value = min(running.lowest_p_value, ratio.watched_p_value)
            metrics.EXPERIMENT_SAMPLE_RATIO.labels(experiment.name).set(running.lowest_p_value)


def _score(running: _Running, found: _Open, impression: Impression) -> None:
    shown = [news_id for news_id in impression.candidates if news_id in found.scores]
    labels = np.array([news_id in found.clicked for news_id in shown])
    if labels.any() and not labels.all():
        recent = running.recent_auc.setdefault(found.variant, deque(maxlen=_WINDOW))
        recent.append(auc(labels, np.array([found.scores[news_id] for news_id in shown])))
        gauge = metrics.EXPERIMENT_ROLLING_AUC.labels(found.experiment, found.variant)
        gauge.set(sum(recent) / len(recent))


def _count_from_zero(experiment: Experiment) -> None:
    """Create the series of an experiment before it serves users."""
    for variant in experiment.variants:
        for counter in (
            metrics.EXPERIMENT_ANSWERS,
            metrics.EXPERIMENT_IMPRESSIONS,
            metrics.EXPERIMENT_CLICKS,
        ):
            counter.labels(experiment.name, variant.name)
    metrics.EXPERIMENT_SAMPLE_RATIO.labels(experiment.name).set(1.0)


def _forget_gauges(experiment: Experiment) -> None:
    """Remove the gauges of a stopped experiment, which would keep their last value."""
    for variant in experiment.variants:
        metrics.EXPERIMENT_ROLLING_AUC.remove(experiment.name, variant.name)
    metrics.EXPERIMENT_SAMPLE_RATIO.remove(experiment.name)
