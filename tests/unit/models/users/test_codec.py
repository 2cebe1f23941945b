"""What is promised of a user's bytes: checked, compact, and readable for as long as their version."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from freshet.models.articles.catalog import ArticleCatalog
from freshet.models.users.state import Pooling, UserState

START_S = 1_573_084_800.0
LATER_S = START_S + 86_400.0
"""Whole half-lives apart, so that the golden bytes do not hang on a platform's rounding."""
POOLING = Pooling(
    d=2,
    half_lives_s=(7_200.0,),
    negative_half_life_s=86_400.0,
    prior_weight=1.0,
    max_recent_clicks=50,
    max_exposures=200,
    bundle="one",
)
CATALOG = ArticleCatalog(2)
CATALOG.put_article("N1", [1.0, -2.0], START_S)
CATALOG.put_article("N2", [0.5, 0.25], START_S)

LAW = settings(max_examples=100)


def example() -> UserState:
    state = UserState.empty(POOLING)
    state.apply_impression(("impressions", 3, 17), START_S, ["N1", "N2", "später"], ["N1"], CATALOG)
    state.apply_click(("clicks", 3, 5), LATER_S, "N9", CATALOG, impression_known=False)
    return state


GOLDEN_V1 = (
    "01e0222b45020002000000002c71d741020000000200010003000100020029000000000000000000303f000000000000"
    "e03f00008039000000ba0000803e0000003e000000a0d770d741000000002c71d741000000002c71d741002429436e01"
    "000003000101010300050000000000000003001100000000000000636c69636b730a696d7072657373696f6e730a4e31"
    "0a4e390a4e390a4e310a4e320a7370c3a474657240278514"
)


def assert_is_the_example(restored: UserState, state: UserState) -> None:
    assert restored.exposures == {"N1": 1, "N2": 1, "später": 1}
    assert restored.recent_clicks() == [("N1", START_S), ("N9", LATER_S)]
    assert restored.offsets == {("impressions", 3): 17, ("clicks", 3): 5}
    assert (restored.clicks, restored.parked, restored.reference_s) == (2, 1, LATER_S)
    population = np.zeros(2, np.float32)
    assert (restored.vectors(LATER_S, population) == state.vectors(LATER_S, population)).all()


def test_version_1_is_still_read() -> None:
    state = example()
    restored = UserState.from_bytes(bytes.fromhex(GOLDEN_V1), POOLING)
    assert_is_the_example(restored, state)
    assert restored.to_bytes() == state.to_bytes(), "what version 1 does not hold is as in a state without it"


def example_of_version_2() -> UserState:
    """More articles than are remembered, one of them shown twice in an hour, and a click of a known mark."""
    state = UserState.empty(replace(POOLING, max_exposures=2))
    state.apply_impression(("impressions", 3, 17), START_S, ["N1", "N2"], ["N1"], CATALOG, mark=7)
    state.apply_impression(("impressions", 3, 18), START_S + 60.0, ["N2", "später"], [], CATALOG)
    state.apply_click(("clicks", 3, 5), LATER_S, "N9", CATALOG, impression_known=False, mark=(1 << 64) - 1)
    return state


GOLDEN_V2 = (
    "02e0222b45020002000000002c71d741020000000200010002000100020026000000fcffffffffff2f3f0a2b8d6dfc00"
    "f03f00008039000000bae407003fe407803e000000a0d770d741000000002c71d741000000002c71d741600e2a436e01"
    "000002000201030005000000000000000300120000000000000001000200e8aa0600010000020700000000000000ffff"
    "ffffffffffff636c69636b730a696d7072657373696f6e730a4e310a4e390a4e390a4e320a7370c3a47465723b976bd6"
)


def test_version_2_is_still_written_and_read() -> None:
    state = example_of_version_2()
    assert state.to_bytes().hex() == GOLDEN_V2
    restored = UserState.from_bytes(bytes.fromhex(GOLDEN_V2), state.pooling)
    assert restored.to_bytes() == state.to_bytes()
    source = ("clicks", 3, 6)
    for again in (7, (1 << 64) - 1):
        assert restored.counted(source, LATER_S, [], ["N9"], again).left_out == ["N9"]


def test_empty_state_is_read_back() -> None:
    value = UserState.empty(POOLING).to_bytes()
    assert UserState.from_bytes(value, POOLING).to_bytes() == value


@LAW
@given(st.binary(max_size=400))
def test_garbage_is_refused(value: bytes) -> None:
    with pytest.raises(ValueError, match="user's state"):
        UserState.from_bytes(value, POOLING)


@LAW
@given(st.data())
def test_damaged_bytes_are_refused(data: st.DataObject) -> None:
    value = bytearray(example().to_bytes())
    position = data.draw(st.integers(0, len(value) - 1))
    value[position] ^= data.draw(st.integers(1, 255))
    with pytest.raises(ValueError, match="user's state"):
        UserState.from_bytes(bytes(value), POOLING)


@LAW
@given(st.data())
def test_truncated_bytes_are_refused(data: st.DataObject) -> None:
    value = example().to_bytes()
    with pytest.raises(ValueError, match="user's state"):
        UserState.from_bytes(value[: data.draw(st.integers(0, len(value) - 1))], POOLING)


def test_other_version_is_named() -> None:
    value = b"\x09" + example().to_bytes()[1:]
    with pytest.raises(ValueError, match="version 9"):
        UserState.from_bytes(value, POOLING)


def test_id_that_would_break_the_format_is_refused() -> None:
    state = example()
    state.apply_click(("clicks", 3, 6), START_S, "N1\nN2", CATALOG, impression_known=False)
    with pytest.raises(ValueError, match="line feed"):
        state.to_bytes()


def test_bounds_that_became_smaller_hold_when_read() -> None:
    state = UserState.from_bytes(example().to_bytes(), replace(POOLING, max_recent_clicks=1, max_exposures=2))
    assert state.recent_clicks() == [("N9", LATER_S)]
    assert state.exposures == {"N2": 1, "später": 1}


def test_typical_user_takes_little_more_than_the_sums() -> None:
    pooling = replace(POOLING, d=64, half_lives_s=(7_200.0, 604_800.0))
    state = UserState.empty(pooling)
    catalog = ArticleCatalog(64)
    for offset in range(20):
        slate = [f"N{10_000 + 5 * offset + i}" for i in range(5)]
        for news_id in slate:
            catalog.put_article(news_id, np.ones(64), START_S)
        state.apply_impression(
            ("impressions", 3, offset), START_S + 3_600 * offset, slate, slate[:1], catalog
        )
    assert len(state.recent_clicks()) == 20
    assert len(state.exposures) == 100
    assert len(state.to_bytes()) < 3 * 64 * 4 + 1_500
