"""Impressions per second through one stream worker with all effects, beside two processes that only decode.

A round publishes the same impressions to topics of its own, then lets the bare consumer, the Faust agent and
the worker read them, one after the other, each in a process of its own. Rounds repeat; the median counts. The
worker is measured from outside, from the first committed offset to the moment when every impression *and*
every slate batch that follows from it are committed, which means delivered: states and their changelog, user
vectors, statistics. Processor time is reported too, because other programs on the machine change it little.
"""

from __future__ import annotations

import asyncio
import json
import statistics
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import GroupCoordinatorNotAvailableError

from freshet.streams.kafka.connection import client_config, topic_name
from freshet.streams.kafka.consumers import aiokafka_consumer
from freshet.streams.kafka.topics import IMPRESSIONS, SLATES, Topic
from freshet.streams.settings import Settings
from freshet.workers.bench.events import impressions, publish, publish_articles
from freshet.workers.bench.ground import BenchGround
from freshet.workers.bench.report import BenchReport, Figure, Machine
from freshet.workers.errors import WorkerError
from freshet.workers.processes.worker_process import WorkerProcess, stream_worker

TARGET_RATIO = 0.5
"""Target as a share of the Faust agent that only decodes."""

_POLL_S = 0.05
_DEADLINE_S = 300.0


@dataclass(frozen=True, slots=True)
class Drained:
    """Rate at which one process read the impressions."""

    per_s: float
    """Impressions per second until everything was done."""
    cpu_us: float
    """Processor time of an impression, microseconds."""
    impressions_only_per_s: float = float("nan")
    """Impressions per second until the last was committed; the statistics may be behind."""


@dataclass(frozen=True, slots=True)
class _Sides:
    consumer: list[Drained] = field(default_factory=list)
    faust: list[Drained] = field(default_factory=list)
    worker: list[Drained] = field(default_factory=list)


