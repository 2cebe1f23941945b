"""Users are assigned evenly, independently and for good; missing users are noticed."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from freshet.models.events.experiment import BUCKETS, Experiment, Segment, Variant, bucket_counts
from freshet.models.experiments.assignment import Assigner, bucket, chi_square_tail, reshared, sample_ratio

_NOW = datetime(2026, 3, 2, tzinfo=UTC)
_USERS = [f"U{i}" for i in range(20_000)]
_SIGNIFICANT = 1e-4
"""The seeds are fixed: a test below this fails always or never."""


def experiment(*shares: float, name: str = "E", **fields: Any) -> Experiment:
    """Variants A, B, C and so on."""
    variants = tuple(Variant(name=chr(65 + i), share=share) for i, share in enumerate(shares))
    defaults: dict[str, Any] = {"salt": name, "created_at": _NOW, "shares_since": _NOW}
    return Experiment(name=name, variants=variants, **(defaults | fields))


def assigned(of: Experiment, users: list[str] = _USERS) -> list[str]:
    assigner = Assigner(of)
    return ["" if (variant := assigner.variant(user)) is None else variant.name for user in users]


@st.composite
def share_lists(draw: st.DrawFn) -> list[float]:
    weights = draw(st.lists(st.integers(1, 50), min_size=2, max_size=6))
    return [weight / sum(weights) for weight in weights[:-1]]


class TestAssignment:
    """Even, independent, for good."""

    def test_users_spread_evenly_over_buckets(self) -> None:
        counts = np.bincount([bucket("E", user) * 100 // BUCKETS for user in _USERS], minlength=100)
        chi_square = float(((counts - len(_USERS) / 100) ** 2 / (len(_USERS) / 100)).sum())
        assert chi_square_tail(chi_square, 99) > _SIGNIFICANT

    @pytest.mark.parametrize("shares", [(0.5, 0.5), (0.9, 0.1), (0.2, 0.3, 0.1)])
    def test_variants_get_their_shares(self, shares: tuple[float, ...]) -> None:
        names = assigned(experiment(*shares))
        counts = [names.count(chr(65 + i)) for i in range(len(shares))]
        assert sample_ratio(counts, shares).p_value > _SIGNIFICANT
        assert abs(names.count("") / len(_USERS) - (1 - sum(shares))) < 0.01

    def test_two_experiments_are_independent(self) -> None:
        first, second = (assigned(experiment(0.5, 0.5, name=name)) for name in ("E1", "E2"))
        pairs = list(zip(first, second, strict=True))
        counts = [pairs.count((a, b)) for a in "AB" for b in "AB"]
        assert sample_ratio(counts, [0.25] * 4).p_value > _SIGNIFICANT

    def test_one_salt_is_one_assignment(self) -> None:
        first = experiment(0.5, 0.5, name="E1", salt="s")
        assert assigned(first) == assigned(experiment(0.5, 0.5, name="E2", salt="s"))
        assert assigned(first) != assigned(experiment(0.5, 0.5, name="E1"))

    def test_an_assignment_is_for_good(self) -> None:
        """These were computed once: another answer would change users' variants with a release of freshet."""
        assert [bucket("bolder-recency", user) for user in ("U1", "U2", "läser")] == [8581, 3041, 6619]

    def test_a_salt_and_a_user_are_not_another_salt_and_user(self) -> None:
        assert bucket("ab", "c") != bucket("a", "bc")

    @given(share_lists())
    def test_the_buckets_add_up_and_are_within_one_of_the_shares(self, shares: list[float]) -> None:
        counts = bucket_counts(shares)
        assert sum(counts) == round(sum(shares) * BUCKETS)
        assert all(abs(c - share * BUCKETS) < 1 for c, share in zip(counts, shares, strict=True))

    def test_outside_its_event_time_nobody_is_in_it(self) -> None:
        of = experiment(1.0, starts_at=_NOW, stops_at=_NOW + timedelta(hours=1))
        assert not of.runs_at(_NOW - timedelta(seconds=1))
        assert of.runs_at(_NOW)
        assert not of.runs_at(_NOW + timedelta(hours=1))
        assert experiment(1.0).runs_at(_NOW)


