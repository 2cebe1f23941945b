"""Predicted ratings: what the bundle says is what training said, and taste is found where there is some."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from freshet.models.datasets.movielens import Ratings, random_split
from freshet.models.embedding.bundle import Bundle, BundleError, Manifest, TrainingRecord, save_bundle
from freshet.models.evaluation.ratings.damped_means import DampedMeans
from freshet.models.evaluation.ratings.evaluation import evaluate_ratings, extreme_titles, held_out, rate
from freshet.models.evaluation.ratings.metrics import rmse
from freshet.models.training.loop import FitSettings, Unobserved
from freshet.models.training.ratings.factorization import (
    RatingFactorizationSettings,
    genre_matrix,
    train_matrix_factorization_ratings,
)
from freshet.models.training.trained_model import TrainedModel
from tests.bundles import random_bundle

FIT = FitSettings(epochs=40, patience=5, learning_rate=0.02, device="cpu")
SMALL = RatingFactorizationSettings(d=4, penalty=0.05, batch_ratings=256)


def opinions(users: int = 60, items: int = 40, share: float = 0.6) -> Ratings:
    """Half of the users like even items and dislike odd ones, the others the opposite; some items are better.

    Each kind of item has its genre, and the last item, which nobody rated, has that of the even ones.
    """
    rng = np.random.default_rng(7)
    user, item = np.nonzero(rng.random((users, items)) < share)
    agree = np.where(user % 2 == item % 2, 1.0, -1.0)
    stars = 3.0 + agree + 0.5 * (item % 5 == 0) + rng.normal(0, 0.2, len(user))
    order = rng.permutation(len(user))
    genres = tuple(("even",) if i % 2 == 0 else ("odd", "other") for i in range(items))
    return Ratings(
        user[order].astype(np.int32),
        item[order].astype(np.int32),
        np.clip(np.round(stars * 2) / 2, 0.5, 5.0)[order].astype(np.float32),
        np.arange(len(user), dtype=np.float64),
        tuple(f"u{u}" for u in range(users)),
        tuple(f"i{i}" for i in range(items + 1)),
        tuple(f"Film {i}" for i in range(items + 1)),
        (*genres, ("even",)),
        sha256="a" * 64,
    )


def as_bundle(folder: Path, model: TrainedModel, seed: int = 0, until: object = 0.8) -> Bundle:
    manifest = Manifest(
        name="mf",
        model=model.model,
        d=model.d,
        tower=model.tower,
        user=model.user,
        vocabularies=dict(model.vocabularies),
        training=TrainingRecord(
            folder="opinions",
            data_sha256="a" * 64,
            examples=model.examples,
            seed=seed,
            settings={"until": until},
            curve=model.curve,
        ),
        figures=dict(model.figures),
    )
    return save_bundle(folder, manifest, model.weights)


def train(settings: RatingFactorizationSettings = SMALL) -> tuple[TrainedModel, Ratings]:
    """A model, and the ratings that stopped it."""
    seen, _ = random_split(opinions(), 1.0 - 0.8, 0)
    part, validation = random_split(seen, 0.1, 0)
    return train_matrix_factorization_ratings(part, validation, settings, FIT, Unobserved()), validation


def test_taste_is_found_beyond_users_and_items_means(tmp_path: Path) -> None:
    model, _ = train()
    report = evaluate_ratings(as_bundle(tmp_path / "b", model), opinions())
    assert report.model.mean < 0.5 * report.means.mean <= report.mean.mean
    assert report.model.low < report.model.mean < report.model.high
    assert list(report.methods) == ["mean", "user and item means", "bundle"]
    assert (report.new_users, report.new_items) == (0, 0)


@pytest.mark.parametrize(
    "settings",
    [
        SMALL,
        replace(SMALL, genres=False),
        replace(SMALL, biases=False),
        replace(SMALL, biases=False, genres=False),
    ],
    ids=["all", "no genres", "no biases", "dot product"],
)
def test_the_bundle_predicts_what_validation_measured(
    tmp_path: Path, settings: RatingFactorizationSettings
) -> None:
    model, validation = train(settings)
    predicted = rate(as_bundle(tmp_path / "b", model), validation)
    assert rmse(predicted, validation.rating) == pytest.approx(model.figures["rmse"], abs=1e-5)
    assert predicted.min() >= 0.5 and predicted.max() <= 5.0
    assert ("bias" in model.weights) == settings.biases


def test_the_same_seed_gives_the_same_bundle(tmp_path: Path) -> None:
    # The curve holds seconds and speeds.
    first, second = (as_bundle(tmp_path / name, replace(train()[0], curve=())) for name in "ab")
    assert first.id == second.id


def test_an_item_without_ratings_has_what_its_genres_have(tmp_path: Path) -> None:
    model, _ = train()
    bundle = as_bundle(tmp_path / "b", model)
    ratings = opinions()
    n, unrated = len(ratings.user_ids), len(ratings.item_ids) - 1
    of_unrated = rate(
        bundle,
        replace(
            ratings,
            user=np.arange(n, dtype=np.int32),
            item=np.full(n, unrated, np.int32),
            rating=np.ones(n, np.float32),
            time_s=np.zeros(n),
        ),
    )
    assert of_unrated[::2].mean() > of_unrated[1::2].mean() + 0.5


def test_who_and_what_is_unknown_gets_the_mean(tmp_path: Path) -> None:
    model, validation = train(replace(SMALL, genres=False))
    bundle = as_bundle(tmp_path / "b", model)
    strange = replace(
        validation,
        user_ids=tuple("?" + name for name in validation.user_ids),
        item_ids=tuple("?" + name for name in validation.item_ids),
    )
    assert rate(bundle, strange) == pytest.approx(np.full(len(strange), bundle.weights["bias"][0]))


def test_training_never_reads_what_is_held_out(tmp_path: Path) -> None:
    ratings = opinions()
    model, _ = train()
    bundle = as_bundle(tmp_path / "b", model)
    seen, rest = held_out(bundle.manifest, ratings)
    assert len(seen) + len(rest) == len(ratings)
    assert not set(zip(seen.user, seen.item, strict=True)) & set(zip(rest.user, rest.item, strict=True))
    assert np.array_equal(seen.time_s, random_split(ratings, 1.0 - 0.8, 0)[0].time_s)


def test_what_cannot_be_measured_is_refused(tmp_path: Path) -> None:
    ratings = opinions()
    model, _ = train()
    with pytest.raises(BundleError, match="not this set of ratings"):
        evaluate_ratings(as_bundle(tmp_path / "a", model), replace(ratings, sha256="b" * 64))
    with pytest.raises(BundleError, match="trained on all ratings"):
        evaluate_ratings(as_bundle(tmp_path / "b", model, until=1.0), ratings)
    with pytest.raises(BundleError, match="does not say"):
        evaluate_ratings(as_bundle(tmp_path / "c", model, until=None), ratings)
    with pytest.raises(BundleError, match="predicts no ratings"):
        rate(random_bundle(tmp_path / "d"), ratings)


def test_both_parts_need_ratings() -> None:
    ratings = opinions()
    with pytest.raises(ValueError, match="0 to stop by"):
        train_matrix_factorization_ratings(
            ratings, ratings.take(np.zeros(len(ratings), np.bool_)), SMALL, FIT, Unobserved()
        )


def test_settings_out_of_range_are_refused() -> None:
    with pytest.raises(ValueError, match="penalty is -1"):
        RatingFactorizationSettings(penalty=-1)
    with pytest.raises(ValueError, match="init_std is 0"):
        RatingFactorizationSettings(init_std=0)


def test_the_ends_of_the_first_component_are_opposite_tastes(tmp_path: Path) -> None:
    model, _ = train()
    ((low, high),) = extreme_titles(
        as_bundle(tmp_path / "b", model), opinions(), components=1, count=5, min_ratings=5
    )
    parities = [{int(title.split()[1]) % 2 for title in titles} for titles in (low, high)]
    assert sorted(parities, key=min) == [{0}, {1}]


def test_genres_of_an_item_have_norm_one() -> None:
    matrix = genre_matrix(opinions())
    assert np.linalg.norm(matrix, axis=1) == pytest.approx(np.ones(41))


def test_damped_means_pull_rare_ones_to_the_average() -> None:
    ratings = opinions()
    means, free = DampedMeans.of(ratings), DampedMeans.of(ratings, 0.01, 0.01)
    assert means.mean == pytest.approx(ratings.rating.mean())
    assert means.item[-1] == 0.0
    assert np.abs(means.item).sum() < np.abs(free.item).sum()
    assert rmse(free.rate(ratings), ratings.rating) < rmse(means.rate(ratings), ratings.rating)
    with pytest.raises(ValueError, match="no ratings"):
        DampedMeans.of(ratings.take(np.zeros(len(ratings), np.bool_)))
