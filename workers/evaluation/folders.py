"""Evaluates bundles on folders of ratings and of headline tests, by the protocol of each kind.

Module :mod:`freshet.workers.evaluation.mind` evaluates MIND folders.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import RenderableType

from freshet.models.embedding.bundle import Bundle, BundleError
from freshet.streams.settings import Settings
from freshet.workers.errors import WorkerError
from freshet.workers.terminal.figure_table import figure_table
from freshet.workers.terminal.stage_progress import StageProgress
from freshet.workers.training.models import DataKind

if TYPE_CHECKING:
    from freshet.models.datasets.movielens import Ratings
    from freshet.models.evaluation.ranking_metrics import Estimate


@dataclass(frozen=True)
class FolderReport:
    """Findings of an evaluation."""

    described: Mapping[str, object]
    """JSON object, for orjson."""
    table: RenderableType
    """Table for a terminal."""


FolderEvaluator = Callable[[Path, Bundle, Settings, StageProgress], FolderReport]
"""Function that evaluates a bundle on a folder; raises :class:`~freshet.workers.errors.WorkerError`."""


def evaluate_movielens(
    folder: Path, bundle: Bundle, settings: Settings, progress: StageProgress
) -> FolderReport:
    """Measure the RMSE of a bundle that predicts ratings, or else its lists of films after the cut."""
    from freshet.models.datasets.movielens import MovieLensError, read_movielens

    try:
        with progress.stage("reading"):
            ratings = read_movielens(folder)
        with progress.stage("measuring"):
            if "rating.range" in bundle.weights:
                return _rating_errors(bundle, ratings)
            return _film_lists(bundle, ratings)
    except (MovieLensError, BundleError, ValueError) as error:
        raise WorkerError(str(error)) from error


def _rating_errors(bundle: Bundle, ratings: Ratings) -> FolderReport:
    from freshet.models.evaluation.ratings.evaluation import evaluate_ratings

    report = evaluate_ratings(bundle, ratings)
    table = figure_table(
        *("method", "RMSE", "95 % interval"),
        title=f"RMSE of {report.ratings:,} ratings that training did not see, in stars",
        caption=f"{report.new_users:,} of new users, {report.new_items:,} of new films",
    )
    for name, estimate in report.methods.items():
        table.add_row(name, f"{estimate.mean:.4f}", f"{estimate.low:.4f} to {estimate.high:.4f}")
    described: dict[str, object] = {
        "bundle": bundle.id,
        "ratings": report.ratings,
        "new_users": report.new_users,
        "new_items": report.new_items,
        "rmse": report.methods,
    }
    return FolderReport(described, table)


def _film_lists(bundle: Bundle, ratings: Ratings) -> FolderReport:
    from freshet.models.evaluation.ratings.baselines import popularity_scorer
    from freshet.models.evaluation.ratings.top_n import (
        TopNProtocol,
        TopNSplit,
        evaluate_bundle_topn,
        evaluate_topn,
    )

    until = bundle.manifest.training.settings.get("until", TopNProtocol().until)
    protocol = TopNProtocol(until=float(until))
    report = evaluate_bundle_topn(bundle, ratings, protocol)
    split = TopNSplit.of(ratings, protocol)
    popular = evaluate_topn(split, popularity_scorer(split.before), protocol)
    k = protocol.k
    table = figure_table(
        *("scorer", "users", "who", f"NDCG@{k}", f"hit rate@{k}", f"recall@{k}", f"coverage@{k}"),
        names=2,
        title=f"Lists of {k} films, ratings of the last {1 - protocol.until:.0%} in time",
        caption="known: users with ratings before the cut, as published",
    )
    for name, found in (("bundle", report), ("popularity", popular)):
        for segment, figures in found.segments.items():
            metrics = figures.metrics
            if not metrics:
                continue
            table.add_row(
                name,
                segment,
                f"{figures.users:,}",
                _with_interval(metrics[f"ndcg@{k}"]),
                _with_interval(metrics[f"hit_rate@{k}"]),
                f"{metrics[f'recall@{k}'].mean:.4f}",
                f"{figures.coverage:.3f}",
            )
    described: dict[str, object] = {
        "bundle": bundle.id,
        **asdict(report),
        "popularity": popular.segments,
    }
    return FolderReport(described, table)


def _with_interval(estimate: Estimate) -> str:
    return f"{estimate.mean:.4f} ({estimate.low:.4f} to {estimate.high:.4f})"


def evaluate_headline_tests(
    folder: Path, bundle: Bundle, settings: Settings, progress: StageProgress
) -> FolderReport:
    """Measure the pairwise accuracy on headline tests of the weeks after training."""
    from freshet.models.datasets.headline_tests import read_headline_tests
    from freshet.models.evaluation.headlines.evaluation import evaluate_headlines

    try:
        with progress.stage("reading"):
            tests = read_headline_tests(folder)
        with progress.stage("scoring headlines"):
            report = evaluate_headlines(bundle, tests)
    except ValueError as error:
        raise WorkerError(str(error)) from error
    table = figure_table(
        *("scorer", "pairs", "number", "accuracy", "95 % interval"),
        names=2,
        title=f"{report.tests:,} headline tests, weeks {report.first_week} to {report.last_week}: "
        "pairs in order",
    )
    for name, pairs, found in (
        ("bundle", "significant", report.significant_pairs),
        ("ridge on frozen vectors", "significant", report.ridge.significant_pairs),
        ("bundle", "all", report.all_pairs),
        ("ridge on frozen vectors", "all", report.ridge.all_pairs),
    ):
        interval = f"{found.low:.4f} to {found.high:.4f}"
        table.add_row(name, pairs, f"{found.pairs:,}", f"{found.accuracy:.4f}", interval)
    return FolderReport({"bundle": bundle.id, **asdict(report)}, table)


EVALUATORS: Mapping[DataKind, FolderEvaluator] = {
    "ratings": evaluate_movielens,
    "headlines": evaluate_headline_tests,
}
"""Evaluators by the kind of data."""
