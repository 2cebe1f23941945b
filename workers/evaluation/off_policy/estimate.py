"""Estimates a target ranker's clicks from a log of recommendations, for ``freshet evaluate --off-policy``.

The log is a folder of :mod:`freshet.models.datasets.recommendation_log`. Measuring begins after a warm-up
that is only learned from, and after the end of a bundle's training period.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import orjson

from freshet.models.articles.catalog import ArticleCatalog
from freshet.models.datasets.impression_log import ArticleTable
from freshet.models.datasets.mind import format_time
from freshet.models.datasets.recommendation_log import RecommendationLog, RecommendationLogError
from freshet.models.datasets.text_lines import text_start
from freshet.models.embedding.bundle import Bundle, BundleError, load_bundle
from freshet.models.evaluation.off_policy.estimate import NoSupport, OffPolicyEstimate, estimate
from freshet.models.evaluation.off_policy.replay import OffPolicyReplay, Replayed
from freshet.models.evaluation.off_policy.trust import Trust, trust
from freshet.models.events.events import Article, to_unix_s
from freshet.models.ports import FloatMatrix
from freshet.models.ranking.linear import LinearRanker
from freshet.models.users.pooling import Pooling
from freshet.streams.settings import Settings
from freshet.workers.errors import WorkerError
from freshet.workers.evaluation.served import served_pooling, served_ranker
from freshet.workers.terminal.stage_progress import StageProgress
from freshet.workers.training.bundle_vectors import bundle_vectors

MEASURED_FROM = 0.2
"""Default start of the measurement, as a share of the impressions, like the prequential protocol."""
_REPORT_EVERY = 100
_WITHOUT_RECOMMENDATION = "have no recommendation in the log"
_WITHOUT_PROPENSITY = "have a recommendation without propensities"
_FOREIGN = "show articles that are not in their recommendation"


class OffPolicyUnmeasurable(WorkerError):
    """The log does not allow the estimate; the message says why and what to do."""


@dataclass(frozen=True)
class OffPolicyOptions:
    """Options of the command line."""

    folder: Path
    bundle: Path | None = None
    weights: Path | None = None
    """File with the target ranker's weights; by default the bundle's, or else the default ranker."""
    temperature: float | None = None
    """Temperature of the lists that the target ranker draws; ``None`` sorts by score."""
    top: int = 3
    """Number of first positions whose clicks are counted separately."""
    start: float | None = None
    """Start of the measurement: a share of the impressions from 0 to 1, or Unix seconds."""
    skip_bad_lines: bool = False
    seed: int = 0


@dataclass(frozen=True)
class OffPolicyReport:
    """Off-policy estimates of a ranker's clicks."""

    folder: Path
    ranker: str
    bundle: str | None
    temperature: float | None
    measured_from_s: float
    """Unix seconds."""
    replayed: Replayed
    values: Mapping[str, OffPolicyEstimate]
    """Estimates by the name of the reward."""

    def trusts(self) -> Mapping[str, Trust]:
        """Assess whether each estimate is reliable."""
        return {name: trust(found) for name, found in self.values.items()}

    def as_json(self) -> dict[str, object]:
        """Return the JSON object of the report, for orjson."""
        replayed = self.replayed
        trusts = self.trusts()
        return {
            "version": 1,
            "protocol": "off-policy",
            "folder": str(self.folder),
            "ranker": self.ranker,
            "bundle": self.bundle,
            "temperature": self.temperature,
            "measured_from": format_time(self.measured_from_s),
            "impressions": replayed.impressions,
            "lists": len(replayed.lists),
            "left_out": {
                "without_recommendation": replayed.without_recommendation,
                "without_propensity": replayed.without_propensity,
                "foreign": replayed.foreign,
            },
            "without_candidates": replayed.without_candidates,
            "values": {name: {**asdict(found), "trust": trusts[name]} for name, found in self.values.items()},
        }


def evaluate_off_policy(
    options: OffPolicyOptions, settings: Settings, progress: StageProgress
) -> OffPolicyReport:
    """Estimate the clicks that a ranker's lists would have got.

    Raises:
        OffPolicyUnmeasurable: The log cannot be read, or does not allow the estimate.
        WorkerError: The bundle's text encoder is not available.
    """
    try:
        return _evaluate(options, settings, progress)
    except (RecommendationLogError, BundleError, NoSupport) as error:
        raise OffPolicyUnmeasurable(str(error)) from error


def read_ranker(path: Path) -> LinearRanker:
    """Read a ranker from a JSON object of weights by feature, or from a record of ``ranker-weights``.

    Raises:
        OffPolicyUnmeasurable: The file is neither.
    """
    try:
        text, problem = text_start(path.read_bytes())
        if problem:
            raise ValueError(problem)
        value = orjson.loads(text)
        name, revision = path.stem, 0
        if isinstance(value, dict) and isinstance(value.get("weights"), dict):
            name, revision = str(value.get("model", name)), int(value.get("revision", 0))
            value = value["weights"]
        if not isinstance(value, dict) or not all(
            isinstance(weight, int | float) for weight in value.values()
        ):
            raise ValueError('not a JSON object of weights by feature, such as {"log_ctr_3h": 0.5}')
        return LinearRanker({feature: float(weight) for feature, weight in value.items()}, name, revision)
    except OSError as error:
        raise OffPolicyUnmeasurable(f"{path}: {error.strerror}") from error
    except ValueError as error:
        raise OffPolicyUnmeasurable(f"{path}: {error}") from error


