"""A stream's user state and the encoder under training give the same vectors, to 1e-5."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from freshet.models.articles.catalog import ArticleCatalog
from freshet.models.embedding.bundle import Manifest, TowerSpec, TrainingRecord, UserSpec, save_bundle
from freshet.models.training.towers.user_encoder import UserEncoder
from freshet.models.users.pooling import Pooling
from freshet.models.users.state import HISTORY_SPACING_S, UserState
from freshet.models.users.view import UserView

HOUR_S, DAY_S = 3_600.0, 86_400.0
START_S = 1_573_000_000.0
D = 4
ARTICLES = [f"N{i}" for i in range(10)]
VECTORS = np.random.default_rng(3).normal(size=(len(ARTICLES), D)).astype(np.float32)
VECTORS /= np.linalg.norm(VECTORS, axis=1, keepdims=True)
CLICKED = np.array([0.3, -0.2, 0.1, 0.4], np.float32)
CLOSE = 1e-5
LAW = settings(max_examples=60)

SPECS = [
    UserSpec(
        half_lives_s=(7 * DAY_S, 2 * HOUR_S),
        negative_half_life_s=DAY_S,
        prior_weight=3.0,
        attention=True,
        population=True,
        layers=("relu", "none"),
        normalise=True,
    ),
    UserSpec(half_lives_s=(DAY_S,), negative_half_life_s=HOUR_S, prior_weight=1.0, attention=True),
    UserSpec(half_lives_s=(DAY_S, 2 * DAY_S), negative_half_life_s=HOUR_S, prior_weight=1.0),
]


@dataclass(frozen=True)
class World:
    """An encoder that is somewhere in its training, and what serves its bundle."""

    encoder: UserEncoder
    pooling: Pooling
    order: list[int]
    """The head of the encoder that each head of the bundle is."""


def world_of(folder: Path, spec: UserSpec) -> World:
    torch.manual_seed(1)
    encoder = UserEncoder(D, spec, layer_widths=(5, D) if spec.layers else ())
    with torch.no_grad():
        for parameter in encoder.parameters():
            if parameter.requires_grad:
                parameter.add_(torch.randn_like(parameter) * 0.05)
        encoder.attention_weight.mul_(20.0)
    manifest = Manifest(
        name="users",
        model="content",
        d=D,
        tower=TowerSpec(uses_text=True),
        user=encoder.exported_spec(),
        training=TrainingRecord(folder="f", data_sha256="0", examples=1, seed=0),
    )
    bundle = save_bundle(folder, manifest, encoder.export())
    pooling = Pooling.of_bundle(bundle, max_recent_clicks=200, max_exposures=200, max_parked=200)
    half_lives_s = encoder.half_lives_s.tolist()
    order = [half_lives_s.index(half_life_s) for half_life_s in pooling.all_half_lives_s]
    return World(encoder, pooling, order)


@pytest.fixture(scope="module")
def worlds(tmp_path_factory: pytest.TempPathFactory) -> list[World]:
    folder = tmp_path_factory.mktemp("bundles")
    return [world_of(folder / str(i), spec) for i, spec in enumerate(SPECS)]


def catalog_of(ids: list[str]) -> ArticleCatalog:
    catalog = ArticleCatalog(D)
    for news_id in ids:
        catalog.put_article(news_id, VECTORS[ARTICLES.index(news_id)], START_S)
    return catalog


@dataclass(frozen=True)
class Slate:
    """An impression; its clicks may come later, by themselves."""

    time_s: float
    candidates: tuple[str, ...]
    clicked: tuple[str, ...]
    clicks_apart: bool


@st.composite
def slates(draw: st.DrawFn) -> Slate:
    candidates = tuple(draw(st.lists(st.sampled_from(ARTICLES), min_size=1, max_size=6, unique=True)))
    clicked = tuple(draw(st.lists(st.sampled_from(candidates), max_size=2, unique=True)))
    return Slate(START_S + draw(st.integers(0, 5 * 86_400)), candidates, clicked, draw(st.booleans()))


def rows(events: list[tuple[float, str]], now_s: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Vectors and ages of events as a batch of one, with padding at the end."""
    vectors: NDArray[np.float32] = np.zeros((1, len(events) + 2, D), np.float32)
    age_s = np.zeros((1, len(events) + 2), np.float32)
    for i, (time_s, news_id) in enumerate(events):
        vectors[0, i], age_s[0, i] = VECTORS[ARTICLES.index(news_id)], now_s - time_s
    return torch.from_numpy(vectors), torch.from_numpy(age_s)


