"""The online ranker: it finds the weights that made the clicks, refuses what cannot teach, and goes on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Literal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from freshet.models.ranking.features import FEATURES
from freshet.models.ranking.linear import LinearRanker
from freshet.models.ranking.online_ranker import OnlineRanker, OnlineSettings

F = len(FEATURES)
ZERO = LinearRanker({}, "zero")
START_S = 1_700_000_000.0
DAY_S = 86_400.0


def slate(
    seed: int, truth: NDArray[np.float64], n: int = 12
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Candidates with correlated features, and one click drawn by the softmax of their true scores."""
    rng = np.random.default_rng(seed)
    x = (rng.normal(size=(n, 1)) + 0.5 * rng.normal(size=(n, F))).astype(np.float32)
    chances = np.exp(x @ truth - (x @ truth).max())
    clicked = np.zeros(n, np.bool_)
    clicked[rng.choice(n, p=chances / chances.sum())] = True
    return x, clicked


def truth_of(seed: int) -> NDArray[np.float64]:
    truth = np.zeros(F)
    truth[[3, 9, 20]] = np.random.default_rng(seed).permutation([1.5, -1.0, 0.7])
    return truth


def trained(
    rule: Literal["newton", "adagrad"], impressions: int, seed: int = 0
) -> tuple[OnlineRanker, float]:
    """A ranker that has seen so many impressions, and its distance from the truth."""
    truth = truth_of(seed)
    ranker = OnlineRanker(ZERO, OnlineSettings(rule=rule))
    for i in range(impressions):
        assert ranker.learn(*slate(i, truth), time_s=START_S + i)
    learned = np.array([ranker.ranker.weights[name] for name in FEATURES])
    return ranker, float(np.linalg.norm(learned - truth))


def test_it_finds_the_weights_that_made_the_clicks() -> None:
    _, near = trained("newton", 3_000)
    _, far = trained("newton", 100)
    assert near < 0.5 < far
    assert near < far / 3


def test_newtons_steps_learn_more_from_correlated_features_than_adagrads() -> None:
    _, newton = trained("newton", 1_000)
    _, adagrad = trained("adagrad", 1_000)
    assert newton < 0.7 * adagrad


@pytest.mark.parametrize("rule", ["newton", "adagrad"])
def test_a_restored_ranker_goes_on_as_the_one_it_was_taken_from(rule: Literal["newton", "adagrad"]) -> None:
    whole, _ = trained(rule, 60)
    part, _ = trained(rule, 25)
    restored = OnlineRanker.restore(part.state(), part.settings)
    truth = truth_of(0)
    for i in range(25, 60):
        restored.learn(*slate(i, truth), time_s=START_S + i)
    assert restored.state() == whole.state()
    assert restored.ranker == whole.ranker


def nothing_clicked(x: NDArray[np.float32], clicked: NDArray[np.bool_]) -> tuple[NDArray[np.float32], ...]:
    return x, np.zeros_like(clicked)


def all_clicked(x: NDArray[np.float32], clicked: NDArray[np.bool_]) -> tuple[NDArray[np.float32], ...]:
    return x, np.ones_like(clicked)


def not_finite(x: NDArray[np.float32], clicked: NDArray[np.bool_]) -> tuple[NDArray[np.float32], ...]:
    x[2, 5] = np.nan
    return x, clicked


def infinite(x: NDArray[np.float32], clicked: NDArray[np.bool_]) -> tuple[NDArray[np.float32], ...]:
    x[2, 5] = np.inf
    return x, clicked


@pytest.mark.parametrize("rule", ["newton", "adagrad"])
@pytest.mark.parametrize("spoil", [nothing_clicked, all_clicked, not_finite, infinite])
@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")
def test_what_cannot_be_learned_from_changes_nothing(
    rule: Literal["newton", "adagrad"],
    spoil: Callable[[NDArray[np.float32], NDArray[np.bool_]], tuple[NDArray[np.float32], NDArray[np.bool_]]],
) -> None:
    ranker, _ = trained(rule, 5)
    before = ranker.state()
    assert not ranker.learn(*spoil(*slate(77, truth_of(0))), time_s=START_S + 9 * DAY_S)
    assert ranker.state() == before


def test_no_step_is_larger_than_allowed() -> None:
    ranker = OnlineRanker(ZERO, OnlineSettings(prior=1e-6, max_step=0.1))
    x, clicked = slate(0, truth_of(0))
    ranker.learn(x * np.float32(0.01), clicked)
    assert max(abs(weight) for weight in ranker.ranker.weights.values()) == pytest.approx(0.1)


