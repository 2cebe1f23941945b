"""What a person does at the console: asks for a front page, opens an article. One client of the stream.

An opened article is published as a site would: the list as an impression, once, and the click that names it
and its request. Every failure is a :class:`ConsoleError`, whose text says what to do.
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
"""Articles of one front page, at most."""

_ANSWER_S = 5.0
_APPLIED_S = 5.0
"""How long to ask again for an answer that rests on a click."""
_AGAIN_S = 0.05
_CONNECT_S = 2.0
_KNOWN_S = 5.0
_THREADS = 8
_SHOWN = 1_000


class ConsoleError(RuntimeError):
    """What a person asked for could not be done; the text says why and what to do.

    Args:
        text: What to show.
        status: HTTP's.
    """

    def __init__(self, text: str, status: int) -> None:
        super().__init__(text)
        self.status = status


@dataclass(slots=True)
class _Shown:
    """A list on somebody's page."""

    user_id: str
    news_ids: tuple[str, ...]
    published: bool = False
    lock: threading.Lock = field(default_factory=threading.Lock)


class Desk:
    """Connects when it is first asked, and again after a failure.

    Args:
        settings: Where Kafka is.
        memory: Knows titles.
        clock: At which time to ask and to click.
    """

    def __init__(self, settings: Settings, memory: StreamMemory, clock: StreamClock) -> None:
        self._settings = settings
        self._memory = memory
        self._clock = clock
        self._lock = threading.Lock()
        self._client: Freshet | None = None
        self._closed = False
        self._shown: OrderedDict[str, _Shown] = OrderedDict()
        self._threads = ThreadPoolExecutor(_THREADS, "console-desk")

    async def front_page(self, user_id: str, k: int, after_clicks: int | None = None) -> dict[str, Any]:
        """What a user is recommended now.

        Args:
            user_id: Whose.
            k: How many articles.
            after_clicks: Ask until the answer rests on more clicks than this; ``applied`` says whether it
                does, after a few seconds at most.

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
        """A user opens an article: of the answer ``request_id``, or of a list that is everybody's.

        Raises:
            ConsoleError: It could not be published, or the answer is not known.
        """
        shown = None
        if request_id is not None:
            with self._lock:
                shown = self._shown.get(request_id)
            if shown is None or shown.user_id != user_id or news_id not in shown.news_ids:
                raise ConsoleError(
                    "This list is not known any more: the console was started again, or has served many "
                    "others since. Refresh the front page.",
                    409,
                )
        await self._do(lambda: self._publish(user_id, news_id, request_id, shown))

    def close(self) -> None:
        """Let go of Kafka; what is being asked fails, and so does what is asked from now on."""
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
                "If one runs, it may be behind, or have another topic prefix: `freshet doctor` tells.",
                504,
            ) from error
        except FreshetError as error:
            raise ConsoleError(str(error), 503) from error

    def _ask(self, user_id: str, k: int) -> Recommendation:
        return self._connected().recommend(
            user_id, k, time=self._clock.now, details=True, timeout_s=_ANSWER_S
        )

    def _publish(self, user_id: str, news_id: str, request_id: str | None, shown: _Shown | None) -> None:
        client = self._connected()
        now = self._clock.now
        # An id of its own is kept within an id's length whatever the request's is.
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
        # A client that is connected tries for half a minute before it says that nobody answers.
        wait_for_broker(self._settings, _CONNECT_S)
        if not self._clock.known.wait(_KNOWN_S):
            raise ConsoleError("The console is still reading what time it is on the stream.", 503)
        with self._lock:
            if self._closed:
                raise ConsoleError("The console is being stopped.", 503)
            if self._client is None:
                self._client = Freshet(self._settings, connect_timeout_s=_CONNECT_S)
            return self._client

    def _remember(self, answer: Recommendation) -> None:
        with self._lock:
            self._shown[answer.request_id] = _Shown(
                answer.user_id, tuple(item.news_id for item in answer.items)
            )
            if len(self._shown) > _SHOWN:
                self._shown.popitem(last=False)
