"""Reads the outcome of an experiment from the topics (:mod:`freshet.models.experiments.outcomes`).

Reads four topics once, from the time at which the experiment got its present shares (by Kafka's timestamps)
to their ends, without a consumer group, so the running system is not affected.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any, Final, Protocol, TypeVar

from freshet.models.events.control import Control
from freshet.models.events.events import (
    Click,
    Event,
    EventError,
    Impression,
    Recommendation,
    RecommendationRequest,
)
from freshet.models.events.experiment import Experiment
from freshet.models.experiments.outcomes import ExperimentLog, ExperimentOutcome
from freshet.streams.kafka.topic_history import kept_since, read_topic
from freshet.streams.kafka.topics import CLICKS, IMPRESSIONS, RECOMMENDATIONS, REQUESTS, Topic
from freshet.streams.settings import Settings

E = TypeVar("E", bound=Event)

_ASKED_BEFORE: Final = timedelta(minutes=1)
"""Longest time from a request to its answer, and largest difference of two producers' clocks."""


class OnStage(Protocol):
    """Callback for the progress of a stage."""

    def __call__(self, stage: str, done: int, total: int) -> None:
        """Report that ``done`` of ``total`` records are read."""


@dataclass(frozen=True, slots=True)
class Report:
    """Outcome of an experiment, and what is not in it."""

    outcome: ExperimentOutcome
    running: bool
    answers_kept_since: datetime | None
    """Time before which answers of the experiment may have been deleted; ``None`` if none were."""
    unreadable: int
    """Number of records that cannot be read, which are among the dead letters."""


def report(
    settings: Settings,
    control: Control,
    on_stage: OnStage = lambda stage, done, total: None,
    *,
    alpha: float = 0.05,
) -> Report:
    """Read the outcome of the experiment that ``control`` started or stopped.

    Args:
        settings: Settings of the connection to Kafka.
        control: Last control of the experiment.
        on_stage: Callback for the progress.
        alpha: False-positive rate of the comparisons.

    Raises:
        KafkaUnreachable: No broker answers, or a topic does not exist.
        ValueError: ``control`` does not belong to an experiment.
    """
    experiment = control.experiment
    if experiment is None:
        raise ValueError(f"{control.key} does not belong to an experiment")
    since = experiment.shares_since
    log = ExperimentLog(experiment)
    unreadable = 0

    def read(topic: Topic, event: type[E], learn: Callable[[E], None], holds: bytes, start: datetime) -> None:
        nonlocal unreadable
        for record in read_topic(
            settings, topic, since=start, on_progress=lambda done, total: on_stage(topic.name, done, total)
        ):
            if record.value is None or holds not in record.value:
                continue
            try:
                learn(event.from_json(record.value))
            except EventError:
                unreadable += 1

    read(RECOMMENDATIONS, Recommendation, log.answer, b'"experiment"', since)
    read(REQUESTS, RecommendationRequest, log.request, b'"candidates"', since - _ASKED_BEFORE)
    read(IMPRESSIONS, Impression, log.impression, b'"request_id"', since)
    read(CLICKS, Click, log.click, b"", since)
    outcome = log.outcome(alpha=alpha, on_progress=lambda done, total: on_stage("compare", done, total))
    return Report(
        outcome,
        running=control.kind == "experiment-started",
        answers_kept_since=kept_since(settings, RECOMMENDATIONS, since),
        unreadable=unreadable,
    )


def verdict(outcome: ExperimentOutcome, treatment: str) -> str:
    """Summarize the comparison of a treatment with the control, by the deciding metric."""
    metric = outcome.experiment.metric
    control = outcome.experiment.variants[0].name
    found = outcome.comparisons[treatment][metric]
    if outcome.mismatch:
        return f"{treatment} cannot be compared with {control}: users are missing from a variant"
    if not found.decided:
        return f"no difference between {treatment} and {control} is shown yet"
    better, worse = (treatment, control) if found.difference > 0 else (control, treatment)
    return f"{better} is better than {worse}: shown after {found.decided_after:,} impressions"


def report_json(found: Report) -> dict[str, Any]:
    """Return the JSON object of the report; unknown figures are NaN or infinite, which JSON has as null."""
    outcome = found.outcome
    return {
        "experiment": experiment_json(outcome.experiment),
        "running": found.running,
        "variants": outcome.variants,
        "users_of_two_variants": outcome.users_of_two_variants,
        "answers_sent_twice": outcome.answers_sent_twice,
        "unreadable": found.unreadable,
        "answers_kept_since": found.answers_kept_since,
        "sample_ratio": {
            "mismatch": outcome.mismatch,
            "answered": outcome.answered,
            "seen": outcome.seen,
        },
        "comparisons": {
            name: {
                "verdict": verdict(outcome, name),
                "metrics": {metric: {**asdict(each), "decided": each.decided} for metric, each in of.items()},
            }
            for name, of in outcome.comparisons.items()
        },
    }


def experiment_json(experiment: Experiment) -> dict[str, Any]:
    """Return an experiment as a JSON object, without its segments."""
    return experiment.model_dump(mode="json", exclude_none=True, exclude={"segments"})