class TestReshared:
    """A change of shares moves those it must."""

    @given(st.data())
    def test_no_assignment_moves_fewer_users(self, data: st.DataObject) -> None:
        before = experiment(*data.draw(share_lists()))
        after = reshared(before, experiment(*data.draw(share_lists())).variants, _NOW)
        holders = [self._holders(before), self._holders(after)]
        moved = sum(a != b for a, b in zip(*holders, strict=True))
        names = set(holders[0]) | set(holders[1])
        assert moved == sum(max(0, holders[0].count(name) - holders[1].count(name)) for name in names)
        counts = bucket_counts([variant.share for variant in after.variants])
        assert [holders[1].count(variant.name) for variant in after.variants] == counts

    def test_many_changes_leave_each_user_in_one_variant(self) -> None:
        of = experiment(0.5, 0.5)
        for shares in ((0.6, 0.3, 0.1), (0.2, 0.2, 0.2, 0.2), (0.5, 0.5), (0.01, 0.01, 0.9)):
            of = reshared(of, experiment(*shares).variants, _NOW)
            names = assigned(of)
            for variant in of.variants:
                assert abs(names.count(variant.name) / len(_USERS) - variant.share) < 0.015

    def test_the_same_shares_move_nobody(self) -> None:
        before = experiment(0.3, 0.3, 0.3)
        assert assigned(reshared(before, before.variants, _NOW)) == assigned(before)

    def test_it_stays_the_same_experiment_with_a_new_beginning(self) -> None:
        later = _NOW + timedelta(days=1)
        before = experiment(0.5, 0.5, metric="auc", expected_effect=0.1)
        after = reshared(before, experiment(0.4, 0.6).variants, later)
        assert (after.salt, after.created_at, after.metric) == (before.salt, before.created_at, before.metric)
        assert (after.shares_since, after.expected_effect) == (later, 0.1)

    @staticmethod
    def _holders(of: Experiment) -> list[str | None]:
        return [segment.variant for segment in of.all_segments() for _ in range(segment.buckets)]


class TestRefusals:
    """What is no experiment."""

    def test_shares_of_more_than_everybody(self) -> None:
        with pytest.raises(ValidationError, match=r"sum to 1\.1"):
            experiment(0.6, 0.5)

    def test_thirds_are_everybody(self) -> None:
        assert assigned(experiment(1 / 3, 1 / 3, 1 / 3)).count("") == 0

    def test_two_variants_of_one_name(self) -> None:
        with pytest.raises(ValidationError, match="one name"):
            Experiment(
                name="E",
                salt="E",
                created_at=_NOW,
                shares_since=_NOW,
                variants=(Variant(name="A", share=0.5), Variant(name="A", share=0.5)),
            )

    @pytest.mark.parametrize(
        "segments",
        [
            (Segment(buckets=BUCKETS, variant="A"),),
            (Segment(buckets=5_000, variant="A"), Segment(buckets=4_999, variant="B")),
            (Segment(buckets=5_000, variant="A"), Segment(buckets=5_000, variant="C")),
        ],
    )
    def test_segments_that_are_not_the_shares(self, segments: tuple[Segment, ...]) -> None:
        with pytest.raises(ValidationError, match="the shares ask for"):
            experiment(0.5, 0.5, segments=segments)

    def test_an_end_before_the_beginning(self) -> None:
        with pytest.raises(ValidationError, match="before it starts"):
            experiment(1.0, starts_at=_NOW, stops_at=_NOW)


class TestSampleRatio:
    """Missing users are noticed, others are not missed."""

    def test_the_tail_is_that_of_the_incomplete_gamma_function(self) -> None:
        stats = pytest.importorskip("scipy.stats", reason="scipy comes with the extra train")
        for degrees in (1, 2, 3, 4, 7, 19):
            for value in (0.0, 1e-6, 0.3, 1.0, 3.84, 12.0, 80.0, 700.0):
                expected = stats.chi2.sf(value, degrees)
                assert chi_square_tail(value, degrees) == pytest.approx(expected, rel=1e-10, abs=1e-300)

    def test_users_as_assigned_pass(self) -> None:
        found = sample_ratio([5_021, 4_979], [0.5, 0.5])
        assert found.p_value == pytest.approx(0.6745, abs=1e-3)
        assert not found.mismatch
        assert found.watched_p_value == 1.0

    def test_shares_need_not_sum_to_one(self) -> None:
        assert sample_ratio([200, 100], [0.2, 0.1]).p_value == 1.0

    def test_three_percent_of_lost_users_are_noticed_where_there_are_many(self) -> None:
        found = sample_ratio([50_000, 48_500], [0.5, 0.5])
        assert found.mismatch
        assert found.watched_p_value < 0.001

    def test_a_watched_p_value_keeps_its_promise_at_every_user(self) -> None:
        """200 experiments without a mismatch, looked at after every ten of 2,000 users."""
        random = np.random.default_rng(5)
        runs, alarms, chi_alarms = 200, 0, 0
        for _ in range(runs):
            first = np.cumsum(random.random(2_000) < 0.5)
            counts = [(int(first[n]), n + 1 - int(first[n])) for n in range(9, 2_000, 10)]
            looks = [sample_ratio(count, [0.5, 0.5]) for count in counts]
            alarms += min(look.watched_p_value for look in looks) < 0.05
            chi_alarms += min(look.p_value for look in looks) < 0.05
        assert alarms / runs <= 0.05
        assert chi_alarms / runs > 0.2, "what watching the chi-square test does"

    def test_nobody_is_no_mismatch(self) -> None:
        assert sample_ratio([0, 0], [0.5, 0.5]).p_value == 1.0

    def test_counts_and_shares_must_go_together(self) -> None:
        with pytest.raises(ValueError, match="do not go with"):
            sample_ratio([1, 2, 3], [0.5, 0.5])
        with pytest.raises(ValueError, match="no such thing"):
            chi_square_tail(-1.0, 1)
