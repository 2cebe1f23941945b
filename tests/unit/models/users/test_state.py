"""The laws of a user's state, on any events, and what each of its choices promises."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from freshet.models.articles.catalog import ArticleCatalog
from freshet.models.users.state import HISTORY_SPACING_S, Pooling, UserState

HOUR_S = 3_600.0
DAY_S = 86_400.0
START_S = 1_573_000_000.0
D = 4
POOLING = Pooling(
    d=D,
    half_lives_s=(2 * HOUR_S, 7 * DAY_S),
    negative_half_life_s=DAY_S,
    prior_weight=1.0,
    max_recent_clicks=50,
    max_exposures=200,
    bundle="one",
)
ARTICLES = [f"N{i}" for i in range(12)]
WITH_VECTOR = ARTICLES[:9]
VECTORS = dict(zip(WITH_VECTOR, np.random.default_rng(7).normal(size=(9, D)).astype(np.float32), strict=True))
POPULATION = np.array([0.5, -1.0, 0.25, 2.0], np.float32)
CLOSE = 3e-5
LAW = settings(max_examples=40)


@dataclass(frozen=True)
class Slate:
    """An impression."""

    time_s: float
    candidates: tuple[str, ...]
    clicked: tuple[str, ...]


@dataclass(frozen=True)
class LaterClick:
    """A click that comes by itself."""

    time_s: float
    news_id: str
    impression_known: bool


Happening = Slate | LaterClick


def catalog_of(ids: list[str]) -> ArticleCatalog:
    catalog = ArticleCatalog(D)
    for news_id in ids:
        catalog.put_article(news_id, VECTORS[news_id], START_S)
    return catalog


CATALOG = catalog_of(WITH_VECTOR)

times_s = st.integers(0, 10 * 86_400).map(lambda seconds: START_S + seconds)
news_ids = st.sampled_from(ARTICLES)


@st.composite
def slates(draw: st.DrawFn) -> Slate:
    candidates = tuple(draw(st.lists(news_ids, min_size=1, max_size=8)))
    return Slate(draw(times_s), candidates, tuple(draw(st.lists(st.sampled_from(candidates), max_size=2))))


later_clicks = st.builds(LaterClick, times_s, news_ids, st.booleans())
happenings = st.lists(slates() | later_clicks, max_size=25)


def apply(state: UserState, event: Happening, partition: int, offset: int) -> bool:
    if isinstance(event, Slate):
        return state.apply_impression(
            ("impressions", partition, offset), event.time_s, event.candidates, event.clicked, CATALOG
        )
    return state.apply_click(
        ("clicks", partition, offset),
        event.time_s,
        event.news_id,
        CATALOG,
        impression_known=event.impression_known,
    )


def state_of(events: list[Happening], partition: int = 0, pooling: Pooling = POOLING) -> UserState:
    state = UserState.empty(pooling)
    for offset, event in enumerate(events):
        assert apply(state, event, partition, offset)
    return state


def assert_same(one: UserState, other: UserState) -> None:
    """Equal, the sums up to float32 rounding."""
    assert one.reference_s == other.reference_s
    for now_s in (one.reference_s, one.reference_s + 3 * HOUR_S):
        if np.isfinite(now_s):
            np.testing.assert_allclose(one.weights(now_s), other.weights(now_s), rtol=0, atol=CLOSE)
            np.testing.assert_allclose(
                one.vectors(now_s, POPULATION), other.vectors(now_s, POPULATION), rtol=0, atol=CLOSE
            )
    assert one.clicks == other.clicks
    assert one.recent_clicks() == other.recent_clicks()
    assert list(one.exposures.items()) == list(other.exposures.items())
    assert one.offsets == other.offsets
    assert one.parked == other.parked


def batch_formula(events: list[Happening], now_s: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Z and u of every head, straight from the definition, in float64."""
    half_lives_s = np.array([*POOLING.half_lives_s, POOLING.negative_half_life_s])
    sums = np.zeros((3, D))
    weights = np.zeros(3)

    def add(news_id: str, time_s: float, heads: tuple[int, ...], sign: float) -> None:
        if news_id in VECTORS:
            weight = sign * 0.5 ** ((now_s - time_s) / half_lives_s)
            for j in heads:
                sums[j] += weight[j] * VECTORS[news_id].astype(np.float64)
                weights[j] += weight[j]

    for event in events:
        if isinstance(event, Slate):
            for news_id in set(event.candidates):
                add(news_id, event.time_s, (0, 1) if news_id in event.clicked else (2,), 1.0)
        else:
            add(event.news_id, event.time_s, (0, 1), 1.0)
            if event.impression_known:
                add(event.news_id, event.time_s, (2,), -1.0)
    weights = np.maximum(weights, 0.0)
    return weights, (sums + POPULATION) / (weights + 1.0)[:, None]


