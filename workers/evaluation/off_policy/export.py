"""Exports recommendations, impressions and clicks of a running system to a folder, for ``freshet log``.

Reads the topics once, without a consumer group, so the system is not affected. The folder is a MIND folder
for training and evaluation, with the recommendations and their propensities beside it
(:mod:`freshet.models.datasets.recommendation_log`). Files get their names when all of them are complete.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TypeVar

from freshet.models.datasets.mind import (
    BEHAVIORS_FILE,
    NEWS_FILE,
    PUBLISHED_FILE,
    behaviors_line,
    news_line,
    published_line,
)
from freshet.models.datasets.recommendation_log import RECOMMENDATIONS_FILE
from freshet.models.events.events import (
    Article,
    Click,
    Event,
    EventError,
    Impression,
    Recommendation,
    to_unix_s,
)
from freshet.streams.kafka.topic_history import kept_since, read_controls, read_topic
from freshet.streams.kafka.topics import ARTICLES, CLICKS, IMPRESSIONS, RECOMMENDATIONS, Topic
from freshet.streams.settings import Settings
from freshet.workers.errors import WorkerError
from freshet.workers.evaluation.off_policy.event_join import EventJoin
from freshet.workers.terminal.stage_progress import StageProgress

E = TypeVar("E", bound=Event)

FILES = (NEWS_FILE, PUBLISHED_FILE, BEHAVIORS_FILE, RECOMMENDATIONS_FILE)
_ANSWERED_BEFORE = timedelta(hours=1)
"""Longest time from a recommendation to its impression that the start of the range allows for."""


_COUNTS = ("impressions", "recommendations", "propensities", "clicks", "late_clicks", "articles")


class LogNotWritten(WorkerError):
    """The folder cannot be written, or there is nothing to write; the message says what to do."""


@dataclass(frozen=True)
class LogOptions:
    """Options of the command line."""

    folder: Path
    since: datetime | None = None
    """Start of the range of impressions, in event time."""
    until: datetime | None = None
    """End of the range of impressions, exclusive; later clicks on them count."""
    overwrite: bool = False


@dataclass(frozen=True)
class LogWritten:
    """Counts of what the folder holds, and of what was left out."""

    impressions: int
    recommendations: int
    """Impressions that have their recommendation."""
    propensities: int
    """Recommendations with the propensity of every item."""
    clicks: int
    late_clicks: int
    """Clicks that came as events after the impression."""
    articles: int
    clicks_left: int
    """Clicks without an impression in the log, which are left out."""
    unreadable: int
    """Records that cannot be read, which are among the dead letters."""
    erased: int
    """Impressions of erased users, which are left out."""
    answers_kept_since: datetime | None
    """Time before which recommendations of the range may have been deleted; ``None`` if none were."""


def write_log(options: LogOptions, settings: Settings, progress: StageProgress) -> LogWritten:
    """Read the topics and write the folder.

    Raises:
        LogNotWritten: A file exists already or cannot be written, or the range has no impression.
        KafkaUnreachable: No broker answers, or a topic does not exist.
    """
    folder = options.folder
    there = [name for name in FILES if (folder / name).exists()]
    if there and not options.overwrite:
        raise LogNotWritten(f"{folder} already holds {', '.join(there)}: name a new folder, or add --force")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(prefix=".log-", dir=folder) as scratch:
            with EventJoin(Path(scratch) / "events.sqlite") as join:
                unreadable, erased = _read(options, settings, join, progress)
                counts = _write(Path(scratch), join, progress)
                left = join.clicks_left()
            if not counts["impressions"]:
                raise LogNotWritten(_nothing(options))
            for name in FILES:
                (Path(scratch) / name).replace(folder / name)
    except OSError as error:
        raise LogNotWritten(f"{folder}: cannot be written: {error.strerror}") from error
    kept = None if options.since is None else kept_since(settings, RECOMMENDATIONS, options.since)
    return LogWritten(
        **counts, clicks_left=left, unreadable=unreadable, erased=erased, answers_kept_since=kept
    )


def _read(
    options: LogOptions, settings: Settings, join: EventJoin, progress: StageProgress
) -> tuple[int, int]:
    """Add the events of the range to the database.

    Returns:
        Number of unreadable records, and of impressions of erased users.
    """
    unreadable = 0
    # An event further ahead of Kafka's clock would be a dead letter.
    skew = timedelta(seconds=settings.max_clock_skew_s)
    since = None if options.since is None else options.since - skew

    def read(topic: Topic, event: type[E], take: Callable[[E, bytes], None], since: datetime | None) -> None:
        nonlocal unreadable
        with progress.stage(f"reading {topic.name}") as report:
            for record in read_topic(settings, topic, since=since, on_progress=report):
                if record.value is None:
                    if topic is ARTICLES and record.key is not None:
                        join.delete_article(record.key.decode("utf-8", "replace"))
                    continue
                try:
                    take(event.from_json(record.value), record.value)
                except EventError:
                    unreadable += 1

    def take_impression(impression: Impression, value: bytes) -> None:
        if (options.since is None or impression.time >= options.since) and (
            options.until is None or impression.time < options.until
        ):
            join.add_impression(impression, value)

    def take_click(click: Click, value: bytes) -> None:
        join.add_click(click)

    answered = None if since is None else since - _ANSWERED_BEFORE
    read(RECOMMENDATIONS, Recommendation, join.add_recommendation, answered)
    read(IMPRESSIONS, Impression, take_impression, since)
    read(CLICKS, Click, take_click, since)
    read(ARTICLES, Article, join.put_article, None)
    erased = 0
    for control in read_controls(settings):
        if control.kind == "user-erased":
            erased += join.forget_user(control.subject, to_unix_s(control.time))
    return unreadable, erased


def _write(folder: Path, join: EventJoin, progress: StageProgress) -> dict[str, int]:
    counts = dict.fromkeys(_COUNTS, 0)
    with (
        progress.stage("writing"),
        (folder / NEWS_FILE).open("w", encoding="utf-8", newline="\n") as news,
        (folder / PUBLISHED_FILE).open("w", encoding="utf-8", newline="\n") as published,
        (folder / BEHAVIORS_FILE).open("w", encoding="utf-8", newline="\n") as behaviors,
        (folder / RECOMMENDATIONS_FILE).open("wb") as recommendations,
    ):
        for article in join.articles():
            news.write(news_line(article))
            published.write(published_line(article.news_id, to_unix_s(article.published_at)))
            counts["articles"] += 1
        for joined in join.impressions():
            impression, recommendation = joined.impression, joined.recommendation
            if recommendation is not None:
                # The reader of the log finds the recommendation by this id.
                impression = impression.model_copy(update={"impression_id": recommendation.request_id})
                recommendations.write(recommendation.to_json() + b"\n")
                counts["recommendations"] += 1
                counts["propensities"] += all(item.propensity is not None for item in recommendation.items)
            behaviors.write(behaviors_line(impression))
            counts["impressions"] += 1
            counts["clicks"] += len(impression.clicked)
            counts["late_clicks"] += joined.late_clicks
    return counts


def _nothing(options: LogOptions) -> str:
    if options.since is None and options.until is None:
        return (
            "there is no impression on the topic: the site has shown no list yet, or publishes no impressions"
        )
    span = " and ".join(
        f"{word} {time:%Y-%m-%d %H:%M}Z"
        for word, time in (("from", options.since), ("before", options.until))
        if time is not None
    )
    return f"there is no impression {span}: choose another range with --from and --until, in event time"
