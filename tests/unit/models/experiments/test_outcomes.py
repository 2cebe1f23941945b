"""A report counts what happened, once, and compares only users who saw one variant."""

from __future__ import annotations

import math

import pytest

from freshet.models.events.events import Click
from freshet.models.experiments.outcomes import ExperimentLog
from tests.experiment_logs import NOW, SCORES, answer, experiment, filled, ranked, shown


def test_what_happened_is_counted_for_its_variant() -> None:
    log = ExperimentLog(experiment())
    log.answer(answer("U1", "A", **SCORES))
    log.answer(answer("U2", "B", **SCORES))
    log.answer(answer("U3", "B", **SCORES))
    log.answer(answer("U4", None, **SCORES))
    log.answer(answer("U5", "B", name="another", **SCORES))
    log.request(ranked("U2"))
    for impression in (shown("U1", "N1"), shown("U2", "N2"), shown("U4", "N1"), shown("U5", "N1")):
        log.impression(impression)
    log.click(Click(user_id="U2", news_id="N1", time=NOW, request_id="R-U2"))
    a, b = log.outcome().variants
    assert (a.users, a.users_shown, a.answers, a.impressions, a.shown, a.clicks) == (1, 1, 1, 1, 4, 1)
    assert (b.users, b.users_shown, b.answers, b.impressions, b.shown, b.clicks) == (2, 1, 2, 1, 4, 2)
    assert (a.metrics["click-through-rate"].value, b.metrics["clicks-per-impression"].value) == (0.25, 2.0)
    assert (a.auc_impressions, b.auc_impressions) == (0, 1)
    assert b.metrics["auc"].value == 1.0
    assert math.isnan(a.metrics["auc"].value)


def test_records_that_come_twice_count_once() -> None:
    once, twice = ExperimentLog(experiment()), ExperimentLog(experiment())
    click = Click(user_id="U1", news_id="N3", time=NOW, impression_id="I0")
    for log, times in ((once, 1), (twice, 2)):
        for _ in range(times):
            log.answer(answer("U1", **SCORES))
            log.request(ranked("U1"))
        for _ in range(times):
            log.impression(shown("U1", "N1"))
        for _ in range(times):
            log.click(click)
            log.click(click.model_copy(update={"impression_id": None, "request_id": "R-U1"}))
    assert repr(once.outcome().variants) == repr(twice.outcome().variants), "NaN is not itself"
    assert once.outcome().variants[0].clicks == 2
    assert (once.outcome().answers_sent_twice, twice.outcome().answers_sent_twice) == (0, 1)


def test_clicks_on_what_was_not_shown_or_of_others_do_not_count() -> None:
    log = ExperimentLog(experiment())
    log.answer(answer("U1", **SCORES))
    log.impression(shown("U1"))
    log.impression(shown("U2", "N1", request="R-U1"))
    log.click(Click(user_id="U1", news_id="N9", time=NOW, request_id="R-U1"))
    log.click(Click(user_id="U2", news_id="N1", time=NOW, request_id="R-U1"))
    log.click(Click(user_id="U1", news_id="N1", time=NOW))
    outcome = log.outcome().variants[0]
    assert (outcome.impressions, outcome.clicks) == (1, 0)


def test_users_of_two_variants_are_counted_and_left_out() -> None:
    log = ExperimentLog(experiment())
    log.answer(answer("U1", "A", "R1", **SCORES))
    log.answer(answer("U1", "B", "R2", **SCORES))
    log.answer(answer("U2", "B", "R3", **SCORES))
    for number, request in enumerate(("R1", "R2")):
        log.impression(shown("U1", "N1", request=request, number=number))
    log.impression(shown("U2", "N1", request="R3", number=3))
    outcome = log.outcome()
    assert outcome.users_of_two_variants == 1
    assert [variant.impressions for variant in outcome.variants] == [0, 1]
    assert [variant.answers for variant in outcome.variants] == [0, 1]


def test_a_difference_is_found_and_how_soon_is_told() -> None:
    seen: list[tuple[int, int]] = []
    log = filled({"A": 0.1, "B": 0.3}, {"A": 1_000, "B": 1_000}, expected_effect=0.5)
    outcome = log.outcome(on_progress=lambda done, total: seen.append((done, total)))
    found = outcome.comparisons["B"]["click-through-rate"]
    assert found.decided
    assert found.low < 0.2 < found.high
    assert found.low > 0
    assert found.decided_after is not None
    assert 200 <= found.decided_after < 1_000
    assert not outcome.mismatch
    assert seen[-1] == (2_000, 2_000)


def test_missing_users_are_a_mismatch() -> None:
    outcome = filled({"A": 0.1, "B": 0.1}, {"A": 1_000, "B": 850}).outcome()
    assert outcome.answered.mismatch
    assert outcome.mismatch


def test_several_treatments_share_alpha() -> None:
    log = ExperimentLog(experiment(0.4, 0.3, 0.3))
    outcome = log.outcome(alpha=0.04)
    assert {each.alpha for of in outcome.comparisons.values() for each in of.values()} == {0.02}
    assert list(outcome.comparisons) == ["B", "C"]


@pytest.mark.parametrize("share", [1.0, 0.1])
def test_one_variant_alone_is_only_counted(share: float) -> None:
    log = ExperimentLog(experiment(share))
    log.answer(answer("U1", **SCORES))
    outcome = log.outcome()
    assert (outcome.variants[0].users, outcome.comparisons, outcome.mismatch) == (1, {}, False)