@LAW
@given(happenings, st.integers(0, 5 * 86_400))
def test_incremental_state_equals_the_batch_formula(events: list[Happening], later_s: int) -> None:
    state = state_of(events)
    now_s = max((event.time_s for event in events), default=START_S) + later_s
    weights, vectors = batch_formula(events, now_s)
    np.testing.assert_allclose(state.weights(now_s), weights, rtol=0, atol=CLOSE)
    np.testing.assert_allclose(state.vectors(now_s, POPULATION), vectors, rtol=0, atol=CLOSE)


@LAW
@given(happenings, st.data())
def test_order_across_sources_does_not_matter(events: list[Happening], data: st.DataObject) -> None:
    straight, shuffled = UserState.empty(POOLING), UserState.empty(POOLING)
    placed = list(enumerate(events))
    for partition, event in placed:
        apply(straight, event, partition, 0)
    for partition, event in data.draw(st.permutations(placed)):
        apply(shuffled, event, partition, 0)
    assert_same(straight, shuffled)


@LAW
@given(happenings, st.data())
def test_redelivered_events_change_nothing(events: list[Happening], data: st.DataObject) -> None:
    state = state_of(events)
    before = state.to_bytes()
    start = data.draw(st.integers(0, len(events)))
    for offset, event in list(enumerate(events))[start:]:
        assert not apply(state, event, 0, offset)
    assert state.to_bytes() == before


@LAW
@given(happenings, happenings)
def test_merging_equals_applying_both_lists_to_one_state(
    events: list[Happening], others: list[Happening]
) -> None:
    together = state_of(events)
    for offset, event in enumerate(others):
        apply(together, event, 1, offset)
    mine, theirs = state_of(events), state_of(others, partition=1)
    assert_same(mine.merge(theirs), together)
    assert_same(theirs.merge(mine), together)


@LAW
@given(happenings, st.floats(0, 30 * DAY_S))
def test_time_only_decays_weights(events: list[Happening], later_s: float) -> None:
    state = state_of(events)
    now_s = max((event.time_s for event in events), default=START_S)
    half_lives_s = np.array(POOLING.all_half_lives_s)
    np.testing.assert_allclose(
        state.weights(now_s + later_s),
        state.weights(now_s) * 0.5 ** (later_s / half_lives_s),
        rtol=1e-6,
        atol=CLOSE,
    )


@LAW
@given(happenings)
def test_absent_user_drifts_back_to_the_population(events: list[Happening]) -> None:
    vectors = state_of(events).vectors(START_S + 5_000 * DAY_S, POPULATION)
    np.testing.assert_allclose(vectors, np.tile(POPULATION, (3, 1)), rtol=0, atol=1e-6)


@LAW
@given(happenings, slates() | later_clicks)
def test_state_read_back_goes_on_exactly_as_the_one_written(
    events: list[Happening], following: Happening
) -> None:
    state = state_of(events)
    restored = UserState.from_bytes(state.to_bytes(), POOLING)
    assert restored.to_bytes() == state.to_bytes()
    apply(state, following, 0, len(events))
    apply(restored, following, 0, len(events))
    assert restored.to_bytes() == state.to_bytes()


@LAW
@given(st.lists(st.tuples(times_s, st.sampled_from(WITH_VECTOR)), max_size=20))
def test_parked_clicks_count_as_if_the_vector_had_been_known(clicks: list[tuple[float, str]]) -> None:
    known, parked = UserState.empty(POOLING), UserState.empty(POOLING)
    nothing = ArticleCatalog(D)
    for offset, (time_s, news_id) in enumerate(clicks):
        source = ("clicks", 0, offset)
        known.apply_click(source, time_s, news_id, CATALOG, impression_known=False)
        parked.apply_click(source, time_s, news_id, nothing, impression_known=False)
    assert parked.parked == len(clicks)
    assert parked.fold_parked(CATALOG) == bool(clicks)
    assert_same(known, parked)


@LAW
@given(happenings)
def test_everything_is_bounded_by_what_is_newest(events: list[Happening]) -> None:
    small = replace(POOLING, max_recent_clicks=3, max_exposures=5, max_parked=2)
    bounded, whole = state_of(events, pooling=small), state_of(events)
    assert bounded.recent_clicks() == whole.recent_clicks()[-3:]
    assert list(bounded.exposures) == list(whole.exposures)[-5:]
    assert bounded.parked <= 3  # never fewer than the recent clicks, from which a state is rebuilt
    assert bounded.clicks == whole.clicks


