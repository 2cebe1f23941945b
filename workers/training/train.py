"""Training of a bundle from a folder of data: reads, cuts in time, encodes texts, trains, and saves.

Neither training nor the validation that stops it reads data after the cut: that is left for
``freshet evaluate``, which finds the cut in the bundle.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import TypeAdapter, ValidationError

from freshet.models.embedding.bundle import (
    Bundle,
    BundleError,
    EncoderSpec,
    Manifest,
    TrainingRecord,
    save_bundle,
)
from freshet.workers.errors import WorkerError
from freshet.workers.training.models import MODELS, DataKind, TrainableModel, Trainer
from freshet.workers.training.text_vectors import ChosenEncoder, text_vectors_of

if TYPE_CHECKING:
    from freshet.models.datasets.headline_tests import HeadlineTests
    from freshet.models.datasets.impression_log import ImpressionLog
    from freshet.models.datasets.movielens import Ratings
    from freshet.models.ports import FloatMatrix
    from freshet.models.training.loop import FitSettings
    from freshet.models.training.trained_model import TrainedModel
    from freshet.workers.training.progress import TrainingProgress

_FILES: Mapping[str, DataKind] = {
    "behaviors.tsv": "mind",
    "u.data": "ratings",
    "ratings.csv": "ratings",
    "headline_tests.tsv": "headlines",
}
_KIND_NAMES: Mapping[DataKind, str] = {
    "mind": "a MIND folder (behaviors.tsv)",
    "ratings": "a MovieLens folder (u.data or ratings.csv)",
    "headlines": "headline tests (headline_tests.tsv)",
}

# A bundle's version is a hash of its content, and the same run on a busier machine is the same bundle.
_TIMINGS = frozenset({"seconds", "examples_per_s"})
_NO_FIGURES = _TIMINGS | {"epoch", "loss", "score"}


class TrainError(WorkerError):
    """Training cannot be done as asked; the message gives the reason and the remedy."""


@dataclass(frozen=True)
class TrainOptions:
    """Options of the command line."""

    folder: Path
    model: str
    out: Path
    name: str = ""
    """Name of the bundle; by default the model's."""
    until: float = 0.8
    """Share of the data that training may see, cut in time or at random, depending on the model."""
    validation: float = 0.1
    """Share of that data that decides when to stop."""
    chosen: Mapping[str, str] = field(default_factory=dict)
    """Settings of the model by name, as text."""
    fit: Mapping[str, Any] = field(default_factory=dict)
    """Fields of :class:`~freshet.models.training.loop.FitSettings`."""
    seed: int = 0
    encoder: str = "minilm"
    pooling: str = "mean"
    cache: Path = Path(".freshet") / "text-vectors"
    skip_bad_lines: bool = False


@dataclass(frozen=True)
class _Data:
    """Data cut in two, and its description for the bundle."""

    train: Any
    validation: Any
    sha256: str
    start_s: float | None
    end_s: float | None
    text_vectors: FloatMatrix | None = None
    encoder: EncoderSpec | None = None
    """Encoder of the text vectors."""


def kind_of(folder: Path) -> DataKind:
    """Recognize the kind of data in a folder.

    Raises:
        TrainError: The folder has no data that freshet reads.
    """
    for name, kind in _FILES.items():
        if (folder / name).exists():
            return kind
    expected = ", ".join(_KIND_NAMES.values())
    raise TrainError(f"{folder}: nothing to train on. Expected {expected}")


def train_bundle(options: TrainOptions, progress: TrainingProgress) -> tuple[Bundle, TrainedModel]:
    """Train and save; an interrupted run is resumed by the same call.

    Raises:
        TrainError: The model is unknown, does not fit the data, or a setting is refused.
        MindError: A line of the data cannot be read.
        BundleError: The bundle cannot be saved where it should be.
    """
    entry = MODELS.get(options.model)
    if entry is None:
        raise TrainError(f"no model {options.model!r}; there are {', '.join(sorted(MODELS))}")
    kind = kind_of(options.folder)
    if kind not in entry.trainers:
        usable = " or ".join(_KIND_NAMES[known] for known in entry.trainers)
        raise TrainError(f"{options.folder}: {options.model} trains on {usable}, this is {_KIND_NAMES[kind]}")
    trainer = entry.trainers[kind]
    settings = _settings(trainer, options.chosen)
    data = _READERS[kind](options, entry, settings, progress)
    described = _described(options, settings, data)
    unfinished = options.out.with_name(options.out.name + ".training")
    texts: dict[str, Any] = {}
    how: FitSettings | int = options.seed
    if trainer.fit is None:
        _refuse_fit(options)
    else:
        # A run with other settings or other data has another checkpoint, instead of being refused.
        text = json.dumps(described, sort_keys=True, default=str)
        run = hashlib.sha256(text.encode()).hexdigest()[:16]
        how = _fit_settings(trainer.fit, options, unfinished, run)
        if kind == "mind":
            texts["text_vectors"] = data.text_vectors
    train = trainer.load_function()
    try:
        with progress.stage(f"training {options.model}"):
            trained = train(data.train, data.validation, settings, how, progress, **texts)
    except KeyboardInterrupt:
        if any(unfinished.glob("*")):
            progress.note(f"Stopped; its state is in {unfinished}: the same command goes on from there")
        raise
    bundle = save_bundle(
        options.out, _manifest(options, trained, data, described), trained.weights, trained.tuned_encoder
    )
    shutil.rmtree(unfinished, ignore_errors=True)
    return bundle, trained


