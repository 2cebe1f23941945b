"""Floors of the benchmarks, each a process of its own: ``python -m freshet.workers.bench.floors``.

``faust-decode`` and ``aiokafka-decode`` read the impressions, decode their JSON with orjson, the fastest
there is, and do nothing else; each prints one JSON object and ends. ``faust-echo`` answers every request with
the request itself until it is stopped. Settings come from the environment, as for every worker.
"""

from __future__ import annotations

import asyncio
import json
import signal
import sys
import time
from collections.abc import Awaitable, Callable
from typing import Any

import faust
import orjson
from aiokafka import TopicPartition
from faust.types import StreamT
from yarl import URL

from freshet.streams.kafka.connection import topic_name
from freshet.streams.kafka.consumers import aiokafka_consumer
from freshet.streams.kafka.topics import IMPRESSIONS, RECOMMENDATIONS, REQUESTS
from freshet.streams.settings import Settings


async def faust_decode(settings: Settings, records: int) -> dict[str, float]:
    """Decode ``records`` impressions in a Faust agent; wall and processor seconds, first to last record."""
    app = _app(settings)
    finished = asyncio.Event()
    clock = _Clock(records)

    async def decode(stream: StreamT[bytes]) -> None:
        async for value in stream:
            orjson.loads(value)
            if clock.tick():
                finished.set()

    app.agent(_channel(app, topic_name(settings, IMPRESSIONS.name)), name="decode")(decode)
    app.finalize()
    await app.start()
    await finished.wait()
    await app.stop()
    return clock.result()


async def aiokafka_decode(settings: Settings, records: int) -> dict[str, float]:
    """Decode ``records`` impressions with a plain consumer; wall and processor seconds."""
    consumer = aiokafka_consumer(settings, auto_offset_reset="earliest")
    await consumer.start()
    clock = _Clock(records)
    try:
        name = topic_name(settings, IMPRESSIONS.name)
        partitions = [TopicPartition(name, partition) for partition in range(settings.partitions)]
        consumer.assign(partitions)
        await consumer.seek_to_beginning(*partitions)
        # From the first fetch, not the first record: a fetch brings thousands of records, ready to decode.
        clock.start()
        finished = False
        while not finished:
            for batch in (await consumer.getmany(timeout_ms=500)).values():
                for record in batch:
                    orjson.loads(record.value)
                    finished = clock.tick()
    finally:
        await consumer.stop()
    return clock.result()


async def faust_echo(settings: Settings) -> None:
    """Send every request back as its own answer, until SIGTERM."""
    app = _app(settings)
    answers = _channel(app, topic_name(settings, RECOMMENDATIONS.name))

    async def echo(stream: StreamT[bytes]) -> None:
        async for event in stream.events():
            await answers.send(key=event.message.key, value=event.message.value)

    app.agent(_channel(app, topic_name(settings, REQUESTS.name)), name="echo")(echo)
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    app.finalize()
    await app.start()
    await stop.wait()
    await app.stop()


class _Clock:
    """Counts records, and measures from the first to the last."""

    def __init__(self, records: int) -> None:
        self._records = records
        self._seen = 0
        self._start = self._end = (0.0, 0.0)

    def start(self) -> None:
        """Measure from now."""
        self._start = time.perf_counter(), time.process_time()

    def tick(self) -> bool:
        """Count one record; return whether it was the last."""
        self._seen += 1
        if self._seen == 1 and not any(self._start):
            self.start()
        if self._seen == self._records:
            self._end = time.perf_counter(), time.process_time()
        return self._seen >= self._records

    def result(self) -> dict[str, float]:
        seconds, cpu_seconds = (end - start for start, end in zip(self._start, self._end, strict=True))
        return {"records": self._records, "seconds": seconds, "cpu_seconds": cpu_seconds}


def _app(settings: Settings) -> faust.App:
    return faust.App(
        f"{settings.topic_prefix}floor",
        broker=[URL(f"aiokafka://{server}") for server in settings.bootstrap_servers.split(",")],
        store="memory://",
        datadir=settings.data_dir.absolute() / "floor",
        autodiscover=False,
        web_enabled=False,
        topic_partitions=settings.partitions,
        topic_replication_factor=settings.replication,
        topic_disable_leader=True,
        consumer_auto_offset_reset="earliest",
    )


def _channel(app: faust.App, name: str) -> Any:
    return app.topic(name, key_type=bytes, value_type=bytes, key_serializer="raw", value_serializer="raw")


def main(arguments: list[str]) -> None:
    """Run the floor that the first argument names; the second is the number of records, where it has one."""
    settings = Settings()
    kind = arguments[0]
    if kind == "faust-echo":
        asyncio.run(faust_echo(settings))
        return
    decoders: dict[str, Callable[[Settings, int], Awaitable[dict[str, float]]]] = {
        "faust-decode": faust_decode,
        "aiokafka-decode": aiokafka_decode,
    }

    async def run() -> dict[str, float]:
        return await decoders[kind](settings, int(arguments[1]))

    print(json.dumps(asyncio.run(run())))


if __name__ == "__main__":
    main(sys.argv[1:])
