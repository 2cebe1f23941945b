"""What a scored replay asks, and when; without a broker."""

from __future__ import annotations

import random
import time
from typing import Any

import pytest

from freshet.models.datasets.mind import BadLine
from freshet.models.events.events import (
    Impression,
    Recommendation,
    RecommendationRequest,
    RecommendedArticle,
    from_unix_s,
)
from freshet.workers.replay.ranking import CTR, RANDOM, SYSTEM, LiveComparison
from freshet.workers.replay.report import ReplayError
from freshet.workers.replay.score import ScoredReveal
from tests.waiting import HANG_S


def impression(number: int, user: str = "", clicked: tuple[str, ...] = ("N1",)) -> Impression:
    return Impression(
        impression_id=f"I{number}",
        user_id=user or f"U{number}",
        time=from_unix_s(1_000.0 + number),
        candidates=("N0", "N1", "N2", "N3"),
        clicked=clicked,
    )


def answer_to(request: RecommendationRequest, best_first: tuple[str, ...] = ()) -> Recommendation:
    items = best_first or tuple(sorted(request.candidates or ()))
    return Recommendation(
        request_id=request.request_id,
        user_id=request.user_id,
        time=request.time,
        bundle="b",
        ranker="r",
        items=tuple(RecommendedArticle(news_id=news_id, score=0.0) for news_id in items),
    )


class Wire:
    """Kafka, as seen by a scored replay: what was flushed, in order, and the answers put there."""

    def __init__(self) -> None:
        self.flushed: list[Any] = []
        self.answers: list[tuple[Recommendation, float]] = []
        self.expected: set[str] = set()
        self._added: list[Any] = []

    def impression(self, event: Impression) -> None:
        self._added.append(event)

    def request(self, event: RecommendationRequest) -> None:
        self._added.append(event)

    def bad_line(self, event: BadLine) -> None:
        self._added.append(event)

    async def flush(self) -> None:
        self.flushed += self._added
        self._added.clear()

    def expect(self, request_id: str, user_id: str) -> None:
        self.expected.add(request_id)

    def forget(self, request_id: str) -> None:
        self.expected.discard(request_id)

    def take(self) -> list[tuple[Recommendation, float]]:
        taken, self.answers = self.answers, []
        return taken

    async def wait(self, timeout_s: float) -> None:
        return

    @property
    def requests(self) -> list[RecommendationRequest]:
        return [event for event in self.flushed if isinstance(event, RecommendationRequest)]

    @property
    def revealed(self) -> list[str]:
        return [event.impression_id for event in self.flushed if isinstance(event, Impression)]

    def answer(self, number: int, best_first: tuple[str, ...] = ()) -> None:
        self.answers.append((answer_to(self.requests[number], best_first), time.monotonic()))


def scored(wire: Wire, window: int = 8, answer_timeout_s: float = 30.0) -> ScoredReveal:
    pretended: Any = wire
    return ScoredReveal(pretended, pretended, LiveComparison(warm_up=0), window, answer_timeout_s)


def test_the_candidates_asked_do_not_tell_which_were_clicked() -> None:
    orders = []
    for clicked in (("N0",), ("N3",), ()):
        for candidates in (("N0", "N1", "N2", "N3"), ("N3", "N2", "N1", "N0")):
            wire = Wire()
            reveal = scored(wire)
            event = impression(1, clicked=clicked).model_copy(update={"candidates": candidates})
            reveal.admit(event)
            orders.append(_asked_now(wire))
    assert len(set(orders)) == 1
    assert set(orders[0]) == {"N0", "N1", "N2", "N3"}


def _asked_now(wire: Wire) -> tuple[str, ...]:
    (request,) = wire._added
    assert isinstance(request, RecommendationRequest)
    assert request.candidates is not None
    return request.candidates


async def test_whatever_the_order_of_the_answers_the_reveal_is_in_the_order_of_time() -> None:
    wire = Wire()
    reveal = scored(wire)
    for number in range(8):
        reveal.admit(impression(number))
    await reveal.step(0.0)
    order = list(range(8))
    random.Random(3).shuffle(order)
    answered: set[int] = set()
    for number in order:
        wire.answer(number)
        answered.add(number)
        await reveal.step(0.0)
        first_open = next((n for n in range(8) if n not in answered), 8)
        assert wire.revealed == [f"I{n}" for n in range(first_open)]
    assert not reveal.busy


