"""Test, then train, on the live system: it ranks each impression before anybody can see its clicks.

Guarantees, whatever the answers' order and delay:

- an impression is revealed (published with its clicks) only after the answers to it and to all earlier ones
  have come, or their time is up;
- impressions are revealed in the order of time, each once;
- a user's next impression is asked about only after Kafka has acknowledged the reveal of the one before.

At most ``window`` impressions are between their question and their reveal, so an answer knows the clicks of
all but the last ``window`` impressions before it. The candidates of a question are shuffled by a seed that
knows nothing of the clicks.
"""

from __future__ import annotations

import asyncio
import random
import time
import uuid
from array import array
from collections import defaultdict, deque
from dataclasses import dataclass

import numpy as np

from freshet.models.datasets.mind import BadLine
from freshet.models.events.events import Impression, Recommendation, RecommendationRequest
from freshet.workers.replay.answers import AnswerReader
from freshet.workers.replay.pacing import POLL_S
from freshet.workers.replay.publisher import Publisher
from freshet.workers.replay.ranking import LiveComparison, answers_slate
from freshet.workers.replay.report import ReplayError, ScoreReport

_MIN_UNANSWERED_IN_A_ROW = 20
"""A system that misses a whole window (and at least so many) in a row is not there."""

_GATHER_S = 0.002
"""Answers that come nearly together are revealed together: a sixth less CPU, at 64 under way."""


@dataclass(slots=True)
class _Asked:
    """A line on its way from the request to the reveal of its clicks; a bad line only keeps its place."""

    line: Impression | BadLine
    request_id: str = ""
    asked_at_s: float | None = None
    answer: Recommendation | None = None
    settled: bool = False
    """Answered, or its time is up."""


