"""Clicks as examples, and the factorization of them: memory of what was shown, none of what was not."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import get_args

import numpy as np
import pytest

from freshet.models.datasets.impression_log import ImpressionLog, read_impression_log
from freshet.models.datasets.positive_index import PositiveIndex
from freshet.models.embedding.bundle import Bundle, Manifest, TrainingRecord, save_bundle
from freshet.models.evaluation.bundle_scorer import BundleScorer
from freshet.models.training.click_examples import ClickExamples
from freshet.models.training.factorization.matrix_factorization import (
    ClickFactorization,
    MatrixFactorizationSettings,
    train_matrix_factorization,
)
from freshet.models.training.loop import FitSettings, Unobserved
from freshet.models.training.negatives import Negatives
from freshet.models.training.trained_model import TrainedModel

FIT = FitSettings(epochs=12, patience=12, learning_rate=0.03, device="cpu")
SMALL = MatrixFactorizationSettings(d=8, batch_clicks=64)
USERS, ARTICLES, SLATE = 30, 40, 6
KINDS = get_args(Negatives)


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> ImpressionLog:
    """Users click articles of their own parity; from minute 400 on, all articles are new."""
    rng = np.random.default_rng(4)
    lines = []
    for minute in range(500):
        user = int(rng.integers(USERS))
        first = 0 if minute < 400 else ARTICLES
        shown = first + rng.choice(ARTICLES, SLATE, replace=False)
        clicked = {int(a) for a in shown if a % 2 == user % 2} or {int(shown[0])}
        slate = " ".join(f"N{a}-{int(a in clicked)}" for a in shown)
        hour, past = divmod(minute + 60, 60)
        lines.append(f"{minute}\tU{user}\t11/11/2019 {hour}:{past:02d}:00 AM\t\t{slate}\n")
    folder = tmp_path_factory.mktemp("log")
    (folder / "behaviors.tsv").write_text("".join(lines))
    return read_impression_log(folder)


def bundle_of(folder: Path, model: TrainedModel) -> Bundle:
    manifest = Manifest(
        name="mf",
        model=model.model,
        d=model.d,
        tower=model.tower,
        user=model.user,
        vocabularies=dict(model.vocabularies),
        training=TrainingRecord(folder="log", data_sha256="a" * 64, examples=model.examples, seed=0),
        figures=dict(model.figures),
    )
    return save_bundle(folder, manifest, model.weights)


def train(
    log: ImpressionLog, settings: MatrixFactorizationSettings = SMALL, end: int = 400
) -> tuple[TrainedModel, ImpressionLog]:
    part, validation = log.slice(0, 340), log.slice(340, end)
    return train_matrix_factorization(part, validation, settings, FIT, Unobserved()), validation


@pytest.mark.parametrize("negatives", KINDS)
def test_every_click_comes_once_in_an_epoch_and_no_negative_was_clicked(
    log: ImpressionLog, negatives: Negatives
) -> None:
    part = log.slice(0, 340)
    examples = ClickExamples(part, negatives, 3)
    index = PositiveIndex.of_log(part)
    if examples.wants_vectors:
        examples.refresh(np.random.default_rng(0).normal(size=(len(log.articles), 4)).astype(np.float32))
    seen = []
    for batch in examples.batches(np.random.default_rng(1), 50):
        assert batch.articles.shape == (len(batch.users), 1 if negatives == "in-batch" else 4)
        assert not index.contains(batch.users[:, None], batch.articles[:, 1:]).any()
        assert np.isin(batch.articles, examples.shown).all()
        assert np.array_equal(part.user[batch.impressions], batch.users)
        seen += list(zip(batch.impressions.tolist(), batch.articles[:, 0].tolist(), strict=True))
    clicked = [
        (position, int(article))
        for position in range(len(part))
        for article in part.slate(position)[0][part.slate(position)[1]]
    ]
    assert sorted(seen) == sorted(clicked)
    assert len(examples) == len(clicked)


def test_skips_are_of_the_same_impression(log: ImpressionLog) -> None:
    part = log.slice(0, 340)
    for batch in ClickExamples(part, "skips", 4).batches(np.random.default_rng(1), 64):
        for impression, articles in zip(batch.impressions.tolist(), batch.articles, strict=True):
            candidates, clicked = part.slate(impression)
            if not clicked.all():
                assert set(articles[1:].tolist()) <= set(candidates[~clicked].tolist())


@pytest.mark.parametrize("negatives", KINDS)
def test_taste_is_learned_whatever_the_negatives(log: ImpressionLog, negatives: Negatives) -> None:
    model, _ = train(log, replace(SMALL, negatives=negatives))
    assert model.figures["auc"] > 0.7
    assert model.figures["known_candidates"] == 1.0


def test_articles_that_training_did_not_show_tie(log: ImpressionLog) -> None:
    part, new = log.slice(0, 340), log.slice(400, 500)
    model = train_matrix_factorization(part, new, SMALL, FIT, Unobserved())
    assert model.figures["auc"] == pytest.approx(0.5)
    assert model.figures["known_candidates"] == 0.0
    assert len(model.vocabularies["news_id"]) <= ARTICLES


@pytest.mark.parametrize("biases", [True, False])
def test_the_bundle_ranks_as_validation_did(log: ImpressionLog, tmp_path: Path, biases: bool) -> None:
    settings = replace(SMALL, biases=biases)
    model, validation = train(log, settings)
    bundle = bundle_of(tmp_path / "b", model)
    assert ("article.bias" in bundle.weights) == biases
    scorer = BundleScorer(bundle, log.articles, None)
    scores = scorer.scores(validation, 0, len(validation))
    table = bundle.weights["user.table.weight"]
    user_row = {name: 1 + i for i, name in enumerate(bundle.manifest.vocabularies["user_id"])}
    item_row = {name: 1 + i for i, name in enumerate(bundle.manifest.vocabularies["news_id"])}
    for position in range(10):
        candidates, _ = validation.slate(position)
        rows = [item_row[log.articles.ids[a]] for a in candidates]
        user = table[user_row[log.user_ids[validation.user[position]]]]
        expected = bundle.weights["article.news_id.weight"][rows] @ user
        if biases:
            expected = expected + bundle.weights["article.bias"][rows]
        start = int(validation.slate_start[position])
        found = scores[start : start + len(candidates)]
        assert found - found.mean() == pytest.approx(expected - expected.mean(), abs=1e-5)


def test_the_same_seed_gives_the_same_weights(log: ImpressionLog) -> None:
    one, other = train(log)[0], train(log)[0]
    assert all(np.array_equal(weight, other.weights[name]) for name, weight in one.weights.items())


def test_the_unknown_rows_stay_zero(log: ImpressionLog) -> None:
    model, _ = train(log)
    for name, weight in model.weights.items():
        if len(weight) > 1:
            assert not np.any(weight[0]), name


def test_a_part_without_clicks_is_refused(log: ImpressionLog) -> None:
    silent = replace(log, clicked=np.zeros_like(log.clicked))
    with pytest.raises(ValueError, match="nothing was clicked"):
        ClickFactorization(silent, log, SMALL, 0)


def test_a_validation_without_both_labels_leaves_the_first_epoch(log: ImpressionLog) -> None:
    silent = replace(log.slice(340, 400), clicked=np.zeros(len(log.slice(340, 400).clicked), np.bool_))
    model = train_matrix_factorization(log.slice(0, 340), silent, SMALL, FIT, Unobserved())
    assert "auc" not in model.figures


@pytest.mark.parametrize(
    "bad", [{"d": 0}, {"per_click": 0}, {"penalty": -0.1}, {"init_std": 0.0}, {"negatives": "none"}]
)
def test_settings_out_of_range_are_refused(bad: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=next(iter(bad))):
        replace(SMALL, **bad)
