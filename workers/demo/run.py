"""Runs freshet from beginning to end on a synthetic newspaper, and shows each step as it happens.

Each demo starts an empty system of its own, so that two demos of one seed show the same. Whatever happens,
the processes it started are stopped; the data and the logs of the last demo are kept.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from rich.markup import escape

from freshet.models.datasets.synthetic.folder import write_synth
from freshet.models.datasets.synthetic.titles import TOPICS
from freshet.models.datasets.synthetic.world import SynthConfig
from freshet.streams.client import Freshet
from freshet.workers.demo import text
from freshet.workers.demo.monitor import DemoMonitor
from freshet.workers.demo.newspaper import Newspaper, until_now
from freshet.workers.demo.report import DemoReport, ReaderStory, Scored, Spread, Streamed
from freshet.workers.demo.screen import Screen, bar, clock, duration, feed_line, feed_panel, rate
from freshet.workers.demo.story import (
    DemoFailed,
    last_minute_s,
    latencies_s,
    lists_of,
    measure_breaking,
    measure_click,
    publish_and_find,
)
from freshet.workers.processes.kafka.folder import own_folder
from freshet.workers.processes.metrics_page import Buckets, MetricsPage
from freshet.workers.processes.up_process import UpProcess
from freshet.workers.replay.ranking import CTR, SYSTEM
from freshet.workers.replay.report import ReplayOptions, ReplayProgress
from freshet.workers.replay.run import replay

READERS = 3

_START_TIMEOUT_S = 300.0
"""The first start fetches Kafka's jars."""
_STREAM_TIMEOUT_S = 120.0
_RECENT_S = 6 * 3_600.0
_LATELY = 3
_ARTICLES, _REQUESTS = 30, 200
"""Numbers of articles published and of requests made, one after the other, to measure latencies."""
_MINUTE_S = 60.0
_POLL_S = 0.05
_TRENDING = 5
_CLICK_TO_VECTOR = "freshet_click_to_vector_seconds"


def run_demo(data_dir: Path, config: SynthConfig, screen: Screen) -> DemoReport:
    """Run the demo in ``data_dir`` and show it on ``screen``.

    Raises:
        FreshetError: The system did not start, did not keep up, or did not show an expected effect.
        OSError: The folder cannot be written.
    """
    return _Demo(data_dir, until_now(config, time.time()), screen).run()


