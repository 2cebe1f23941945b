r"""Matrix factorization of ratings: predicts the stars that a user gives to an item.

With p and q vectors of user u and item i, and biases (Koren, Bell and Volinsky, 2009, equation 4),

.. math:: \hat r_{ui} = \mu + b_u + b_i + p_u \cdot (q_i + \sum_g x_{ig} g_g),

where the sum runs over the item's genres, each divided by the square root of how many the item has, so that
an item that hardly anybody rated still has a vector, that of its genres (the interactions of a factorization
machine; Rendle, 2010). Item biases have a part by genre in the same way. The loss is the mean squared error
plus

- ``penalty`` times the squared norms of p and q of each example: frequent rows are held back as often as they
  are pulled (Koren et al., equation 5);
- a damping of the biases, as if each had so many ratings more of no deviation
  (:class:`~freshet.models.evaluation.ratings.damped_means.DampedMeans`, from which they start);
- ``genre_penalty`` times the squared norms of the genres' rows.

What is exported is a plain table: genres are added to the items' vectors and biases. Predictions are clipped
to the range of ratings seen.

Choices, by the error on a validation part of the training ratings of ml-latest-small: these penalties, not
dropout of .3 and .6 (the networks in Posit's AI blog, 2018: .88, which the damped means alone reach); their
sigmoid scaled to the range was not tried. Implicit feedback as in SVD++ (Koren, 2008) did not help there.

What it cannot: an item or a user without ratings in training is the average (an item: of its genres).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from freshet.models.datasets.movielens import Ratings
from freshet.models.embedding.bundle import TowerSpec
from freshet.models.evaluation.ratings.damped_means import DampedMeans
from freshet.models.evaluation.ratings.metrics import rmse
from freshet.models.training.factorization.factor_tables import POOLED, FactorTables, column, numbered
from freshet.models.training.loop import FitSettings, Observer, fit
from freshet.models.training.setting_ranges import check_at_least, check_positive
from freshet.models.training.trained_model import TrainedModel


@dataclass(frozen=True)
class RatingFactorizationSettings:
    """Settings of the model and its regularization.

    Raises:
        ValueError: A value is out of range.
    """

    d: int = 64
    biases: bool = True
    """Learn biases; without them and without genres the model is the dot product."""
    genres: bool = True
    """Add the genres' vectors and biases to those of their items."""
    penalty: float = 0.15
    """L2 penalty of each example's vectors."""
    damping: float = 1.0
    """Pseudo-ratings without deviation that each bias counts in addition."""
    genre_penalty: float = 1e-3
    batch_ratings: int = 2_048
    """Ratings of a batch, for a learning rate of .005; 256 with .001 give the same in triple the time."""
    init_std: float = 0.05

    def __post_init__(self) -> None:
        """Check the ranges."""
        check_at_least(self, 1, "d", "batch_ratings")
        check_at_least(self, 0, "penalty", "damping", "genre_penalty")
        check_positive(self, "init_std")


def train_matrix_factorization_ratings(
    train: Ratings,
    validation: Ratings,
    settings: RatingFactorizationSettings,
    fit_settings: FitSettings,
    observer: Observer,
) -> TrainedModel:
    """Train on ratings; the error on the validation ratings decides which epoch is kept.

    Raises:
        ValueError: There are no ratings to train or to validate on.
        TrainingError: See :func:`~freshet.models.training.loop.fit`.
    """
    task = RatingFactorization(train, validation, settings, fit_settings.seed)
    result = fit(task, fit_settings, observer)
    return TrainedModel(
        model="mf",
        d=settings.d,
        tower=TowerSpec(features=("news_id",)),
        user=POOLED,
        weights=task.export(),
        examples=task.examples,
        vocabularies={
            "news_id": tuple(train.item_ids[item] for item in task.items),
            "user_id": tuple(train.user_ids[user] for user in task.users),
        },
        settings=asdict(settings),
        curve=result.curve,
        figures={name: value for name, value in result.figures.items() if name in ("loss", "rmse")},
    )


class RatingModule(nn.Module):
    """Factor tables, and the vectors and biases of genres.

    Args:
        means: Initial biases.
        users: Numbers of the users with a row, in the order of the rows.
        items: Numbers of the items with a row.
        genres: Shape (1 + items, genres), factors of the genres' rows for each item's row.
        settings: Settings of the model.
    """

    genres: Tensor

    def __init__(
        self,
        means: DampedMeans,
        users: NDArray[np.int64],
        items: NDArray[np.int64],
        genres: NDArray[np.float32],
        settings: RatingFactorizationSettings,
    ) -> None:
        super().__init__()
        self.tables = FactorTables(len(users), len(items), settings.d, settings.init_std, settings.biases)
        if self.tables.user_bias is not None and self.tables.item_bias is not None:
            with torch.no_grad():
                self.tables.user_bias[1:] = torch.from_numpy(means.user[users])
                self.tables.item_bias[1:] = torch.from_numpy(means.item[items])
        if self.tables.bias is not None:
            nn.init.constant_(self.tables.bias, means.mean)
        self.genre = nn.Parameter(torch.randn(genres.shape[1], settings.d) * settings.init_std)
        self.genre_bias = nn.Parameter(torch.zeros(genres.shape[1])) if settings.biases else None
        self.register_buffer("genres", torch.from_numpy(genres), persistent=False)

    def forward(self, users: Tensor, items: Tensor) -> tuple[Tensor, Tensor]:
        """Ratings (B,) by rows (B,), not clipped; and the mean squared norm of the vectors, a scalar."""
        scores, p, q = self.tables(users, items.unsqueeze(1))
        ratings = scores.squeeze(1)
        if self.genre.shape[0]:
            has = functional.embedding(items, self.genres)  # (B, genres)
            ratings = ratings + (p * (has @ self.genre)).sum(1)
            if self.genre_bias is not None:
                ratings = ratings + has @ self.genre_bias
        return ratings, (p.square().sum() + q.square().sum()) / len(users)

    def genre_norm(self) -> Tensor:
        """Squared norm of the genres' vectors and biases, a scalar."""
        norm: Tensor = self.genre.square().sum()
        if self.genre_bias is not None:
            norm = norm + self.genre_bias.square().sum()
        return norm

    @torch.no_grad()
    def export(self) -> dict[str, NDArray[np.float32]]:
        """Tables with the genres added, by the names of :mod:`freshet.models.embedding.bundle`."""
        weights = self.tables.export()
        weights["article.news_id.weight"] += (self.genres @ self.genre).cpu().numpy()
        if self.genre_bias is not None:
            weights["article.bias"] += (self.genres @ self.genre_bias).cpu().numpy()
        return weights


