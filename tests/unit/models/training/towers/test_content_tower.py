"""The content tower learns taste from text, serves what it trained, and says which weight it deserves."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from freshet.models.datasets.impression_log import ArticleTable, ImpressionLog
from freshet.models.embedding.bundle import Manifest, TrainingRecord, save_bundle
from freshet.models.evaluation.bundle_scorer import BundleScorer
from freshet.models.training.loop import FitSettings, Unobserved
from freshet.models.training.negatives import Negatives
from freshet.models.training.ranker_offsets import joined, ranker_offsets
from freshet.models.training.towers.content_tower import ContentTowerSettings, train_content_tower
from freshet.models.training.towers.slate_model import Loss, SlateSettings
from freshet.models.training.towers.slate_task import SlateTask
from freshet.models.training.trained_model import TrainedModel

USERS, ARTICLES, IMPRESSIONS, D_TEXT = 30, 60, 900, 8
SMALL = ContentTowerSettings(
    d=8, text_width=8, embedding=4, dropout=0.0, half_lives_s=(86_400.0, 604_800.0), residual=False, batch=32
)
FIT = FitSettings(epochs=4, learning_rate=0.01, device="cpu")


def world(seed: int = 0) -> tuple[ImpressionLog, NDArray[np.float32]]:
    """Users of two tastes, articles of two topics that only the text tells: taste decides every click."""
    rng = np.random.default_rng(seed)
    topic = np.arange(ARTICLES) % 2
    texts = rng.normal(size=(ARTICLES, D_TEXT)).astype(np.float32)
    texts[:, 0] += np.where(topic == 1, 3.0, -3.0)
    texts[-1] = 0.0  # One without a text.
    user = rng.integers(0, USERS, IMPRESSIONS).astype(np.int32)
    # Each day has its articles, so that the later ones are new.
    first = np.arange(IMPRESSIONS) * (ARTICLES - 20) // IMPRESSIONS
    slates = np.array([start + rng.permutation(20)[:6] for start in first])
    clicked = np.zeros(slates.shape, np.bool_)
    for i in range(IMPRESSIONS):
        liked = np.flatnonzero(topic[slates[i]] == user[i] % 2)
        clicked[i, liked[:1]] = True
    empty = [""] * ARTICLES
    articles = ArticleTable(
        tuple(f"N{i}" for i in range(ARTICLES)),
        np.ones(ARTICLES, np.bool_),
        ["a title"] * ARTICLES,
        empty,
        [f"c{i % 3}" for i in range(ARTICLES)],
        empty,
        empty,
    )
    log = ImpressionLog(
        folder=Path("world"),
        articles=articles,
        user_ids=tuple(f"U{i}" for i in range(USERS)),
        time_s=1_573_000_000.0 + 600.0 * np.arange(IMPRESSIONS, dtype=np.float64),
        user=user,
        slate_start=np.arange(IMPRESSIONS + 1) * 6,
        candidates=slates.ravel().astype(np.int32),
        clicked=clicked.ravel(),
        history=np.zeros(IMPRESSIONS, np.int32),
        history_start=np.zeros(2, np.int64),
        history_items=np.zeros(0, np.int32),
        sha256="0",
    )
    return log, texts


def trained(settings: ContentTowerSettings, fit: FitSettings = FIT) -> TrainedModel:
    log, texts = world()
    return train_content_tower(log.slice(0, 600), log.slice(600, 750), settings, fit, Unobserved(), texts)


def scorer(folder: Path, model: TrainedModel) -> BundleScorer:
    log, texts = world()
    manifest = Manifest(
        name="content",
        model=model.model,
        d=model.d,
        tower=model.tower,
        user=model.user,
        vocabularies=dict(model.vocabularies),
        training=TrainingRecord(folder="f", data_sha256="0", examples=model.examples, seed=0),
    )
    return BundleScorer(save_bundle(folder, manifest, model.weights), log.articles, texts)


@pytest.mark.parametrize(
    ("loss", "negatives"), [("listwise", "skips"), ("bce", "skips"), ("listwise", "mixed")]
)
def test_taste_is_learned_and_holds_for_new_articles(loss: Loss, negatives: Negatives) -> None:
    model = trained(replace(SMALL, loss=loss, negatives=negatives))
    assert model.figures["auc"] > 0.75
    assert model.curve[-1]["loss"] < model.curve[0]["loss"]


@pytest.mark.parametrize("negatives", ["uniform", "popularity", "in-batch", "hard"])
def test_every_kind_of_negatives_can_be_trained_with(negatives: Negatives) -> None:
    model = trained(replace(SMALL, negatives=negatives), replace(FIT, epochs=2))
    assert model.figures["auc"] > 0.6


def test_the_same_seed_gives_the_same_bundle_and_another_seed_another() -> None:
    once, again, other = (trained(SMALL, replace(FIT, epochs=1, seed=seed)) for seed in (1, 1, 2))
    for name, weight in once.weights.items():
        np.testing.assert_array_equal(weight, again.weights[name])
    assert any((weight != other.weights[name]).any() for name, weight in once.weights.items())


def test_the_bundle_scores_as_the_model_did_in_validation(tmp_path: Path) -> None:
    log, texts = world()
    train, validation = log.slice(0, 600), log.slice(600, 750)
    model = train_content_tower(train, validation, SMALL, FIT, Unobserved(), texts)
    served = scorer(tmp_path / "b", model)
    # The validation lets users' events of the validation slice count: so must the states.
    correct = pairs = 0.0
    served.learn(log, 0, 600, np.ones(USERS, np.bool_))
    served.settle(log, 600)
    for position in range(600, 750):
        scores = served.scores(log, position, position + 1)
        _, clicked = log.slate(position)
        if clicked.any() and not clicked.all():
            better = scores[clicked][:, None] - scores[~clicked][None, :]
            correct += float((better > 0).mean() + 0.5 * (better == 0).mean())
            pairs += 1.0
        served.learn(log, position, position + 1, np.ones(USERS, np.bool_))
    assert correct / pairs == pytest.approx(model.figures["auc"], abs=2e-3)


def test_the_ids_embedding_is_dropped_and_nothing_depends_on_it(tmp_path: Path) -> None:
    model = trained(replace(SMALL, news_id=True, news_id_dropout=0.3))
    assert model.tower.features == ("category", "subcategory", "entity")
    assert "article.news_id.weight" not in model.weights
    assert "news_id" not in model.vocabularies
    assert model.figures["auc"] > 0.7
    vectors = scorer(tmp_path / "b", model).vectors
    assert vectors.any(axis=1).all()


def test_with_the_rankers_score_beside_it_the_tower_gets_a_weight_of_its_own() -> None:
    model = trained(replace(SMALL, residual=True))
    assert model.ranker_weights is not None
    assert model.figures["ranker_scale"] > 0.0
    assert model.figures["auc_ranker"] > model.figures["auc_by_ids"] + 0.05
    mix = model.weights["user.mix"] * model.figures["ranker_scale"]
    found = [model.ranker_weights[name] for name in ("dot_first", "dot_last", "dot_skips")]
    np.testing.assert_allclose(found, mix, atol=1e-6)
    assert model.ranker_weights["fatigue"] == -1.0


def test_a_tower_that_learned_nothing_gets_no_weight() -> None:
    # Noise would do as well, but for some seeds it is better than nothing by more than one standard error.
    log, texts = world()
    alike = replace(log, articles=replace(log.articles, categories=[""] * ARTICLES))
    settings, fit = replace(SMALL, residual=True), replace(FIT, epochs=1)
    model = train_content_tower(
        alike.slice(0, 600), alike.slice(600, 750), settings, fit, Unobserved(), np.ones_like(texts)
    )
    assert model.ranker_weights is not None
    assert model.ranker_weights["dot_last"] == 0.0
    assert model.figures["auc_ranker"] == model.figures["auc_by_ids"]


def test_the_tutorials_configuration_has_a_row_for_each_user(tmp_path: Path) -> None:
    model = trained(ContentTowerSettings(reference=True), replace(FIT, epochs=2))
    assert (model.d, model.tower.layers, model.tower.text) == (50, ("sigmoid",), ("sigmoid",))
    assert model.tower.features == ("category", "subcategory", "entity", "news_id")
    assert model.weights["user.table.weight"].shape == (1 + len(model.vocabularies["user_id"]), 50)
    assert model.ranker_weights is None
    log, _ = world()
    served = scorer(tmp_path / "b", model)
    assert np.isfinite(served.scores(log, 700, 720)).all()


def test_training_never_sees_what_validation_shows(tmp_path: Path) -> None:
    log, texts = world()
    settings, fit = replace(SMALL, residual=True), replace(FIT, epochs=1)
    changed = replace(log, clicked=log.clicked.copy())
    changed.clicked[log.slate_start[600] :] = np.roll(changed.clicked[log.slate_start[600] :], 1)
    one, other = (
        train_content_tower(part.slice(0, 600), part.slice(600, 750), settings, fit, Unobserved(), texts)
        for part in (log, changed)
    )
    for name, weight in one.weights.items():
        np.testing.assert_array_equal(weight, other.weights[name])
    assert one.curve[0]["loss"] == other.curve[0]["loss"]
    assert one.figures["auc"] != other.figures["auc"]


def test_the_rankers_scores_rest_on_earlier_impressions_only() -> None:
    log, _ = world()
    before = ranker_offsets(log.slice(0, 300))
    changed = replace(log, clicked=log.clicked.copy())
    cut = int(log.slate_start[200])
    changed.clicked[cut:] ^= True
    after = ranker_offsets(changed.slice(0, 300))
    stop = int(log.slate_start[201])
    np.testing.assert_array_equal(before[:stop], after[:stop])
    assert (before[stop:] != after[stop:]).any()


def test_two_slices_joined_are_the_log_again() -> None:
    log, _ = world()
    whole = joined(log.slice(0, 400), log.slice(400, 900))
    for name in ("time_s", "user", "slate_start", "candidates", "clicked", "history"):
        np.testing.assert_array_equal(getattr(whole, name), getattr(log, name))
    with pytest.raises(ValueError, match="not of one log"):
        joined(log.slice(0, 400), world()[0].slice(400, 900))


def test_long_slates_keep_what_was_clicked() -> None:
    log, _ = world()
    model = torch.nn.Linear(1, 1)

    class Nothing:
        module = model
        centred = True

    task = SlateTask(Nothing(), log.slice(0, 600), log.slice(600, 750), SlateSettings(max_slate=3, batch=50))  # type: ignore[arg-type]  # only its batches are asked for
    for batch in task.batches(np.random.default_rng(0)):
        assert batch["candidates"].shape[1] == 3
        assert (batch["clicked"].sum(dim=1) == 1.0).all()
        assert (batch["articles"] < ARTICLES).all()


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"d": 0}, "d is 0"),
        ({"dropout": 1.0}, "dropout is 1.0"),
        ({"features": ("news_id",)}, "set news_id instead"),
        ({"use_text": False, "features": ()}, "knows nothing"),
        ({"loss": "bce", "residual": True}, "residual needs"),
        ({"loss": "bce", "negatives": "in-batch"}, "in-batch negatives need"),
        ({"max_slate": 1}, "max_slate is 1"),
    ],
)
def test_settings_out_of_range_are_refused(changed: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        replace(SMALL, **changed)  # type: ignore[arg-type]  # wrong on purpose


def test_a_log_without_skips_cannot_be_trained_on() -> None:
    log, texts = world()
    everything = replace(log, clicked=np.ones_like(log.clicked))
    with pytest.raises(ValueError, match="training part has no impression with both"):
        train_content_tower(
            everything.slice(0, 600), everything.slice(600, 750), SMALL, FIT, Unobserved(), texts
        )
