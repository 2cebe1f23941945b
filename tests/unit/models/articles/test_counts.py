"""The laws of an article's statistics, on any events."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from freshet.models.articles.catalog import STATS_HALF_LIVES_S
from freshet.models.articles.counts import ArticleCounts

START_S = 1_573_084_800.0
"""A day's start, so that the golden bytes do not hang on a platform's rounding."""
TINY = 1e-300
"""What has decayed below this is a subnormal number, with few digits left."""
LAW = settings(max_examples=50)


class Counted(NamedTuple):
    """An event."""

    time_s: float
    shown: int
    clicked: int


events = st.lists(
    st.builds(
        Counted,
        st.integers(0, 20 * 86_400).map(lambda seconds: START_S + seconds / 2),
        st.integers(0, 2),
        st.integers(0, 2),
    ),
    max_size=30,
)


def counts_of(happened: list[Counted], partition: int = 0) -> ArticleCounts:
    counts = ArticleCounts()
    for offset, event in enumerate(happened):
        assert counts.apply(("impressions", partition, offset), *event)
    return counts


def assert_same(one: ArticleCounts, other: ArticleCounts) -> None:
    """Equal up to float64 rounding."""
    now_s = START_S + 10 * 86_400
    np.testing.assert_allclose(one.at(now_s), other.at(now_s), rtol=1e-9, atol=TINY)
    assert (one.time_s, one.first_seen_s) == (other.time_s, other.first_seen_s)
    assert one.offsets == other.offsets


def batch_formula(happened: list[Counted], now_s: float) -> NDArray[np.float64]:
    """Clicks and impressions (2, H), straight from the definition."""
    expected = np.zeros((2, len(STATS_HALF_LIVES_S)))
    for event in happened:
        for j, half_life_s in enumerate(STATS_HALF_LIVES_S):
            weight = 1.0 if half_life_s is None else 0.5 ** ((now_s - event.time_s) / half_life_s)
            expected[:, j] += weight * np.array([event.clicked, event.shown])
    return expected


@LAW
@given(events, st.integers(0, 3 * 86_400))
def test_counts_equal_the_batch_formula(happened: list[Counted], later_s: int) -> None:
    now_s = max((event.time_s for event in happened), default=START_S) + later_s
    np.testing.assert_allclose(
        counts_of(happened).at(now_s), batch_formula(happened, now_s), rtol=1e-9, atol=TINY
    )


@LAW
@given(events, st.data())
def test_order_across_sources_does_not_matter(happened: list[Counted], data: st.DataObject) -> None:
    straight, shuffled = ArticleCounts(), ArticleCounts()
    placed = list(enumerate(happened))
    for partition, event in placed:
        straight.apply(("clicks", partition, 0), *event)
    for partition, event in data.draw(st.permutations(placed)):
        shuffled.apply(("clicks", partition, 0), *event)
    assert_same(straight, shuffled)


@LAW
@given(events, st.data())
def test_redelivered_events_change_nothing(happened: list[Counted], data: st.DataObject) -> None:
    counts = counts_of(happened)
    before = counts.to_bytes()
    for offset in range(data.draw(st.integers(0, len(happened))), len(happened)):
        assert not counts.apply(("impressions", 0, offset), *happened[offset])
    assert counts.to_bytes() == before


@LAW
@given(events, events)
def test_merging_equals_counting_both_lists(happened: list[Counted], others: list[Counted]) -> None:
    together = counts_of(happened)
    for offset, event in enumerate(others):
        together.apply(("impressions", 1, offset), *event)
    mine, theirs = counts_of(happened), counts_of(others, partition=1)
    assert_same(mine.merge(theirs), together)
    assert_same(theirs.merge(mine), together)


@LAW
@given(events, st.floats(0, 30 * 86_400))
def test_time_only_decays(happened: list[Counted], later_s: float) -> None:
    counts = counts_of(happened)
    if not happened:
        return
    left = [1.0 if h is None else 0.5 ** (later_s / h) for h in STATS_HALF_LIVES_S]
    np.testing.assert_allclose(
        counts.at(counts.time_s + later_s), np.array(counts.at(counts.time_s)) * left, rtol=1e-9, atol=TINY
    )
    assert counts.at(counts.time_s - later_s) == counts.at(counts.time_s)


@LAW
@given(events, st.integers(0, 10 * 86_400))
def test_counts_read_back_go_on_exactly_as_those_written(happened: list[Counted], later_s: int) -> None:
    counts = counts_of(happened)
    restored = ArticleCounts.from_bytes(counts.to_bytes())
    for each in (counts, restored):
        each.apply(("clicks", 2, 40), START_S + later_s, 1, 1)
    assert restored.to_bytes() == counts.to_bytes()


GOLDEN_V1 = (
    "010200204700001200000000002c71d741000000a0d770d741100000000000f03f000000000010f03f000000000000f8"
    "3f0000000000000040000000000000f03c000000000000703f000000000000e03f000000000000f03f636c69636b730a"
    "696d7072657373696f6e7300000002000000000000000103001100000000000000e9449e05"
)


def test_version_1_is_still_read() -> None:
    counts = ArticleCounts()
    counts.apply(("impressions", 3, 17), START_S, 1, 1)
    counts.apply(("clicks", 0, 2), START_S + 86_400, 0, 1)
    restored = ArticleCounts.from_bytes(bytes.fromhex(GOLDEN_V1))
    assert restored.at(START_S + 86_400) == counts.at(START_S + 86_400)
    assert restored.offsets == {("impressions", 3): 17, ("clicks", 0): 2}
    assert restored.expected_at(START_S + 86_400) == (0.0,) * 4
    assert restored.contexts == {}


GOLDEN_V2 = (
    "020200204700001200000000002c71d741000000a0d770d741100000000000f03f000000000010f03f000000000000f8"
    "3f0000000000000040000000000000f03c000000000000703f000000000000e03f000000000000f03f000000002c71d7"
    "41000000000000d03c000000000000503f000000000000c03f000000000000d03f0f000000636c69636b730a696d7072"
    "657373696f6e737b224e37223a322c224e38223a317d00000002000000000000000103001100000000000000fd8f4069"
)


def test_version_2_is_still_written_and_read() -> None:
    counts = counts_of_version_2()
    assert counts.to_bytes().hex() == GOLDEN_V2
    restored = ArticleCounts.from_bytes(bytes.fromhex(GOLDEN_V2))
    assert restored.at(START_S + 86_400) == counts.at(START_S + 86_400)
    assert restored.expected_at(START_S + 86_400) == counts.expected_at(START_S + 86_400)
    assert (restored.contexts, restored.clicked_at_s) == ({"N7": 2, "N8": 1}, START_S + 86_400)


def counts_of_version_2() -> ArticleCounts:
    counts = ArticleCounts()
    counts.apply(("impressions", 3, 17), START_S, 1, 1, 4, ["N7"])
    counts.apply(("clicks", 0, 2), START_S + 86_400, 0, 1, 0, ["N7", "N8"])
    return counts


def test_a_slate_of_n_expects_one_click_in_n() -> None:
    counts = ArticleCounts()
    counts.apply(("impressions", 0, 0), START_S, 1, 0, 4)
    counts.apply(("impressions", 0, 1), START_S, 1, 0, 10)
    counts.apply(("impressions", 0, 2), START_S, 1, 0)  # the slate's size is not known
    assert counts.expected_at(START_S + 10_800)[1::2] == pytest.approx((0.175, 0.35))


@LAW
@given(st.binary(max_size=200))
def test_garbage_is_refused(value: bytes) -> None:
    with pytest.raises(ValueError, match="article statistics"):
        ArticleCounts.from_bytes(value)


@LAW
@given(st.data())
def test_damaged_bytes_are_refused(data: st.DataObject) -> None:
    value = bytearray(counts_of([Counted(START_S, 1, 0)]).to_bytes())
    value[data.draw(st.integers(0, len(value) - 1))] ^= data.draw(st.integers(1, 255))
    with pytest.raises(ValueError, match="article statistics"):
        ArticleCounts.from_bytes(bytes(value))


def test_new_article_has_no_counts() -> None:
    assert ArticleCounts().at(START_S) == ((0.0,) * 4, (0.0,) * 4)
    value = ArticleCounts().to_bytes()
    assert ArticleCounts.from_bytes(value).to_bytes() == value


@pytest.mark.parametrize("time_s", [float("nan"), float("inf"), -1.0, 1e12])
def test_impossible_time_is_refused_and_changes_nothing(time_s: float) -> None:
    counts = counts_of([Counted(START_S, 1, 0)])
    before = counts.to_bytes()
    with pytest.raises(ValueError, match="between 1970"):
        counts.apply(("impressions", 0, 9), time_s, 1, 0)
    assert counts.to_bytes() == before
