"""item2vec (Barkan and Koenigstein, 2016): the clicks of a user are a sentence, its items are the words.

A user's clicks, the history first and then those of the log in the order of time, go through word2vec
(:mod:`freshet.models.training.item2vec.word2vec`). Articles that the same users click around the same time
get near vectors. A user is the pooled mean of what was clicked, so a new user is served after one click,
without any training.

What it can: it needs nothing but clicks, trains in seconds, and finds what goes together although the texts
do not say so. What it cannot: an article that was clicked fewer than ``min_count`` times in training has no
vector, and of news, that is every article of the day. Nor does it learn from skips: it models what goes with
what, and not what is clicked when it is shown.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

from freshet.models.datasets.click_sequences import ClickSequences
from freshet.models.datasets.impression_log import ImpressionLog
from freshet.models.datasets.movielens import Ratings
from freshet.models.embedding.bundle import TowerSpec, UserSpec
from freshet.models.evaluation.ratings.top_n import TopNProtocol, TopNSplit, evaluate_topn
from freshet.models.kernels.unit_norm import to_unit_norm
from freshet.models.ports import FloatMatrix
from freshet.models.training.item2vec.common_components import AS_THEY_ARE, without_common_components
from freshet.models.training.item2vec.vector_validation import SlateValidation
from freshet.models.training.item2vec.word2vec import (
    ItemVectors,
    Score,
    Scored,
    Word2VecSettings,
    train_word2vec,
)
from freshet.models.training.observer import Observer
from freshet.models.training.ratings.histories import joined
from freshet.models.training.trained_model import TrainedModel

COMPONENTS_TRIED = (AS_THEY_ARE, 0, 1, 2)


@dataclass(frozen=True)
class Item2VecSettings(Word2VecSettings):
    """Settings of the vectors and of the pooling of users.

    Raises:
        ValueError: A value is out of range.
    """

    window: int = 20
    """Window in clicks: nearly all of a user's, as in the paper. Word2vec's usual 5 ranked worse on three
    validation slices (AUC .507, with 20 .529, on mind-sample, .558 and .690 on DeskDrop, .470 and .513 on a
    synthetic stream, unchanged vectors)."""
    epochs: int = 20
    components: int | None = None
    """Principal components that are removed from all vectors, with their mean
    (:mod:`freshet.models.training.item2vec.common_components`); -1 changes nothing. Unset: the best of -1, 0,
    1 and 2 on the validation slice."""
    half_lives_s: tuple[float, ...] = (2 * 3_600.0, 7 * 86_400.0)
    """Half-lives of the interest heads."""
    negative_half_life_s: float = 86_400.0
    """Half-life of the skips' head, which is not scored."""
    prior_weight: float = 1.0
    """Weight of the population's mean, in clicks."""
    min_rating: float = 4.0
    """Lowest rating that counts as a click; MovieLens only."""

    def __post_init__(self) -> None:
        """Check the ranges."""
        super().__post_init__()
        if self.components is not None and self.components < AS_THEY_ARE:
            raise ValueError(f"components is {self.components}, must be at least {AS_THEY_ARE}")
        _ = self.user

    @property
    def user(self) -> UserSpec:
        """Pooling of a user's events."""
        return UserSpec(
            half_lives_s=self.half_lives_s,
            negative_half_life_s=self.negative_half_life_s,
            prior_weight=self.prior_weight,
        )


def train_item2vec(
    train: ImpressionLog, validation: ImpressionLog, settings: Item2VecSettings, seed: int, observer: Observer
) -> TrainedModel:
    """Train on the clicks and histories of a log.

    Args:
        train: Slice to train on.
        validation: Later slice of the same log; its AUC decides which epoch is kept.
        settings: Settings of the vectors.
        seed: Seed of a repeatable run.
        observer: Observer of the epochs.

    Raises:
        ValueError: There is nothing to learn from.
    """
    clicks = frequent(ClickSequences.of_log(train), settings.min_count)
    score = slate_score(train, validation, settings)
    result = train_word2vec([clicks], settings, seed, score, observer)
    return trained_on_log("item2vec", result, settings, len(clicks.items), train)


def train_item2vec_ratings(
    train: Ratings, validation: Ratings, settings: Item2VecSettings, seed: int, observer: Observer
) -> TrainedModel:
    """Train on ratings of at least ``min_rating`` stars, in the order of time.

    The bundle has a vector for each user, the mean of the unit vectors of the user's likes.

    Args:
        train: Ratings to train on.
        validation: Later ratings of the same set; NDCG@10 on them decides which epoch is kept.
        settings: Settings of the vectors.
        seed: Seed of a repeatable run.
        observer: Observer of the epochs.

    Raises:
        ValueError: There is nothing to learn from.
    """
    clicks = frequent(ClickSequences.of_ratings(train, settings.min_rating), settings.min_count)
    score = ratings_score(train, validation, settings)
    result = train_word2vec([clicks], settings, seed, score, observer)
    return trained_on_ratings("item2vec", result, settings, len(clicks.items), (train, validation))


