"""Publishes a MIND folder as a stream in the order of time, and asks the live system to rank it on the way.

Every readable line is published once, every unreadable one becomes a dead letter with its file and line.
A replay that was stopped, by Ctrl-C or by ``--limit``, resumes with the next line. Memory does not grow with
the folder, except for 20 bytes a line and the ids of the articles.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path

from aiokafka.errors import KafkaError

from freshet.models.datasets.mind import BadLine, MindError, Repairs
from freshet.models.datasets.mind_timeline import Timeline
from freshet.models.events.events import Article, Impression, to_unix_s
from freshet.streams.kafka.connection import topic_name
from freshet.streams.kafka.reachability import unreachable
from freshet.streams.kafka.topics import IMPRESSIONS
from freshet.streams.settings import Settings
from freshet.workers.replay.answers import answers
from freshet.workers.replay.connections import Connections, connect
from freshet.workers.replay.pacing import LagBound, ReplayClock, pause
from freshet.workers.replay.publisher import Publisher
from freshet.workers.replay.ranking import LAST_SHARE, LiveComparison
from freshet.workers.replay.report import ReplayError, ReplayOptions, ReplayProgress, ReplayReport, Stage
from freshet.workers.replay.resume import ResumePoint, resume_path
from freshet.workers.replay.score import ScoredReveal
from freshet.workers.replay.vectors import wait_for_vectors

STREAM_GROUP = "stream"
"""The stream workers' consumer group, without the prefix: the one whose lag bounds a replay."""

CHUNK = 500
"""Events read and published together."""

_SAVE_EVERY_S = 1.0
_PROGRESS_EVERY_S = 0.2


def replay(
    settings: Settings,
    folder: Path,
    options: ReplayOptions | None = None,
    on_progress: Callable[[ReplayProgress], None] | None = None,
    stop: threading.Event | None = None,
) -> ReplayReport:
    """Replay ``folder``; setting ``stop`` ends it cleanly within a fraction of a second.

    ``on_progress`` is called from the calling thread, a few times a second. Runs an event loop of its own: to
    use it in one, give it a thread.

    Raises:
        ReplayError: The folder cannot be used, Kafka does not answer, or the system does not keep up.
    """
    return asyncio.run(
        _Replay(
            settings,
            folder,
            options or ReplayOptions(),
            on_progress or (lambda _: None),
            stop or threading.Event(),
        ).run()
    )


