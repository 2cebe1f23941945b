"""The two-tower models of ratings learn who likes what, from any kind of negatives, and export it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from freshet.models.datasets.movielens import Ratings, time_split
from freshet.models.embedding.bundle import Manifest, TrainingRecord, save_bundle
from freshet.models.evaluation.ratings.top_n import TopNProtocol, bundle_item_scorer, evaluate_bundle_topn
from freshet.models.training.loop import FitSettings, Unobserved
from freshet.models.training.negatives import Negatives
from freshet.models.training.ratings.dssm import DssmRatingSettings
from freshet.models.training.ratings.settings import RatingSettings
from freshet.models.training.ratings.task import train_ratings
from freshet.models.training.ratings.two_tower import TwoTowerSettings
from freshet.models.training.ratings.youtube_dnn import YoutubeDnnRatingSettings
from freshet.models.training.trained_model import TrainedModel

USERS, ITEMS = 40, 24
SMALL = {"d": 8, "id_embedding": 8, "n_negatives": 8, "batch_size": 64, "dropout": 0.0}
FIT = FitSettings(epochs=6, patience=6, learning_rate=1e-2, device="cpu")
DSSM = DssmRatingSettings(**SMALL, widths=(16,), popularity_half_lives_days=())
YOUTUBE = YoutubeDnnRatingSettings(
    **SMALL, user_widths=(16,), item_widths=(16,), popularity_half_lives_days=()
)


@pytest.fixture(scope="module")
def ratings() -> Ratings:
    """Users of even numbers like items of even numbers, the odd ones the odd."""
    rng = np.random.default_rng(0)
    pairs = [(user, item) for user in range(USERS) for item in range(ITEMS) if (user + item) % 2 == 0]
    order = rng.permutation(len(pairs))
    user, item = np.array(pairs, np.int32)[order].T
    n = len(order)
    return Ratings(
        user,
        item,
        rng.choice(np.array([4.0, 5.0], np.float32), n),
        np.sort(rng.uniform(0, 1e6, n)),
        tuple(f"u{number}" for number in range(USERS)),
        tuple(f"i{number}" for number in range(ITEMS)),
        ("",) * ITEMS,
        tuple(("Drama",) if item % 3 else ("War", "Drama") for item in range(ITEMS)),
        {
            "age": ("30",) * USERS,
            "gender": ("F", "M") * (USERS // 2),
            "occupation": ("",) * USERS,
        },
    )


def _trained(settings: Any, ratings: Ratings) -> TrainedModel:
    seen, _ = time_split(ratings, 0.8)
    return train_ratings(*time_split(seen, 0.85), settings, FIT, Unobserved())


def _separation(trained: TrainedModel) -> float:
    """How often an item of the user's own kind scores above one of the other."""
    scores = trained.weights["user.table.weight"][1:] @ trained.weights["article.news_id.weight"][1:].T
    parity = (np.arange(USERS)[:, None] + np.arange(ITEMS)) % 2 == 0
    own, other = scores[parity].reshape(USERS, -1), scores[~parity].reshape(USERS, -1)
    return float((own[:, :, None] > other[:, None, :]).mean())


@pytest.mark.parametrize("kind", ["uniform", "popularity", "in-batch", "hard", "mixed"])
def test_dssm_learns_from_every_kind_of_negatives(kind: Negatives, ratings: Ratings) -> None:
    assert _separation(_trained(replace(DSSM, negatives=kind), ratings)) > 0.9


@pytest.mark.parametrize("pooling", ["average", "attention"])
def test_youtube_dnn_learns_with_either_pooling(pooling: Any, ratings: Ratings) -> None:
    trained = _trained(replace(YOUTUBE, pooling=pooling), ratings)
    assert _separation(trained) > 0.9


def test_the_plain_two_towers_learn(ratings: Ratings) -> None:
    settings = TwoTowerSettings(d=8, batch_size=64)
    assert _separation(_trained(settings, ratings)) > 0.8


def test_popularity_becomes_dimensions_of_the_vectors(ratings: Ratings) -> None:
    settings = replace(DSSM, popularity_half_lives_days=(1.0, 30.0), recency_half_life_days=5.0)
    trained = _trained(settings, ratings)
    items, users = trained.weights["article.news_id.weight"], trained.weights["user.table.weight"]
    assert trained.d == items.shape[1] == users.shape[1] == DSSM.d + 2
    assert np.linalg.norm(items[1:, : DSSM.d], axis=1) == pytest.approx(1.0, abs=1e-5)
    assert items[1:, DSSM.d :].std(axis=0).min() > 0.0
    # Users who have been there longer weigh it differently; a user never seen has a weight too.
    assert users[1:, DSSM.d :].std(axis=0).min() > 0.0
    assert np.abs(users[0, DSSM.d :]).min() > 0.0


@pytest.mark.parametrize("settings", [replace(DSSM, feature_embedding=0), TwoTowerSettings(d=8)])
def test_a_user_without_ratings_is_as_an_unknown_one(settings: Any, ratings: Ratings) -> None:
    late = ratings.take(ratings.user != 7)
    users = _trained(settings, late).weights["user.table.weight"]
    assert users[1 + 7] == pytest.approx(users[0], abs=1e-5)
    assert np.abs(users[1 + 8] - users[0]).max() > 1e-3


def test_the_same_seed_gives_the_same_weights(ratings: Ratings) -> None:
    one, other = (_trained(DSSM, ratings) for _ in range(2))
    for name, weight in one.weights.items():
        assert np.array_equal(weight, other.weights[name]), name


def test_an_exported_bundle_is_measured_by_the_published_protocol(tmp_path: Path, ratings: Ratings) -> None:
    trained = _trained(DSSM, ratings)
    seen, _ = time_split(ratings, 0.8)
    manifest = Manifest(
        name="films",
        model=trained.model,
        d=trained.d,
        tower=trained.tower,
        user=trained.user,
        vocabularies=dict(trained.vocabularies),
        training=TrainingRecord(
            folder="x",
            data_sha256="",
            examples=trained.examples,
            end_s=float(seen.time_s[-1]),
            seed=0,
            settings=dict(trained.settings),
            curve=trained.curve,
        ),
        figures=dict(trained.figures),
    )
    bundle = save_bundle(tmp_path / "b", manifest, trained.weights)
    report = evaluate_bundle_topn(bundle, ratings, TopNProtocol(k=3, minimum_user_ratings=1))
    assert report.segments["known"].metrics["hit_rate@3"].mean > 0.8
    # A user whom nobody knows is the population, not a mistake.
    stranger = replace(ratings, user_ids=("nobody", *ratings.user_ids[1:]))
    scores = bundle_item_scorer(bundle, stranger)(np.array([0], np.int32))
    expected = trained.weights["user.table.weight"][0] @ trained.weights["article.news_id.weight"][1:].T
    assert scores[0] == pytest.approx(expected, abs=1e-5)


def test_settings_out_of_range_are_refused() -> None:
    with pytest.raises(ValueError, match="skips"):
        RatingSettings(negatives="skips")
    with pytest.raises(ValueError, match="half_life_days"):
        RatingSettings(half_life_days=-1.0)
    with pytest.raises(ValueError, match="temperature"):
        DssmRatingSettings(temperature=0.0)
    with pytest.raises(ValueError, match="divisible"):
        YoutubeDnnRatingSettings(d=30, pooling="attention")


def test_ratings_without_a_like_are_refused(ratings: Ratings) -> None:
    with pytest.raises(ValueError, match="none of"):
        _trained(replace(DSSM, minimum_rating=6.0), ratings)