class _Demo:
    """Runs one demo, step by step."""

    def __init__(self, data_dir: Path, config: SynthConfig, screen: Screen) -> None:
        run = data_dir / "run"
        self._screen = screen
        self._report = DemoReport(config, data_dir / "world", run, run / "freshet-up.log")
        self._progress = ReplayProgress("reading", 0, 0)

    def run(self) -> DemoReport:
        report, screen = self._report, self._screen
        screen.say(
            "freshet recommends news from a stream of clicks. Here it is at work, from an empty folder to a "
            "report."
        )
        _clear(report.data_dir)
        # The system starts while the newspaper is written.
        with UpProcess(report.data_dir, report.log_file) as up, self._announcing_interruption():
            with self._phase("newspaper"):
                screen.step("A newspaper")
                self._write_newspaper()
            with self._phase("start"):
                screen.step("freshet up")
                up.wait_until_ready(_START_TIMEOUT_S, lambda line: screen.say(f"   [dim]{line}[/]"))
            self._up = up
            with self._phase("articles"):
                screen.step("The articles")
                self._embed()
            # Most of the time goes into ranking, one slate after the other.
            first_scored = report.config.impressions * 2 // 3
            with self._phase("streaming"):
                screen.step("The first two thirds of the stream, as fast as it goes")
                self._stream(first_scored)
            with self._phase("scoring"):
                screen.step("The last third: each impression is ranked before its clicks are revealed")
                self._score(first_scored)
            with self._phase("stories"), Freshet(up.settings) as client:
                self._show_effects(client)
            report.memory_bytes = self._memory()
            up.check()
            with self._phase("stop"):
                up.stop()
        screen.step(f"Report: {report.total_s:.0f} s in all")
        screen.say(*text.report_text(report))
        return report

    def _write_newspaper(self) -> None:
        config, screen = self._report.config, self._screen
        written = write_synth(self._report.folder, config, overwrite=True)
        self._newspaper = Newspaper.read(self._report.folder)
        screen.say(
            f"{config.articles:,} articles, {written.users:,} readers, {config.impressions:,} impressions "
            f"with {written.clicks:,} clicks, from {clock(config.start_s)} to {clock(config.end_s)}, "
            f"in [cyan]{escape(str(self._report.folder))}[/].",
            "Every reader has interests, moods and tastes that only the generator knows. Its last headlines:",
            *text.headlines(self._newspaper),
        )

    def _embed(self) -> None:
        report, what = self._report, "articles embedded and in the index"
        self._progress = ReplayProgress("vectors", 0, report.config.articles)
        started_s = time.monotonic()
        with self._screen.watch(
            lambda: bar(self._progress, what),
            lambda: f"   {self._progress.done:,} of {self._progress.total:,} {what}",
        ) as tick:

            def show(now: ReplayProgress) -> None:
                if now.stage == "vectors":
                    self._progress = now
                tick()

            replayed = replay(self._up.settings, report.folder, ReplayOptions(limit=0), show)
        if replayed.articles_without_vector:
            raise DemoFailed(
                f"{replayed.articles_without_vector} articles have no vector. See {report.log_file}."
            )
        report.embedded = replayed.published.articles
        report.embedding_s = time.monotonic() - started_s
        self._screen.say(
            f"All of them can be recommended after [bold]{duration(report.embedding_s)}[/]: "
            f"{rate(report.embedded / report.embedding_s)} from text to vector to index."
        )

    def _stream(self, count: int) -> None:
        """Publish the first ``count`` impressions and wait until the stream has applied all of them."""
        report, screen = self._report, self._screen
        before = self._applied()
        with self._watch_feed(count) as tick:

            def show(now: ReplayProgress) -> None:
                if now.stage == "impressions":
                    self._progress = replace(self._progress, time_s=now.time_s)

            began_s = time.monotonic()
            options = ReplayOptions(limit=count, resume=True, wait_for_vectors=False)
            replay(self._up.settings, report.folder, options, show)
            while self._progress.done < count:
                # Each impression of a synthetic newspaper has a click, and the histogram counts it once, when
                # the reader's vector has changed, however many clicks it holds.
                done = round(self._applied().since(before).count)
                self._progress = replace(self._progress, done=done)
                tick()
                self._up.check()
                if time.monotonic() - began_s > _STREAM_TIMEOUT_S:
                    raise DemoFailed(
                        f"{done:,} of {count:,} impressions were applied within "
                        f"{_STREAM_TIMEOUT_S:g} s. See {report.log_file}."
                    )
                time.sleep(_POLL_S)
            report.streamed = Streamed(count, time.monotonic() - began_s)
        screen.say(
            f"{count:,} impressions in {duration(report.streamed.seconds)}, until the last reader's vector "
            f"had changed: [bold]{rate(report.streamed.per_s)}[/]."
        )

    def _score(self, first: int) -> None:
        """Have the system rank each impression from position ``first`` before its clicks are published."""
        report, screen = self._report, self._screen
        before = self._applied()
        with self._watch_feed(report.config.impressions - first, scored=True) as tick:

            def show(now: ReplayProgress) -> None:
                if now.stage == "impressions":
                    self._progress = replace(self._progress, done=now.done, time_s=now.time_s)
                tick()

            options = ReplayOptions(score=True, resume=True, wait_for_vectors=False)
            replayed = replay(self._up.settings, report.folder, options, show)
        assert replayed.score is not None
        if not replayed.score.rankings:
            raise DemoFailed(f"No request was answered. See {report.log_file}.")
        clicks = self._applied().since(before)
        report.scored = Scored(
            impressions=replayed.published.impressions,
            per_s=replayed.impressions_per_s,
            click_to_vector=Spread(clicks.quantile(0.5), clicks.quantile(0.99)),
            score=replayed.score,
            oracle=self._newspaper.oracle(first),
        )
        screen.say(
            f"freshet ranked {replayed.score.asked:,} slates with an AUC of "
            f"[bold]{report.scored.rankings[SYSTEM].auc:.3f}[/]; the order by click-through rate has "
            f"{report.scored.rankings[CTR].auc:.3f}, chance 0.5, an oracle {report.scored.oracle.auc:.3f}."
        )

    def _show_effects(self, client: Freshet) -> None:
        report, screen, newspaper = self._report, self._screen, self._newspaper
        readers = newspaper.readers(READERS, _RECENT_S)
        now_s = last_minute_s(newspaper)

        screen.step(f"Three readers, {clock(now_s)}")
        for reader, recommended in zip(readers, lists_of(client, readers, now_s), strict=True):
            lately = [newspaper.articles[news_id] for news_id in reversed(reader.clicks[-_LATELY:])]
            report.readers.append(ReaderStory(reader, lately, recommended))
            screen.say(*text.reader_story(report.readers[-1]))

        screen.step("A click")
        report.click = measure_click(client, readers[0], readers[-1].category, newspaper, now_s)
        screen.say(*text.click_story(report.click))

        screen.step("Breaking news")
        report.breaking = measure_breaking(
            client, readers, newspaper, readers[-1].category, now_s + _MINUTE_S
        )
        screen.say(*text.breaking_story(report.breaking))

        screen.say("", f"[dim]Measuring: {_ARTICLES} more articles and {_REQUESTS} more requests ...[/]")
        found = [
            publish_and_find(client, newspaper.write(topic, number, now_s), readers[0].user_id).seconds
            for number, topic in enumerate(TOPICS[:_ARTICLES])
        ]
        report.published = len(found)
        report.published_to_recommendable = Spread(*np.quantile(found, (0.5, 0.99)).tolist())
        everybody = list(dict.fromkeys(impression.user_id for impression in newspaper.impressions))
        measured_s = latencies_s(client, everybody[:_REQUESTS], now_s)
        report.requests = len(measured_s)
        report.request = Spread(*np.quantile(measured_s, (0.5, 0.99)).tolist())

    def _memory(self) -> dict[str, int]:
        """Measure resident memory in bytes by part of the system; Kafka's guard is counted with Kafka."""
        sizes: dict[str, int] = {}
        up = psutil.Process(self._up.pid)
        for process in (up, *up.children(recursive=True)):
            part = "freshet up" if process is up else "Kafka"
            sizes[part] = sizes.get(part, 0) + process.memory_info().rss
        return sizes

    def _applied(self) -> Buckets:
        """Read the histogram of the times from a click to the reader's changed vector."""
        settings = self._up.settings
        return MetricsPage.read(settings.metrics_host, settings.metrics_port).buckets(_CLICK_TO_VECTOR)

    @contextmanager
    def _watch_feed(self, total: int, *, scored: bool = False) -> Iterator[Callable[[], None]]:
        self._progress = ReplayProgress("impressions", 0, total)
        with DemoMonitor(self._up.settings) as monitor:

            def trending() -> list[dict[str, Any]]:
                # Not at the replay's time: while impressions wait, the statistics are hours behind it.
                return monitor.memory.trending(_TRENDING)

            with self._screen.watch(
                lambda: feed_panel(self._progress, monitor.view, trending(), scored=scored),
                lambda: "   " + feed_line(self._progress, monitor.view, trending(), scored=scored),
            ) as tick:
                yield tick

    @contextmanager
    def _announcing_interruption(self) -> Iterator[None]:
        try:
            yield
        except KeyboardInterrupt:
            self._screen.say("", "[dim]Interrupted: stopping freshet ...[/]")
            raise

    @contextmanager
    def _phase(self, name: str) -> Iterator[None]:
        """Add the time spent in the block to the phase ``name``."""
        started_s = time.monotonic()
        try:
            yield
        finally:
            phases_s = self._report.phases_s
            phases_s[name] = phases_s.get(name, 0.0) + time.monotonic() - started_s


def _clear(run: Path) -> None:
    """Remove the data of the last demo.

    Raises:
        BrokerFailed: A system is running on it.
    """
    kafka = run / "kafka"
    if kafka.is_dir():
        with own_folder(kafka):
            shutil.rmtree(run)
    elif run.exists():
        shutil.rmtree(run)
