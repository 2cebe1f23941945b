"""Answers while the Qdrant server answers, hangs and is gone, beside a Faust agent that echoes the requests.

The server is a process of the benchmark's own, which it stops (SIGSTOP), continues, kills and starts again
while the requests go on at a constant rate. An answer without the index is ``degraded``; of those it says how
long they took, the first ones included, which waited for a server that nobody knew to be out of order yet.
Latencies count from when each request was due (:mod:`freshet.workers.bench.client`).
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from freshet.models.events.events import ArticleVector, RecommendationRequest
from freshet.models.ports import IndexUnavailable
from freshet.streams.index.bundle_index import index_of
from freshet.streams.settings import Settings
from freshet.streams.state.article_vectors import checked_vector, indexed_article
from freshet.workers.bench.client import BenchClient, bench_client, request_id
from freshet.workers.bench.events import BUNDLE, article_vectors, user_id
from freshet.workers.bench.ground import BenchGround
from freshet.workers.bench.latency import K, prepare, wait_until_answered
from freshet.workers.bench.report import BenchReport, Figure, Machine, percentile_ms
from freshet.workers.bench.throughput import drained
from freshet.workers.errors import WorkerError
from freshet.workers.processes.worker_process import WorkerProcess, stream_worker

RATE_PER_S = 200.0
SECONDS = 20.0
TARGET_DEGRADED_P99_MS = 50.0

_HOST = "127.0.0.1"
_HEALTHY = "answering"
_FAULT_AFTER_S = 1.0
"""Seconds from the first request of a turn to the fault."""
_START_TIMEOUT_S = 60.0
_PROBE_EVERY_S = 0.1


@dataclass(slots=True)
class _Turn:
    """Findings of one turn."""

    floor_s: list[float]
    """The echo's latencies, just before."""
    answers: list[tuple[float, bool]]
    """Latency of each request, and whether its answer was degraded."""
    back_after_s: float
    """Seconds from the server's return to the first answer with the index."""


class QdrantServer:
    """A Qdrant server whose points outlive its process."""

    def __init__(self, program: Path, folder: Path) -> None:
        folder.mkdir()
        self._program = program
        self._log = folder / "qdrant.log"
        self.http_port, self.grpc_port = _free_port(), _free_port()
        self._environment = os.environ | {
            "QDRANT__SERVICE__HOST": _HOST,
            "QDRANT__SERVICE__HTTP_PORT": str(self.http_port),
            "QDRANT__SERVICE__GRPC_PORT": str(self.grpc_port),
            "QDRANT__STORAGE__STORAGE_PATH": str(folder / "storage"),
            "QDRANT__STORAGE__SNAPSHOTS_PATH": str(folder / "snapshots"),
            "QDRANT__TELEMETRY_DISABLED": "true",
        }
        self._folder = folder
        self.start()

    def start(self) -> None:
        """Start it, for the first time or again."""
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [self._program.absolute()],
                cwd=self._folder,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def signal(self, number: signal.Signals) -> None:
        """Stop it or have it go on."""
        self._process.send_signal(number)

    def kill(self) -> None:
        """Kill it outright."""
        self._process.kill()
        self._process.wait()

    def check(self) -> None:
        """Do nothing while it runs.

        Raises:
            WorkerError: It ended by itself.
        """
        if (status := self._process.poll()) is not None:
            tail = self._log.read_text(errors="replace")[-2_000:]
            raise WorkerError(f"{self._program} ended with status {status}. The end of its log:\n{tail}")


