"""A test that is looked at after every impression errs no more often than it says, and finds what is there.

The simulations are those of docs/how-to/experiments.md; ``python -m tests.simulated_experiments`` prints
them.
"""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from freshet.models.experiments.sequential_test import (
    ClusteredRatio,
    SequentialTest,
    half_width,
    log_evidence,
)
from tests.simulated_experiments import Readers, peeked_at

RUNS = 1_000
ALPHA = 0.05


class TestSimulated:
    """1,000 experiments each, looked at after each of 4,000 impressions."""

    def test_two_equal_variants_differ_in_at_most_alpha(self) -> None:
        found = peeked_at(Readers(), RUNS, seed=1)
        assert found.decided <= ALPHA
        assert found.fixed_decided > 0.3, "what watching a test for one look does"

    def test_readers_who_come_back_do_not_make_it_err(self) -> None:
        found = peeked_at(Readers(eagerness=5.0), RUNS, seed=2)
        assert found.decided <= ALPHA

    def test_few_readers_with_most_of_the_impressions_do_not_make_it_err(self) -> None:
        found = peeked_at(Readers(eagerness=2.0, activity=1.5), RUNS, seed=3)
        assert found.decided <= ALPHA

    def test_rare_clicks_do_not_make_it_err(self) -> None:
        assert peeked_at(Readers(rate=0.01), RUNS, seed=9).decided <= ALPHA

    def test_impressions_as_the_unit_would_err(self) -> None:
        """Why the user is the unit: a few readers, who are very unlike each other, in many impressions."""
        readers = Readers(users=600, eagerness=0.5)
        assert peeked_at(readers, RUNS, seed=4, by_impression=True).decided > 2 * ALPHA
        assert peeked_at(readers, RUNS, seed=4).decided <= ALPHA

    def test_a_difference_as_large_as_expected_is_found(self) -> None:
        found = peeked_at(Readers(lift=0.4), RUNS, seed=5)
        assert found.decided > 0.8
        assert found.median_impressions < 3_000


class TestClusteredRatio:
    """The ratio of sums over users and its variance."""

    @given(
        st.lists(
            st.tuples(st.integers(0, 5), st.integers(0, 3), st.integers(1, 9)), min_size=8, max_size=60
        ).filter(lambda seen: len({user for user, _, _ in seen}) > 1)
    )
    def test_adding_one_by_one_is_the_formula_over_users(self, seen: list[tuple[int, int, int]]) -> None:
        ratio = ClusteredRatio()
        y, n = np.zeros(6), np.zeros(6)
        for user, value, weight in seen:
            ratio.add_observation(f"U{user}", value, weight)
            y[user] += value
            n[user] += weight
        there = n > 0
        users = int(there.sum())
        expected = users / (users - 1) * ((y - y.sum() / n.sum() * n) ** 2).sum() / n.sum() ** 2
        assert ratio.users == users
        assert ratio.ratio == pytest.approx(y.sum() / n.sum())
        assert ratio.variance == pytest.approx(expected, rel=1e-9, abs=1e-12)

    def test_the_interval_covers_the_truth_as_often_as_it_says(self) -> None:
        random = np.random.default_rng(6)
        covered = 0
        for _ in range(400):
            ratio = ClusteredRatio()
            for user, rate in enumerate(random.beta(1.0, 9.0, 200)):
                slots = int(random.integers(1, 20))
                ratio.add_observation(f"U{user}", float(random.binomial(slots, rate)), slots)
            low, high = ratio.interval(0.95)
            covered += low < 0.1 < high
        assert 0.91 < covered / 400 < 0.98

    def test_one_user_has_no_variance(self) -> None:
        ratio = ClusteredRatio()
        assert math.isnan(ratio.ratio)
        ratio.add_observation("U1", 1.0)
        assert math.isnan(ratio.variance)

    def test_what_is_not_finite_is_refused(self) -> None:
        with pytest.raises(ValueError, match="user U1"):
            ClusteredRatio().add_observation("U1", math.nan)


class TestSequentialTest:
    """Looks, p-values and intervals."""

    def test_the_interval_is_of_the_differences_that_are_not_rejected(self) -> None:
        variance, effect_sd = 3e-4, 0.02
        edge = half_width(variance, effect_sd, ALPHA)
        assert log_evidence(edge, variance, effect_sd) == pytest.approx(math.log(1 / ALPHA))

    def test_a_p_value_never_rises(self) -> None:
        control, treatment = ClusteredRatio(), ClusteredRatio()
        test = SequentialTest(control, treatment, expected_effect=0.5)
        random = np.random.default_rng(7)
        looks = []
        for user in range(800):
            treated = user % 2 == 0
            rate = 0.5 if treated and user < 400 else 0.1  # an effect that goes away
            (treatment if treated else control).add_observation(f"U{user}", float(random.random() < rate))
            looks.append(test.look())
        assert looks == sorted(looks, reverse=True)
        found = test.comparison()
        assert found.p_value == looks[-1] < ALPHA
        assert found.decided
        assert found.decided_after is not None
        assert looks[found.decided_after - 1] <= ALPHA < looks[found.decided_after - 2]

    def test_few_users_decide_nothing(self) -> None:
        control, treatment = ClusteredRatio(), ClusteredRatio()
        test = SequentialTest(control, treatment, min_users=100)
        for user in range(99):
            control.add_observation(f"C{user}", 0.0)
            treatment.add_observation(f"T{user}", 1.0)
            test.look()
        found = test.comparison()
        assert (found.p_value, found.decided, found.high) == (1.0, False, math.inf)

    def test_no_click_at_all_decides_nothing(self) -> None:
        control, treatment = ClusteredRatio(), ClusteredRatio()
        test = SequentialTest(control, treatment, min_users=2)
        for user in range(10):
            control.add_observation(f"C{user}", 0.0)
            treatment.add_observation(f"T{user}", 0.0)
            test.look()
        assert test.comparison().p_value == 1.0
        assert math.isinf(test.comparison().high)

    def test_nothing_observed_is_no_difference(self) -> None:
        found = SequentialTest(ClusteredRatio(), ClusteredRatio()).comparison()
        assert math.isnan(found.difference)
        assert not found.decided

    def test_impossible_settings_are_refused(self) -> None:
        with pytest.raises(ValueError, match="expected_effect is 0"):
            SequentialTest(ClusteredRatio(), ClusteredRatio(), expected_effect=0.0)
        with pytest.raises(ValueError, match="alpha 1"):
            SequentialTest(ClusteredRatio(), ClusteredRatio(), alpha=1.0)
