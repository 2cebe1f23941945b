"""A worker whose Qdrant server hangs, is killed, fails or is slow answers everybody, and recovers by itself.

The server is the stand-in of the tests, a process of its own that is stopped and killed for real. What a
green run does not prove is how fast the answers are: ``freshet bench outage`` measures that.
"""

from __future__ import annotations

import asyncio
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from freshet.models.events.events import ArticleVector, Control, Recommendation, RecommendationRequest
from freshet.models.ports import IndexUnavailable
from freshet.streams.index.bundle_index import BundleIndex, index_of
from freshet.streams.settings import Settings
from freshet.streams.state.article_vectors import indexed_article
from freshet.workers.processes.kafka.broker import LocalKafka
from tests.integration.served_world import NOW, World, article, articles, ids_of, served
from tests.integration.stream_harness import BUNDLE, keyed, send, settings_for, wait_for
from tests.repository import ROOT
from tests.waiting import HANG_S

pytestmark = pytest.mark.broker

BURST = 120
"""Requests at a time: more than the worker takes at once, and thirty for each thread that searches."""
RATE_PER_S = 100.0


class QdrantProcess:
    """The stand-in, which keeps its points in a folder."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self._folder = folder
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port: int = probe.getsockname()[1]
        self.start()

    def start(self) -> None:
        program = [sys.executable, "-m", "tests.qdrant_stand_in", str(self.port), str(self._folder)]
        self._process = subprocess.Popen(program, cwd=ROOT)

    def send(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()

    def fault(self, name: str) -> None:
        """From now on ``slow``, failing with ``errors``, or as it should be."""
        (self._folder / "fault").write_text(name)


@pytest.fixture
def qdrant(tmp_path: Path) -> Iterator[QdrantProcess]:
    server = QdrantProcess(tmp_path / "qdrant")
    yield server
    server.kill()


async def hold(settings: Settings, *published: ArticleVector) -> None:
    """Index articles as soon as the server answers, as an embedding worker does."""
    with indexed(settings) as index:

        async def written() -> bool:
            try:
                index.upsert(
                    [
                        indexed_article(each, np.array(each.vector, np.float32), withdrawn=False)
                        for each in published
                    ]
                )
            except IndexUnavailable:
                return False
            return True

        await wait_for(written, "the server to take articles")


@contextmanager
def indexed(settings: Settings) -> Iterator[BundleIndex]:
    """What the server holds, past the worker."""
    index = index_of(settings, settings.dimension, serves=False)
    index.open(BUNDLE)
    try:
        yield index
    finally:
        index.close()


def burst(world: World, name: str) -> list[Recommendation]:
    """The answers to requests at a bounded rate, of as many users."""
    waiting = []
    due_s = time.monotonic()
    for number in range(BURST):
        due_s += 1.0 / RATE_PER_S
        time.sleep(max(0.0, due_s - time.monotonic()))
        request = RecommendationRequest(request_id=f"{name}-{number}", user_id=f"U{number}", time=NOW, k=40)
        waiting.append(world.client.submit(request))
    return [future.result(timeout=HANG_S) for future in waiting]


def back(world: World) -> None:
    """Wait until answers rest on the index again, and warm those of the bursts."""

    async def undegraded() -> bool:
        return world.recommend("U-probe").degraded is None

    asyncio.run(world.until(undegraded, "the index to be used again"))
    burst(world, f"warm-{time.monotonic()}")


async def _told(index: BundleIndex, hidden: str, clicked: str) -> bool:
    held = index.get([hidden, clicked])
    return held[hidden].withdrawn and held[clicked].popularity > 0


def test_whichever_way_the_index_fails_everybody_is_answered_and_nothing_is_lost(
    kafka: LocalKafka, tmp_path: Path, qdrant: QdrantProcess
) -> None:
    settings = settings_for(kafka, tmp_path / "worker").model_copy(
        update={"qdrant_url": "http://127.0.0.1", "qdrant_grpc_port": qdrant.port}
    )
    asyncio.run(hold(settings, *articles()))
    environment = {
        "FRESHET_QDRANT_URL": "http://127.0.0.1",
        "FRESHET_QDRANT_GRPC_PORT": str(qdrant.port),
        # A busy machine takes longer than publishers want to wait; SLOW_S for each of three searches is late.
        "FRESHET_QDRANT_SEARCH_TIMEOUT_S": "0.7",
        "FRESHET_QDRANT_TIMEOUT_S": "2",
    }
    qdrant.send(signal.SIGSTOP)
    with served(settings, **environment) as world:
        log = world.worker.log_file
        assert {answer.degraded for answer in burst(world, "start")} == {"trending"}
        qdrant.send(signal.SIGCONT)
        back(world)

        faults: list[tuple[str, Callable[[], None], Callable[[], None]]] = [
            ("hangs", lambda: qdrant.send(signal.SIGSTOP), lambda: qdrant.send(signal.SIGCONT)),
            ("gone", qdrant.kill, qdrant.start),
            ("errors", lambda: qdrant.fault("errors"), lambda: qdrant.fault("")),
            ("slow", lambda: qdrant.fault("slow"), lambda: qdrant.fault("")),
        ]
        for number, (name, fail, mend) in enumerate(faults):
            before = len(log.read_text().splitlines())
            fail()
            answers = burst(world, name)
            assert {answer.degraded for answer in answers} <= {"cached", "trending"}, name
            assert all(answer.items for answer in answers), name
            said = log.read_text().splitlines()[before:]
            assert [line for line in said if "is out of order" in line], name
            assert len(said) < BURST / 10, f"{name}: a line for each request says no more than one"

            hidden, clicked = f"S{number}", f"P{number}"
            withdrawn = Control(kind="article-withdrawn", subject=hidden, time=NOW)
            world.click(f"U-click-{number}", clicked)
            fresh = article(f"S-{name}", "sport", age_s=1.0)
            meanwhile = [
                keyed("control", withdrawn, withdrawn.key),
                keyed("article-vectors", fresh, fresh.key),
            ]
            asyncio.run(send(settings, meanwhile))
            with ThreadPoolExecutor(1) as embedding:
                holding = embedding.submit(asyncio.run, hold(settings, fresh))
                mend()
                holding.result()
            back(world)
            with indexed(settings) as index:
                told = partial(_told, index, hidden, clicked)
                asyncio.run(world.until(told, f"{name}: the index to be told what happened meanwhile"))
            assert f"S-{name}" in ids_of(world.recommend("U-probe", k=40))