def _refuse_fit(options: TrainOptions) -> None:
    given = sorted(name for name in options.fit if name != "device")
    if given:
        raise TrainError(
            f"{options.model} takes no --{given[0].replace('_', '-')}: its own settings are given by --set, "
            "such as --set epochs=5"
        )


def _settings(trainer: Trainer, chosen: Mapping[str, str]) -> Any:
    """Settings of the model with the ``chosen`` ones, each value read as JSON where it is JSON."""
    kind_of_settings = trainer.load_settings()
    known = {item.name: item for item in dataclasses.fields(kind_of_settings) if item.init}
    values: dict[str, Any] = {}
    for name, text in chosen.items():
        if name not in known:
            raise TrainError(f"--set {name}: no such setting; there are {', '.join(sorted(known))}")
        try:
            values[name] = json.loads(text)
        except json.JSONDecodeError:
            values[name] = text
    try:
        return TypeAdapter(kind_of_settings).validate_python(values)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise TrainError(f"--set {where or options_text(chosen)}: {first['msg']}") from error
    except ValueError as error:
        raise TrainError(f"--set {options_text(chosen)}: {error}") from error


def options_text(chosen: Mapping[str, str]) -> str:
    """Format settings as ``d=64 loss=listwise``."""
    return " ".join(f"{name}={value}" for name, value in chosen.items())


def _fit_settings(
    defaults: Mapping[str, Any], options: TrainOptions, unfinished: Path, run: str
) -> FitSettings:
    from freshet.models.training.loop import FitSettings

    unfinished.mkdir(parents=True, exist_ok=True)
    values = {**defaults, **options.fit}
    try:
        checkpoint = unfinished / f"{run}.safetensors"
        return FitSettings(seed=options.seed, checkpoint=checkpoint, run=run, **values)
    except ValueError as error:
        raise TrainError(str(error)) from error


def _described(options: TrainOptions, settings: Any, data: _Data) -> dict[str, Any]:
    """Description of all that decides the result, as JSON."""
    return {
        "until": options.until,
        "validation": options.validation,
        "seed": options.seed,
        "data": data.sha256,
        "fit": {name: value for name, value in options.fit.items() if name != "device"},
        "model": options.model,
        "encoder": [options.encoder, options.pooling] if data.text_vectors is not None else None,
        "settings": dataclasses.asdict(settings),
    }


def _manifest(
    options: TrainOptions, trained: TrainedModel, data: _Data, described: Mapping[str, Any]
) -> Manifest:
    record = TrainingRecord(
        folder=options.folder.resolve().name,
        data_sha256=data.sha256,
        examples=trained.examples,
        start_s=data.start_s,
        end_s=data.end_s,
        seed=options.seed,
        settings={
            "until": options.until,
            "validation": options.validation,
            **described["fit"],
            **trained.settings,
        },
        curve=tuple(_without(entry, _TIMINGS) for entry in trained.curve),
    )
    try:
        return Manifest(
            name=options.name or options.model,
            model=trained.model,
            d=trained.d,
            encoder=trained.encoder or (data.encoder if trained.tower.uses_text else None),
            tower=trained.tower,
            user=trained.user,
            vocabularies=dict(trained.vocabularies),
            ranker_weights=None if trained.ranker_weights is None else dict(trained.ranker_weights),
            training=record,
            figures=_without(trained.figures, _NO_FIGURES),
        )
    except ValidationError as error:
        first = error.errors()[0]
        raise BundleError(f"bundle.json: {'.'.join(map(str, first['loc']))}: {first['msg']}") from error