def run(
    ground: BenchGround,
    program: Path,
    *,
    rate_per_s: float = RATE_PER_S,
    seconds: float = SECONDS,
    users: int = 2_000,
    articles: int = 10_000,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> BenchReport:
    """Measure a server that answers, one that hangs and one that is gone, each for ``seconds``.

    Args:
        ground: Where.
        program: The Qdrant server's.
        rate_per_s: Requests per second.
        seconds: For each turn.
        users: Who ask; each has a state.
        articles: In the index.
        progress: Told how many turns are done, and of how many.

    Raises:
        WorkerError: A process ended.
        TimeoutError: A request was not answered.
    """
    machine = Machine.here()
    with _qdrant(program, ground.folder / "qdrant") as server:
        ours = ground.settings("outage").model_copy(
            update={"qdrant_url": f"http://{_HOST}:{server.http_port}", "qdrant_grpc_port": server.grpc_port}
        )
        floor = ground.settings("echo")
        asyncio.run(prepare(ours, users, articles))
        _index(ours, 50, server)
        echo = WorkerProcess(
            ["-m", "freshet.workers.bench.floors", "faust-echo"], floor, floor.data_dir / "echo.log"
        )
        with stream_worker(ours) as worker, echo:
            asyncio.run(drained(ours, worker, 5 * users))
            turns = asyncio.run(
                _measured(
                    ours,
                    floor,
                    server,
                    rate_per_s=rate_per_s,
                    seconds=seconds,
                    users=users,
                    progress=progress,
                )
            )
            worker.check()
            echo.check()
    details: dict[str, Any] = {
        "rate_per_s": rate_per_s,
        "seconds": seconds,
        "users": users,
        "articles": articles,
    }
    return BenchReport("outage", list(_figures(turns, details)), machine, details)


def _figures(turns: dict[str, _Turn], details: dict[str, Any]) -> Iterator[Figure]:
    for name, turn in turns.items():
        degraded_s = [took_s for took_s, degraded in turn.answers if degraded]
        details[name] = {
            "answers": len(turn.answers),
            "degraded": len(degraded_s),
            **{
                f"p{percentile:g}_ms": percentile_ms([took_s for took_s, _ in turn.answers], percentile)
                for percentile in (50, 90, 99, 99.9, 100)
            },
            "back_after_s": turn.back_after_s,
        }
        healthy = name == _HEALTHY
        counted_s = [took_s for took_s, _ in turn.answers] if healthy else degraded_s
        what = f"answers, the server {name}" if healthy else f"degraded answers, the server {name}"
        p99 = percentile_ms(counted_s, 99)
        floor_what = "a Faust agent that echoes"
        yield Figure(
            f"{what}, p50", percentile_ms(counted_s, 50), "ms", percentile_ms(turn.floor_s, 50), floor_what
        )
        yield Figure(
            f"{what}, p99",
            p99,
            "ms",
            percentile_ms(turn.floor_s, 99),
            floor_what,
            "" if healthy else f"< {TARGET_DEGRADED_P99_MS:g} ms",
            None if healthy else p99 < TARGET_DEGRADED_P99_MS,
        )


async def _measured(
    ours: Settings,
    floor: Settings,
    server: QdrantServer,
    *,
    rate_per_s: float,
    seconds: float,
    users: int,
    progress: Callable[[int, int], None],
) -> dict[str, _Turn]:
    rng = np.random.default_rng(11)
    count = max(1, round(rate_per_s * seconds))

    def requests() -> list[RecommendationRequest]:
        return [_request(user_id(int(user))) for user in rng.integers(users, size=count)]

    def nothing() -> None:
        pass

    turns: dict[str, tuple[Callable[[], None], Callable[[], None]]] = {
        _HEALTHY: (nothing, nothing),
        "hanging": (lambda: server.signal(signal.SIGSTOP), lambda: server.signal(signal.SIGCONT)),
        "gone": (server.kill, server.start),
    }
    found: dict[str, _Turn] = {}
    async with bench_client(ours) as freshet, bench_client(floor) as echo:
        for client in (freshet, echo):
            await wait_until_answered(client, user_id(0))
            await client.latencies_s(requests(), rate_per_s)
        for number, (name, (fail, mend)) in enumerate(turns.items(), 1):
            await _until_indexed(freshet)
            floor_s = await echo.latencies_s(requests(), rate_per_s)
            asyncio.get_running_loop().call_later(_FAULT_AFTER_S, fail)
            answers = await freshet.answers(requests(), rate_per_s)
            mend()
            back_after_s = await _until_indexed(freshet)
            server.check()
            found[name] = _Turn(
                floor_s,
                [(took_s, answer.value.get("degraded") is not None) for took_s, answer in answers],
                back_after_s,
            )
            progress(number, len(turns))
    return found


async def _until_indexed(client: BenchClient) -> float:
    """Seconds until an answer rests on the index.

    Raises:
        TimeoutError: None does.
    """
    began_s = time.monotonic()
    async with asyncio.timeout(_START_TIMEOUT_S):
        while (await client.ask(_request(user_id(0)))).value.get("degraded") is not None:
            await asyncio.sleep(_PROBE_EVERY_S)
    return time.monotonic() - began_s


def _request(user: str) -> RecommendationRequest:
    return RecommendationRequest(request_id=request_id(), user_id=user, time=datetime.now(UTC), k=K)


def _index(settings: Settings, count: int, server: QdrantServer) -> None:
    """Index the articles that are on ``article-vectors``."""
    articles = [ArticleVector.from_json(value) for _, value in article_vectors(count, settings.dimension)]
    indexed = [
        indexed_article(each, checked_vector(each.vector, settings.dimension), withdrawn=False)
        for each in articles
    ]
    index = index_of(settings, settings.dimension, serves=False)
    index.open(BUNDLE)
    deadline_s = time.monotonic() + _START_TIMEOUT_S
    try:
        while True:
            try:
                index.upsert(indexed)
                return
            except IndexUnavailable:
                server.check()
                if time.monotonic() > deadline_s:
                    raise
                time.sleep(_PROBE_EVERY_S)
    finally:
        index.close()


@contextmanager
def _qdrant(program: Path, folder: Path) -> Iterator[QdrantServer]:
    server = QdrantServer(program, folder)
    try:
        yield server
    finally:
        server.kill()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((_HOST, 0))
        port: int = probe.getsockname()[1]
        return port
