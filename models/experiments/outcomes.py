"""Outcome of an experiment: answers, impressions and clicks joined, counted and compared by variant.

An impression belongs to the variant of the answer that it names (``request_id``), a click to the impression
that it names, by request or by impression. Guarantees:

- Redelivered records change nothing: answers count once by request id, impressions once by user and
  impression id, a clicked article once in its impression.
- The order of records within a topic does not matter; the topics are to be read in the order of
  :class:`ExperimentLog`'s methods.
- A user served by two variants is excluded from both, because one variant's effect shows in the other's
  figures. Such users are counted; they exist only where assignments changed.

Metrics, with the user as the unit of each (see :mod:`freshet.models.experiments.sequential_test`):

=========================  ================================================================
``click-through-rate``     clicks / articles shown
``clicks-per-impression``  clicks / impressions
``auc``                    mean AUC of impressions whose candidates the request named and
                           of which some, not all, were clicked
=========================  ================================================================

A ranker changes the first two only through what readers see: in a replay, which shows the logged slates, AUC
alone measures the ranker.
"""

from __future__ import annotations

import sys
from array import array
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final, get_args

import numpy as np

from freshet.models.evaluation.ranking_metrics import auc
from freshet.models.events.events import Click, Impression, Recommendation, RecommendationRequest, to_unix_s
from freshet.models.events.experiment import Experiment, Metric
from freshet.models.experiments.assignment import SampleRatio, sample_ratio
from freshet.models.experiments.sequential_test import ClusteredRatio, Comparison, SequentialTest

METRICS: Final[tuple[Metric, ...]] = get_args(Metric)
_PROGRESS_EVERY = 1_000


@dataclass(slots=True)
class _Answer:
    variant: str
    user_id: str
    ids: tuple[str, ...]
    scores: array[float]
    ranked: bool = False


@dataclass(slots=True)
class _ShownSlate:
    time_s: float
    answer: _Answer
    candidates: tuple[str, ...]
    clicked: set[str]


@dataclass(frozen=True, slots=True)
class Measured:
    """Value of a variant's metric, with a confidence interval."""

    value: float
    """Ratio of the metric; NaN without an observation."""
    low: float
    high: float
    """Upper end of the normal 95 % interval for one look; NaN for fewer than two users, as is ``low``."""


@dataclass(frozen=True, slots=True)
class VariantOutcome:
    """Counts and metrics of one variant, without users who were served by two."""

    name: str
    share: float
    ranker: str
    users: int
    """Number of users who were answered."""
    users_shown: int
    """Number of users with an impression that names an answer."""
    answers: int
    impressions: int
    shown: int
    """Number of articles in the impressions."""
    clicks: int
    auc_impressions: int
    metrics: Mapping[Metric, Measured]


@dataclass(frozen=True, slots=True)
class ExperimentOutcome:
    """Outcome of an experiment; its first variant is the control."""

    experiment: Experiment
    variants: tuple[VariantOutcome, ...]
    users_of_two_variants: int
    """Number of users served by two variants, who are excluded from everything else."""
    answers_sent_twice: int
    answered: SampleRatio
    """Sample ratio of the users answered."""
    seen: SampleRatio
    """Sample ratio of the users who saw an answer."""
    comparisons: Mapping[str, Mapping[Metric, Comparison]]
    """Comparisons with the control, by the other variants' names."""

    @property
    def mismatch(self) -> bool:
        """Whether a sample-ratio mismatch invalidates the comparisons."""
        return self.answered.mismatch or self.seen.mismatch


@dataclass
class _Tally:
    """One variant's running sums."""

    answers: int = 0
    impressions: int = 0
    shown: int = 0
    clicks: int = 0
    auc_impressions: int = 0
    users: set[str] = field(default_factory=set)
    ratios: dict[Metric, ClusteredRatio] = field(
        default_factory=lambda: {metric: ClusteredRatio() for metric in METRICS}
    )

    def add_impression(self, shown: _ShownSlate) -> None:
        user_id, clicks = shown.answer.user_id, len(shown.clicked)
        self.impressions += 1
        self.shown += len(shown.candidates)
        self.clicks += clicks
        self.ratios["click-through-rate"].add_observation(user_id, clicks, len(shown.candidates))
        self.ratios["clicks-per-impression"].add_observation(user_id, clicks)
        if shown.answer.ranked:
            scores = dict(zip(shown.answer.ids, shown.answer.scores, strict=True))
            ids = [news_id for news_id in shown.candidates if news_id in scores]
            labels = np.array([news_id in shown.clicked for news_id in ids])
            if labels.any() and not labels.all():
                self.auc_impressions += 1
                value = auc(labels, np.array([scores[news_id] for news_id in ids]))
                self.ratios["auc"].add_observation(user_id, value)


