"""Ranks a log by the frozen or the prequential protocol, and measures quality and time.

The **frozen** protocol learns nothing from the evaluation period (:mod:`freshet.models.evaluation.frozen`).
The **prequential** protocol ranks each impression with the code that serves, and learns from it afterwards
(:mod:`freshet.models.evaluation.prequential_log`): users, statistics and, by default, the ranker's weights.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from freshet.models.datasets.impression_log import ImpressionLog
from freshet.models.embedding.bundle import Bundle
from freshet.models.evaluation.ablation import AblatedGroup, ablated, ablation
from freshet.models.evaluation.bundle_scorer import BundleScorer
from freshet.models.evaluation.frozen import BASELINES, Baselines, Cut
from freshet.models.evaluation.prequential import Learner
from freshet.models.evaluation.prequential_log import METHODS, PrequentialLog
from freshet.models.evaluation.segments import article_parts
from freshet.models.evaluation.slate_scores import BATCH, Slates, SlateScores
from freshet.models.evaluation.trees.stacked_ranker import StackedRanker
from freshet.models.ports import FloatMatrix
from freshet.models.ranking.linear import LinearRanker
from freshet.models.ranking.online_ranker import OnlineRanker, OnlineSettings
from freshet.streams.settings import Settings
from freshet.workers.evaluation.rare_collections import rare_collections
from freshet.workers.evaluation.served import served_pooling, served_ranker
from freshet.workers.terminal.stage_progress import StageProgress

BUNDLE, START_WEIGHTS, WITH_TREES = "bundle", "start weights", "freshet with trees"
_FLOOR_IMPRESSIONS = 4_096

Learning = Literal["newton", "adagrad", "none"]


@dataclass(frozen=True)
class EvaluatedBundle:
    """Bundle with the vectors of a log's articles."""

    bundle: Bundle
    scorer: BundleScorer
    text_vectors: FloatMatrix | None


@dataclass(frozen=True)
class Ranked:
    """Scores of a protocol, and the time it took."""

    scores: SlateScores
    main: str
    learn_s: float
    evaluate_s: float
    model_s: float | None = None
    dot_products_s: float | None = None
    learner: Learning | None = None
    weights: Mapping[str, float] | None = None
    """Final weights of the ranker, by feature."""
    ablation: tuple[AblatedGroup, ...] = ()


@dataclass(frozen=True)
class PrequentialOptions:
    """Options of the prequential protocol."""

    learner: Learning = "newton"
    feedback_delay_s: float = 0.0
    """Event time from an impression to its feedback."""
    ablation: bool = False
    """Also measures rankers that learn without each group of features."""
    seed: int = 0
    trees: bool = False
    """Also measures the ranker with boosted trees as another input."""


def rank_frozen(  # noqa: PLR0917 - data, methods, cut
    log: ImpressionLog,
    model: EvaluatedBundle | None,
    baselines: Baselines,
    begin: Cut,
    given: Mapping[str, NDArray[np.float64]],
    progress: StageProgress,
) -> Ranked:
    """Rank the impressions after ``begin`` with the knowledge at ``begin``.

    Args:
        log: The whole log.
        model: Bundle to evaluate; ``None`` measures the baselines only.
        baselines: Baselines fitted at ``begin``.
        begin: The cut.
        given: Scores (slots,) of every slot of the log, by the name of the method.
        progress: Shows the progress.
    """
    start, n = begin.position, len(log)
    scorer = None if model is None else model.scorer
    learn_s = 0.0
    if scorer is not None:
        before = perf_counter()
        users: NDArray[np.bool_] = np.zeros(len(log.user_ids), np.bool_)  # users to be ranked for
        users[log.user[start:]] = True
        with progress.stage("user states") as report:
            for first in range(0, start, BATCH):
                scorer.learn(log, first, min(first + BATCH, start), users)
                report(first, start)
            scorer.settle(log, start)
        learn_s = perf_counter() - before
    own = () if scorer is None else (BUNDLE,)
    scores = _scores((*own, *BASELINES, *given), log, model, baselines)
    model_s = 0.0
    before = perf_counter()
    with progress.stage("ranking") as report:
        for first in range(start, n, BATCH):
            stop = min(first + BATCH, n)
            slates = Slates.of(log, first, stop)
            part = slice(int(log.slate_start[first]), int(log.slate_start[stop]))
            found = {**baselines.scores(slates), **{name: values[part] for name, values in given.items()}}
            if scorer is not None:
                began = perf_counter()
                found[BUNDLE] = scorer.scores(log, first, stop).astype(np.float64)
                model_s += perf_counter() - began
            scores.add_slates(slates, found)
            report(stop - start, n - start)
    evaluate_s = perf_counter() - before
    if scorer is None:
        return Ranked(scores, BASELINES[0], learn_s, evaluate_s)
    compared = min(n - start, _FLOOR_IMPRESSIONS)
    dot_products_s = _dot_products_s(scorer, log, start, start + compared) * (n - start) / compared
    return Ranked(scores, BUNDLE, learn_s, evaluate_s, model_s, dot_products_s)


