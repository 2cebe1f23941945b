"""Running workers with switchable faults, watched by a real Prometheus with the alerting rules compressed."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import time
import urllib.request
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from freshet.models.events.events import Impression, Recommendation, RecommendationRequest, from_unix_s
from freshet.streams.client import Freshet
from freshet.streams.settings import Settings
from freshet.workers.processes.worker_process import WorkerProcess
from tests.alert_rules import compressed, rules
from tests.integration.stream_harness import START_S, keyed, send
from tests.prometheus_server import PrometheusServer, free_port
from tests.waiting import HANG_S

COMPRESSION = 60
"""A minute of the rules lasts a second."""
NOW = from_unix_s(START_S)
SLATE = tuple(f"N{i}" for i in range(6))
_SCRAPE_S = 0.5


class FaultyWorker:
    """A process of freshet whose faults can be switched, see :mod:`tests.integration.faulty_worker`."""

    def __init__(self, verb: str, settings: Settings, *options: str) -> None:
        self.settings = settings.model_copy(update={"metrics_port": free_port()})
        self.address = f"127.0.0.1:{self.settings.metrics_port}"
        self._arguments = [str(Path(__file__).with_name("faulty_worker.py")), verb, *options]
        self._faults = settings.data_dir / "faults"
        self._process: WorkerProcess | None = None
        settings.data_dir.mkdir(parents=True, exist_ok=True)

    def start(self) -> None:
        self._process = WorkerProcess(self._arguments, self.settings, self.settings.data_dir / "worker.log")

    def check(self) -> None:
        if self._process is not None:
            self._process.check()

    def kill(self) -> None:
        if self._process is not None:
            os.kill(self._process.pid, signal.SIGKILL)
            self._process.wait(HANG_S)
            self._process = None

    async def is_ready(self) -> bool:
        try:
            with urllib.request.urlopen(f"http://{self.address}/readyz", timeout=2):
                return True
        except OSError:
            return False

    def switch(self, **faults: object) -> None:
        """From now on the process has these faults and no others."""
        written = self._faults.with_suffix(".new")
        written.write_text(json.dumps(faults))
        written.replace(self._faults)

    @contextmanager
    def standing_still(self) -> Iterator[None]:
        """The process gets no processor, as on a machine that swaps, or in a container that is paused."""
        assert self._process is not None
        os.kill(self._process.pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(self._process.pid, signal.SIGCONT)


class AlertWorld:
    """A system, a second one whose index cannot be reached, and a Prometheus that watches both.

    Args:
        settings: Of the system.
        lame: Of the second one.
        folder: Takes everybody's data.
    """

    def __init__(self, settings: Settings, lame: Settings, folder: Path) -> None:
        self.settings = settings
        self.stream = FaultyWorker("stream", settings.model_copy(update={"data_dir": folder / "stream"}))
        self.embed = FaultyWorker(
            "embed", settings.model_copy(update={"data_dir": folder / "embed"}), "--threads=1"
        )
        self.lame = FaultyWorker("stream", lame.model_copy(update={"data_dir": folder / "lame"}))
        self.workers = (self.stream, self.embed, self.lame)
        file = folder / "rules.json"
        file.write_text(json.dumps(compressed(rules(), COMPRESSION)))  # JSON is YAML
        self.prometheus = PrometheusServer(
            {
                "freshet-stream": [self.stream.address, self.lame.address],
                "freshet-embed": [self.embed.address],
            },
            folder / "prometheus",
            [file],
            interval_s=_SCRAPE_S,
        )
        self._asked = 0
        self._watched_from_s = 0.0

    async def until(self, probe: Callable[[], Awaitable[object]], what: str) -> None:
        """Wait for the first true value of ``probe``; fails when a worker ends or time runs out."""
        end = time.monotonic() + HANG_S
        while not await probe():
            for worker in self.workers:
                worker.check()
            assert time.monotonic() < end, f"{what}: not within {HANG_S:g} s; raised: {self.fired()}"
            await asyncio.sleep(0.1)

    async def until_older_than(self, seconds: float) -> None:
        """Let what was just published grow older than an objective allows."""
        published_s = time.time()

        async def old() -> bool:
            return time.time() > published_s + seconds

        await self.until(old, f"records to be {seconds} s old")

    async def watch(self) -> None:
        """Wait until everything is scraped; what fires counts from then on."""

        async def seen() -> bool:
            return bool(self.prometheus.query(f"count(up == 1) == {len(self.workers)}"))

        await self.until(seen, "Prometheus to see all workers")
        self._watched_from_s = time.time()

    def fired(self) -> set[str]:
        """Every alert that has fired since it counts, whether or not it still does."""
        watched_ms = round(1_000 * (time.time() - self._watched_from_s))
        fired = f'max by (alertname) (max_over_time(ALERTS{{alertstate="firing"}}[{watched_ms}ms]))'
        return {sample.labels["alertname"] for sample in self.prometheus.query(fired)}

    async def raised(self, *names: str) -> None:
        """Wait until all of these have fired."""

        async def all_fired() -> bool:
            return set(names) <= self.fired()

        await self.until(all_fired, f"{', '.join(names)} to be raised")

    def requests(self, n: int, candidates: Sequence[str] | None = SLATE) -> list[RecommendationRequest]:
        """Requests of as many users, who have asked for nothing yet."""
        first, self._asked = self._asked, self._asked + n
        return [
            RecommendationRequest(request_id=f"R{i}", user_id=f"U{i}", time=NOW, candidates=candidates)
            for i in range(first, first + n)
        ]

    async def ask(self, client: Freshet, n: int, at_a_time: int) -> list[Recommendation]:
        """The answers to as many users who want the order of a slate."""
        answers: list[Recommendation] = []
        for start in range(0, n, at_a_time):
            submitted = [client.submit(request) for request in self.requests(min(at_a_time, n - start))]
            async with asyncio.timeout(HANG_S):
                answers += await asyncio.gather(*map(asyncio.wrap_future, submitted))
        return answers

    async def click(self, answers: Sequence[Recommendation], place: int) -> None:
        """Each user has seen the slate, and clicks what is at ``place`` of it."""
        shown = [
            Impression(
                impression_id=f"I-{answer.request_id}",
                user_id=answer.user_id,
                time=NOW,
                candidates=SLATE,
                clicked=(answer.items[place].news_id,),
                request_id=answer.request_id,
            )
            for answer in answers
        ]
        await send(self.settings, [keyed("impressions", each, each.user_id) for each in shown])
