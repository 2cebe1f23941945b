"""Trains models on the earlier part of a MIND folder, and measures all of them on the rest.

The baselines are measured on the same impressions, as is the oracle of a folder that ``freshet synth`` wrote.
Settings are the models' defaults unless given: no hyperparameter is chosen on the test data.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from rich.table import Table

from freshet.models.evaluation.ranking_metrics import Estimate
from freshet.streams.settings import Settings
from freshet.workers.errors import WorkerError
from freshet.workers.evaluation.mind import EvaluateOptions, evaluate
from freshet.workers.evaluation.report import Evaluation
from freshet.workers.terminal.figure_table import figure_table
from freshet.workers.terminal.stage_progress import StageProgress
from freshet.workers.training.models import MODELS
from freshet.workers.training.progress import TrainingProgress
from freshet.workers.training.train import TrainOptions, train_bundle

_BUNDLE = "bundle"
_SEEN, _UNSEEN = "shown before the cut", "not shown before the cut"


@dataclass(frozen=True)
class CompareOptions:
    """Options of the comparison."""

    folder: Path
    models: tuple[str, ...]
    until: float = 0.8
    seed: int = 0
    keep: Path | None = None
    """Folder that keeps the bundles; by default they are removed."""
    skip_bad_lines: bool = False


@dataclass(frozen=True)
class ComparedMethod:
    """Figures of a model or a baseline."""

    name: str
    metrics: Mapping[str, Estimate]
    """Metrics over all impressions after the cut."""
    auc_seen_articles: Estimate | None
    """AUC among the candidates shown before the cut; ``None`` if no slate has a click and a skip."""
    auc_unseen_articles: Estimate | None
    """AUC among the candidates that were not shown before the cut."""
    training_examples_per_s: float | None = None
    training_s: float | None = None
    impressions_per_s: float | None = None
    """Impressions that the bundle alone ranked per second."""


@dataclass(frozen=True)
class Comparison:
    """Methods by falling AUC."""

    folder: str
    cut: str
    impressions: int
    """Impressions measured."""
    methods: tuple[ComparedMethod, ...]

    def render(self) -> Table:
        """Render a table for a terminal."""
        table = figure_table(
            *("ranked by", "AUC", "±", "MRR", "nDCG@10", "seen", "unseen", "train/s", "rank/s"),
            no_wrap=True,
            title=f"{self.folder}: {self.impressions:,} impressions after the cut",
            caption="±: half of the AUC's 95 % interval. seen, unseen: AUC among the candidates that were, "
            "and were not, shown before the cut. train/s: training examples. rank/s: impressions by the "
            "model only.",
        )
        for method in self.methods:
            auc = method.metrics["auc"]
            table.add_row(
                method.name,
                f"{auc.mean:.4f}",
                f"{(auc.high - auc.low) / 2:.4f}",
                f"{method.metrics['mrr'].mean:.3f}",
                f"{method.metrics['ndcg@10'].mean:.3f}",
                _mean(method.auc_seen_articles),
                _mean(method.auc_unseen_articles),
                "" if method.training_examples_per_s is None else f"{method.training_examples_per_s:,.0f}",
                "" if method.impressions_per_s is None else f"{method.impressions_per_s:,.0f}",
            )
        return table


def compare(options: CompareOptions, settings: Settings) -> Comparison:
    """Train and measure the models, one after another.

    Raises:
        WorkerError: A model cannot be trained on the folder, or the folder cannot be read.
    """
    unknown = [name for name in options.models if "mind" not in MODELS[name].trainers]
    if unknown:
        raise WorkerError(f"{unknown[0]} does not train on impressions")
    for name in options.models:
        # Fails now if a package is missing, not after hours of training other models.
        MODELS[name].trainers["mind"].load_function()
    methods: list[ComparedMethod] = []
    last: Evaluation | None = None
    with TemporaryDirectory(prefix="freshet-compare-") as temporary:
        home = options.keep or Path(temporary)
        for name in options.models:
            method, last = _trained(name, home / name, options, settings)
            methods.append(method)
    if last is None:
        raise WorkerError("no model to compare: name some with --models")
    methods += [_method(name, last, name) for name in last.overall if name != _BUNDLE]
    methods.sort(key=lambda method: -method.metrics["auc"].mean)
    return Comparison(last.folder, last.cut, last.measured, tuple(methods))


def _trained(
    name: str, out: Path, options: CompareOptions, settings: Settings
) -> tuple[ComparedMethod, Evaluation]:
    began = time.perf_counter()
    with TrainingProgress() as progress:
        progress.note(f"-- {name}")
        _, trained = train_bundle(
            TrainOptions(
                folder=options.folder,
                model=name,
                out=out,
                until=options.until,
                seed=options.seed,
                encoder=settings.encoder,
                pooling=settings.pooling,
                cache=settings.data_dir / "text-vectors",
                skip_bad_lines=options.skip_bad_lines,
            ),
            progress,
        )
    train_s = time.perf_counter() - began
    speeds = [entry["examples_per_s"] for entry in trained.curve if "examples_per_s" in entry]
    with StageProgress() as evaluating:
        found = evaluate(
            EvaluateOptions(
                options.folder, out, "frozen", skip_bad_lines=options.skip_bad_lines, seed=options.seed
            ),
            settings,
            evaluating,
        )
    model_s = found.speed.model_s
    return (
        _method(
            name,
            found,
            _BUNDLE,
            training_examples_per_s=float(np.mean(speeds)) if speeds else None,
            training_s=train_s,
            impressions_per_s=found.measured / model_s if model_s else None,
        ),
        found,
    )


def _method(name: str, found: Evaluation, key: str, **speeds: float | None) -> ComparedMethod:
    parts = {
        segment.name: segment.methods[key]
        for table in found.tables
        if table.of_candidates
        for segment in table.segments
        if key in segment.methods and not np.isnan(segment.methods[key].mean)
    }
    return ComparedMethod(name, found.overall[key], parts.get(_SEEN), parts.get(_UNSEEN), **speeds)


def _mean(estimate: Estimate | None) -> str:
    return "" if estimate is None else f"{estimate.mean:.4f}"