class ExperimentLog:
    """Collects one experiment's records from the topics: answers, then requests, impressions and clicks."""

    def __init__(self, experiment: Experiment) -> None:
        self._experiment = experiment
        self._variants = {variant.name for variant in experiment.variants}
        self._answers: dict[str, _Answer] = {}
        self._variants_of: dict[str, set[str]] = {}
        self._impressions: dict[tuple[str, str], _ShownSlate] = {}
        self._of_request: dict[str, list[_ShownSlate]] = {}
        self._answers_sent_twice = 0

    def answer(self, answer: Recommendation) -> None:
        """Reads an answer; answers of other experiments are ignored."""
        variant = answer.variant
        if answer.experiment != self._experiment.name or variant is None or variant not in self._variants:
            return
        self._variants_of.setdefault(answer.user_id, set()).add(variant)
        if answer.request_id in self._answers:
            self._answers_sent_twice += 1
            return
        self._answers[answer.request_id] = _Answer(
            sys.intern(variant),
            answer.user_id,
            tuple(sys.intern(item.news_id) for item in answer.items),
            array("d", [item.score for item in answer.items]),
        )

    def request(self, request: RecommendationRequest) -> None:
        """Reads a request, which tells whether its answer ranked the candidates that it named."""
        found = self._answers.get(request.request_id)
        if found is not None and request.candidates is not None:
            found.ranked = True

    def impression(self, impression: Impression) -> None:
        """Reads an impression; impressions that name no answer of the experiment are ignored."""
        found = self._answers.get(impression.request_id or "")
        key = (impression.user_id, impression.impression_id)
        if found is None or found.user_id != impression.user_id or key in self._impressions:
            return
        shown = _ShownSlate(
            to_unix_s(impression.time),
            found,
            tuple(dict.fromkeys(map(sys.intern, impression.candidates))),
            set(impression.clicked),
        )
        self._impressions[key] = shown
        self._of_request.setdefault(impression.request_id or "", []).append(shown)

    def click(self, click: Click) -> None:
        """Reads a click; clicks on articles that no impression of the experiment has shown are ignored."""
        shown = self._impressions.get((click.user_id, click.impression_id or ""))
        candidates = self._of_request.get(click.request_id or "", []) if shown is None else [shown]
        for impression in candidates:
            if click.news_id in impression.candidates and impression.answer.user_id == click.user_id:
                impression.clicked.add(click.news_id)
                return

    def outcome(
        self, *, alpha: float = 0.05, on_progress: Callable[[int, int], None] = lambda done, total: None
    ) -> ExperimentOutcome:
        """Counts and compares the variants, impression by impression in the order of event time.

        Args:
            alpha: False-positive rate of all comparisons with the control together.
            on_progress: Called with the impressions done and their total.
        """
        experiment = self._experiment
        excluded = {user for user, variants in self._variants_of.items() if len(variants) > 1}
        tallies = {variant.name: _Tally() for variant in experiment.variants}
        for answer in self._answers.values():
            if answer.user_id not in excluded:
                tally = tallies[answer.variant]
                tally.answers += 1
                tally.users.add(answer.user_id)
        control, *treatments = (variant.name for variant in experiment.variants)
        tests = {
            name: {
                metric: SequentialTest(
                    tallies[control].ratios[metric],
                    tallies[name].ratios[metric],
                    expected_effect=experiment.expected_effect,
                    alpha=alpha / len(treatments),
                )
                for metric in METRICS
            }
            for name in treatments
        }
        in_order = sorted(self._impressions.items(), key=lambda item: (item[1].time_s, item[0]))
        for done, (_, shown) in enumerate(in_order, 1):
            variant = shown.answer.variant
            if shown.answer.user_id not in excluded:
                tallies[variant].add_impression(shown)
                for name in treatments if variant == control else (variant,):
                    for test in tests[name].values():
                        test.look()
            if done % _PROGRESS_EVERY == 0 or done == len(in_order):
                on_progress(done, len(in_order))
        shares = [variant.share for variant in experiment.variants]
        variants = tuple(
            _outcome(tallies[variant.name], variant.name, variant.share, variant.ranker)
            for variant in experiment.variants
        )
        return ExperimentOutcome(
            experiment=experiment,
            variants=variants,
            users_of_two_variants=len(excluded),
            answers_sent_twice=self._answers_sent_twice,
            answered=sample_ratio([variant.users for variant in variants], shares),
            seen=sample_ratio([variant.users_shown for variant in variants], shares),
            comparisons={
                name: {metric: test.comparison() for metric, test in of.items()} for name, of in tests.items()
            },
        )


def _outcome(tally: _Tally, name: str, share: float, ranker: str) -> VariantOutcome:
    return VariantOutcome(
        name=name,
        share=share,
        ranker=ranker,
        users=len(tally.users),
        users_shown=tally.ratios["clicks-per-impression"].users,
        answers=tally.answers,
        impressions=tally.impressions,
        shown=tally.shown,
        clicks=tally.clicks,
        auc_impressions=tally.auc_impressions,
        metrics={metric: Measured(ratio.ratio, *ratio.interval()) for metric, ratio in tally.ratios.items()},
    )
