"""Request to recommendation at a constant rate, beside a Faust agent that echoes the same requests.

Top-k requests go through the embedded index of all articles; requests to rank name 37 candidates. The users
have states. Freshet and the echo run side by side and are asked by turns by the same client, so that a busy
machine slows both. Latencies count from when each request was due (:mod:`freshet.workers.bench.client`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Literal

import numpy as np

from freshet.models.events.events import RecommendationRequest
from freshet.streams.kafka.topics import IMPRESSIONS
from freshet.streams.settings import Settings
from freshet.workers.bench.client import BenchClient, bench_client, request_id
from freshet.workers.bench.events import (
    CANDIDATES,
    article_id,
    impressions,
    publish,
    publish_articles,
    user_id,
)
from freshet.workers.bench.ground import BenchGround
from freshet.workers.bench.report import BenchReport, Figure, Machine, percentile_ms
from freshet.workers.bench.throughput import drained
from freshet.workers.processes.worker_process import WorkerProcess, stream_worker

TARGET_RATIO_P50 = 2.0
TARGET_P99_MS = 100.0
K = 10
RATE_PER_S = 100.0
SECONDS = 20.0

_ROUNDS = 2
_SHOWN = 1_000
"""The fewest articles that impressions show, with a vector or not."""
_WARM_UP_REQUESTS = 100
Kind = Literal["top-k", "rank"]
_KINDS: tuple[Kind, ...] = ("top-k", "rank")


def run(
    ground: BenchGround,
    *,
    rate_per_s: float = RATE_PER_S,
    seconds: float = SECONDS,
    users: int = 2_000,
    articles: int = 10_000,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> BenchReport:
    """Measure each kind of request for ``seconds``, and the echo of the same requests as long.

    Args:
        ground: Where.
        rate_per_s: Requests per second.
        seconds: For each kind, and each side.
        users: Who ask; each has a state.
        articles: In the index.
        progress: Told how many turns are done, and of how many.

    Raises:
        WorkerError: A process ended.
        TimeoutError: A request was not answered.
    """
    machine = Machine.here()
    ours, floor = ground.settings("latency"), ground.settings("echo")
    asyncio.run(prepare(ours, users, articles))
    echo = WorkerProcess(
        ["-m", "freshet.workers.bench.floors", "faust-echo"], floor, floor.data_dir / "echo.log"
    )
    with stream_worker(ours) as worker, echo:
        asyncio.run(drained(ours, worker, 5 * users))
        measured = asyncio.run(
            _measured(
                ours,
                floor,
                rate_per_s=rate_per_s,
                seconds=seconds,
                users=users,
                articles=articles,
                progress=progress,
            )
        )
        worker.check()
        echo.check()
    figures = []
    for kind in _KINDS:
        times_s, floor_s = measured["freshet", kind], measured["echo", kind]
        p50, p99 = percentile_ms(times_s, 50), percentile_ms(times_s, 99)
        floor_p50 = percentile_ms(floor_s, 50)
        what = f"top-{K} of {articles:,} articles" if kind == "top-k" else f"ranking {CANDIDATES} candidates"
        figures += [
            Figure(
                f"{what}, p50",
                p50,
                "ms",
                floor_p50,
                "a Faust agent that echoes",
                f"<= {TARGET_RATIO_P50:g} x",
                p50 <= TARGET_RATIO_P50 * floor_p50,
            ),
            Figure(
                f"{what}, p99",
                p99,
                "ms",
                percentile_ms(floor_s, 99),
                "a Faust agent that echoes",
                f"< {TARGET_P99_MS:g} ms",
                p99 < TARGET_P99_MS,
            ),
        ]
    details = {"rate_per_s": rate_per_s, "seconds": seconds, "users": users, "articles": articles}
    percentiles = {
        f"{side}_{kind}_p{percentile:g}_ms": percentile_ms(times_s, percentile)
        for (side, kind), times_s in measured.items()
        for percentile in (50, 90, 99, 99.9, 100)
    }
    return BenchReport("latency", figures, machine, details | percentiles)


async def prepare(settings: Settings, users: int, articles: int) -> None:
    """Publish ``articles`` with vectors, and impressions, five for each user in the mean."""
    await publish_articles(settings, articles)
    await publish(settings, IMPRESSIONS, impressions(5 * users, users, max(articles, _SHOWN)))


async def wait_until_answered(client: BenchClient, user: str) -> None:
    """Return when a request is answered: whoever answers has started.

    Raises:
        TimeoutError: None is.
    """
    await client.ask(RecommendationRequest(request_id=request_id(), user_id=user, time=datetime.now(UTC)))


async def _measured(
    ours: Settings,
    floor: Settings,
    *,
    rate_per_s: float,
    seconds: float,
    users: int,
    articles: int,
    progress: Callable[[int, int], None],
) -> dict[tuple[str, Kind], list[float]]:
    rng = np.random.default_rng(11)
    times_s: dict[tuple[str, Kind], list[float]] = {}
    count = max(1, round(rate_per_s * seconds / _ROUNDS))
    async with bench_client(ours) as freshet, bench_client(floor) as echo:
        turns = [
            (side, client, kind) for kind in _KINDS for side, client in (("echo", echo), ("freshet", freshet))
        ]
        for _, client, kind in turns:
            await wait_until_answered(client, user_id(0))
            await client.latencies_s(_requests(kind, _WARM_UP_REQUESTS, users, articles, rng), rate_per_s)
        for number, (side, client, kind) in enumerate(_ROUNDS * turns, 1):
            requests = _requests(kind, count, users, articles, rng)
            times_s.setdefault((side, kind), []).extend(await client.latencies_s(requests, rate_per_s))
            progress(number, _ROUNDS * len(turns))
    return times_s


def _requests(
    kind: Kind, count: int, users: int, articles: int, rng: np.random.Generator
) -> list[RecommendationRequest]:
    now = datetime.now(UTC)
    return [
        RecommendationRequest(
            request_id=request_id(),
            user_id=user_id(int(rng.integers(users))),
            time=now,
            k=K,
            candidates=None
            if kind == "top-k"
            else tuple(article_id(row) for row in rng.choice(articles, CANDIDATES, replace=False).tolist()),
        )
        for _ in range(count)
    ]
