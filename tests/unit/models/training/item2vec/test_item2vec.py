"""item2vec and node2vec put together what is clicked together, repeat by seed, and become bundles."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest

if sys.version_info >= (3, 14):
    pytest.skip("gensim, which trains item2vec, is not there for Python 3.14 yet", allow_module_level=True)

from freshet.models.datasets.article_features import table_vectors
from freshet.models.datasets.click_sequences import ClickSequences
from freshet.models.datasets.impression_log import ArticleTable, ImpressionLog
from freshet.models.datasets.movielens import Ratings, time_split
from freshet.models.embedding.bundle import Manifest, TrainingRecord, save_bundle
from freshet.models.embedding.feature_tower import FeatureTower
from freshet.models.evaluation.ratings.top_n import bundle_item_scorer
from freshet.models.kernels.unit_norm import to_unit_norm
from freshet.models.training.item2vec.item2vec import Item2VecSettings, train_item2vec, train_item2vec_ratings
from freshet.models.training.item2vec.node2vec import Node2VecSettings, train_node2vec, train_node2vec_ratings
from freshet.models.training.item2vec.word2vec import LossSample, Word2VecSettings, train_word2vec
from freshet.models.training.observer import Unobserved
from freshet.models.training.trained_model import TrainedModel

GROUPS, GROUP_SIZE, USERS = 3, 8, 120
ITEMS = GROUPS * GROUP_SIZE
SMALL = Item2VecSettings(d=8, window=5, epochs=6, negatives=5)
SMALL_WALKS = Node2VecSettings(d=8, window=3, epochs=1, negatives=5, walks_per_node=4, length=20)


class Recorded:
    """An observer who remembers."""

    def __init__(self) -> None:
        self.epochs: list[Mapping[str, float]] = []

    def batch(self, epoch: int, done: int, examples: int, loss: float) -> None:
        assert done <= examples

    def epoch(self, figures: Mapping[str, float]) -> None:
        self.epochs.append(figures)


def log_of_groups(folder: Path = Path("groups")) -> ImpressionLog:
    """Users who like one group of articles each, and are shown one article of each group at a time.

    The last article is shown, and never clicked.
    """
    rng = np.random.default_rng(1)
    impressions = USERS * 10
    user = rng.integers(0, USERS, impressions)
    shown = rng.integers(0, GROUP_SIZE - 1, (impressions, GROUPS)) + np.arange(GROUPS) * GROUP_SIZE
    clicked = np.arange(GROUPS) == (user % GROUPS)[:, None]
    ids = tuple(f"N{number}" for number in range(ITEMS))
    texts = [[""] * ITEMS for _ in range(5)]
    return ImpressionLog(
        folder,
        ArticleTable(ids, np.zeros(ITEMS, np.bool_), *texts),
        tuple(f"U{number}" for number in range(USERS)),
        1_600_000_000.0 + 60.0 * np.arange(impressions),
        user.astype(np.int32),
        np.arange(impressions + 1, dtype=np.int64) * GROUPS,
        shown.astype(np.int32).ravel(),
        clicked.ravel(),
        np.zeros(impressions, np.int32),
        np.zeros(2, np.int64),
        np.zeros(0, np.int32),
        "0" * 64,
    )


def ratings_of_groups() -> Ratings:
    """The clicks of that log as 5 stars, its skips as 2."""
    log = log_of_groups()
    return Ratings(
        np.repeat(log.user, GROUPS),
        log.candidates,
        np.where(log.clicked, 5.0, 2.0).astype(np.float32),
        np.repeat(log.time_s, GROUPS),
        log.user_ids,
        log.articles.ids,
        ("",) * ITEMS,
        ((),) * ITEMS,
    )


Train = Callable[[ImpressionLog, ImpressionLog], TrainedModel]


def item2vec(train: ImpressionLog, validation: ImpressionLog) -> TrainedModel:
    return train_item2vec(train, validation, SMALL, 3, Unobserved())


def cbow(train: ImpressionLog, validation: ImpressionLog) -> TrainedModel:
    settings = Item2VecSettings(d=8, window=5, epochs=6, negatives=5, cbow=True, learning_rate=0.1)
    return train_item2vec(train, validation, settings, 3, Unobserved())


def node2vec(train: ImpressionLog, validation: ImpressionLog) -> TrainedModel:
    return train_node2vec(train, validation, SMALL_WALKS, 3, Unobserved())


def bundle_of(folder: Path, trained: TrainedModel) -> Manifest:
    return Manifest(
        name=trained.model,
        model=trained.model,
        d=trained.d,
        tower=trained.tower,
        user=trained.user,
        vocabularies=dict(trained.vocabularies),
        training=TrainingRecord(folder=folder.name, data_sha256="0" * 64, examples=trained.examples, seed=3),
    )


@pytest.mark.parametrize("train", [item2vec, cbow, node2vec])
def test_what_is_clicked_together_is_near_and_what_nobody_clicked_has_no_vector(
    train: Train, tmp_path: Path
) -> None:
    log = log_of_groups()

    trained = train(log.slice(0, 1_000), log.slice(1_000, 1_200))

    tower = FeatureTower(save_bundle(tmp_path / "b", bundle_of(tmp_path, trained), trained.weights))
    vectors = table_vectors(tower, log.articles)
    never = np.arange(GROUP_SIZE - 1, ITEMS, GROUP_SIZE)
    assert not vectors[never].any()
    known = np.setdiff1d(np.arange(ITEMS), never)
    unit = to_unit_norm(vectors[known])
    cosines = unit @ unit.T
    np.fill_diagonal(cosines, -2.0)
    assert (cosines.argmax(axis=1) // (GROUP_SIZE - 1) == np.arange(len(known)) // (GROUP_SIZE - 1)).all()
    assert trained.figures["auc"] > 0.95


@pytest.mark.parametrize("train", [item2vec, node2vec])
def test_a_seed_repeats_its_vectors(train: Train) -> None:
    log = log_of_groups()

    first, second = (train(log.slice(0, 1_000), log.slice(1_000, 1_200)) for _ in range(2))

    name = "article.news_id.weight"
    assert (first.weights[name] == second.weights[name]).all()


PROGRAM = """
import hashlib, numpy as np
from freshet.models.datasets.click_sequences import ClickSequences
from freshet.models.training.item2vec.word2vec import Scored, Word2VecSettings, train_word2vec
from freshet.models.training.observer import Unobserved
items = np.random.default_rng(0).integers(0, 30, 2_000).astype(np.int32)
sequences = ClickSequences(items, np.arange(0, 2_001, 20), 30)
settings = Word2VecSettings(d=4, epochs=1)
found = train_word2vec(
    [sequences], settings, 1, lambda items, vectors: Scored(0.0, {}, vectors), Unobserved()
)
print(hashlib.sha256(found.vectors.tobytes()).hexdigest())
"""


def test_vectors_do_not_depend_on_the_hash_seed_of_the_process() -> None:
    digests = {
        subprocess.run(
            [sys.executable, "-c", PROGRAM],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }

    assert len(digests) == 1


def test_each_epoch_is_told_and_the_best_is_kept() -> None:
    log = log_of_groups()
    observer = Recorded()

    trained = train_item2vec(log.slice(0, 1_000), log.slice(1_000, 1_200), SMALL, 0, observer)

    assert [entry["epoch"] for entry in observer.epochs] == [1, 2, 3, 4, 5, 6]
    assert list(trained.curve) == observer.epochs
    assert trained.figures["score"] == max(entry["score"] for entry in trained.curve)
    assert trained.curve[-1]["loss"] < trained.curve[0]["loss"]
    assert trained.examples == 1_000


def test_without_anything_to_validate_on_the_last_epoch_is_kept() -> None:
    log = log_of_groups()

    trained = train_item2vec(log.slice(0, 1_000), log.slice(1_000, 1_000), SMALL, 0, Unobserved())

    assert trained.figures["epoch"] == SMALL.epochs


@pytest.mark.parametrize("name", ["item2vec", "node2vec"])
def test_ratings_give_users_vectors_that_rank_what_they_like(name: str, tmp_path: Path) -> None:
    ratings = ratings_of_groups()
    train, validation = time_split(ratings, 0.8)
    trained = (
        train_item2vec_ratings(train, validation, SMALL, 0, Unobserved())
        if name == "item2vec"
        else train_node2vec_ratings(train, validation, SMALL_WALKS, 0, Unobserved())
    )

    bundle = save_bundle(tmp_path / "b", bundle_of(tmp_path, trained), trained.weights)
    scores = bundle_item_scorer(bundle, ratings)(np.arange(USERS, dtype=np.int32))

    assert (scores.argmax(axis=1) // GROUP_SIZE == np.arange(USERS) % GROUPS).mean() > 0.95


def test_articles_with_too_few_clicks_have_no_vector() -> None:
    log = log_of_groups()
    clicks = ClickSequences.of_log(log.slice(0, 100)).counts
    settings = Item2VecSettings(d=4, epochs=1, min_count=5)

    trained = train_item2vec(log.slice(0, 100), log.slice(100, 200), settings, 0, Unobserved())

    assert trained.vocabularies["news_id"] == tuple(f"N{item}" for item in np.flatnonzero(clicks >= 5))


def test_what_cannot_be_trained_says_why() -> None:
    log = log_of_groups()
    one = log.slice(0, 1)

    with pytest.raises(ValueError, match="lower min_count"):
        train_item2vec(one, one, SMALL, 0, Unobserved())
    with pytest.raises(ValueError, match="2 common users"):
        train_node2vec(one, one, SMALL_WALKS, 0, Unobserved())
    alone = ClickSequences(np.zeros(3, np.int32), np.arange(4), 2)
    with pytest.raises(ValueError, match="no two items follow each other"):
        train_word2vec([alone], SMALL, 0, lambda items, vectors: pytest.fail(), Unobserved())


@pytest.mark.parametrize(
    "setting",
    [{"d": 0}, {"learning_rate": 0.0}, {"exponent": -1.0}, {"components": -2}, {"prior_weight": 0.0}],
)
def test_settings_out_of_range_are_named(setting: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=next(iter(setting))):
        Item2VecSettings(**setting)


def test_walk_settings_are_checked_too() -> None:
    with pytest.raises(ValueError, match="p is 0"):
        Node2VecSettings(p=0.0)


@pytest.mark.parametrize("cbow", [False, True])
def test_the_loss_is_that_of_negative_sampling(cbow: bool) -> None:
    """Two items that always alternate, seen with every window the other way round."""
    sequences = ClickSequences(np.array([0, 1] * 50, np.int32), np.array([0, 100]), 2)
    settings = Word2VecSettings(d=2, window=1, negatives=4, cbow=cbow)
    sample = LossSample(sequences, settings, np.random.default_rng(0))
    centres, contexts = np.eye(2, dtype=np.float32) * 2, np.eye(2, dtype=np.float32)[::-1] * 3

    untrained = sample.loss(np.arange(2), centres, contexts * 0)
    trained = sample.loss(np.arange(2), centres, contexts)

    # Half of the four negatives are the wanted item itself, and left out.
    assert untrained == pytest.approx(np.log(2) * (1 + 4 / 2), rel=0.03)
    assert trained == pytest.approx(np.log1p(np.exp(-6)) + 4 / 2 * np.log(2), rel=0.03)