def run(
    ground: BenchGround,
    *,
    count: int = 30_000,
    users: int = 3_000,
    articles: int = 10_000,
    rounds: int = 3,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> BenchReport:
    """Measure ``rounds`` rounds of ``count`` impressions.

    Args:
        ground: Where.
        count: Impressions of a round.
        users: That they are of: so many impressions are of users not seen before.
        articles: With vectors, published before.
        rounds: Of which the median counts.
        progress: Told how many processes have been measured, and of how many.

    Raises:
        WorkerError: A process ended, or was not done in time.
    """
    machine = Machine.here()
    sides = _Sides()
    for number in range(rounds):
        settings = ground.settings(f"throughput-{number}")
        asyncio.run(_prepare(settings, count, users, articles))
        sides.consumer.append(_floor(settings, "aiokafka-decode", count))
        progress(3 * number + 1, 3 * rounds)
        sides.faust.append(_floor(settings, "faust-decode", count))
        progress(3 * number + 2, 3 * rounds)
        with stream_worker(settings) as worker:
            sides.worker.append(asyncio.run(drained(settings, worker, count)))
        progress(3 * number + 3, 3 * rounds)
    return _report(
        sides, machine, {"impressions": count, "users": users, "articles": articles, "rounds": rounds}
    )


async def drained(settings: Settings, worker: WorkerProcess, count: int) -> Drained:
    """Watch ``worker`` commit ``count`` impressions and all slates that follow.

    Raises:
        WorkerError: It ended, or was not done in time.
    """
    admin = AIOKafkaAdminClient(**client_config(settings))
    await admin.start()
    try:
        async with asyncio.timeout(_DEADLINE_S):
            while not (first := await _committed(admin, settings, IMPRESSIONS)):
                worker.check()
                await asyncio.sleep(_POLL_S)
            started_s, started_cpu_s = time.perf_counter(), worker.cpu_s()
            while await _committed(admin, settings, IMPRESSIONS) < count:
                worker.check()
                await asyncio.sleep(_POLL_S)
            read_s = time.perf_counter() - started_s
            slates = await _published(settings, SLATES)
            while await _committed(admin, settings, SLATES) < slates:
                worker.check()
                await asyncio.sleep(_POLL_S)
            done_s, done_cpu_s = time.perf_counter() - started_s, worker.cpu_s() - started_cpu_s
    except TimeoutError:
        raise WorkerError(
            f"The worker was not done with {count} impressions within {_DEADLINE_S:g} s; its log is "
            f"{worker.log_file}."
        ) from None
    finally:
        await admin.close()
    measured = count - first
    if measured <= 0 or read_s <= 0:
        raise WorkerError(f"{count} impressions were done before they could be measured: take more of them.")
    return Drained(measured / done_s, 1e6 * done_cpu_s / measured, measured / read_s)


async def _prepare(settings: Settings, count: int, users: int, articles: int) -> None:
    await publish_articles(settings, articles)
    await publish(settings, IMPRESSIONS, impressions(count, users, articles))


def _floor(settings: Settings, kind: str, count: int) -> Drained:
    log_file = settings.data_dir / f"{kind}.log"
    worker = WorkerProcess(["-m", "freshet.workers.bench.floors", kind, str(count)], settings, log_file)
    try:
        status = worker.wait(_DEADLINE_S)
    except subprocess.TimeoutExpired:
        raise WorkerError(f"{kind} was not done within {_DEADLINE_S:g} s.") from None
    finally:
        worker.stop()
    lines = log_file.read_text().splitlines()
    if status != 0 or not lines:
        raise WorkerError(f"{kind} ended with status {status}:\n" + "\n".join(lines[-20:]))
    result = json.loads(lines[-1])
    return Drained(result["records"] / result["seconds"], 1e6 * result["cpu_seconds"] / result["records"])


async def _committed(admin: AIOKafkaAdminClient, settings: Settings, topic: Topic) -> int:
    try:
        offsets = await admin.list_consumer_group_offsets(f"{settings.topic_prefix}stream")
    except GroupCoordinatorNotAvailableError:
        return 0  # a new broker has none before its first group comes
    name = topic_name(settings, topic.name)
    return sum(max(0, stored.offset) for partition, stored in offsets.items() if partition.topic == name)


async def _published(settings: Settings, topic: Topic) -> int:
    consumer = aiokafka_consumer(settings)
    await consumer.start()
    try:
        name = topic_name(settings, topic.name)
        partitions = [TopicPartition(name, partition) for partition in range(settings.partitions)]
        return sum((await consumer.end_offsets(partitions)).values())
    finally:
        await consumer.stop()


def _report(sides: _Sides, machine: Machine, sizes: dict[str, int]) -> BenchReport:
    ours, faust, consumer = (
        statistics.median(side.per_s for side in rounds)
        for rounds in (sides.worker, sides.faust, sides.consumer)
    )
    our_cpu_us, faust_cpu_us = (
        statistics.median(side.cpu_us for side in rounds) for rounds in (sides.worker, sides.faust)
    )
    what = "impressions through one worker, all effects"
    return BenchReport(
        "throughput",
        [
            Figure(
                what,
                ours,
                "/s",
                faust,
                "a Faust agent that decodes",
                f">= {TARGET_RATIO:g} x",
                ours >= TARGET_RATIO * faust,
                _spread([side.per_s for side in sides.worker]),
            ),
            Figure(what, ours, "/s", consumer, "an aiokafka consumer that decodes"),
            Figure(
                "processor time of an impression",
                our_cpu_us,
                "µs",
                faust_cpu_us,
                "a Faust agent that decodes",
            ),
        ],
        machine,
        sizes
        | {
            name: [
                {
                    "per_s": side.per_s,
                    "cpu_us": side.cpu_us,
                    "impressions_only_per_s": side.impressions_only_per_s,
                }
                for side in rounds
            ]
            for name, rounds in (
                ("worker", sides.worker),
                ("faust_decode", sides.faust),
                ("aiokafka_decode", sides.consumer),
            )
        },
    )


def _spread(values: Sequence[float]) -> tuple[float, float]:
    return min(values), max(values)