class ScoredReveal:
    """The window of impressions under way. One coroutine owns it."""

    def __init__(
        self,
        publisher: Publisher,
        reader: AnswerReader,
        comparison: LiveComparison,
        window: int,
        answer_timeout_s: float,
    ) -> None:
        self._publisher = publisher
        self._reader = reader
        self._comparison = comparison
        self._size = window
        self._timeout_s = answer_timeout_s
        self._run = f"replay-{uuid.uuid4().hex[:12]}"
        self._admitted = 0
        self._window: deque[_Asked] = deque()
        self._by_user: defaultdict[str, deque[_Asked]] = defaultdict(deque)
        self._by_request: dict[str, _Asked] = {}
        self._latencies_s = array("d")
        self._expired_at_s = 0.0
        self._asked = self._unanswered = self._degraded = self._unanswered_in_a_row = 0

    @property
    def free(self) -> int:
        """Return the number of impressions that may be admitted now."""
        return self._size - len(self._window)

    @property
    def busy(self) -> bool:
        """Whether anything is under way."""
        return bool(self._window)

    def admit(self, line: Impression | BadLine) -> None:
        """Take the next line in the order of time, at its time in the replay."""
        entry = _Asked(line)
        self._window.append(entry)
        if isinstance(line, BadLine):
            entry.settled = True
            return
        entry.request_id = f"{self._run}-{self._admitted}"
        self._admitted += 1
        queue = self._by_user[line.user_id]
        queue.append(entry)
        if len(queue) == 1:
            self._ask(entry, line)

    async def step(self, max_wait_s: float) -> int:
        """Send what may be sent and take the answers that are there; returns how many lines were revealed.

        Waits for an answer, at most ``max_wait_s``, only when there is nothing else to do.

        Raises:
            ReplayError: The recommendations cannot be read any more.
        """
        await self._publisher.flush()
        answers = self._reader.take()
        if not answers and not (self._window and self._window[0].settled):
            await self._reader.wait(min(max_wait_s, POLL_S))
            await asyncio.sleep(_GATHER_S)
            answers = self._reader.take()
        for answer, arrived_at_s in answers:
            self._settle(answer, arrived_at_s)
        self._expire()
        return await self._reveal()

    def check(self) -> None:
        """Make sure that somebody answers.

        Raises:
            ReplayError: A whole window of questions in a row had no usable answer.
        """
        if self._unanswered_in_a_row >= max(self._size, _MIN_UNANSWERED_IN_A_ROW):
            raise ReplayError(
                f"{self._unanswered_in_a_row} questions in a row had no usable answer within "
                f"{self._timeout_s:g} s. Is `freshet up` or `freshet stream` running with this topic prefix? "
                "--resume goes on from here; without --score the replay needs no answers."
            )

    def report(self) -> ScoreReport:
        """Return the metrics of the answers so far."""
        p50, p99 = np.quantile(self._latencies_s, (0.5, 0.99)) if self._latencies_s else (None, None)
        return ScoreReport(
            asked=self._asked,
            unanswered=self._unanswered,
            degraded=self._degraded,
            latency_p50_s=None if p50 is None else float(p50),
            latency_p99_s=None if p99 is None else float(p99),
            rankings=self._comparison.report(),
            rankings_last=self._comparison.report_last(),
        )

    def _ask(self, entry: _Asked, impression: Impression) -> None:
        # Sorted first: a file's order may reveal the labels. Seeded by what is known before the click.
        candidates = sorted(impression.candidates)
        random.Random(impression.impression_id).shuffle(candidates)
        request = RecommendationRequest(
            request_id=entry.request_id,
            user_id=impression.user_id,
            time=impression.time,
            candidates=tuple(candidates),
            history=impression.history,
            explain=False,
        )
        self._reader.expect(entry.request_id, impression.user_id)
        self._by_request[entry.request_id] = entry
        self._publisher.request(request)
        entry.asked_at_s = time.monotonic()

    def _settle(self, answer: Recommendation, arrived_at_s: float) -> None:
        entry = self._by_request.pop(answer.request_id, None)
        if entry is None or entry.asked_at_s is None or isinstance(entry.line, BadLine):
            return
        entry.settled = True
        if answers_slate(answer, entry.line):
            entry.answer = answer
            self._latencies_s.append(arrived_at_s - entry.asked_at_s)

    def _expire(self) -> None:
        now = time.monotonic()
        if now - self._expired_at_s < POLL_S:
            return
        self._expired_at_s = now
        for entry in self._window:
            if not entry.settled and entry.asked_at_s is not None:
                if now - entry.asked_at_s <= self._timeout_s:
                    continue
                entry.settled = True
                self._by_request.pop(entry.request_id)
                self._reader.forget(entry.request_id)

    async def _reveal(self) -> int:
        revealed: list[_Asked] = []
        while self._window and self._window[0].settled:
            entry = self._window.popleft()
            revealed.append(entry)
            if isinstance(entry.line, BadLine):
                self._publisher.bad_line(entry.line)
                continue
            asked = entry.answer is not None
            self._publisher.impression(
                entry.line.model_copy(update={"request_id": entry.request_id}) if asked else entry.line
            )
            self._count(entry, entry.line)
        if revealed:
            # Acknowledged, before the same user's next question can overtake it on another topic.
            await self._publisher.flush()
            for entry in revealed:
                if not isinstance(entry.line, BadLine):
                    self._ask_next(entry.line.user_id)
        return len(revealed)

    def _ask_next(self, user_id: str) -> None:
        queue = self._by_user[user_id]
        queue.popleft()
        if not queue:
            del self._by_user[user_id]
        elif not isinstance(queue[0].line, BadLine):
            self._ask(queue[0], queue[0].line)

    def _count(self, entry: _Asked, impression: Impression) -> None:
        self._asked += 1
        if entry.answer is not None:
            self._unanswered_in_a_row = 0
            self._degraded += entry.answer.degraded is not None
            self._comparison.measure(impression, entry.answer)
            return
        self._unanswered += 1
        self._unanswered_in_a_row += 1
        self._comparison.learn(impression)