def test_what_is_forgotten_leaves_the_prior() -> None:
    ranker, _ = trained("newton", 50)
    x, clicked = slate(99, truth_of(0))
    ranker.learn(x, clicked, time_s=START_S + 1_000 * DAY_S)
    fresh = OnlineRanker(ranker.ranker)
    fresh_state = fresh.state()
    # What is left is the prior and the newest impression's Hessian, which is at most of its features' size.
    newest = ranker.state().curvature - fresh_state.curvature
    assert np.linalg.eigvalsh(newest).min() > -1e-6
    assert np.trace(newest) <= float(np.square(x).sum())


@settings(max_examples=30)
@given(st.integers(0, 10_000), st.integers(0, 11), st.booleans())
def test_a_correction_moves_the_weights_towards_the_final_labels(seed: int, late: int, first: bool) -> None:
    """To first order: a small AdaGrad step of the example and its correction is that of the final labels."""
    x, clicked = slate(seed, truth_of(1))
    before = clicked if first else np.zeros_like(clicked)
    after = before.copy()
    after[late] = True
    if (after == before).all():
        return
    rate = OnlineSettings(rule="adagrad", rate=1e-6)
    at_once, in_parts = OnlineRanker(ZERO, rate), OnlineRanker(ZERO, rate)
    at_once.learn(x, after)
    in_parts.learn(x, before)
    assert in_parts.correct(x, before, after)
    expected = np.array(list(at_once.ranker.weights.values()))
    found = np.array(list(in_parts.ranker.weights.values()))
    assert expected @ found > 0
    if not first:
        assert found == pytest.approx(expected)


def test_what_a_slate_taught_is_taken_back_when_it_was_all_clicked_in_the_end() -> None:
    x, clicked = slate(3, truth_of(1))
    ranker = OnlineRanker(ZERO, OnlineSettings(rule="adagrad", rate=1e-6))
    ranker.learn(x, clicked)
    learned = np.array(list(ranker.ranker.weights.values()))
    assert ranker.correct(x, clicked, np.ones_like(clicked))
    left = np.array(list(ranker.ranker.weights.values()))
    assert np.abs(left).max() < np.abs(learned).max() / 2


@given(st.integers(0, 1_000))
@settings(max_examples=20)
def test_the_order_of_the_candidates_does_not_matter(seed: int) -> None:
    x, clicked = slate(seed, truth_of(2))
    order = np.random.default_rng(seed).permutation(len(x))
    one, other = OnlineRanker(ZERO), OnlineRanker(ZERO)
    one.learn(x, clicked)
    other.learn(x[order], clicked[order])
    assert list(one.ranker.weights.values()) == pytest.approx(list(other.ranker.weights.values()), abs=1e-9)


def test_features_that_a_state_does_not_know_start_anew() -> None:
    ranker, _ = trained("newton", 40)
    state = ranker.state()
    kept = [i for i, name in enumerate(FEATURES) if name != "trend"]
    old = replace(
        state,
        features=tuple(FEATURES[i] for i in kept),
        curvature=state.curvature[np.ix_(kept, kept)],
        weights={name: weight for name, weight in state.weights.items() if name != "trend"},
    )
    restored = OnlineRanker.restore(old)
    trend = FEATURES.index("trend")
    assert restored.ranker.weights.get("trend", 0.0) == 0.0
    assert restored.state().curvature[trend, trend] == ranker.settings.prior
    assert restored.ranker.weights["log_age"] == ranker.ranker.weights["log_age"]


@pytest.mark.parametrize(
    "curvature",
    [np.eye(F - 1), np.full((F, F), np.nan), np.zeros((F, F)), -np.eye(F), np.ones((F, F))],
    ids=["shape", "nan", "zero", "negative", "singular"],
)
def test_a_state_that_nothing_could_have_learned_is_refused(curvature: NDArray[np.float64]) -> None:
    state = replace(OnlineRanker(ZERO).state(), curvature=curvature)
    with pytest.raises(ValueError, match="ranker zero revision 0"):
        OnlineRanker.restore(state)


@pytest.mark.parametrize("name", ["prior", "half_life_s", "rate", "max_step"])
@pytest.mark.parametrize("value", [0.0, -1.0, float("nan"), float("inf")])
def test_settings_are_positive(name: str, value: float) -> None:
    with pytest.raises(ValueError, match=name):
        OnlineSettings(**{name: value})
