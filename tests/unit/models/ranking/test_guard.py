"""A guarded ranker learns what is there, refuses what could do harm, takes back what has done harm."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from freshet.models.ranking.features import FEATURES
from freshet.models.ranking.guard import GuardSettings, RankerGuard
from freshet.models.ranking.linear import LinearRanker
from freshet.models.ranking.online_ranker import OnlineRanker, OnlineSettings

START = LinearRanker({"log_ctr_24h": 0.5})
CTR = FEATURES.index("log_ctr_24h")
OLD = FEATURES.index("log_age")
SETTINGS = GuardSettings(window=200, recent=60)


def slate(seed: int, weights: dict[int, float], n: int = 8) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Features, and a click on what ``weights`` like best."""
    random = np.random.default_rng(seed)
    x = np.zeros((n, len(FEATURES)), np.float32)
    x[:, [CTR, OLD]] = random.normal(size=(n, 2))
    liked = sum(weight * x[:, column] for column, weight in weights.items()) + random.gumbel(size=n) * 0.2
    return x, np.arange(n) == np.argmax(liked)


def feed(guard: RankerGuard, weights: dict[int, float], first: int, last: int) -> list[str]:
    return [guard.learn(*slate(seed, weights)) for seed in range(first, last)]


def test_it_learns_as_an_unguarded_ranker_does() -> None:
    guard, plain = RankerGuard(START, settings=SETTINGS), OnlineRanker(START)
    for seed in range(300):
        x, clicked = slate(seed, {CTR: 1.0, OLD: 1.0})
        assert guard.learn(x, clicked) == "learned"
        assert plain.learn(x, clicked)
    assert guard.state() == plain.state()
    assert guard.ranker == plain.ranker
    assert guard.auc is not None
    assert guard.start_auc is not None
    assert guard.auc > guard.start_auc + 0.05
    assert guard.rollbacks == 0


def test_a_correction_teaches_what_the_final_labels_would_have_taught() -> None:
    x, clicked = slate(0, {CTR: 1.0})
    late, whole = (RankerGuard(START, settings=SETTINGS) for _ in range(2))
    assert late.learn(x, np.zeros_like(clicked)) == "nothing"
    assert late.learn(x, clicked, np.zeros_like(clicked)) == "learned"
    whole.learn(x, clicked)
    assert late.state() == whole.state()
    assert late.auc == whole.auc
    more = clicked | (np.arange(len(clicked)) == np.argmin(clicked))
    assert late.learn(x, more, clicked) == "learned"
    assert late.auc == whole.auc, "an impression is measured once"


@pytest.mark.parametrize(
    ("value", "verdict"),
    [
        (np.nan, "not-finite"),
        (np.inf, "not-finite"),
        (-np.inf, "not-finite"),
        (101.0, "too-large"),
        (-1e30, "too-large"),
    ],
)
def test_a_poisoned_example_changes_nothing(value: float, verdict: str) -> None:
    guard = RankerGuard(START, settings=SETTINGS)
    feed(guard, {CTR: 1.0}, 0, 10)
    before, auc = guard.state(), guard.auc
    x, clicked = slate(0, {CTR: 1.0})
    x[3, 5] = value
    assert guard.learn(x, clicked) == verdict
    assert guard.learn(x, clicked, ~clicked) == verdict
    assert (guard.state(), guard.auc) == (before, auc)


def test_no_example_moves_a_weight_far() -> None:
    wild = OnlineSettings(rate=10.0, max_step=0.2)
    guard = RankerGuard(START, online=wild, settings=SETTINGS)
    before = guard.ranker.weights
    x, clicked = slate(0, {OLD: 5.0})
    guard.learn(x * 10.0, clicked)
    steps = [abs(weight - before.get(name, 0.0)) for name, weight in guard.ranker.weights.items()]
    assert 0.0 < max(steps) <= wild.max_step + 1e-12


@pytest.mark.parametrize(
    "clicked", [np.zeros(3, np.bool_), np.ones(3, np.bool_)], ids=["no click", "no skip"]
)
def test_one_label_teaches_nothing(clicked: NDArray[np.bool_]) -> None:
    guard = RankerGuard(START, settings=SETTINGS)
    assert guard.learn(np.ones((3, len(FEATURES)), np.float32), clicked) == "nothing"
    assert (guard.auc, guard.start_auc) == (None, None)


def test_a_sudden_drop_goes_back_to_good_weights_and_then_to_the_start() -> None:
    guard = RankerGuard(START, settings=SETTINGS)
    assert set(feed(guard, {CTR: 1.0, OLD: 1.0}, 0, 1_000)) == {"learned"}
    learned = guard.ranker
    assert learned.weights["log_age"] > 0.3
    # Broken weights, as a flood of forged clicks would leave them.
    broken = guard.state()
    forged = {name: -weight for name, weight in broken.weights.items()}
    guard._ranker = OnlineRanker.restore(replace(broken, weights=forged))
    verdicts = feed(guard, {CTR: 1.0, OLD: 1.0}, 1_000, 1_100)
    assert verdicts.count("rolled-back") == 1, "soon, and once"
    assert guard.ranker.weights["log_age"] > 0.3, "what was good before"
    assert guard.ranker.revision > broken.revision, "no revision stands for two weights"
    assert guard.rollbacks == 1
    # Broken again before anything has proved good: back to the start.
    broken = guard.state()
    forged = {name: -weight for name, weight in broken.weights.items()}
    guard._ranker = OnlineRanker.restore(replace(broken, weights=forged))
    feed(guard, {CTR: 1.0}, 1_100, 1_100 + verdicts.index("rolled-back") + 60)
    assert guard.rollbacks == 2
    assert guard.ranker.weights["log_age"] < 0.2


def test_after_a_flood_of_forged_clicks_it_learns_from_readers_again() -> None:
    guard = RankerGuard(START, settings=SETTINGS)
    feed(guard, {CTR: 1.0, OLD: 1.0}, 0, 1_000)
    feed(guard, {CTR: -1.0}, 1_000, 2_000)
    feed(guard, {CTR: 1.0, OLD: 1.0}, 2_000, 3_000)
    assert guard.ranker.weights["log_ctr_24h"] > 0.3
    assert guard.ranker.weights["log_age"] > 0.3


def test_it_goes_on_where_it_stopped() -> None:
    whole, first = (RankerGuard(START, settings=SETTINGS) for _ in range(2))
    feed(whole, {OLD: 1.0}, 0, 100)
    feed(first, {OLD: 1.0}, 0, 60)
    second = RankerGuard(START, first.state(), settings=SETTINGS)
    feed(second, {OLD: 1.0}, 60, 100)
    assert second.state() == whole.state()


def test_a_ranker_as_good_as_its_start_is_left_alone() -> None:
    guard = RankerGuard(START, settings=SETTINGS)
    feed(guard, {CTR: 1.0}, 0, 3_000)
    assert guard.rollbacks == 0


@pytest.mark.parametrize(
    "wrong", [{"max_feature": 0.0}, {"z": np.inf}, {"recent": 1}, {"recent": 600}, {"tolerance": 1.0}]
)
def test_settings_that_make_no_sense_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        GuardSettings(**wrong)
