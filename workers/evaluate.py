"""``freshet evaluate`` on a MIND folder: reads, cuts in time, ranks, measures; no broker is needed.

Two protocols that are never mixed: **frozen** (:mod:`freshet.models.frozen`) and **prequential**
(:mod:`freshet.models.prequential_log`). Neither measures a bundle on an impression that it was trained on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

import numpy as np
from numpy.typing import NDArray

from freshet.models.bundle import Bundle, BundleError, load_bundle
from freshet.models.bundle_scorer import BundleScorer
from freshet.models.frozen import BASELINES, Baselines, Cut, CutError, cut
from freshet.models.impression_log import ImpressionLog, read_impression_log
from freshet.models.mind import MindError
from freshet.models.pooling import Pooling
from freshet.models.ports import FloatMatrix
from freshet.models.prequential_log import METHODS, PrequentialLog
from freshet.models.ranking import LinearRanker
from freshet.models.segments import article_parts, differences, over_time, overall, segment_tables
from freshet.models.slate_scores import BATCH, Slates, SlateScores
from freshet.models.space_metrics import SpaceReport, measure_space, principal_plane
from freshet.streams.settings import Settings
from freshet.workers.errors import WorkerError
from freshet.workers.evaluation import ArticleMap, Evaluation, Protocol, Speed
from freshet.workers.stage_progress import StageProgress
from freshet.workers.text_vectors import CACHE_FOLDER, ChosenEncoder, text_vectors_of

BUNDLE = "bundle"
FROZEN_FROM, PREQUENTIAL_FROM = 0.8, 0.2
"""Where measuring begins by default, as a share of the impressions."""
MAP_ARTICLES = 1_500
"""Drawn on the map: a few kB each thousand."""
_FLOOR_IMPRESSIONS = 4_096


class EvaluateError(WorkerError):
    """A folder or a bundle cannot be evaluated as asked; the text says why and what to do."""


@dataclass(frozen=True)
class EvaluateOptions:
    """What the command line asks for."""

    folder: Path
    bundle: Path | None = None
    protocol: Protocol = "prequential"
    start: float | None = None
    """A share of the impressions from 0 to 1, or Unix seconds."""
    skip_bad_lines: bool = False
    seed: int = 0


@dataclass(frozen=True)
class _Model:
    """A bundle with the vectors of a log's articles."""

    bundle: Bundle
    scorer: BundleScorer
    text_vectors: FloatMatrix | None


@dataclass(frozen=True)
class _Ranked:
    """What one protocol measured, and how long it took."""

    scores: SlateScores
    main: str
    learn_s: float
    evaluate_s: float
    model_s: float | None = None
    dot_products_s: float | None = None


def evaluate(options: EvaluateOptions, settings: Settings, progress: StageProgress) -> Evaluation:
    """Evaluate one folder.

    Raises:
        EvaluateError: Something does not fit; the text says what to do.
        WorkerError: The text encoder is not here.
    """
    try:
        return _evaluate(options, settings, progress)
    except (BundleError, CutError, MindError) as error:
        raise EvaluateError(str(error)) from error