def _without(figures: Mapping[str, float], names: frozenset[str]) -> dict[str, float]:
    return {name: value for name, value in figures.items() if name not in names}


def _read_mind(
    options: TrainOptions, entry: TrainableModel, settings: Any, progress: TrainingProgress
) -> _Data:
    from freshet.models.datasets.impression_log import read_impression_log

    log: ImpressionLog
    with progress.stage(f"reading {options.folder}") as report:
        log = read_impression_log(
            options.folder,
            skip_bad_lines=options.skip_bad_lines,
            on_bad_line=progress.skipped,
            progress=report,
        )
    end = log.position_at(options.until)
    seen = log.slice(0, end)
    middle = seen.position_at(1.0 - options.validation) if end else 0
    train, validation = seen.slice(0, middle), seen.slice(middle, end)
    _check_parts(options, f"{len(log):,} impressions", len(train), len(validation))
    if not bool(train.clicked.any()) or bool(train.clicked.all()):
        raise TrainError(f"{options.folder}: its training part needs both clicked and skipped candidates")
    progress.note(
        f"{len(train):,} impressions to train on, {len(validation):,} to stop by, "
        f"{len(log) - end:,} later ones left for `freshet evaluate`"
    )
    if log.unannounced:
        progress.note(
            f"{log.unannounced:,} of {len(log.articles):,} articles have no line in news.tsv: "
            "known by their ids only"
        )
    vectors, encoder = None, None
    if entry.uses_text(settings):
        if log.unannounced == len(log.articles):
            raise TrainError(
                f"{options.folder}: {options.model} needs the articles' texts, and no article that is "
                "shown has a line in news.tsv"
            )
        chosen = ChosenEncoder(options.encoder, options.pooling)
        with progress.stage("encoding texts") as report:
            vectors = text_vectors_of(log.articles, chosen, cache_dir=options.cache, progress=report)
        encoder = chosen.spec
    start_s, end_s = float(log.time_s[0]), float(log.time_s[end - 1])
    return _Data(train, validation, log.sha256, start_s, end_s, vectors, encoder)


def _read_ratings(
    options: TrainOptions, entry: TrainableModel, settings: Any, progress: TrainingProgress
) -> _Data:
    from freshet.models.datasets.movielens import random_split, read_movielens, time_split

    with progress.stage(f"reading {options.folder}"):
        ratings: Ratings = read_movielens(options.folder)
    if entry.trainers["ratings"].random_split:
        seen, _ = random_split(ratings, 1.0 - options.until, options.seed)
        train, validation = random_split(seen, options.validation, options.seed)
    else:
        seen, _ = time_split(ratings, options.until)
        train, validation = time_split(seen, 1.0 - options.validation)
    _check_parts(options, f"{len(ratings):,} ratings", len(train), len(validation))
    progress.note(
        f"{len(train):,} ratings to train on, {len(validation):,} to stop by, "
        f"{len(ratings) - len(seen):,} left for `freshet evaluate`"
    )
    return _Data(train, validation, ratings.sha256, float(seen.time_s.min()), float(seen.time_s.max()))


def _read_headlines(
    options: TrainOptions, entry: TrainableModel, settings: Any, progress: TrainingProgress
) -> _Data:
    from freshet.models.datasets.headline_tests import read_headline_tests

    with progress.stage(f"reading {options.folder}"):
        tests: HeadlineTests = read_headline_tests(options.folder)
    seen, held_out = tests.split_weeks(options.until)
    train, validation = seen.split_weeks(1.0 - options.validation)
    _check_parts(options, f"{len(tests):,} headline tests", len(train), len(validation))
    progress.note(
        f"{len(train):,} headline tests to train on, {len(validation):,} to stop by, "
        f"{len(held_out):,} later ones left for `freshet evaluate`"
    )
    return _Data(train, validation, tests.sha256, None, None)


def _check_parts(options: TrainOptions, what: str, train: int, validation: int) -> None:
    if not train or not validation:
        raise TrainError(
            f"{options.folder}: of {what} {train:,} are left to train on and {validation:,} to validate on. "
            "What is of one moment stays on one side of a cut in time: choose other shares (--until, "
            "--validation), or data of more than one time"
        )


_READERS: Mapping[DataKind, Callable[[TrainOptions, TrainableModel, Any, TrainingProgress], _Data]] = {
    "mind": _read_mind,
    "ratings": _read_ratings,
    "headlines": _read_headlines,
}
