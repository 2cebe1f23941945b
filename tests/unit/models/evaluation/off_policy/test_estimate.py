"""Estimates from a log: unbiased where they must be, bounded where they can be, refused where none can be."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from freshet.models.evaluation.off_policy.estimate import (
    LoggedLists,
    NoSupport,
    OffPolicyEstimate,
    effective_sample_size,
    estimate,
)
from freshet.models.evaluation.ranking_metrics import Estimate

LOGS = 200
ARTICLES, SHOWN = 5, 3
EXAMINED = np.array([0.9, 0.5, 0.25])
"""Of positions 1 to 3."""


class Newspaper(NamedTuple):
    """Two kinds of reader, clicking by article and position; the truth that the logs come from."""

    attraction: NDArray[np.float64]
    """(kinds, ARTICLES): the click chance of an article that is looked at."""
    serving: NDArray[np.float64]
    """(kinds, ARTICLES): rates of the Plackett-Luce policy that serves."""
    judged: NDArray[np.intp]
    """(kinds, SHOWN): the list that the ranker to be judged shows."""

    def value(self, depth: int = SHOWN) -> float:
        """True clicks per list of the ranker to be judged; readers of both kinds are equally many."""
        return float(
            np.mean([(self.attraction[kind, self.judged[kind]] * EXAMINED)[:depth].sum() for kind in (0, 1)])
        )


NEWSPAPER = Newspaper(
    np.array([[0.6, 0.1, 0.3, 0.5, 0.2], [0.1, 0.7, 0.2, 0.3, 0.6]]),
    np.array([[2.0, 1.0, 1.0, 3.0, 0.7], [1.0, 1.0, 2.0, 2.0, 2.0]]),
    np.array([[0, 2, 3], [1, 4, 2]]),
)


def _propensities(rates: NDArray[np.float64]) -> NDArray[np.float64]:
    """(ARTICLES, SHOWN): of each article at each position, summed over the articles above."""
    chances = np.zeros((ARTICLES, SHOWN))
    total = rates.sum()
    for first in range(ARTICLES):
        p1 = rates[first] / total
        chances[first, 0] += p1
        for second in set(range(ARTICLES)) - {first}:
            p2 = p1 * rates[second] / (total - rates[first])
            chances[second, 1] += p2
            for third in set(range(ARTICLES)) - {first, second}:
                chances[third, 2] += p2 * rates[third] / (total - rates[first] - rates[second])
    return chances


def _log(seed: int, lists: int = 400, lists_per_user: int = 4) -> LoggedLists:
    random = np.random.default_rng(seed)
    user = np.arange(lists) // lists_per_user
    kind = user % 2
    noisy = np.log(NEWSPAPER.serving[kind]) + random.gumbel(size=(lists, ARTICLES))
    shown = np.argsort(-noisy, axis=1)[:, :SHOWN]
    slots = np.arange(SHOWN)
    propensity = np.stack([_propensities(rates) for rates in NEWSPAPER.serving])[kind[:, None], shown, slots]
    chance = NEWSPAPER.attraction[kind[:, None], shown] * EXAMINED
    judged = NEWSPAPER.judged[kind]
    # A prediction that is off: half of the truth.
    expected = 0.5 * NEWSPAPER.attraction[kind[:, None], judged] * EXAMINED
    return LoggedLists(
        user=user,
        start=np.arange(lists + 1) * SHOWN,
        position=np.tile(slots + 1, lists),
        reward=(random.random((lists, SHOWN)) < chance).astype(np.float64).ravel(),
        propensity=propensity.ravel(),
        target=(shown == judged).astype(np.float64).ravel(),
        predicted=(0.5 * chance).ravel(),
        expected=expected.ravel(),
    )


@pytest.fixture(scope="module")
def estimates() -> list[OffPolicyEstimate]:
    return [estimate(_log(seed), resamples=200, seed=seed) for seed in range(LOGS)]


def _by_name(found: OffPolicyEstimate, name: str) -> Estimate:
    value: Estimate = getattr(found, name)
    return value


@pytest.mark.parametrize("name", ["ips", "doubly_robust"])
def test_the_mean_over_many_logs_is_the_true_value(estimates: list[OffPolicyEstimate], name: str) -> None:
    means = np.array([_by_name(found, name).mean for found in estimates])
    error = means.std(ddof=1) / np.sqrt(LOGS)
    assert abs(means.mean() - NEWSPAPER.value()) < 3 * error


def test_snips_is_nearly_unbiased_and_steadier_than_ips(estimates: list[OffPolicyEstimate]) -> None:
    snips = np.array([found.snips.mean for found in estimates])
    ips = np.array([found.ips.mean for found in estimates])
    assert abs(snips.mean() - NEWSPAPER.value()) < 0.02
    assert snips.std() < ips.std()


def test_a_prediction_that_is_half_right_makes_the_estimate_steadier(
    estimates: list[OffPolicyEstimate],
) -> None:
    robust = np.array([_by_name(found, "doubly_robust").mean for found in estimates])
    assert robust.std() < np.std([found.ips.mean for found in estimates])


@pytest.mark.parametrize("name", ["ips", "snips", "doubly_robust"])
def test_intervals_hold_the_true_value_as_often_as_they_say(
    estimates: list[OffPolicyEstimate], name: str
) -> None:
    intervals = [_by_name(found, name) for found in estimates]
    held = np.mean([interval.low <= NEWSPAPER.value() <= interval.high for interval in intervals])
    assert 0.90 <= held <= 0.99


def test_clicks_at_the_first_position_are_estimated_without_the_others() -> None:
    logs = [_log(seed) for seed in range(LOGS)]
    means = np.array([estimate(log, depth=1, resamples=2).ips.mean for log in logs])
    assert abs(means.mean() - NEWSPAPER.value(1)) < 3 * means.std(ddof=1) / np.sqrt(LOGS)
    changed = replace(logs[0], reward=np.where(logs[0].position > 1, 1.0, logs[0].reward))
    assert estimate(changed, depth=1, resamples=2) == estimate(logs[0], depth=1, resamples=2)


def test_the_mean_weight_is_one_where_everything_could_be_shown(estimates: list[OffPolicyEstimate]) -> None:
    assert np.mean([found.mean_weight.mean for found in estimates]) == pytest.approx(1.0, abs=0.02)


def test_the_policy_that_served_is_worth_what_it_got() -> None:
    log = _log(1)
    same = estimate(replace(log, target=log.propensity), resamples=50)
    clicks = log.reward.sum() / len(log)
    for found in (same.on_policy, same.ips, same.snips, same.clipped):
        assert found.mean == pytest.approx(clicks)
    assert same.gain.low == pytest.approx(0.0, abs=1e-12)
    assert same.mean_weight == Estimate(1.0, 1.0, 1.0)
    assert same.effective_sample_size == pytest.approx(len(log))


def test_of_a_deterministic_policy_only_its_own_value_is_known() -> None:
    log = _log(2)
    sure = np.ones(len(log.position))
    own = estimate(replace(log, propensity=sure, target=sure), resamples=50)
    assert own.ips.mean == own.snips.mean == own.on_policy.mean == log.reward.sum() / len(log)
    assert own.zero_support == 0.0
    assert own.deterministic == 1.0
    with pytest.raises(NoSupport, match=r"deterministic .* on every list"):
        estimate(replace(log, propensity=sure, target=0.9 * sure))
    with pytest.raises(NoSupport, match="deterministic"):
        estimate(replace(log, propensity=sure))


def test_some_lists_without_support_are_told() -> None:
    log = _log(3, lists=100)
    propensity = log.propensity.copy()
    sure = np.flatnonzero(log.target == 0)[:20]
    propensity[sure] = 1.0
    found = estimate(replace(log, propensity=propensity), resamples=2)
    lists = len(np.unique(sure // SHOWN))
    assert found.zero_support == lists / 100
    propensity[::SHOWN] = 1.0
    with pytest.raises(NoSupport, match=r"no choice \(propensity 1\) on \d+% of the lists"):
        estimate(replace(log, propensity=propensity))


def test_a_ranker_that_never_agrees_with_the_log_is_refused() -> None:
    log = _log(4)
    with pytest.raises(NoSupport, match="all weights are 0"):
        estimate(replace(log, target=np.zeros_like(log.target)))


@given(
    st.lists(
        st.tuples(st.floats(1e-6, 0.99), st.floats(0, 1), st.booleans()), min_size=3, max_size=60
    ).filter(lambda slots: any(slot[1] for slot in slots))
)
def test_snips_never_leaves_what_clicks_can_be(slots: list[tuple[float, float, bool]]) -> None:
    propensity, target, clicked = (np.array(column, np.float64) for column in zip(*slots, strict=True))
    n = len(slots)
    log = LoggedLists(np.arange(n), np.arange(n + 1), np.ones(n, np.int64), clicked, propensity, target)
    found = estimate(log, resamples=20)
    for value in (found.snips.low, found.snips.mean, found.snips.high):
        assert -1e-9 <= value <= 1 + 1e-9
    assert found.clipped.mean <= found.ips.mean + 1e-12
    assert 0 < found.effective_sample_size <= n + 1e-9


@pytest.mark.parametrize(
    ("weights", "size"),
    [([1, 1, 1, 1], 4.0), ([5, 0, 0], 1.0), ([3, 1], 1.6), ([0, 0], 0.0), ([1e-200, 1e-200], 2.0)],
)
def test_the_effective_sample_size_is_kishs(weights: list[float], size: float) -> None:
    assert effective_sample_size(np.array(weights, np.float64)) == pytest.approx(size)


def test_clipping_is_as_asked_or_at_the_root_of_the_lists() -> None:
    log = _log(5)
    found = estimate(log, resamples=2)
    assert found.clip == 20.0
    weights = log.target / log.propensity
    clipped = estimate(log, clip=2.0, resamples=2)
    assert clipped.clipped.mean == pytest.approx((np.minimum(weights, 2.0) * log.reward).sum() / len(log))
    assert clipped.clipped_slots == (weights > 2).sum()
    assert clipped.largest_weight == weights.max()


def test_users_are_drawn_whole() -> None:
    log = _log(6, lists=400, lists_per_user=40)
    alone = replace(log, user=np.arange(400))
    as_independent, clustered = estimate(alone), estimate(log)
    assert clustered.users == 10
    assert clustered.ips.mean == pytest.approx(as_independent.ips.mean)
    copied = np.concatenate([log.user, log.user])
    twice = LoggedLists(
        copied,
        np.arange(801) * SHOWN,
        *(np.tile(column, 2) for column in (log.position, log.reward, log.propensity, log.target)),
    )
    # The same lists once more of the same users are no new evidence.
    again = estimate(twice)
    assert again.ips.low == pytest.approx(clustered.ips.low)
    assert again.ips.high == pytest.approx(clustered.ips.high)


def test_the_same_log_and_seed_give_the_same_estimate() -> None:
    assert estimate(_log(7), seed=3) == estimate(_log(7), seed=3)


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"propensity": np.zeros(3)}, "above 0"),
        ({"target": np.full(3, 1.5)}, "between 0 and 1"),
        ({"reward": np.array([0.0, np.nan, 1.0])}, "finite"),
        ({"start": np.array([0, 0, 3])}, "without slots"),
        ({"start": np.array([0, 2])}, "start"),
        ({"predicted": np.zeros(3)}, "belong together"),
    ],
)
def test_columns_that_cannot_be_a_log_are_refused(changed: dict[str, NDArray[np.float64]], why: str) -> None:
    ones = np.ones(3)
    log = LoggedLists(np.arange(2), np.array([0, 2, 3]), np.array([1, 2, 1]), ones, ones, ones)
    with pytest.raises(ValueError, match=why):
        replace(log, **changed)


@pytest.mark.parametrize("asked", [{"depth": 0}, {"clip": 0.0}])
def test_what_makes_no_sense_is_refused(asked: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="must be"):
        estimate(_log(8), **asked)


def test_an_empty_log_says_nothing() -> None:
    none = np.zeros(0)
    log = LoggedLists(np.zeros(0, np.int64), np.zeros(1, np.int64), np.zeros(0, np.int64), none, none, none)
    with pytest.raises(NoSupport, match="no list"):
        estimate(log)
