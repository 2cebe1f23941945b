"""Requests and clicks of the console's page, made as one client of the stream.

Opening an article publishes what a site would: the list as an impression, once, and the click, which names
the impression and the request. Every failure is a :class:`ConsoleError`, whose text says what to do.
"""

from __future__ import annotations

import asyncio
import threading
import uuid
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, TypeVar

from freshet.models.events.events import EventError, Recommendation
from freshet.streams.client import Freshet
from freshet.streams.errors import FreshetError, RecommendationTimeout
from freshet.streams.kafka.reachability import wait_for_broker
from freshet.streams.settings import Settings
from freshet.workers.console.clock import StreamClock
from freshet.workers.console.feed import OWN
from freshet.workers.console.memory import StreamMemory
from freshet.workers.console.reasons import answer_json

R = TypeVar("R")

MAX_LIST = 50
"""Largest number of articles on a front page."""

_ANSWER_S = 5.0
_APPLIED_S = 5.0
"""Time during which requests are repeated until an answer includes a click."""
_AGAIN_S = 0.05
_CONNECT_S = 2.0
_KNOWN_S = 5.0
_THREADS = 8
_SHOWN = 1_000


class ConsoleError(RuntimeError):
    """Failure of an action on the page; the text says why and what to do.

    Args:
        text: Message to show.
        status: HTTP status.
    """

    def __init__(self, text: str, status: int) -> None:
        super().__init__(text)
        self.status = status


@dataclass(slots=True)
class _ServedList:
    """List of articles shown on a page."""

    user_id: str
    news_ids: tuple[str, ...]
    published: bool = False
    lock: threading.Lock = field(default_factory=threading.Lock)


class Desk:
    """Client of the stream, which connects at the first request, and again after a failure.

    Args:
        settings: Settings of the connection to Kafka.
        memory: Memory that knows the titles.
        clock: Clock of requests and clicks.
    """

    def __init__(self, settings: Settings, memory: StreamMemory, clock: StreamClock) -> None:
        self._settings = settings
        self._memory = memory
        self._clock = clock
        self._lock = threading.Lock()
        self._client: Freshet | None = None
        self._closed = False
        self._shown: OrderedDict[str, _ServedList] = OrderedDict()
        self._threads = ThreadPoolExecutor(_THREADS, "console-desk")

    async def front_page(self, user_id: str, k: int, after_clicks: int | None = None) -> dict[str, Any]:
        """Request a user's recommendations.

        Args:
            user_id: Id of the user.
            k: Number of articles.
            after_clicks: Repeat the request until the answer includes more clicks than this, for a few
                seconds at most; ``applied`` says whether it does.

        Raises:
            ConsoleError: There is no answer.
        """
        loop = asyncio.get_running_loop()
        deadline = loop.time() + _APPLIED_S
        while True:
            answer = await self._do(lambda: self._ask(user_id, k))
            applied = after_clicks is None or answer.user_clicks > after_clicks
            if applied or loop.time() > deadline:
                break
            await asyncio.sleep(_AGAIN_S)
        self._remember(answer)
        return answer_json(answer, self._memory.title) | {"applied": applied}

    async def open(self, user_id: str, news_id: str, request_id: str | None) -> None:
        """Publish that a user opened an article of the answer ``request_id``, or of a list for everybody.

        Raises:
            ConsoleError: The click could not be published, or the answer is not known.
        """
        shown = None
        if request_id is not None:
            with self._lock:
                shown = self._shown.get(request_id)
            if shown is None or shown.user_id != user_id or news_id not in shown.news_ids:
                raise ConsoleError(
                    "The console no longer knows this list: it was restarted, or has served many others "
                    "since. Refresh the front page.",
                    409,
                )
        await self._do(lambda: self._publish(user_id, news_id, request_id, shown))

    def close(self) -> None:
        """Close the connection to Kafka; requests in progress and later ones fail."""
        with self._lock:
            client, self._client, self._closed = self._client, None, True
        if client is not None:
            client.close()

    async def _do(self, work: Callable[[], R]) -> R:
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, work)
        except EventError as error:
            raise ConsoleError(str(error), 400) from error
        except RecommendationTimeout as error:
            raise ConsoleError(
                f"No worker answered within {_ANSWER_S:g} s. Start one: `freshet up`, or `freshet stream`. "
                "If one runs, it may be behind, or have another topic prefix: `freshet doctor` checks.",
                504,
            ) from error
        except FreshetError as error:
            raise ConsoleError(str(error), 503) from error

    def _ask(self, user_id: str, k: int) -> Recommendation:
        return self._connected().recommend(
            user_id, k, time=self._clock.now, details=True, timeout_s=_ANSWER_S
        )

    def _publish(self, user_id: str, news_id: str, request_id: str | None, shown: _ServedList | None) -> None:
        client = self._connected()
        now = self._clock.now
        # A derived id stays within the length of ids, whatever the request's.
        impression_id = None if shown is None else f"{OWN}{uuid.uuid5(uuid.NAMESPACE_OID, str(request_id))}"
        if shown is not None:
            with shown.lock:
                if not shown.published:
                    client.impression(
                        user_id, shown.news_ids, time=now, impression_id=impression_id, request_id=request_id
                    )
                    shown.published = True
        client.click(user_id, news_id, time=now, impression_id=impression_id, request_id=request_id)

    def _connected(self) -> Freshet:
        # A connected client would try for half a minute before it reports that no broker answers.
        wait_for_broker(self._settings, _CONNECT_S)
        if not self._clock.known.wait(_KNOWN_S):
            raise ConsoleError("The console is still reading the stream's time.", 503)
        with self._lock:
            if self._closed:
                raise ConsoleError("The console is being stopped.", 503)
            if self._client is None:
                self._client = Freshet(self._settings, connect_timeout_s=_CONNECT_S)
            return self._client

    def _remember(self, answer: Recommendation) -> None:
        with self._lock:
            self._shown[answer.request_id] = _ServedList(
                answer.user_id, tuple(item.news_id for item in answer.items)
            )
            if len(self._shown) > _SHOWN:
                self._shown.popitem(last=False)