@LAW
@given(
    which=st.integers(0, len(SPECS) - 1),
    history=st.lists(st.sampled_from(ARTICLES), max_size=5),
    events=st.lists(slates(), min_size=1, max_size=10),
    unknown_at_first=st.booleans(),
    wait_s=st.integers(0, 3 * 86_400),
)
def test_the_state_and_the_encoder_agree(
    worlds: list[World],
    *,
    which: int,
    history: list[str],
    events: list[Slate],
    unknown_at_first: bool,
    wait_s: int,
) -> None:
    world = worlds[which]
    # Clicks on articles without a vector are parked; skips of them would be lost, so there are none.
    late = [a for a in ARTICLES[:3] if unknown_at_first]
    known, everything = catalog_of([a for a in ARTICLES if a not in late]), catalog_of(ARTICLES)
    state = UserState.empty(world.pooling)
    clicks = [
        (events[0].time_s - HISTORY_SPACING_S * (len(history) - i), news_id)
        for i, news_id in enumerate(history)
    ]
    skips: list[tuple[float, str]] = []
    for offset, event in enumerate(events):
        apart = event.clicks_apart and not late
        candidates = [a for a in event.candidates if a not in late or a in event.clicked]
        state.apply_impression(
            ("impressions", 0, offset),
            event.time_s,
            candidates,
            () if apart else event.clicked,
            known,
            history=history if offset == 0 else (),
        )
        if apart:
            for i, news_id in enumerate(event.clicked):
                source = ("clicks", offset, i)
                state.apply_click(source, event.time_s, news_id, known, impression_known=True)
        clicks += [(event.time_s, news_id) for news_id in event.clicked]
        skips += [(event.time_s, news_id) for news_id in candidates if news_id not in event.clicked]
    state.fold_parked(everything)
    now_s = max(state.reference_s, *(event.time_s for event in events)) + wait_s
    view = UserView.of(state, now_s, CLICKED)
    with torch.no_grad():
        wanted = world.encoder(*rows(clicks, now_s), *rows(skips, now_s), torch.from_numpy(CLICKED))
    np.testing.assert_allclose(view.vectors, wanted[0, world.order].numpy(), rtol=0, atol=CLOSE)


def test_exported_heads_come_by_growing_half_life(worlds: list[World]) -> None:
    assert worlds[0].order == [1, 0, 2]
    half_lives_s = worlds[0].pooling.half_lives_s
    assert list(half_lives_s) == sorted(half_lives_s)


def test_half_lives_and_the_priors_weight_are_learned_and_stay_positive() -> None:
    torch.manual_seed(0)
    encoder = UserEncoder(D, SPECS[2])
    optimizer = torch.optim.Adam(encoder.parameters(), lr=0.05)
    for _ in range(50):
        vectors = torch.from_numpy(VECTORS)[None]
        age_s = torch.arange(10.0)[None] * 7_200.0
        loss = encoder(vectors, age_s, vectors, age_s)[:, :, 0].sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    spec = encoder.exported_spec()
    assert spec.half_lives_s != SPECS[2].half_lives_s
    assert min(*spec.half_lives_s, spec.negative_half_life_s, spec.prior_weight) > 0.0


def test_decay_that_is_not_learned_is_exported_as_it_was_given() -> None:
    encoder = UserEncoder(D, SPECS[2], learn_decay=False)
    spec = encoder.exported_spec()
    np.testing.assert_allclose(spec.half_lives_s, SPECS[2].half_lives_s, rtol=1e-12)
    assert not {"log_half_lives", "attention_weight"} & {
        name for name, parameter in encoder.named_parameters() if parameter.requires_grad
    }


def test_layers_that_do_not_end_in_the_articles_dimension_are_refused() -> None:
    with pytest.raises(ValueError, match="must end with d = 4"):
        UserEncoder(D, SPECS[0], layer_widths=(5, 3))
