"""DSSM and YouTube DNN on impressions: what training scores is what the served bundle scores."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from freshet.models.datasets.article_features import table_vectors
from freshet.models.datasets.impression_log import ImpressionLog
from freshet.models.embedding.bundle import Manifest, TrainingRecord, save_bundle
from freshet.models.embedding.feature_tower import FeatureTower
from freshet.models.evaluation.bundle_scorer import BundleScorer
from freshet.models.training.loop import FitSettings, Unobserved, fit
from freshet.models.training.negatives import Negatives
from freshet.models.training.towers.click_towers import ClickTowers, train_click_towers
from freshet.models.training.towers.dssm import DssmSettings
from freshet.models.training.towers.slate_task import SlateTask
from freshet.models.training.towers.youtube_dnn import YoutubeDnnSettings
from freshet.models.training.trained_model import TrainedModel
from tests.logs import log_of

# After 8 epochs every seed has found the taste; after 4 one in four has not.
FIT = FitSettings(epochs=8, patience=8, learning_rate=1e-2, device="cpu")
DSSM = DssmSettings(
    user_layers=True,
    d=8,
    widths=(16,),
    user_widths=(16,),
    text_width=8,
    embedding=8,
    minimum=1,
    n_negatives=3,
    batch=32,
)
YOUTUBE = YoutubeDnnSettings(
    d=8,
    article_embedding=8,
    category_embedding=8,
    text_width=8,
    user_widths=(16,),
    item_widths=(16,),
    batch=32,
)
CATEGORIES = ("sport", "politics")


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> ImpressionLog:
    """Half of the users read sport, the other half politics; each comes ten times."""
    rng = np.random.default_rng(0)
    lines = []
    for visit in range(200):
        user = visit % 20
        wanted, other = 2 * rng.integers(0, 10, 2) + (user % 2, 1 - user % 2)
        slate = f"N{wanted}-1 N{other}-0" if rng.random() < 0.5 else f"N{other}-0 N{wanted}-1"
        lines.append((f"U{user}", visit * 3_600.0, "", slate))
    categories = {f"N{number}": CATEGORIES[number % 2] for number in range(20)}
    return log_of(tmp_path_factory.mktemp("log"), lines, categories)


@pytest.fixture(scope="module")
def texts(log: ImpressionLog) -> np.ndarray:
    return np.random.default_rng(1).normal(size=(len(log.articles), 12)).astype(np.float32)


def _trained(
    settings: Any,
    log: ImpressionLog,
    texts: Any,
    fit_settings: FitSettings = FIT,
) -> TrainedModel:
    return train_click_towers(
        log.slice(0, 150), log.slice(150, 200), settings, fit_settings, Unobserved(), texts
    )


@pytest.mark.parametrize("kind", ["skips", "uniform", "popularity", "in-batch", "hard", "mixed"])
def test_dssm_learns_a_taste_from_every_kind_of_negatives(
    kind: Negatives, log: ImpressionLog, texts: np.ndarray
) -> None:
    assert _trained(replace(DSSM, negatives=kind), log, texts).figures["auc"] > 0.9


@pytest.mark.parametrize("kind", ["skips", "uniform", "popularity", "in-batch", "hard", "mixed"])
def test_batches_can_be_pinned_for_a_gpu(kind: Negatives, log: ImpressionLog, texts: np.ndarray) -> None:
    # Without a GPU nothing is pinned; the copy into pinned memory refuses a tensor that overlaps itself.
    settings = replace(DSSM, negatives=kind, residual=False)
    train, later = log.slice(0, 150), log.slice(150, 200)
    task = SlateTask(ClickTowers(settings, train, texts), train, later, settings.slates())
    for name, tensor in next(task.batches(np.random.default_rng(0))).items():
        assert tensor.is_contiguous(), name


@pytest.mark.parametrize("pooling", ["average", "attentive"])
def test_youtube_dnn_learns_a_taste(pooling: Any, log: ImpressionLog, texts: np.ndarray) -> None:
    settings = replace(YOUTUBE, pooling=pooling)
    trained = _trained(settings, log, texts, replace(FIT, epochs=40, patience=40, learning_rate=3e-3))
    assert trained.figures["auc"] > 0.9
    assert len(trained.user.half_lives_s) == (1 if pooling == "average" else 4)


def test_texts_can_be_left_out(log: ImpressionLog) -> None:
    assert _trained(replace(DSSM, use_text=False), log, None).figures["auc"] > 0.9


def test_self_attention_is_refused_and_says_what_to_choose() -> None:
    with pytest.raises(ValueError, match="pooling=attentive"):
        YoutubeDnnSettings(pooling="self-attention")


@pytest.mark.parametrize(
    "settings", [DSSM, replace(DSSM, user_layers=False), YOUTUBE, replace(YOUTUBE, pooling="attentive")]
)
def test_a_served_bundle_scores_as_training_did(
    settings: DssmSettings | YoutubeDnnSettings, log: ImpressionLog, texts: np.ndarray, tmp_path: Path
) -> None:
    train, later = log.slice(0, 150), log.slice(150, 200)
    torch.manual_seed(0)
    towers = ClickTowers(settings, train, texts)
    slates = replace(settings.slates(), residual=False)
    task = SlateTask(towers, train, later, slates)
    fit(task, FIT, Unobserved())
    manifest = Manifest(
        name="towers",
        model="test",
        d=settings.d,
        tower=towers.tower.exported_spec(),
        user=towers.users.exported_spec(),
        vocabularies=towers.vocabularies,
        training=TrainingRecord(folder="x", data_sha256="", examples=1, seed=0),
    )
    bundle = save_bundle(tmp_path / "b", manifest, towers.export())
    numbers = torch.arange(len(log.articles))
    with torch.no_grad():
        vectors = towers.article_vectors(numbers).numpy()
    served = table_vectors(FeatureTower(bundle), log.articles, texts)
    assert np.abs(served - vectors).max() < 1e-5
    # The first impression of the later part: every user's events are those of the training part.
    scorer = BundleScorer(bundle, log.articles, texts)
    scorer.learn(log, 0, 150, np.ones(len(log.user_ids), np.bool_))
    scorer.settle(log, 150)
    first = log.slice(150, 170)
    with torch.no_grad():
        _, _, scores, _ = SlateTask(towers, train, first, slates).validation_scores()
    served_scores = scorer.scores(log, 150, 170)
    # The average article that both subtract differs in its decay: only differences within a slate count.
    # They are up to 20, one over the temperature times a difference of cosines.
    assert np.diff(served_scores)[::2] == pytest.approx(np.diff(scores)[::2], abs=5e-4)
