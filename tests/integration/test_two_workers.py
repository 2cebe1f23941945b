"""Two workers share the users, and when one goes, cleanly or not, the other goes on with all it knew."""

from __future__ import annotations

import socket
import time
import urllib.request
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import ExitStack
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from freshet.models.events.events import Recommendation, RecommendationRequest, from_unix_s
from freshet.streams.client import Freshet
from freshet.streams.kafka.connection import topic_name
from freshet.streams.kafka.topic_admin import ensure_topics
from freshet.streams.settings import Settings
from freshet.workers.processes.kafka.broker import LocalKafka
from tests.integration.stream_harness import (
    START_S,
    StreamProcess,
    keyed,
    send,
    settings_for,
    vectors,
    wait_for,
)
from tests.waiting import HANG_S

pytestmark = pytest.mark.broker

_ARTICLES = 20
_USERS = [f"U{i}" for i in range(60)]
_NOW = from_unix_s(START_S + 3_600.0)
_RENEWED_S = 2.0
"""A worker computes the population's vector anew every second."""


class Worker:
    """One of the two, which can be started again with what its disk holds."""

    def __init__(self, settings: Settings, name: str) -> None:
        self._settings = settings
        self._data_dir = settings.data_dir / name
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self._port = free.getsockname()[1]
        self.process: StreamProcess
        self.start()

    def start(self) -> None:
        self.process = StreamProcess(self._settings, self._data_dir, FRESHET_METRICS_PORT=str(self._port))

    def handled(self, topic: str) -> float:
        """How many events of a topic this process has handled; 0 before it answers."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self._port}/metrics", timeout=5) as page:
                text = page.read().decode()
        except OSError:
            return 0.0
        name = topic_name(self._settings, topic)
        return sum(
            sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
            if sample.name == "freshet_events_total" and sample.labels["topic"] == name
        )

    def end(self) -> None:
        if self.process.process.poll() is None:
            self.process.kill()


class Pair:
    """Two workers, a client, and how often each user has clicked."""

    def __init__(self, settings: Settings, first: Worker, second: Worker, client: Freshet) -> None:
        self.settings = settings
        self.first = first
        self.second = second
        self.client = client
        self.clicks = dict.fromkeys(_USERS, 0)
        self._asked = 0

    def click(self, rounds: int) -> None:
        """Each user clicks, and some more often than others."""
        for turn in range(rounds):
            for i, user_id in enumerate(_USERS):
                if i % rounds >= turn:
                    at = from_unix_s(START_S + self.clicks[user_id])
                    self.client.click(user_id, f"N{(i + turn) % _ARTICLES}", time=at)
                    self.clicks[user_id] += 1

    def ask(self) -> dict[str, Recommendation]:
        """An answer for every user."""
        asked: dict[str, Future[Recommendation]] = {}
        for user_id in _USERS:
            self._asked += 1
            request = RecommendationRequest(
                request_id=f"R{self._asked}",
                user_id=user_id,
                time=_NOW,
                candidates=tuple(f"N{i}" for i in range(_ARTICLES)),
            )
            asked[user_id] = self.client.submit(request)
        return {user_id: future.result(HANG_S) for user_id, future in asked.items()}

    async def states_met(self) -> dict[str, Recommendation]:
        """Answers that rest on every user's every click."""

        async def met() -> dict[str, Recommendation] | None:
            answers = self.ask()
            clicks = {user_id: answer.user_clicks for user_id, answer in answers.items()}
            assert all(clicks[user_id] <= self.clicks[user_id] for user_id in _USERS), "none counted twice"
            return answers if clicks == self.clicks else None

        return await wait_for(met, "every request to meet its user's state")

    async def shared(self) -> None:
        """Wait until both workers handle requests."""
        handled = [worker.handled("recommendation-requests") for worker in (self.first, self.second)]

        async def both() -> bool:
            self.ask()
            now = [worker.handled("recommendation-requests") for worker in (self.first, self.second)]
            return all(after > before for after, before in zip(now, handled, strict=True))

        await wait_for(both, "both workers to handle requests", [self.first.process, self.second.process])


@pytest.fixture
def pair(kafka: LocalKafka, tmp_path: Path) -> Iterator[Pair]:
    settings = settings_for(kafka, tmp_path)
    ensure_topics(settings)
    with ExitStack() as stack:
        workers = []
        for name in ("first", "second"):
            workers.append(Worker(settings, name))
            stack.callback(workers[-1].end)
        yield Pair(settings, *workers, stack.enter_context(Freshet(settings)))


def _alike(answers: dict[str, Recommendation], others: dict[str, Recommendation]) -> bool:
    """Whether every article has the same score for every user, up to rounding."""

    def scores(answer: Recommendation) -> list[float]:
        return [item.score for item in sorted(answer.items, key=lambda item: item.news_id)]

    return all(scores(answers[user]) == pytest.approx(scores(others[user]), abs=1e-3) for user in _USERS)


async def test_a_worker_that_goes_leaves_every_state_to_the_other(pair: Pair) -> None:
    settings = pair.settings
    await send(settings, [keyed("article-vectors", v, v.key) for v in vectors(settings, _ARTICLES)])
    await pair.shared()
    pair.click(rounds=3)
    await pair.states_met()
    assert pair.first.handled("clicks") > 0
    assert pair.second.handled("clicks") > 0
    assert pair.first.handled("clicks") + pair.second.handled("clicks") == sum(pair.clicks.values())

    before = await _settled(pair)
    assert pair.first.process.stop() == 0
    after = await pair.states_met()
    assert _alike(after, before)
    pair.click(rounds=2)
    await pair.states_met()

    pair.first.start()
    await pair.shared()
    pair.click(rounds=2)
    await pair.states_met()
    before = await _settled(pair)
    pair.second.process.kill()
    after = await pair.states_met()
    assert _alike(after, before)
    pair.click(rounds=2)
    await pair.states_met()


async def _settled(pair: Pair) -> dict[str, Recommendation]:
    """Answers that rest on every click and have stayed the same while a worker renews what it has cached."""
    last, since_s = await pair.states_met(), time.monotonic()

    async def same() -> bool:
        nonlocal last, since_s
        answers = await pair.states_met()
        if not _alike(answers, last):
            last, since_s = answers, time.monotonic()
        return time.monotonic() - since_s > _RENEWED_S

    await wait_for(same, "answers to settle")
    return last
