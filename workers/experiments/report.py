"""What came of an experiment, read from the topics: see :mod:`freshet.models.experiments.outcomes`.

Reads four topics once, from when the experiment got its present shares (by Kafka's timestamps) to their ends,
without a consumer group; the system that is measured notices nothing.
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
"""A request may be this much older than its answer; so may the clocks of two producers differ."""


class OnStage(Protocol):
    """Told how far a stage has come."""

    def __call__(self, stage: str, done: int, total: int) -> None:
        """Of ``total`` records, ``done`` are read."""


@dataclass(frozen=True, slots=True)
class Report:
    """An experiment's outcome, and what is not in it."""

    outcome: ExperimentOutcome
    running: bool
    answers_kept_since: datetime | None
    """Set where answers of the experiment may have been deleted: those before this are gone."""
    unreadable: int
    """Records that were skipped; they are among the dead letters."""


def report(
    settings: Settings,
    control: Control,
    on_stage: OnStage = lambda stage, done, total: None,
    *,
    alpha: float = 0.05,
) -> Report:
    """Read what came of the experiment that ``control`` started or stopped.

    Args:
        settings: Where Kafka is.
        control: The experiment's last instruction.
        on_stage: Told of the progress.
        alpha: The false-positive rate of the comparisons.

    Raises:
        KafkaUnreachable: No broker answers, or a topic does not exist.
        ValueError: ``control`` is of no experiment.
    """
    experiment = control.experiment
    if experiment is None:
        raise ValueError(f"{control.key} is of no experiment")
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
    """One sentence on a treatment against the control, by the metric that decides the experiment."""
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
    """The report as one object; what is not known is NaN or infinite, null in JSON."""
    outcome = found.outcome
    return {
        "experiment": experiment_json(outcome.experiment),
        "running": found.running,
        "variants": [asdict(variant) for variant in outcome.variants],
        "users_of_two_variants": outcome.users_of_two_variants,
        "answers_sent_twice": outcome.answers_sent_twice,
        "unreadable": found.unreadable,
        "answers_kept_since": found.answers_kept_since,
        "sample_ratio": {
            "mismatch": outcome.mismatch,
            "answered": asdict(outcome.answered),
            "seen": asdict(outcome.seen),
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
    """An experiment as on the wire, without its segments."""
    return experiment.model_dump(mode="json", exclude_none=True, exclude={"segments"})