class RatingFactorization:
    """Training task, see :class:`~freshet.models.training.loop.Task`."""

    def __init__(
        self, train: Ratings, validation: Ratings, settings: RatingFactorizationSettings, seed: int
    ) -> None:
        if not len(train) or not len(validation):
            raise ValueError(
                f"{len(train)} ratings to train on, {len(validation)} to stop by: both need some"
            )
        self._settings = settings
        self.examples = len(train)
        """Ratings."""
        self._range = train.rating_range
        genres = genre_matrix(train) if settings.genres else np.zeros((len(train.item_ids), 0), np.float32)
        self.users = np.unique(train.user).astype(np.int64)
        """Numbers of the users with a row, in the order of the rows."""
        known = np.zeros(len(genres), np.bool_)
        known[train.item] = True
        known |= (genres > 0).any(axis=1)
        self.items: NDArray[np.int64] = np.flatnonzero(known)
        """Numbers of the items with a row: those with a rating or a genre."""
        user_row, item_row = numbered(self.users, len(train.user_ids)), numbered(self.items, len(known))
        self._user = torch.from_numpy(user_row[train.user])
        self._item = torch.from_numpy(item_row[train.item])
        self._rating = torch.from_numpy(train.rating.copy())
        self._user_damping = _damping(self._user, 1 + len(self.users), settings.damping)
        self._item_damping = _damping(self._item, 1 + len(self.items), settings.damping)
        self._validation = (user_row[validation.user], item_row[validation.item], validation.rating)
        torch.manual_seed(seed)
        by_row = np.concatenate([np.zeros((1, genres.shape[1]), np.float32), genres[self.items]])
        self.module = RatingModule(DampedMeans.of(train), self.users, self.items, by_row, settings)

    def batches(self, rng: np.random.Generator) -> Iterator[dict[str, Tensor]]:
        """Yield one epoch of batches."""
        order = torch.from_numpy(rng.permutation(self.examples))
        for rows in torch.split(order, self._settings.batch_ratings):
            users, items = self._user[rows], self._item[rows]
            batch = {"users": users, "items": items, "ratings": self._rating[rows]}
            if self._settings.biases:
                batch |= {
                    "user_damping": self._user_damping[users],
                    "item_damping": self._item_damping[items],
                }
            yield batch

    def loss(self, batch: dict[str, Tensor]) -> Tensor:
        """Mean squared error and penalties, a scalar."""
        predicted, norms = self.module(batch["users"], batch["items"])
        loss: Tensor = functional.mse_loss(predicted, batch["ratings"]) + self._settings.penalty * norms
        loss = loss + self._settings.genre_penalty * self.module.genre_norm()
        tables = self.module.tables
        if tables.user_bias is not None and tables.item_bias is not None:
            damped = batch["user_damping"] * column(tables.user_bias, batch["users"]).square()
            damped = damped + batch["item_damping"] * column(tables.item_bias, batch["items"]).square()
            loss = loss + damped.mean()
        return loss

    def validate(self) -> tuple[float, dict[str, float]]:
        """Negated RMSE of the validation ratings, and the RMSE."""
        users, items, ratings = self._validation
        weights = self.export()
        vectors, others = weights["user.table.weight"][users], weights["article.news_id.weight"][items]
        predicted = np.einsum("nd,nd->n", vectors, others)
        if self._settings.biases:
            predicted += weights["bias"] + weights["user.bias"][users] + weights["article.bias"][items]
        error = rmse(predicted.clip(*self._range), ratings)
        return -error, {"rmse": error}

    def export(self) -> dict[str, NDArray[np.float32]]:
        """Weights of the bundle."""
        return self.module.export() | {"rating.range": np.array(self._range, np.float32)}


def genre_matrix(ratings: Ratings) -> NDArray[np.float32]:
    """Genres (items, genres) of items: 1 over the square root of the item's number of genres, or 0."""
    names = sorted({name for its in ratings.genres for name in its})
    number = {name: at for at, name in enumerate(names)}
    matrix = np.zeros((len(ratings.genres), len(names)), np.float32)
    for item, its in enumerate(ratings.genres):
        matrix[item, [number[name] for name in its]] = 1.0 / np.sqrt(max(len(its), 1))
    return matrix


def _damping(rows: Tensor, size: int, damping: float) -> Tensor:
    """Damping (size,) of a row's bias for each example: ``damping`` over the row's examples."""
    return damping / torch.bincount(rows, minlength=size).clamp_min(1).float()