def _dot_products_s(scorer: BundleScorer, log: ImpressionLog, start: int, stop: int) -> float:
    """Time a plain loop that only computes the dot products of each slate's vectors and its user's."""
    users, vectors = scorer.user_vectors(log, start, stop), scorer.articles.vectors
    slates: Sequence[NDArray[np.int32]] = [log.slate(position)[0] for position in range(start, stop)]
    before = perf_counter()
    for user, slate in zip(users, slates, strict=True):
        vectors[slate] @ user  # (c, d) @ (d,)
    return perf_counter() - before


def rank_prequential(  # noqa: PLR0917 - data, methods, cut, settings
    log: ImpressionLog,
    model: EvaluatedBundle | None,
    baselines: Baselines,
    begin: Cut,
    given: Mapping[str, NDArray[np.float64]],
    settings: Settings,
    options: PrequentialOptions,
    progress: StageProgress,
) -> Ranked:
    """Rank each impression with the knowledge before it, then learn from it; measure from ``begin`` on.

    Args:
        log: The whole log.
        model: Bundle with vectors and start weights; ``None`` takes ids and the default weights.
        baselines: Baselines fitted at ``begin``.
        begin: The cut; impressions before it are the warm-up.
        given: Scores (slots,) of every slot of the log, by the name of the method.
        settings: Settings of the user states.
        options: Options of learning.
        progress: Shows the progress.

    Raises:
        WorkerError: The bundle's ranker weights are invalid.
    """
    bundle = None if model is None else model.bundle
    start = served_ranker(bundle)
    ranker, beside, compared = _rankers(start, options)
    scores = _scores((*METHODS, *beside, *given), log, model, baselines, tuple(compared))
    evaluation = PrequentialLog(
        log,
        None if model is None else model.scorer.vectors,
        served_pooling(bundle, settings),
        ranker,
        baselines.published_at_s,
        scores,
        seed=options.seed,
        feedback_delay_s=options.feedback_delay_s,
        others={**beside, **compared},
        given=given,
    )
    seconds: list[float] = []
    with rare_collections():
        for measured, first, last in ((False, 0, begin.position), (True, begin.position, len(log))):
            before = perf_counter()
            with progress.stage("ranking" if measured else "warm-up") as report:
                for at in range(first, last, BATCH):
                    evaluation.run(at, min(at + BATCH, last), measured=measured)
                    report(at - first, last - first)
            seconds.append(perf_counter() - before)
    return Ranked(
        scores,
        METHODS[0],
        seconds[0],
        seconds[1],
        learner=options.learner,
        weights=dict((ranker.ranker if isinstance(ranker, OnlineRanker) else ranker).weights),
        ablation=ablation(scores, METHODS[0], options.seed) if options.ablation and len(scores) else (),
    )


class _Unchanging:
    """Ranker with fixed weights and the interface of a learner."""

    def __init__(self, ranker: LinearRanker) -> None:
        self.score = ranker.score

    def learn(
        self, x: NDArray[np.float32], clicked: NDArray[np.bool_], *, time_s: float | None = None
    ) -> bool:
        return False


def _rankers(
    start: LinearRanker, options: PrequentialOptions
) -> tuple[LinearRanker | OnlineRanker, Mapping[str, Learner], Mapping[str, Learner]]:
    """Return the main ranker, further rankers to measure, and rankers to compare its AUC with."""
    if options.learner == "none":
        return start, {}, {}
    settings = OnlineSettings(rule=options.learner)
    compared = ablated(start, settings) if options.ablation else {}
    beside: dict[str, Learner] = {START_WEIGHTS: _Unchanging(start)}
    if options.trees:
        beside[WITH_TREES] = StackedRanker(start, settings)
    return OnlineRanker(start, settings), beside, compared


def _scores(
    methods: tuple[str, ...],
    log: ImpressionLog,
    model: EvaluatedBundle | None,
    baselines: Baselines,
    compared: tuple[str, ...] = (),
) -> SlateScores:
    return SlateScores(
        methods,
        compared=compared,
        parts=article_parts(log, baselines.shown, baselines.published_at_s),
        vectors=None if model is None else model.scorer.vectors,
        information=baselines.information,
    )