@LAW
@given(happenings, happenings)
def test_bounds_hold_whatever_the_order(events: list[Happening], others: list[Happening]) -> None:
    small = replace(POOLING, max_recent_clicks=3, max_exposures=5, max_parked=2)
    one, other = UserState.empty(small), UserState.empty(small)
    for state, lists in ((one, ((0, events), (1, others))), (other, ((1, others), (0, events)))):
        for partition, happened in lists:
            for offset, event in enumerate(happened):
                apply(state, event, partition, offset)
    assert one.recent_clicks() == other.recent_clicks()
    assert list(one.exposures) == list(other.exposures)


def test_new_user_is_the_population() -> None:
    state = UserState.empty(POOLING)
    assert (state.vectors(START_S, POPULATION) == POPULATION).all()
    per_head = np.arange(3 * D, dtype=np.float32).reshape(3, D)
    assert (state.vectors(START_S, per_head) == per_head).all()
    assert state.vectors(START_S, POPULATION).dtype == np.float32
    assert not state.weights(START_S).any()


def test_click_in_a_slate_feeds_interests_and_the_rest_feeds_skips() -> None:
    state = state_of([Slate(START_S, ("N0", "N1", "N2", "N11", "N1"), ("N1",))])
    assert state.weights(START_S).tolist() == [1.0, 1.0, 2.0]
    assert state.exposures == {"N0": 1, "N1": 1, "N11": 1, "N2": 1}
    assert state.recent_clicks() == [("N1", START_S)]


def test_click_takes_back_the_skip_of_its_impression_in_either_order() -> None:
    slate = Slate(START_S, ("N0", "N1"), ())
    click = LaterClick(START_S, "N1", impression_known=True)
    for events in ([slate, click], [click, slate]):
        state = state_of(list(events))
        assert state.weights(START_S).tolist() == [1.0, 1.0, 1.0]
        expected = (VECTORS["N0"] + POPULATION) / 2
        np.testing.assert_allclose(state.vectors(START_S, POPULATION)[2], expected, atol=1e-6)


def test_skips_taken_back_late_never_turn_a_vector_around() -> None:
    events: list[Happening] = [Slate(START_S, tuple(WITH_VECTOR), ())]
    events += [LaterClick(START_S + 5 * DAY_S, news_id, impression_known=True) for news_id in WITH_VECTOR]
    state = state_of(events)
    assert state.weights(START_S + 5 * DAY_S)[2] == 0.0
    assert np.abs(state.vectors(START_S + 5 * DAY_S, POPULATION)[2]).max() < 20


def test_history_seeds_only_a_state_that_nothing_was_applied_to() -> None:
    history = ["N0", "N11", "N1"]
    first = UserState.empty(POOLING)
    first.apply_impression(("impressions", 0, 5), START_S, ["N2"], (), CATALOG, history)
    assert first.recent_clicks() == [
        (news_id, START_S - HISTORY_SPACING_S * (3 - i)) for i, news_id in enumerate(history)
    ]
    assert first.clicks == 3
    assert first.parked == 1
    clicks: list[Happening] = [
        LaterClick(time_s, news_id, False) for news_id, time_s in first.recent_clicks()
    ]
    weights, vectors = batch_formula([*clicks, Slate(START_S, ("N2",), ())], START_S)
    np.testing.assert_allclose(first.weights(START_S), weights, atol=CLOSE)
    np.testing.assert_allclose(first.vectors(START_S, POPULATION), vectors, atol=CLOSE)

    first.apply_impression(("impressions", 0, 6), START_S + 1, ["N2"], (), CATALOG, history)
    assert first.clicks == 3
    assert not first.seed_history(START_S, history, CATALOG)

    asked = UserState.empty(POOLING)
    assert asked.seed_history(START_S, history, CATALOG)
    asked.apply_impression(("impressions", 0, 5), START_S, ["N2"], (), CATALOG, history)
    assert asked.clicks == 3