async def test_a_users_second_question_follows_the_reveal_of_the_first_impression() -> None:
    wire = Wire()
    reveal = scored(wire)
    for number, user in enumerate(["A", "B", "A", "A"]):
        reveal.admit(impression(number, user))
    await reveal.step(0.0)
    assert [request.user_id for request in wire.requests] == ["A", "B"]
    wire.answer(1)
    await reveal.step(0.0)
    assert len(wire.requests) == 2
    wire.answer(0)
    await reveal.step(0.0)
    await reveal.step(0.0)
    assert [request.user_id for request in wire.requests] == ["A", "B", "A"]
    kinds = [type(event).__name__ for event in wire.flushed]
    assert kinds == ["RecommendationRequest"] * 2 + ["Impression"] * 2 + ["RecommendationRequest"]


async def test_a_bad_line_keeps_its_place_among_the_impressions() -> None:
    wire = Wire()
    reveal = scored(wire)
    reveal.admit(impression(0))
    reveal.admit(BadLine("behaviors.tsv", 2, "why", b""))
    reveal.admit(impression(2))
    await reveal.step(0.0)
    assert len(wire.flushed) == 2
    wire.answer(0)
    assert await reveal.step(0.0) == 2
    assert isinstance(wire.flushed[-1], BadLine)


@pytest.mark.parametrize("best_first", [("N0", "N1"), ("N0", "N0", "N1", "N2"), ("N0", "N1", "N2", "X")])
async def test_an_answer_that_does_not_rank_the_slate_counts_as_none(best_first: tuple[str, ...]) -> None:
    wire = Wire()
    reveal = scored(wire)
    reveal.admit(impression(0))
    await reveal.step(0.0)
    wire.answer(0, best_first)
    assert await reveal.step(0.0) == 1
    report = reveal.report()
    assert (report.asked, report.unanswered, dict(report.rankings)) == (1, 1, {})


async def test_an_answer_that_never_comes_does_not_hold_the_others_for_ever() -> None:
    wire = Wire()
    reveal = scored(wire, answer_timeout_s=0.2)
    reveal.admit(impression(0))
    reveal.admit(impression(1))
    await reveal.step(0.0)
    wire.answer(1)
    deadline = time.monotonic() + HANG_S
    while reveal.busy and time.monotonic() < deadline:
        await reveal.step(0.0)
    assert wire.revealed == ["I0", "I1"]
    assert not wire.expected - {wire.requests[1].request_id}
    report = reveal.report()
    assert (report.asked, report.unanswered, report.rankings[SYSTEM].impressions) == (2, 1, 1)


async def test_a_whole_window_without_answers_ends_the_replay_with_advice() -> None:
    wire = Wire()
    reveal = scored(wire, window=20, answer_timeout_s=0.0)
    for number in range(20):
        reveal.admit(impression(number))
    deadline = time.monotonic() + HANG_S
    while reveal.busy and time.monotonic() < deadline:
        await reveal.step(0.0)
    with pytest.raises(ReplayError, match="freshet stream"):
        reveal.check()


def test_the_systems_ranking_is_measured_beside_the_baselines_on_the_same_impressions() -> None:
    comparison = LiveComparison(warm_up=5)
    for number in range(10):
        event = impression(number)
        request = RecommendationRequest(
            request_id="r", user_id="U", time=event.time, candidates=event.candidates
        )
        comparison.measure(event, answer_to(request, ("N1", "N0", "N2", "N3")))
    everything, last = comparison.report(), comparison.report_last()
    assert everything[SYSTEM].auc == 1.0
    assert everything[RANDOM].auc == pytest.approx(0.5)
    # The first impression tells the click-through rate which article is clicked; before it, all are equal.
    assert everything[CTR].auc == pytest.approx(0.95)
    assert {ranking.impressions for ranking in everything.values()} == {10}
    assert {ranking.impressions for ranking in last.values()} == {5}
    assert last[CTR].auc == 1.0
