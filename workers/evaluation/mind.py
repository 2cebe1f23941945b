"""Evaluates a MIND folder for ``freshet evaluate``: reads, splits in time, ranks and measures, without Kafka.

There are two protocols: **frozen** (:mod:`freshet.models.evaluation.frozen`) and **prequential**
(:mod:`freshet.models.evaluation.prequential_log`). Neither measures a bundle on its own training data.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

import numpy as np
from numpy.typing import NDArray

from freshet.models.datasets.impression_log import ImpressionLog, read_impression_log
from freshet.models.datasets.mind import MindError
from freshet.models.datasets.synthetic.truth import TRUTH_FILE, TruthError, oracle_scores
from freshet.models.embedding.bundle import Bundle, BundleError, load_bundle
from freshet.models.evaluation.bundle_scorer import BundleScorer
from freshet.models.evaluation.drift.space import SpaceReport, measure_space, principal_plane
from freshet.models.evaluation.frozen import Baselines, Cut, CutError, cut
from freshet.models.evaluation.segments import differences, over_time, overall, segment_tables
from freshet.models.evaluation.trees.tree_fitting import TreeFittingError
from freshet.streams.settings import Settings
from freshet.workers.errors import WorkerError
from freshet.workers.evaluation.protocols import (
    EvaluatedBundle,
    Learning,
    PrequentialOptions,
    Ranked,
    rank_frozen,
    rank_prequential,
)
from freshet.workers.evaluation.report import ORACLE, ArticleMap, Evaluation, ProtocolName, Speed
from freshet.workers.terminal.stage_progress import StageProgress
from freshet.workers.training.text_vectors import CACHE_FOLDER, ChosenEncoder, text_vectors_of

FROZEN_FROM, PREQUENTIAL_FROM = 0.8, 0.2
"""Default start of the measurement, as a share of the impressions."""
MAP_ARTICLES = 1_500
"""Number of articles on the map; a thousand take a few kB."""


class EvaluateError(WorkerError):
    """A folder or a bundle cannot be evaluated; the message says why and what to do."""


@dataclass(frozen=True)
class EvaluateOptions:
    """Options of the command line."""

    folder: Path
    bundle: Path | None = None
    protocol: ProtocolName = "prequential"
    start: float | None = None
    """Start of the measurement: a share of the impressions from 0 to 1, or Unix seconds."""
    skip_bad_lines: bool = False
    seed: int = 0
    learner: Learning | None = None
    """Learning rule of the prequential protocol; ``None`` takes that of the workers."""
    feedback_delay_s: float = 0.0
    """Event time from an impression to its feedback (prequential protocol)."""
    ablation: bool = False
    trees: bool = False


def evaluate(options: EvaluateOptions, settings: Settings, progress: StageProgress) -> Evaluation:
    """Evaluate a folder.

    Raises:
        EvaluateError: The folder or the bundle cannot be evaluated.
        WorkerError: The text encoder is not available.
    """
    try:
        return _evaluate(options, settings, progress)
    except (BundleError, CutError, MindError, TreeFittingError, TruthError) as error:
        raise EvaluateError(str(error)) from error


def _evaluate(options: EvaluateOptions, settings: Settings, progress: StageProgress) -> Evaluation:
    bundle = None if options.bundle is None else load_bundle(options.bundle)
    started = perf_counter()
    with progress.stage(f"reading {options.folder}") as report:
        log = read_impression_log(
            options.folder,
            skip_bad_lines=options.skip_bad_lines,
            on_bad_line=progress.skipped,
            progress=report,
        )
    read = perf_counter()
    frozen = options.protocol == "frozen"
    default = FROZEN_FROM if frozen else PREQUENTIAL_FROM
    begin = cut(log, None if bundle is None else bundle.manifest, options.start, default)
    progress.note(begin.note)
    model = None if bundle is None else _model(bundle, log, settings, progress)
    vectors_made = perf_counter()
    learning = PrequentialOptions(
        options.learner or ("newton" if settings.learn else "none"),
        options.feedback_delay_s,
        options.ablation,
        options.seed,
        options.trees,
    )
    notes = (*_notes(log, model), *(() if frozen else _learning_notes(learning)))
    for note in notes:
        progress.note(note)
    oracle = _oracle(options.folder, log, progress)
    baselines = Baselines(log, begin.position, options.seed)
    ranked = (
        rank_frozen(log, model, baselines, begin, oracle, progress)
        if frozen
        else rank_prequential(log, model, baselines, begin, oracle, settings, learning, progress)
    )
    if not len(ranked.scores):
        raise EvaluateError(
            f"{options.folder}: of {len(log) - begin.position:,} impressions after the cut none has both a "
            "clicked and a skipped candidate: nothing can be measured"
        )
    speed = Speed(
        read - started,
        vectors_made - read,
        ranked.learn_s,
        ranked.evaluate_s,
        len(log) - begin.position,
        ranked.model_s,
        ranked.dot_products_s,
    )
    with progress.stage("intervals"):
        return _evaluation(options, log, model, begin, ranked, speed, notes, baselines, progress)


def _model(
    bundle: Bundle, log: ImpressionLog, settings: Settings, progress: StageProgress
) -> EvaluatedBundle:
    text_vectors = None
    if bundle.manifest.tower.uses_text:
        if log.unannounced == len(log.articles):
            raise EvaluateError(
                f"{log.folder}: bundle {bundle.id} needs the articles' texts, and no article that is shown "
                "has a line in news.tsv"
            )
        encoder = ChosenEncoder.of_bundle(bundle, settings)
        with progress.stage("encoding texts") as report:
            text_vectors = text_vectors_of(
                log.articles, encoder, cache_dir=settings.data_dir / CACHE_FOLDER, progress=report
            )
    try:
        scorer = BundleScorer(bundle, log.articles, text_vectors)
    except ValueError as error:
        raise EvaluateError(f"{bundle.folder}: {error}") from error
    if not np.isfinite(scorer.vectors).all():
        raise EvaluateError(f"{bundle.folder}: it gives article vectors that are not finite")
    return EvaluatedBundle(bundle, scorer, text_vectors)


def _notes(log: ImpressionLog, model: EvaluatedBundle | None) -> tuple[str, ...]:
    """Collect the remarks on the data that matter for interpreting the figures."""
    notes = []
    if log.unannounced:
        notes.append(
            f"{log.unannounced:,} of {len(log.articles):,} articles have no line in news.tsv: without text "
            "and category, known by their ids only"
        )
    if model is not None:
        without = int((~model.scorer.articles.has_vector[:-1]).sum())
        if without:
            notes.append(
                f"{without:,} of {len(log.articles):,} articles have no vector in bundle {model.bundle.id}: "
                "they score 0, as an average article does"
            )
    lengths = np.diff(log.history_start)[log.history]
    if not lengths.any():
        notes.append("no line has a click history: users are known by their earlier impressions only")
    return tuple(notes)


def _learning_notes(learning: PrequentialOptions) -> Iterator[str]:
    if learning.learner == "none":
        yield "the ranker keeps its start weights: nothing but users and statistics is learned"
    if learning.feedback_delay_s:
        yield f"clicks and skips are known {learning.feedback_delay_s:g} s after their impression"


def _oracle(folder: Path, log: ImpressionLog, progress: StageProgress) -> Mapping[str, NDArray[np.float64]]:
    """Read the oracle's score of every slot of a synthetic folder; other folders have none.

    ``freshet synth`` writes lines in the order of time, so the slots have the order of the log.
    """
    if not (folder / TRUTH_FILE).exists():
        return {}
    found = np.concatenate(list(oracle_scores(folder))).astype(np.float64)
    if len(found) != len(log.candidates):
        progress.note(f"{TRUTH_FILE} is not of this behaviors.tsv: no oracle")
        return {}
    return {ORACLE: found}


def _evaluation(  # noqa: PLR0917 - everything that was found
    options: EvaluateOptions,
    log: ImpressionLog,
    model: EvaluatedBundle | None,
    begin: Cut,
    ranked: Ranked,
    speed: Speed,
    notes: tuple[str, ...],
    baselines: Baselines,
    progress: StageProgress,
) -> Evaluation:
    scores, seed = ranked.scores, options.seed
    rates, slates_at_rank = scores.click_rates()
    long_enough = slates_at_rank > 0
    space, drawn = (None, None) if model is None else _space(log, model, baselines, seed, progress)
    return Evaluation(
        folder=options.folder.resolve().name,
        data_sha256=log.sha256,
        protocol=options.protocol,
        manifest=None if model is None else model.bundle.manifest,
        impressions=len(log),
        users=len(log.user_ids),
        articles=len(log.articles),
        unannounced=log.unannounced,
        without_vector=None if model is None else int((~model.scorer.articles.has_vector[:-1]).sum()),
        bad_lines=progress.bad_lines,
        cut=begin.note,
        measured=len(scores),
        left_out=scores.left_out,
        main=ranked.main,
        overall=overall(scores, seed),
        differences=differences(scores, ranked.main, seed),
        coverage=scores.coverage(),
        tables=segment_tables(scores, log, begin.position, seed=seed),
        over_time=over_time(scores, log, seed=seed),
        click_rates={method: rates[m][long_enough].tolist() for m, method in enumerate(scores.methods)},
        slates_at_rank=[int(slates) for slates in slates_at_rank[long_enough]],
        space=space,
        speed=speed,
        learner=ranked.learner,
        weights=ranked.weights,
        ablation=ranked.ablation,
        notes=notes,
        map=drawn,
    )


def _space(
    log: ImpressionLog, model: EvaluatedBundle, baselines: Baselines, seed: int, progress: StageProgress
) -> tuple[SpaceReport | None, ArticleMap | None]:
    vectors = model.scorer.vectors
    report = None
    try:
        report = measure_space(vectors, log.articles.categories, model.text_vectors, seed=seed)
    except ModuleNotFoundError as error:
        progress.note(f"the embedding space is not measured: {error.name} is missing (freshet[train])")
    known = np.flatnonzero(model.scorer.articles.has_vector[:-1])
    if len(known) < 2:  # noqa: PLR2004 - a plane needs two points
        return report, None
    random = np.random.default_rng(seed)
    rows = np.sort(random.choice(known, min(len(known), MAP_ARTICLES), replace=False))
    places, shares = principal_plane(vectors[rows])
    return report, ArticleMap(
        places, [log.articles.categories[row] for row in rows.tolist()], shares, len(known)
    )
