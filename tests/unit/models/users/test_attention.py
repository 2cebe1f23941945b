"""With attention a state is still a sum: the laws of its order, of merging, of parking, of taking back."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from random import Random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from freshet.models.articles.catalog import ArticleCatalog
from freshet.models.embedding.bundle import (
    Bundle,
    BundleError,
    Manifest,
    TowerSpec,
    TrainingRecord,
    UserSpec,
    save_bundle,
)
from freshet.models.users.pooling import ATTENTION_BOUND, Attention, Pooling
from freshet.models.users.state import UserState
from freshet.models.users.view import UserView

HOUR_S = 3_600.0
DAY_S = 86_400.0
START_S = 1_573_000_000.0
D, HEADS = 4, 3
_RANDOM = np.random.default_rng(5)
ATTENTION = Attention(
    _RANDOM.normal(size=(HEADS, D)).astype(np.float32), _RANDOM.normal(size=HEADS).astype(np.float32)
)
POOLING = Pooling(
    d=D,
    half_lives_s=(2 * HOUR_S, 7 * DAY_S),
    negative_half_life_s=DAY_S,
    prior_weight=1.0,
    max_recent_clicks=50,
    max_exposures=200,
    bundle="one",
    attention=ATTENTION,
)
PLAIN = replace(POOLING, attention=None)
ARTICLES = [f"N{i}" for i in range(8)]
VECTORS = _RANDOM.normal(size=(len(ARTICLES), D)).astype(np.float32)
ZERO = np.zeros(D, np.float32)
CLOSE = 5e-5
LAW = settings(max_examples=40)


@dataclass(frozen=True)
class Slate:
    """An impression."""

    time_s: float
    candidates: tuple[str, ...]
    clicked: tuple[str, ...]


def catalog_of(ids: list[str]) -> ArticleCatalog:
    catalog = ArticleCatalog(D)
    for news_id in ids:
        catalog.put_article(news_id, VECTORS[ARTICLES.index(news_id)], START_S)
    return catalog


CATALOG = catalog_of(ARTICLES)


@st.composite
def slates(draw: st.DrawFn) -> Slate:
    candidates = tuple(draw(st.lists(st.sampled_from(ARTICLES), min_size=1, max_size=6, unique=True)))
    clicked = tuple(draw(st.lists(st.sampled_from(candidates), max_size=2, unique=True)))
    return Slate(START_S + draw(st.integers(0, 10 * 86_400)), candidates, clicked)


def state_of(events: list[Slate], pooling: Pooling = POOLING, catalog: ArticleCatalog = CATALOG) -> UserState:
    state = UserState.empty(pooling)
    for offset, event in enumerate(events):
        state.apply_impression(("i", 0, offset), event.time_s, event.candidates, event.clicked, catalog)
    return state


def assert_close(one: UserState, other: UserState, now_s: float = START_S + 11 * DAY_S) -> None:
    np.testing.assert_allclose(one.weights(now_s), other.weights(now_s), rtol=1e-5, atol=CLOSE)
    np.testing.assert_allclose(one.vectors(now_s, ZERO), other.vectors(now_s, ZERO), rtol=0, atol=CLOSE)


@LAW
@given(st.lists(slates(), min_size=1, max_size=12))
def test_every_event_counts_as_the_formula_says(events: list[Slate]) -> None:
    state = state_of(events)
    now_s = state.reference_s + HOUR_S
    sums, weights = np.zeros((HEADS, D)), np.zeros(HEADS)
    for event in events:
        for news_id in event.candidates:
            vector = VECTORS[ARTICLES.index(news_id)].astype(np.float64)
            heads = range(HEADS - 1) if news_id in event.clicked else [HEADS - 1]
            for j in heads:
                score = ATTENTION.weight[j].astype(np.float64) @ vector + ATTENTION.bias[j]
                weight = np.exp(ATTENTION_BOUND * np.tanh(score))
                weight *= 2.0 ** (-(now_s - event.time_s) / POOLING.all_half_lives_s[j])
                sums[j] += weight * vector
                weights[j] += weight
    np.testing.assert_allclose(state.weights(now_s), weights, rtol=1e-5, atol=CLOSE)
    expected = sums / (weights + POOLING.prior_weight)[:, None]
    np.testing.assert_allclose(state.vectors(now_s, ZERO), expected, rtol=0, atol=CLOSE)


@LAW
@given(st.lists(slates(), max_size=12), st.randoms(use_true_random=False))
def test_the_order_of_events_does_not_matter(events: list[Slate], order: Random) -> None:
    shuffled = list(events)
    order.shuffle(shuffled)
    one, other = UserState.empty(POOLING), UserState.empty(POOLING)
    for offset, event in enumerate(events):
        one.apply_impression(("i", 0, offset), event.time_s, event.candidates, event.clicked, CATALOG)
    for event in shuffled:
        source = ("i", events.index(event), shuffled.index(event))
        other.apply_impression(source, event.time_s, event.candidates, event.clicked, CATALOG)
    if len(set(events)) == len(events):
        assert_close(one, other)


@LAW
@given(st.lists(slates(), max_size=8), st.lists(slates(), max_size=8))
def test_merging_equals_the_state_of_both_event_lists(one: list[Slate], other: list[Slate]) -> None:
    assert_close(state_of(one).merge(state_of(other)), state_of(one + other))


def test_a_click_takes_its_skip_back_with_the_skips_own_weight() -> None:
    state = state_of([Slate(START_S, ("N1", "N2"), ())])
    state.apply_click(("c", 0, 0), START_S, "N2", CATALOG, impression_known=True)
    assert_close(state, state_of([Slate(START_S, ("N1", "N2"), ("N2",))]))


def test_a_parked_click_counts_as_if_its_vector_had_been_known() -> None:
    event = Slate(START_S, ("N1", "N2"), ("N1", "N2"))
    late = state_of([event], catalog=catalog_of(["N1"]))
    assert late.parked == 1
    assert late.fold_parked(CATALOG)
    assert_close(late, state_of([event]))


def test_rebuilding_gives_clicks_the_new_attention() -> None:
    events = [Slate(START_S, ("N1", "N2"), ("N1",)), Slate(START_S + HOUR_S, ("N3",), ("N3",))]
    now_s = START_S + DAY_S
    rebuilt = state_of(events, PLAIN).rebuild(POOLING, CATALOG)
    fresh = state_of(events)
    np.testing.assert_allclose(
        rebuilt.vectors(now_s, ZERO)[:-1], fresh.vectors(now_s, ZERO)[:-1], rtol=0, atol=CLOSE
    )


def test_a_state_made_with_another_attention_is_made_again_from_its_clicks() -> None:
    other = replace(POOLING, attention=Attention(-ATTENTION.weight, ATTENTION.bias))
    assert len({PLAIN.fingerprint, POOLING.fingerprint, other.fingerprint}) == 3
    assert other != POOLING
    restored = UserState.from_bytes(state_of([Slate(START_S, ("N1",), ("N1",))]).to_bytes(), other)
    assert restored.parked == 1
    restored.fold_parked(CATALOG)
    assert_close(restored, state_of([Slate(START_S, ("N1",), ("N1",))], other))


def test_no_article_weighs_more_than_the_bound_allows() -> None:
    vectors = np.array([[1e6, 0, 0, 0], [-1e6, 0, 0, 0]], np.float32)
    weights = Attention(np.ones((HEADS, D), np.float32), np.zeros(HEADS, np.float32)).of_heads(vectors)
    np.testing.assert_allclose(weights, np.exp([[2.0, -2.0]] * HEADS), rtol=1e-6)


def test_all_ways_to_ask_attention_agree() -> None:
    every = ATTENTION.of_heads(VECTORS)
    np.testing.assert_allclose(every[-1], ATTENTION.of_skips(VECTORS), rtol=1e-6)
    np.testing.assert_allclose(every[:, 2], ATTENTION.of_heads(VECTORS[2]), rtol=1e-6)


def bundle_of(folder: Path, user: UserSpec, **changed: NDArray[np.float32]) -> Bundle:
    weights = {
        "user.attention.weight": ATTENTION.weight,
        "user.attention.bias": ATTENTION.bias,
        "user.population": np.arange(HEADS * D, dtype=np.float32).reshape(HEADS, D),
        "user.layers.0.weight": 2 * np.eye(D, dtype=np.float32),
        "user.layers.0.bias": np.full(D, -1.0, np.float32),
    }
    manifest = Manifest(
        name="users",
        model="content",
        d=D,
        tower=TowerSpec(uses_text=True),
        user=user,
        training=TrainingRecord(folder="f", data_sha256="0", examples=1, seed=0),
    )
    return save_bundle(folder, manifest, weights | changed)


USER = UserSpec(
    half_lives_s=(2 * HOUR_S, 7 * DAY_S),
    negative_half_life_s=DAY_S,
    prior_weight=2.0,
    attention=True,
    population=True,
    layers=("relu",),
)


def test_a_bundle_says_how_its_users_are_pooled(tmp_path: Path) -> None:
    bundle = bundle_of(tmp_path / "b", USER)
    pooling = Pooling.of_bundle(bundle, max_recent_clicks=5, max_exposures=7)
    assert (pooling.bundle, pooling.d, pooling.heads) == (bundle.id, D, HEADS)
    assert (pooling.max_recent_clicks, pooling.max_exposures) == (5, 7)
    assert pooling.attention is not None
    np.testing.assert_array_equal(pooling.attention.weight, ATTENTION.weight)
    plain = USER.model_copy(update={"attention": False, "population": False, "layers": ()})
    pooling = Pooling.of_bundle(bundle_of(tmp_path / "c", plain), max_recent_clicks=5, max_exposures=7)
    assert (pooling.attention, pooling.prior, pooling.layers) == (None, None, ())


def test_a_bundle_whose_user_weights_do_not_fit_is_refused(tmp_path: Path) -> None:
    for changed, message in (
        ({"user.population": np.zeros((2, D), np.float32)}, r"user.population has shape \(2, 4\)"),
        ({"user.attention.bias": np.zeros(2, np.float32)}, r"user.attention.bias has shape \(2,\)"),
        (
            {
                "user.layers.0.weight": np.zeros((3, D), np.float32),
                "user.layers.0.bias": np.zeros(3, np.float32),
            },
            "3 dimensions, not d = 4",
        ),
    ):
        bundle = bundle_of(tmp_path / "b", USER, **changed)
        with pytest.raises(BundleError, match=message):
            Pooling.of_bundle(bundle, max_recent_clicks=5, max_exposures=7)


def test_a_user_without_events_is_the_bundles_population_through_the_users_layers(tmp_path: Path) -> None:
    bundle = bundle_of(tmp_path / "b", USER)
    pooling = Pooling.of_bundle(bundle, max_recent_clicks=5, max_exposures=7)
    clicked = np.ones(D, np.float32)
    population = bundle.weights["user.population"]
    wanted = np.concatenate([np.maximum(2 * population[:-1] - 1, 0), population[-1:]])
    for state in (None, UserState.empty(pooling)):
        view = UserView.of(state, START_S, clicked, pooling)
        np.testing.assert_allclose(view.vectors, wanted)
        np.testing.assert_allclose(view.dot_offsets, wanted.sum(axis=1))


def test_queries_have_norm_1_where_the_bundle_says_so(tmp_path: Path) -> None:
    user = USER.model_copy(update={"layers": (), "normalise": True})
    pooling = Pooling.of_bundle(bundle_of(tmp_path / "b", user), max_recent_clicks=5, max_exposures=7)
    view = UserView.of(state_of([Slate(START_S, ("N1", "N2"), ("N1",))], pooling), START_S, ZERO)
    np.testing.assert_allclose(np.linalg.norm(view.vectors[:-1], axis=1), 1.0, rtol=1e-6)
    assert np.linalg.norm(view.vectors[-1]) > 1.0


def test_shapes_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match="attention has shape"):
        replace(POOLING, attention=Attention(ATTENTION.weight[:2], ATTENTION.bias[:2]))
    with pytest.raises(ValueError, match="prior has shape"):
        replace(POOLING, prior=np.zeros((HEADS, D + 1), np.float32))
    with pytest.raises(ValueError, match=r"must be \(heads, d\) and \(heads,\)"):
        Attention(ATTENTION.weight, ATTENTION.bias[:2])
