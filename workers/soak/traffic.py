"""Sends a newspaper's steady traffic by the public client: articles, impressions, clicks and requests.

The loop is open: an event is sent when it is due, whether the system keeps up or not.
"""

from __future__ import annotations

import heapq
import time
import uuid
from collections.abc import Callable
from concurrent.futures import Future, wait
from datetime import UTC, datetime
from functools import partial
from itertools import count, cycle
from pathlib import Path

from freshet.models.datasets.mind import read_behaviors, read_news
from freshet.models.datasets.synthetic.folder import write_synth
from freshet.models.datasets.synthetic.world import SynthConfig
from freshet.models.events.events import Article, Impression, Recommendation, RecommendationRequest
from freshet.streams.client import Freshet

ANSWER_TIMEOUT_S = 30.0

_WORLD = SynthConfig(users=300, articles=400, impressions=4_000)
_FIRST_ARTICLES = 200
"""Published before the traffic begins; the others come during it."""
_LONGEST_WAIT_S = 0.2


class Newspaper:
    """A synthetic newspaper, its events sent as if they happened now, over and over.

    Args:
        folder: An empty one, for its files.
        client: Sends them.
    """

    def __init__(self, folder: Path, client: Freshet) -> None:
        write_synth(folder, _WORLD)
        self._client = client
        self._articles = [article for article in read_news(folder) if isinstance(article, Article)]
        lines = [line for line in read_behaviors(folder) if isinstance(line, Impression)]
        self._users = cycle([line.user_id for line in lines])
        self._impressions = cycle(lines)
        self._numbers = count()
        self.answers: list[Future[Recommendation]] = []
        """Latency of every request, in order."""
        self.latencies_s: list[float] = []
        """Seconds from request to answer, of those answered."""

    def send(
        self,
        seconds: float,
        impressions_per_s: float,
        requests_per_s: float,
        on_tick: Callable[[float], None],
    ) -> None:
        """Send for ``seconds``; ``on_tick`` is given the seconds passed, several times a second.

        Impressions carry their clicks, or have them follow as events of their own, by turns.

        Raises:
            PublishFailed: Kafka did not acknowledge an event.
        """
        later = self._articles[_FIRST_ARTICLES:]
        self._publish(self._articles[:_FIRST_ARTICLES])
        # Of each kind of event: when the next is due, the seconds to the one after, and what sends it.
        due: list[tuple[float, float, Callable[[], None]]] = [
            (0.0, 1.0 / impressions_per_s, self._send_impression),
            (0.0, 1.0 / requests_per_s, self._send_request),
            *(
                (seconds * (number + 1) / (len(later) + 1), seconds, partial(self._publish, [article]))
                for number, article in enumerate(later)
            ),
        ]
        kinds = [(due_s, number, interval_s, send) for number, (due_s, interval_s, send) in enumerate(due)]
        heapq.heapify(kinds)
        began_s = time.monotonic()
        while (passed_s := time.monotonic() - began_s) < seconds:
            on_tick(passed_s)
            due_s, number, interval_s, send = kinds[0]
            if due_s > passed_s:
                time.sleep(min(due_s - passed_s, _LONGEST_WAIT_S))
                continue
            send()
            heapq.heapreplace(kinds, (due_s + interval_s, number, interval_s, send))

    def unanswered(self) -> list[str]:
        """Wait for what is still under way, and return why each request that failed did."""
        wait(self.answers, ANSWER_TIMEOUT_S)
        reasons = []
        for answer in self.answers:
            if not answer.done():
                answer.cancel()
                reasons.append(f"no answer within {ANSWER_TIMEOUT_S:g} s")
            elif (error := answer.exception()) is not None:
                reasons.append(str(error))
        return reasons

    def _publish(self, articles: list[Article]) -> None:
        now = datetime.now(UTC)
        self._client.publish(*(article.model_copy(update={"published_at": now}) for article in articles))

    def _send_impression(self) -> None:
        shown = next(self._impressions)
        number = next(self._numbers)
        together = number % 2 == 0
        impression = self._client.impression(
            shown.user_id,
            shown.candidates,
            shown.clicked if together else (),
            impression_id=f"{shown.impression_id}-{number}",
        )
        for news_id in () if together else shown.clicked:
            self._client.click(shown.user_id, news_id, impression_id=impression.impression_id)

    def _send_request(self) -> None:
        request = RecommendationRequest(
            request_id=uuid.uuid4().hex, user_id=next(self._users), time=datetime.now(UTC), k=10
        )
        began_s = time.monotonic()

        def note(answer: Future[Recommendation]) -> None:
            if not answer.cancelled() and answer.exception() is None:
                self.latencies_s.append(time.monotonic() - began_s)

        answer = self._client.submit(request)
        answer.add_done_callback(note)
        self.answers.append(answer)