class _Replay:
    """A replay, from reading the folder to its report."""

    def __init__(
        self,
        settings: Settings,
        folder: Path,
        options: ReplayOptions,
        on_progress: Callable[[ReplayProgress], None],
        stop: threading.Event,
    ) -> None:
        self._settings = settings
        self._folder = folder
        self._options = options
        self._on_progress = on_progress
        self._stop = stop
        self._saved_at = self._shown_at = 0.0

    async def run(self) -> ReplayReport:
        self._on_progress(ReplayProgress("reading", 0, 0))
        async with AsyncExitStack() as stack:
            try:
                self._timeline = stack.enter_context(await asyncio.to_thread(Timeline, self._folder))
            except MindError as error:
                raise ReplayError(str(error)) from error
            self._total = len(self._timeline.impressions)
            await asyncio.to_thread(self._place)
            self._on_progress(ReplayProgress("reading", self._total, self._total))
            connections = await stack.enter_async_context(connect(self._settings))
            try:
                return await self._publish(connections)
            except KafkaError as error:
                raise ReplayError(unreachable(self._settings, error)) from error

    def _place(self) -> None:
        """Decide where to begin."""
        self._point_path = resume_path(self._settings, self._timeline.fingerprint())
        saved = ResumePoint.load(self._point_path) if self._options.resume else None
        self._resumed = saved is not None
        self._point = saved or ResumePoint(
            folder=str(self._folder.resolve()), impressions=min(self._options.skip, self._total)
        )
        self._start = self._point.impressions
        limit = self._options.limit
        self._end = self._total if limit is None else min(self._total, self._start + limit)
        if saved is None and self._options.shift_to_now and self._start < self._total:
            self._point.shift_s = time.time() - self._first_time_s()
            self._refuse_the_future()

    def _first_time_s(self) -> float:
        return float(self._timeline.impressions.times_s[min(self._start, self._total - 1)])

    def _refuse_the_future(self) -> None:
        last_s = float(self._timeline.impressions.times_s[self._end - 1])
        ahead_s = (last_s - self._first_time_s()) * (1.0 - 1.0 / (self._options.speed or float("inf")))
        if ahead_s > self._settings.max_clock_skew_s:
            raise ReplayError(
                f"at this speed the log, shifted to now, would run {ahead_s / 3_600:.1f} h ahead of the "
                f"clock, and the stream refuses more than {self._settings.max_clock_skew_s / 3_600:.1f} h "
                "(FRESHET_MAX_CLOCK_SKEW_S). Use --speed 1, --limit, or the log's own times."
            )

    async def _publish(self, connections: Connections) -> ReplayReport:
        self._publisher = Publisher(self._settings, connections.outbox, self._point.shift_s)
        await self._publisher.start()
        report = ReplayReport(
            folder=str(self._folder), started_at=self._start, resumed=self._resumed, total=self._total
        )
        try:
            await self._publish_untimed()
            await self._publish_articles_before()
            if self._options.wait_for_vectors and not self._stop.is_set():
                report.articles_without_vector = await self._wait_for_vectors(connections)
            began = time.monotonic()
            await self._publish_impressions(connections, report)
            report.impressions_s = time.monotonic() - began
        finally:
            self._point.finished = self._point.impressions >= self._total
            self._point.save(self._point_path)
        report.reached = self._point.impressions
        report.published = self._publisher.published
        report.cut_texts = self._timeline.repairs.cut_texts
        report.broken_entities = self._timeline.repairs.broken_entities
        report.stopped = self._stop.is_set() and self._point.impressions < self._end
        return report

    async def _publish_untimed(self) -> None:
        if self._point.untimed_reported:
            return
        for bad in self._timeline.untimed():
            self._publisher.bad_line(bad)
            if self._publisher.waiting >= CHUNK:
                await self._publisher.flush()
        await self._publisher.flush()
        self._point.untimed_reported = True

    async def _publish_articles_before(self) -> None:
        """Publish all articles, or those published before the first impression."""
        self._news_ids: set[str] = set()
        for position in range(self._point.articles if self._options.wait_for_vectors else 0):
            self._remember(self._timeline.article(position))
        # Those were counted when they were published.
        self._timeline.repairs = Repairs()
        total = self._articles_until(float("inf") if self._options.articles_first else self._first_time_s())
        await self._publish_articles(total)
        self._save()

    async def _publish_articles(self, until: int) -> None:
        """Publish the articles up to position ``until`` in the order of publication."""
        while self._point.articles < until and not self._stop.is_set():
            end = min(until, self._point.articles + CHUNK)
            for position in range(self._point.articles, end):
                article = self._timeline.article(position)
                self._remember(article)
                self._publisher.article(article)
            await self._publisher.flush()
            self._point.articles = end
            if not self._point.impressions - self._start:
                self._show("articles", end, until)

    def _articles_until(self, time_s: float) -> int:
        return int(self._timeline.articles.times_s.searchsorted(time_s, side="right"))

    def _remember(self, article: Article | BadLine) -> None:
        if isinstance(article, Article):
            self._news_ids.add(article.news_id)

    async def _wait_for_vectors(self, connections: Connections) -> int:
        total = len(self._news_ids)
        without = await wait_for_vectors(
            connections,
            self._news_ids,
            self._options.vectors_timeout_s,
            self._stop.is_set,
            lambda ready: self._show("vectors", ready, total),
        )
        return without

    async def _publish_impressions(self, connections: Connections, report: ReplayReport) -> None:
        self._clock = ReplayClock(self._options.speed, self._first_time_s())
        async with AsyncExitStack() as stack:
            self._lag = LagBound(
                connections.admin,
                await stack.enter_async_context(connections.offsets(IMPRESSIONS)),
                topic_name(self._settings, STREAM_GROUP),
                await connections.partitions(IMPRESSIONS),
                max_lag=self._options.max_lag,
                timeout_s=self._options.lag_timeout_s,
            )
            try:
                if self._options.score:
                    reader = await stack.enter_async_context(answers(connections))
                    reveal = ScoredReveal(
                        self._publisher,
                        reader,
                        await asyncio.to_thread(self._warm_comparison),
                        self._options.window,
                        self._options.answer_timeout_s,
                    )
                    await self._score(reveal)
                    report.score = await asyncio.to_thread(reveal.report)
                else:
                    await self._reveal_at_once()
                if self._point.impressions >= self._total:
                    # What was published after the last impression.
                    await self._publish_articles(len(self._timeline.articles))
            finally:
                report.peak_lag = self._lag.peak_lag

    def _warm_comparison(self) -> LiveComparison:
        """The baseline knows what the system knows: the impressions published before this run."""
        known = range(self._start if self._resumed else 0)
        first = 0 if self._resumed else self._start
        comparison = LiveComparison(warm_up=round((1.0 - LAST_SHARE) * (self._end - first)))
        for position in known:
            line = self._timeline.impression(position)
            if not isinstance(line, BadLine):
                comparison.learn(line)
        return comparison

    async def _reveal_at_once(self) -> None:
        while self._point.impressions < self._end and not self._stop.is_set():
            begin = self._point.impressions
            end = await self._due(begin, CHUNK)
            for position in range(begin, end):
                line = self._impression(position)
                if isinstance(line, BadLine):
                    self._publisher.bad_line(line)
                else:
                    self._publisher.impression(line)
            await self._publisher.flush()
            self._advance(end - begin)
            if end == begin:
                await pause(self._clock.wait_s(self._next_time_s(begin)))

    async def _score(self, reveal: ScoredReveal) -> None:
        admitted = self._point.impressions
        while self._point.impressions < self._end and not self._stop.is_set():
            end = await self._due(admitted, reveal.free) if reveal.free and admitted < self._end else admitted
            for position in range(admitted, end):
                reveal.admit(self._impression(position))
            admitted = end
            wait_s = self._clock.wait_s(self._next_time_s(admitted)) if admitted < self._end else float("inf")
            self._advance(await reveal.step(wait_s))
            reveal.check()

    def _impression(self, position: int) -> Impression | BadLine:
        """The impression at its time in the replay, or a line that the stream would refuse too."""
        line = self._timeline.impression(position)
        if isinstance(line, BadLine):
            return line
        impression = self._publisher.shifted(line)
        if to_unix_s(impression.time) > time.time() + self._settings.max_clock_skew_s:
            reason = f"time {impression.time.isoformat()} is in the future, which the stream refuses"
            return self._timeline.refused(position, reason)
        return impression

    async def _due(self, begin: int, most: int) -> int:
        """The end of the impressions that may be published now; articles that are due are added first."""
        times_s = self._timeline.impressions.times_s
        room = await self._lag.room()
        now_s = self._clock.now_s()
        due = int(times_s.searchsorted(now_s, side="right"))
        end = min(self._end, begin + most, self._point.impressions + room, due)
        end = max(begin, end)
        due_s = min(now_s, float(times_s[end - 1])) if end > begin else now_s
        if due_s < float("inf"):
            await self._publish_articles(self._articles_until(due_s))
        return end

    def _next_time_s(self, position: int) -> float:
        """Time at which the next impression or article is due."""
        impression_s = float(self._timeline.impressions.times_s[position])
        articles = self._timeline.articles
        if self._point.articles < len(articles):
            return min(impression_s, float(articles.times_s[self._point.articles]))
        return impression_s

    def _advance(self, lines: int) -> None:
        """Lines were acknowledged: go on behind them."""
        if lines:
            self._point.impressions += lines
            self._lag.published(lines)
        if time.monotonic() - self._saved_at >= _SAVE_EVERY_S:
            self._save()
        reached_s = float(self._timeline.impressions.times_s[max(self._point.impressions - 1, 0)])
        done = self._point.impressions - self._start
        self._show("impressions", done, self._end - self._start, reached_s + self._point.shift_s)

    def _save(self) -> None:
        self._point.save(self._point_path)
        self._saved_at = time.monotonic()

    def _show(self, stage: Stage, done: int, total: int, time_s: float | None = None) -> None:
        if done >= total or time.monotonic() - self._shown_at >= _PROGRESS_EVERY_S:
            self._shown_at = time.monotonic()
            self._on_progress(ReplayProgress(stage, done, total, time_s))
