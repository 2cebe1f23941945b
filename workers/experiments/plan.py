"""Converts the options of ``freshet experiment start`` to the records that start an experiment.

The syntax of a variant is ``NAME=RANKER:SHARE``. ``RANKER`` is the name of a ranker, a file of weights, or
``bundle:ID`` for the vectors and the ranker of another bundle, whose folder may replace the id. Weights from
a file are published on ``ranker-weights`` as ``EXPERIMENT-VARIANT``.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from freshet.models.events.control import Control
from freshet.models.events.events import EventError, RankerWeights
from freshet.models.events.experiment import Experiment, Variant
from freshet.models.ranking.linear import LinearRanker
from freshet.streams.errors import FreshetError
from freshet.streams.kafka.topic_history import read_topic
from freshet.streams.kafka.topics import RANKER_WEIGHTS
from freshet.streams.settings import Settings
from freshet.streams.state.ranker_weights import DEFAULT

_BUNDLE = "bundle:"


class VariantRefused(FreshetError):
    """A variant on the command line is invalid."""


@dataclass(frozen=True, slots=True)
class Plan:
    """Variants, and the weights to publish for them."""

    variants: tuple[Variant, ...]
    weights: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    """Weights from files, by ranker and feature."""


def plan(experiment: str, written: Sequence[str], bundle_id: Callable[[str], str] = str) -> Plan:
    """Parse variants, and read the files that they name.

    Args:
        experiment: Name of the experiment.
        written: Text of each variant.
        bundle_id: Resolves the text of a bundle to its id; may raise :class:`FreshetError`.

    Raises:
        VariantRefused: A variant is not ``NAME=RANKER:SHARE``, or its file does not hold weights of this
            version's features.
    """
    variants: list[Variant] = []
    weights: dict[str, Mapping[str, float]] = {}
    for text in written:
        name, _, rest = text.partition("=")
        ranker, _, share = rest.rpartition(":")
        try:
            if not (name and ranker):
                raise ValueError("a part is missing")
            bundle = None
            if ranker.startswith(_BUNDLE):
                bundle, ranker = bundle_id(ranker.removeprefix(_BUNDLE)), DEFAULT
            elif Path(ranker).suffix == ".json":
                of_file = read_weights(Path(ranker))
                ranker = f"{experiment}-{name}"
                weights[ranker] = of_file
            variants.append(Variant(name=name, share=float(share), ranker=ranker, bundle=bundle))
        except ValueError as error:  # pydantic's is one
            reason = str(error).replace("\n", " ")
            raise VariantRefused(
                f"variant {text!r} is not NAME=RANKER:SHARE, such as B=default:0.5: {reason}"
            ) from error
    return Plan(tuple(variants), weights)


def read_weights(file: Path) -> Mapping[str, float]:
    """Read weights by feature from a JSON object, or from a record of ``ranker-weights``.

    Raises:
        VariantRefused: The file cannot be read, has another format, or names an unknown feature.
    """
    try:
        read = json.loads(file.read_bytes())
        found = read.get("weights", read)
        return LinearRanker({name: float(weight) for name, weight in found.items()}).weights
    except (OSError, AttributeError, TypeError, ValueError) as error:
        raise VariantRefused(
            f"{file}: {error}; it must be a JSON object of weights by the names of features"
        ) from error


def served_by(variant: Variant) -> str:
    """Format what serves a variant in the syntax of the command line."""
    if variant.bundle is None:
        return variant.ranker
    own = variant.ranker == DEFAULT
    return f"{_BUNDLE}{variant.bundle}" + ("" if own else f", ranked by {variant.ranker}")


def latest(controls: Iterable[Control]) -> dict[str, Control]:
    """Return the last control of each experiment, by its name."""
    kinds = {"experiment-started", "experiment-stopped"}
    return {control.subject: control for control in controls if control.kind in kinds}


def running(controls: Iterable[Control]) -> dict[str, Experiment]:
    """Return the running experiments by name, in the order of precedence."""
    found = [
        control.experiment
        for control in latest(controls).values()
        if control.experiment is not None and control.kind == "experiment-started"
    ]
    return {each.name: each for each in sorted(found, key=lambda each: (each.created_at, each.name))}


def share_left(experiment: Experiment, others: Iterable[Experiment]) -> float:
    """Compute the share of users that no earlier experiment takes; assignments are independent."""
    left = 1.0
    for other in others:
        if (other.created_at, other.name) < (experiment.created_at, experiment.name):
            left *= 1.0 - min(1.0, sum(variant.share for variant in other.variants))
    return left


def published_weights(settings: Settings) -> dict[str, RankerWeights]:
    """Read the latest weights of each model on ``ranker-weights``.

    Raises:
        KafkaUnreachable: No broker answers, or the topic does not exist.
    """
    found: dict[str, RankerWeights] = {}
    for record in read_topic(settings, RANKER_WEIGHTS):
        if record.value is None:
            continue
        try:
            weights = RankerWeights.from_json(record.value)
        except EventError:  # left to the stream workers, which make a dead letter of it
            continue
        found[weights.model] = weights
    return found


def new_weights(
    wanted: Mapping[str, Mapping[str, float]], published: Mapping[str, RankerWeights], now: datetime
) -> list[RankerWeights]:
    """Return the records to publish for ``wanted``, without those that are published already."""
    records = []
    for model, weights in wanted.items():
        before = published.get(model)
        if before is None or before.weights != dict(weights):
            revision = 0 if before is None else before.revision + 1
            records.append(RankerWeights(model=model, revision=revision, time=now, weights=dict(weights)))
    return records