def test_another_bundle_is_rebuilt_from_the_recent_clicks() -> None:
    events: list[Happening] = [
        LaterClick(START_S + 60 * i, news_id, impression_known=False) for i, news_id in enumerate(ARTICLES)
    ]
    events.insert(3, Slate(START_S, ("N0", "N1"), ()))
    state = state_of(events)
    wider = ArticleCatalog(6)
    for i, news_id in enumerate(ARTICLES):
        wider.put_article(news_id, np.eye(6)[i % 6], START_S)
    pooling = replace(POOLING, d=6, bundle="two", half_lives_s=(HOUR_S, 2 * HOUR_S, DAY_S))
    rebuilt = state.rebuild(pooling, wider)
    fresh = UserState.empty(pooling)
    for offset, (news_id, time_s) in enumerate(state.recent_clicks()):
        fresh.apply_click(("clicks", 0, offset), time_s, news_id, wider, impression_known=False)
    now_s = state.reference_s
    assert rebuilt.bundle == "two"
    np.testing.assert_allclose(rebuilt.weights(now_s), fresh.weights(now_s), atol=CLOSE)
    population = np.zeros(6, np.float32)
    np.testing.assert_allclose(
        rebuilt.vectors(now_s, population), fresh.vectors(now_s, population), atol=CLOSE
    )
    assert (rebuilt.clicks, rebuilt.exposures, rebuilt.offsets) == (
        state.clicks,
        state.exposures,
        state.offsets,
    )

    read_back = UserState.from_bytes(state.to_bytes(), pooling)
    assert read_back.fold_parked(wider)
    assert read_back.to_bytes() == rebuilt.to_bytes()


def test_another_bundle_is_rebuilt_from_the_exposures_too() -> None:
    slates: list[Happening] = [
        Slate(START_S, ("N0", "N1", "N2"), ("N1",)),
        Slate(START_S + HOUR_S, ("N3", "N4"), ()),
    ]
    state = state_of(slates)
    same_vectors = replace(POOLING, bundle="two")
    rebuilt = state.rebuild(same_vectors, CATALOG)
    now_s = START_S + 2 * HOUR_S
    np.testing.assert_allclose(rebuilt.weights(now_s), state.weights(now_s), atol=CLOSE)
    np.testing.assert_allclose(
        rebuilt.vectors(now_s, POPULATION), state.vectors(now_s, POPULATION), atol=CLOSE
    )
    again = UserState.from_bytes(rebuilt.to_bytes(), same_vectors)
    again.fold_parked(CATALOG)
    assert again.to_bytes() == rebuilt.to_bytes(), "skips are counted once"


def test_states_of_different_bundles_are_not_merged() -> None:
    other = UserState.empty(replace(POOLING, bundle="two"))
    with pytest.raises(ValueError, match="rebuild"):
        UserState.empty(POOLING).merge(other)


@pytest.mark.parametrize("time_s", [float("nan"), float("inf"), -1.0, 1e12])
def test_impossible_time_is_refused_and_changes_nothing(time_s: float) -> None:
    state = state_of([Slate(START_S, ("N0", "N1"), ("N1",))])
    before = state.to_bytes()
    with pytest.raises(ValueError, match="between 1970"):
        state.apply_impression(("impressions", 0, 9), time_s, ["N0"], (), CATALOG)
    with pytest.raises(ValueError, match="between 1970"):
        state.apply_click(("clicks", 0, 9), time_s, "N0", CATALOG, impression_known=False)
    assert state.to_bytes() == before


def test_exposure_counts_stop_at_their_limit() -> None:
    state = UserState.empty(POOLING)
    for offset in range(300):
        apply(state, Slate(START_S + offset // 2, ("N0",), ()), 0, offset)
    assert state.exposures == {"N0": 255}


def test_clicks_wait_until_the_catalog_has_their_vector() -> None:
    catalog = catalog_of([])
    state = UserState.empty(POOLING)
    state.apply_click(("clicks", 0, 0), START_S, "N0", catalog, impression_known=True)
    assert not state.fold_parked(catalog)
    catalog.put_article("N1", VECTORS["N1"], START_S)
    assert not state.fold_parked(catalog)
    catalog.put_article("N0", VECTORS["N0"], START_S)
    assert state.fold_parked(catalog)
    assert (state.parked, state.weights(START_S).tolist()) == (0, [1.0, 1.0, 0.0])
    assert not state.fold_parked(catalog)


def test_vectors_of_a_user_without_any_are_the_populations_and_can_be_sent() -> None:
    state = UserState.empty(POOLING)
    state.apply_click(("clicks", 0, 0), START_S, "N-unknown", CATALOG, impression_known=False)
    population = np.arange(state.pooling.d, dtype=np.float32)
    vectors = state.vectors(START_S, population)
    assert vectors.tolist() == [population.tolist()] * state.pooling.heads
    assert vectors.flags.c_contiguous, "orjson takes no other"
    assert vectors.flags.writeable
