"""A worker keeps its partitions while its agents make progress, loses them to others, and comes back."""

from __future__ import annotations

import json
import os
import signal
import socket
import time
import urllib.request
from collections.abc import AsyncIterator, Mapping
from concurrent.futures import Future
from contextlib import ExitStack
from pathlib import Path
from urllib.error import HTTPError

import pytest
from prometheus_client.parser import text_string_to_metric_families

from freshet.models.events.events import Recommendation, RecommendationRequest, from_unix_s
from freshet.streams.client import Freshet
from freshet.streams.kafka.connection import topic_name
from freshet.streams.kafka.topic_admin import ensure_topics
from freshet.streams.settings import Settings
from freshet.workers.processes.kafka.broker import LocalKafka
from freshet.workers.processes.worker_process import WorkerProcess
from tests.integration.stream_harness import START_S, keyed, send, settings_for, vectors, wait_for
from tests.waiting import HANG_S

pytestmark = pytest.mark.broker

_ARTICLES = 10
_USERS = [f"U{i}" for i in range(24)]
_NOW = from_unix_s(START_S + 3_600.0)
_MAX_POLL_S = 5.0
_SESSION_S = 3.0
_FAULTY = str(Path(__file__).with_name("faulty_worker.py"))


class Member:
    """One stream worker whose agents a test can have hang."""

    def __init__(self, settings: Settings, name: str) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.group_settings = settings
        own = {"data_dir": settings.data_dir / name, "metrics_port": self.port}
        self.settings = settings.model_copy(update=own)
        self.process = WorkerProcess(
            [_FAULTY, "stream"], self.settings, self.settings.data_dir / "stream.log"
        )

    def signal(self, number: int) -> None:
        os.kill(self.process.pid, number)

    def kill(self) -> None:
        self.signal(signal.SIGKILL)
        self.process.wait(HANG_S)

    def fault(self, faults: Mapping[str, object]) -> None:
        """Switch the faults of this worker to ``faults``, at once."""
        new = self.settings.data_dir / "faults.new"
        new.write_text(json.dumps(faults))
        new.replace(self.settings.data_dir / "faults")

    def handled(self, topic: str) -> float:
        """How many events of a topic this process has handled; 0 before it answers."""
        status, text = self.page("metrics")
        name = topic_name(self.settings, topic)
        return sum(
            sample.value
            for family in text_string_to_metric_families(text if status == 200 else "")
            for sample in family.samples
            if sample.name == "freshet_events_total" and sample.labels["topic"] == name
        )

    def page(self, name: str) -> tuple[int, str]:
        """Status and text of a page of the endpoint; status 0 before it answers."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/{name}", timeout=5) as page:
                return page.status, page.read().decode()
        except HTTPError as error:
            return error.code, error.read().decode()
        except OSError:
            return 0, ""


class Pair:
    """One worker of a group, later two, and a client."""

    def __init__(self, first: Member, client: Freshet) -> None:
        self.first = first
        self.second: Member | None = None
        self.client = client
        self.clicks = 0
        self._asked = 0

    def ask(self, timeout_s: float = HANG_S) -> dict[str, Recommendation]:
        """An answer for every user, of whom every partition has some."""
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
        return {user_id: future.result(timeout_s) for user_id, future in asked.items()}

    def start_second(self) -> Member:
        """Start another worker of the group."""
        self.second = Member(self.first.group_settings, "second")
        return self.second

    def click(self) -> None:
        """Every user clicks once more."""
        for user_id in _USERS:
            at = from_unix_s(START_S + self.clicks)
            self.client.click(user_id, f"N{self.clicks % _ARTICLES}", time=at)
        self.clicks += 1

    async def answered_by(self, *members: Member) -> None:
        """Wait until all requests are answered, on every click, by ``members`` and nobody else."""
        every = [self.first] if self.second is None else [self.first, self.second]

        async def answered() -> bool:
            before = [member.handled("recommendation-requests") for member in every]
            try:
                answers = self.ask(timeout_s=2.0)
            except TimeoutError:
                return False
            after = [member.handled("recommendation-requests") for member in every]
            at_work = {member for member, old, new in zip(every, before, after, strict=True) if new > old}
            assert all(answer.user_clicks <= self.clicks for answer in answers.values()), "counted twice"
            return at_work == set(members) and all(
                answer.user_clicks == self.clicks for answer in answers.values()
            )

        await wait_for(answered, f"{len(members)} worker(s) to answer", [member.process for member in every])

    async def page_says(self, member: Member, name: str, status: int) -> str:
        """Wait until a page answers with ``status``; its text."""

        async def says() -> str | None:
            found, text = member.page(name)
            return text if found == status else None

        text: str = await wait_for(says, f"/{name} to answer {status}")
        return text


@pytest.fixture
async def pair(kafka: LocalKafka, tmp_path: Path) -> AsyncIterator[Pair]:
    intervals = {"max_poll_interval_s": _MAX_POLL_S, "session_timeout_s": _SESSION_S}
    settings = settings_for(kafka, tmp_path).model_copy(update=intervals)
    ensure_topics(settings)
    await send(settings, [keyed("article-vectors", v, v.key) for v in vectors(settings, _ARTICLES)])
    with ExitStack() as stack:
        first = Member(settings, "first")
        stack.callback(first.kill)
        pair = Pair(first, stack.enter_context(Freshet(settings)))
        await pair.answered_by(first)
        yield pair
        if pair.second is not None:
            pair.second.kill()


async def test_a_worker_keeps_its_place_while_its_agents_make_progress_and_comes_back_after_they_hung(
    pair: Pair,
) -> None:
    first = pair.first
    pair.click()
    stayed_until_s = time.monotonic() + 2.5 * _MAX_POLL_S
    while time.monotonic() < stayed_until_s:
        assert set(pair.ask()) == set(_USERS)

    second = pair.start_second()
    await pair.answered_by(first, second)
    first.fault({"stuck": True})
    pair.click()
    await pair.answered_by(second)
    reason = await pair.page_says(first, "healthz", 503)
    assert "this worker is not a member of the consumer group" in reason
    assert second.page("healthz") == (200, "ok\n")
    pair.click()
    await pair.answered_by(second)
    first.fault({})
    # Nor has the batch that was stuck overwritten what the second made of the same clicks and later ones.
    await pair.answered_by(first, second)
    await pair.page_says(first, "healthz", 200)
    await pair.page_says(first, "readyz", 200)

    first.signal(signal.SIGSTOP)
    pair.click()
    await pair.answered_by(second)
    first.signal(signal.SIGCONT)
    await pair.answered_by(first, second)