def _evaluate(options: OffPolicyOptions, settings: Settings, progress: StageProgress) -> OffPolicyReport:
    bundle = None if options.bundle is None else load_bundle(options.bundle)
    ranker = served_ranker(bundle) if options.weights is None else read_ranker(options.weights)
    with progress.stage(f"reading {options.folder}") as report:
        log = RecommendationLog(
            options.folder,
            skip_bad_lines=options.skip_bad_lines,
            on_bad_line=progress.skipped,
            progress=report,
        )
    with log:
        begin = _begin(log, options, bundle)
        catalog, pooling = _catalog(log, bundle, settings, progress)
        replay = OffPolicyReplay(catalog, pooling, ranker, temperature=options.temperature, seed=options.seed)
        with progress.stage("ranking") as report:
            for position, logged in enumerate(log):
                replay.add_impression(logged, measured=to_unix_s(logged.impression.time) >= begin)
                if not position % _REPORT_EVERY:
                    report(position, len(log))
    replayed = replay.result()
    _check(options.folder, replayed)
    for note in _notes(replayed):
        progress.note(note)
    with progress.stage("intervals"):
        values = {
            name: estimate(replayed.lists, depth=depth, seed=options.seed)
            for name, depth in (
                ("clicks at position 1", 1),
                (f"clicks at positions 1 to {options.top}", options.top),
                ("clicks per list", None),
            )
        }
    return OffPolicyReport(
        options.folder,
        ranker.id,
        None if bundle is None else bundle.id,
        options.temperature,
        begin,
        replayed,
        values,
    )


def _begin(log: RecommendationLog, options: OffPolicyOptions, bundle: Bundle | None) -> float:
    """Find the start of the measurement, Unix seconds."""
    times_s = log.times_s
    asked = options.start if options.start is not None else MEASURED_FROM
    begin = float(times_s[int(asked * len(times_s))]) if asked < 1.0 else asked
    if begin > times_s[-1]:
        raise OffPolicyUnmeasurable(
            f"{log.folder}: no impression is in the measured period, the last one is from "
            f"{format_time(float(times_s[-1]))}: begin earlier with --from"
        )
    training = None if bundle is None else bundle.manifest.training
    if bundle is None or training is None or training.end_s is None or training.end_s < begin:
        return begin
    if training.start_s is not None and training.start_s > times_s[-1]:
        return begin
    later = times_s[times_s > training.end_s]
    if not len(later) or options.start is not None:
        raise OffPolicyUnmeasurable(
            f"{log.folder}: bundle {bundle.id} was trained on {training.folder} until "
            f"{format_time(training.end_s)}: its training data cannot evaluate it. Begin later with --from, "
            "or take a later log"
        )
    return float(later[0])


def _catalog(
    log: RecommendationLog, bundle: Bundle | None, settings: Settings, progress: StageProgress
) -> tuple[ArticleCatalog, Pooling]:
    articles = list(log.articles())
    pooling = served_pooling(bundle, settings)
    vectors: FloatMatrix | None = None
    if bundle is not None:
        with progress.stage("encoding texts") as report:
            vectors = bundle_vectors(bundle, _table(articles), settings, report)
    catalog = ArticleCatalog(pooling.d)
    for number, article in enumerate(articles):
        vector = None if vectors is None or not vectors[number].any() else vectors[number]
        catalog.put_article(
            article.news_id,
            vector,
            to_unix_s(article.published_at),
            article.title,
            article.category,
            article.subcategory,
        )
    return catalog, pooling


def _table(articles: list[Article]) -> ArticleTable:
    return ArticleTable(
        tuple(article.news_id for article in articles),
        np.ones(len(articles), np.bool_),
        [article.title for article in articles],
        [article.abstract for article in articles],
        [article.category for article in articles],
        [article.subcategory for article in articles],
        [article.entities[0] if article.entities else "" for article in articles],
    )


def _check(folder: Path, replayed: Replayed) -> None:
    """Check that there are lists to estimate from.

    Raises:
        OffPolicyUnmeasurable: There are none.
    """
    if not len(replayed.lists):
        raise OffPolicyUnmeasurable(
            f"{folder}: none of {replayed.impressions:,} impressions can be used: "
            f"{replayed.without_recommendation:,} {_WITHOUT_RECOMMENDATION}, {replayed.without_propensity:,} "
            f"{_WITHOUT_PROPENSITY}, {replayed.foreign:,} {_FOREIGN}. Propensities are recorded if a policy "
            "chooses the list, not if given candidates are ranked."
        )


def _notes(replayed: Replayed) -> list[str]:
    """Collect the remarks on the log that matter for interpreting the figures."""
    notes = []
    for count, what in (
        (replayed.without_recommendation, _WITHOUT_RECOMMENDATION),
        (replayed.without_propensity, _WITHOUT_PROPENSITY),
        (replayed.foreign, _FOREIGN),
    ):
        if count:
            notes.append(f"{count:,} of {replayed.impressions:,} impressions {what}: left out")
    if replayed.without_candidates:
        notes.append(
            f"{replayed.without_candidates:,} of {len(replayed.lists):,} recommendations have no candidates: "
            "their own articles are taken as the candidates, which is right only if there were no others"
        )
    return notes