def _evaluate(options: EvaluateOptions, settings: Settings, progress: StageProgress) -> Evaluation:
    bundle = None if options.bundle is None else load_bundle(options.bundle)
    started = perf_counter()
    with progress.stage(f"reading {options.folder}") as told:
        log = read_impression_log(
            options.folder,
            skip_bad_lines=options.skip_bad_lines,
            on_bad_line=progress.skipped,
            progress=told,
        )
    read = perf_counter()
    frozen = options.protocol == "frozen"
    default = FROZEN_FROM if frozen else PREQUENTIAL_FROM
    begin = cut(log, None if bundle is None else bundle.manifest, options.start, default)
    progress.note(begin.note)
    model = None if bundle is None else _model(bundle, log, settings, progress)
    vectors_made = perf_counter()
    notes = _notes(log, model)
    for note in notes:
        progress.note(note)
    baselines = Baselines(log, begin.position, options.seed)
    ranked = (
        _frozen(log, model, baselines, begin, progress)
        if frozen
        else _prequential(log, model, baselines, begin, settings, options.seed, progress)
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


def _model(bundle: Bundle, log: ImpressionLog, settings: Settings, progress: StageProgress) -> _Model:
    text_vectors = None
    if bundle.manifest.tower.uses_text:
        if log.unannounced == len(log.articles):
            raise EvaluateError(
                f"{log.folder}: bundle {bundle.id} needs the articles' texts, and no article that is shown "
                "has a line in news.tsv"
            )
        encoder = ChosenEncoder.of_bundle(bundle, settings)
        with progress.stage("encoding texts") as told:
            text_vectors = text_vectors_of(
                log.articles, encoder, cache_dir=settings.data_dir / CACHE_FOLDER, progress=told
            )
    try:
        scorer = BundleScorer(bundle, log.articles, text_vectors)
    except ValueError as error:
        raise EvaluateError(f"{bundle.folder}: {error}") from error
    if not np.isfinite(scorer.vectors).all():
        raise EvaluateError(f"{bundle.folder}: it gives article vectors that are not finite")
    return _Model(bundle, scorer, text_vectors)


def _notes(log: ImpressionLog, model: _Model | None) -> tuple[str, ...]:
    """What a reader must know of the data to read the figures."""
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


def _frozen(
    log: ImpressionLog, model: _Model | None, baselines: Baselines, begin: Cut, progress: StageProgress
) -> _Ranked:
    start, n = begin.position, len(log)
    scorer = None if model is None else model.scorer
    learn_s = 0.0
    if scorer is not None:
        before = perf_counter()
        users: NDArray[np.bool_] = np.zeros(len(log.user_ids), np.bool_)
        users[log.user[start:]] = True
        with progress.stage("user states") as told:
            for first in range(0, start, BATCH):
                scorer.learn(log, first, min(first + BATCH, start), users)
                told(first, start)
            scorer.settle(log, start)
        learn_s = perf_counter() - before
    scores = SlateScores(
        BASELINES if scorer is None else (BUNDLE, *BASELINES),
        parts=article_parts(log, baselines.shown),
        vectors=None if scorer is None else scorer.vectors,
        information=baselines.information,
    )
    model_s, dot_products_s, compared = 0.0, 0.0, 0
    before = perf_counter()
    with progress.stage("ranking") as told:
        for first in range(start, n, BATCH):
            stop = min(first + BATCH, n)
            slates = Slates.of(log, first, stop)
            found = dict(baselines.scores(slates))
            if scorer is not None:
                began = perf_counter()
                found[BUNDLE] = scorer.scores(log, first, stop).astype(np.float64)
                model_s += perf_counter() - began
            scores.add(slates, found)
            told(stop - start, n - start)
    evaluate_s = perf_counter() - before
    if scorer is not None:
        compared = min(n - start, _FLOOR_IMPRESSIONS)
        dot_products_s = _dot_products_s(scorer, log, start, start + compared) * (n - start) / compared
    return _Ranked(
        scores,
        BASELINES[0] if scorer is None else BUNDLE,
        learn_s,
        evaluate_s,
        model_s if scorer is not None else None,
        dot_products_s if scorer is not None else None,
    )


def _dot_products_s(scorer: BundleScorer, log: ImpressionLog, start: int, stop: int) -> float:
    """How long a plain loop takes that multiplies each slate's vectors with its user's, and nothing else."""
    users, vectors = scorer.user_vectors(log, start, stop), scorer.articles.vectors
    slates: Sequence[NDArray[np.int32]] = [log.slate(position)[0] for position in range(start, stop)]
    before = perf_counter()
    for user, slate in zip(users, slates, strict=True):
        vectors[slate] @ user
    return perf_counter() - before


def _prequential(  # noqa: PLR0917 - as its sibling, and what a server is set to
    log: ImpressionLog,
    model: _Model | None,
    baselines: Baselines,
    begin: Cut,
    settings: Settings,
    seed: int,
    progress: StageProgress,
) -> _Ranked:
    recent, shown = settings.max_recent_clicks, settings.max_exposures
    if model is None:
        half_lives_s = settings.half_lives_s
        pooling = Pooling(
            1, half_lives_s, settings.negative_half_life_s, settings.prior_weight, recent, shown
        )
        ranker = LinearRanker()
    else:
        pooling = Pooling.of_bundle(model.bundle, max_recent_clicks=recent, max_exposures=shown)
        ranker = _ranker(model.bundle)
    scores = SlateScores(
        METHODS,
        parts=article_parts(log, baselines.shown),
        vectors=None if model is None else model.scorer.vectors,
        information=baselines.information,
    )
    evaluation = PrequentialLog(
        log,
        None if model is None else model.scorer.vectors,
        pooling,
        ranker,
        baselines.published_at_s,
        scores,
        seed=seed,
    )
    seconds = []
    for measured, first, last in ((False, 0, begin.position), (True, begin.position, len(log))):
        before = perf_counter()
        with progress.stage("ranking" if measured else "warm-up") as told:
            for start in range(first, last, BATCH):
                evaluation.run(start, min(start + BATCH, last), measured=measured)
                told(start - first, last - first)
        seconds.append(perf_counter() - before)
    return _Ranked(scores, METHODS[0], seconds[0], seconds[1])


def _ranker(bundle: Bundle) -> LinearRanker:
    weights = bundle.manifest.ranker_weights
    if weights is None:
        return LinearRanker()
    try:
        return LinearRanker(weights, bundle.manifest.name)
    except ValueError as error:
        raise EvaluateError(f"{bundle.folder}: {error}") from error


def _evaluation(  # noqa: PLR0917 - everything that was found
    options: EvaluateOptions,
    log: ImpressionLog,
    model: _Model | None,
    begin: Cut,
    ranked: _Ranked,
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
        notes=notes,
        map=drawn,
    )


def _space(
    log: ImpressionLog, model: _Model, baselines: Baselines, seed: int, progress: StageProgress
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