def frequent(clicks: ClickSequences, min_count: int) -> ClickSequences:
    """Clicks on items with at least ``min_count`` clicks.

    Raises:
        ValueError: None is left.
    """
    kept = clicks.counts[clicks.items] >= min_count
    if not kept.any():
        raise ValueError(f"no article has {min_count} clicks or more: lower min_count, or train on more")
    starts = np.concatenate([[0], np.cumsum(kept)])[clicks.starts]
    return ClickSequences(clicks.items[kept], starts, clicks.n_items)


def slate_score(train: ImpressionLog, validation: ImpressionLog, settings: Item2VecSettings) -> Score:
    """Make a score of vectors: the AUC of a validation slice, 0 if no impression can be ranked."""
    slates = SlateValidation(train, validation, settings.user)

    def measure(items: NDArray[np.int64], vectors: FloatMatrix) -> dict[str, float]:
        return {"auc": slates.auc(items, vectors)} if len(slates) else {}

    return _best_of_components(measure, settings.components)


def ratings_score(train: Ratings, validation: Ratings, settings: Item2VecSettings) -> Score:
    """Make a score of vectors: the NDCG@10 of later ratings, 0 if there are none."""
    protocol = TopNProtocol()
    split = TopNSplit.cut(train, validation, protocol) if len(validation) else None
    liked = ClickSequences.of_ratings(train, settings.min_rating)

    def measure(items: NDArray[np.int64], vectors: FloatMatrix) -> dict[str, float]:
        if split is None:
            return {}
        unit = np.zeros((liked.n_items, vectors.shape[1]), np.float32)
        unit[items] = to_unit_norm(vectors)
        users = mean_vectors(liked, unit)
        metrics = evaluate_topn(split, lambda rows: users[rows] @ unit.T, protocol).segments["known"].metrics
        return {name: metrics[name].mean for name in ("ndcg@10", "hit_rate@10") if name in metrics}

    return _best_of_components(measure, settings.components)


def _best_of_components(
    measure: Callable[[NDArray[np.int64], FloatMatrix], dict[str, float]], asked: int | None
) -> Score:
    """Make a score of vectors: the first figure, with the best number of components removed."""
    choices = COMPONENTS_TRIED if asked is None else (asked,)

    def score(items: NDArray[np.int64], vectors: FloatMatrix) -> Scored:
        tried = []
        for components in choices:
            kept = without_common_components(vectors, components)
            figures = measure(items, kept)
            first = next(iter(figures.values()), 0.0)
            tried.append(Scored(first, {**figures, "components": float(components)}, kept))
        return max(tried, key=lambda scored: scored.score)

    return score


def mean_vectors(clicks: ClickSequences, vectors: FloatMatrix) -> FloatMatrix:
    """Mean vector (sequences, d) of each sequence, without items with a zero vector.

    Args:
        clicks: Sequences of items.
        vectors: Shape (n_items, d).
    """
    known = (vectors != 0).any(axis=1)[clicks.items]
    rows, items = clicks.rows[known], clicks.items[known]
    sums = np.zeros((len(clicks), vectors.shape[1]), np.float32)
    np.add.at(sums, rows, vectors[items])
    return sums / np.maximum(np.bincount(rows, minlength=len(clicks)), 1).astype(np.float32)[:, None]


def trained_on_log(
    model: str, result: ItemVectors, settings: Item2VecSettings, examples: int, log: ImpressionLog
) -> TrainedModel:
    """Make a model of item vectors whose users are pooled heads."""
    return TrainedModel(
        model=model,
        d=settings.d,
        tower=TowerSpec(features=("news_id",), normalise=True),
        user=settings.user,
        weights={"article.news_id.weight": _with_unknown(result.vectors)},
        examples=examples,
        vocabularies={"news_id": tuple(log.articles.ids[item] for item in result.items)},
        settings=asdict(settings),
        curve=result.curve,
        figures=result.figures,
    )


def trained_on_ratings(
    model: str,
    result: ItemVectors,
    settings: Item2VecSettings,
    examples: int,
    ratings: tuple[Ratings, Ratings],
) -> TrainedModel:
    """Make a model of item vectors with a vector for each user; an unknown user has their mean.

    Likes of the training and the validation slice count: evaluation begins after both.
    """
    liked = ClickSequences.of_ratings(joined(*ratings), settings.min_rating)
    unit = np.zeros((liked.n_items, settings.d), np.float32)
    unit[result.items] = to_unit_norm(result.vectors)
    users = mean_vectors(liked, unit)
    active = np.flatnonzero((users != 0).any(axis=1))
    table = users[active]
    everyone = table.sum(axis=0, keepdims=True) / np.float32(max(len(table), 1))
    return TrainedModel(
        model=model,
        d=settings.d,
        tower=TowerSpec(features=("news_id",), normalise=True),
        user=settings.user,
        weights={
            "article.news_id.weight": _with_unknown(result.vectors),
            "user.table.weight": np.concatenate([everyone, table]),
        },
        examples=examples,
        vocabularies={
            "news_id": tuple(ratings[0].item_ids[item] for item in result.items),
            "user_id": tuple(ratings[0].user_ids[user] for user in active),
        },
        settings=asdict(settings),
        curve=result.curve,
        figures=result.figures,
    )


def _with_unknown(vectors: FloatMatrix) -> FloatMatrix:
    """Table with row 0 for an unknown article."""
    return np.concatenate([np.zeros((1, vectors.shape[1]), np.float32), vectors])
