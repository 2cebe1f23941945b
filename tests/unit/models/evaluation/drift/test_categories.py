"""The population stability index: by hand, symmetric, 0 of what is the same, finite whatever is missing."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from freshet.models.evaluation.drift.categories import CategoryShift, category_shift, psi_parts

counts = st.dictionaries(st.sampled_from("abcdef"), st.floats(0, 1e6), min_size=1).filter(
    lambda found: sum(found.values()) > 0
)


def test_it_is_what_a_hand_computes() -> None:
    shift = category_shift({"sport": 89.5, "news": 9.5}, {"sport": 49.5, "news": 49.5})
    # Smoothed by 0.5: shares of 0.9 and 0.1 before, of a half each after.
    sport, news = (0.5 - 0.9) * math.log(0.5 / 0.9), (0.5 - 0.1) * math.log(0.5 / 0.1)
    assert shift.psi == pytest.approx(sport + news)
    assert shift.reading == "significant shift"
    assert [(count.category, count.psi) for count in shift.counts] == [
        ("news", pytest.approx(news)),
        ("sport", pytest.approx(sport)),
    ]
    assert (shift.before, shift.after) == (99.0, 99.0)
    assert shift.by_chance == pytest.approx(2 / 99)


def test_a_category_that_is_new_counts_as_half_an_event_before() -> None:
    shift = category_shift({"a": 9.0}, {"a": 9.0, "b": 9.0})
    q, p = np.array([9.5, 0.5]) / 10, np.array([9.5, 9.5]) / 19
    assert shift.psi == pytest.approx(float(((p - q) * np.log(p / q)).sum()))
    assert [(count.category, count.before, count.after) for count in shift.counts] == [
        ("b", 0.0, 9.0),
        ("a", 9.0, 9.0),
    ]


@given(counts)
def test_what_is_the_same_has_no_shift(same: dict[str, float]) -> None:
    shift = category_shift(same, same)
    assert shift.psi == 0.0
    assert shift.reading == "stable"


@given(counts, counts)
def test_it_is_symmetric_finite_and_never_negative(before: dict[str, float], after: dict[str, float]) -> None:
    there, back = category_shift(before, after), category_shift(after, before)
    assert there.psi == pytest.approx(back.psi, rel=1e-9, abs=1e-12)
    assert math.isfinite(there.psi)
    assert there.psi >= 0.0
    assert all(count.psi >= 0.0 for count in there.counts)
    assert sum(count.psi for count in there.counts) == pytest.approx(there.psi)


@given(counts, counts)
def test_a_category_that_nobody_has_changes_nothing(
    before: dict[str, float], after: dict[str, float]
) -> None:
    with_empty = category_shift(before | {"unused": 0.0}, after | {"unused": 0.0})
    assert with_empty.psi == pytest.approx(category_shift(before, after).psi)
    assert with_empty.by_chance == pytest.approx(category_shift(before, after).by_chance)


def test_a_single_category_cannot_shift_however_little_is_left_of_it() -> None:
    shift = category_shift({"a": 1.1e-308}, {"a": 1.1e-308})
    assert (shift.psi, shift.by_chance) == (0.0, 0.0)


def test_chance_makes_it_about_as_large_as_is_said() -> None:
    rng = np.random.default_rng(3)
    shares = np.array([0.4, 0.3, 0.2, 0.1])
    found = [
        psi_parts(*(rng.multinomial(n, shares).astype(np.float64) for n in (500, 800))).sum()
        for _ in range(2_000)
    ]
    assert np.mean(found) == pytest.approx(3 * (1 / 500 + 1 / 800), rel=0.1)


@pytest.mark.parametrize(
    ("psi", "reading"),
    [(0.0999, "stable"), (0.1, "moderate shift"), (0.25, "moderate shift"), (0.2501, "significant shift")],
)
def test_the_reading_is_the_usual_one(psi: float, reading: str) -> None:
    assert CategoryShift(psi, 0.0, 1.0, 1.0, ()).reading == reading


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        ({"a": 1.0}, {}, "1 counted before and 0 after"),
        ({}, {}, "0 counted before and 0 after"),
        ({"a": -1.0}, {"a": 1.0}, "negative or not finite"),
        ({"a": math.nan}, {"a": 1.0}, "negative or not finite"),
    ],
)
def test_what_has_no_shares_is_refused(
    before: dict[str, float], after: dict[str, float], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        category_shift(before, after)
