"""Training of two towers on ratings: likes against items that were not rated, at the time of each rating.

An example is a liked rating: its user as of that moment (only earlier likes are seen), the item, and
negatives. The loss is one of

- ``softmax``: the cross-entropy of the liked item among its negatives, each logit less ``log q`` where
  ``correct_sampling`` (Bengio and Senécal, 2008; in-batch: Yi et al., 2019, equation 3);
- ``logistic``: ``w log(1 + exp(-s))`` of the liked one with weight w and ``log(1 + exp(s))`` of each negative
  (Covington et al., 2016, section 4.2).

Ratings end long before they are tested on; ``recency_half_life_days`` lets late examples count more.

The export holds what the towers give at the end of the ratings: a vector for each user and item, the item's
popularity and what it counts for the user as further dimensions. That is all that a closed catalogue of films
needs; an item that came later has no vector.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from freshet.models.datasets.movielens import Ratings
from freshet.models.datasets.positive_index import PositiveIndex
from freshet.models.embedding.bundle import TowerSpec, UserSpec
from freshet.models.evaluation.ratings.baselines import SECONDS_PER_DAY
from freshet.models.evaluation.ratings.top_n import TopNProtocol, TopNSplit, evaluate_topn
from freshet.models.training.in_batch_negatives import in_batch_log_q, in_batch_mask
from freshet.models.training.loop import FitSettings, Observer, Unobserved, fit
from freshet.models.training.negatives import make_sampler
from freshet.models.training.ratings.histories import NOTHING, PopularityInTime, RatingHistories, joined
from freshet.models.training.ratings.settings import RatingSettings
from freshet.models.training.ratings.towers import RatingTowers
from freshet.models.training.tensors import evaluating, to_numpy
from freshet.models.training.trained_model import TrainedModel

_REFUSED = -1e9
"""Logit of a masked candidate; it does not overflow in half precision."""


def train_ratings(
    train: Ratings,
    validation: Ratings,
    settings: RatingSettings,
    fit_settings: FitSettings,
    observer: Observer,
) -> TrainedModel:
    """Train two towers, and export their vectors as of the end of the ratings.

    Args:
        train: Earlier in time.
        validation: Later; decides when to stop, and which epoch is kept.
        settings: The model, a preset.
        fit_settings: Settings of the training loop.
        observer: Observer of the first training, not of that with the validation's ratings.

    Raises:
        ValueError: There is nothing to learn from or to validate on.
        TrainingInterrupted: A signal asked to stop; the checkpoint, where there is one, is kept.
    """
    torch.manual_seed(fit_settings.seed)
    task = RatingTask(RatingTowers(train, settings), train, validation, settings)
    result = fit(task, fit_settings, observer)
    if settings.refit:
        torch.manual_seed(fit_settings.seed)
        task = RatingTask(RatingTowers(train, settings), joined(train, validation), None, settings)
        again = replace(
            fit_settings, epochs=result.best_epoch, patience=result.best_epoch, checkpoint=None, run=""
        )
        fit(task, again, Unobserved())
    half_life_s = settings.half_life_s if math.isfinite(settings.half_life_s) else 1e12
    return TrainedModel(
        model=settings.model,
        d=settings.d + len(settings.popularity_half_lives_days),
        tower=TowerSpec(features=("news_id",)),
        user=UserSpec(half_lives_s=(half_life_s,), negative_half_life_s=half_life_s, prior_weight=1.0),
        weights=task.export(),
        examples=task.examples,
        vocabularies={"news_id": train.item_ids, "user_id": train.user_ids},
        settings=settings.record(),
        curve=result.curve,
        figures=result.figures,
    )


class RatingTask:
    """Two towers under training; a :class:`~freshet.models.training.loop.Task`.

    Args:
        towers: Module under training.
        train: Ratings in the order of time.
        validation: Later ratings of the same users and items; without them the last epoch is the best.
        settings: Settings of the model and its training.

    Raises:
        ValueError: There is no like, or the negatives are skips, which ratings do not have.
    """

    def __init__(
        self, towers: RatingTowers, train: Ratings, validation: Ratings | None, settings: RatingSettings
    ) -> None:
        self._towers = towers
        self._train = train
        self._settings = settings
        self._liked = np.flatnonzero(train.rating >= settings.minimum_rating)
        if not len(self._liked):
            raise ValueError(f"none of {len(train)} ratings is at least {settings.minimum_rating:g}")
        self._histories = RatingHistories(train, settings.minimum_rating)
        self._index = PositiveIndex(
            train.user, train.item, n_users=len(train.user_ids), n_items=len(train.item_ids)
        )
        half_lives_s = [days * SECONDS_PER_DAY for days in settings.popularity_half_lives_days]
        self._popularity = PopularityInTime(train, settings.minimum_rating, half_lives_s)
        if settings.negatives == "skips":
            raise ValueError("ratings have no skips: choose negatives of another kind")
        self._sampler, self._hard = make_sampler(settings.negatives, self._index, np.unique(train.item))
        self._counts = np.bincount(train.item[self._liked], minlength=len(train.item_ids))
        self._weights = self._example_weights()
        self._split: TopNSplit | None = None
        self._protocol = TopNProtocol(minimum_user_ratings=1, relevant_rating=settings.relevant_rating)
        if validation is not None:
            self._split = TopNSplit.cut(train, validation, self._protocol)
        self._epochs = 0

    @property
    def module(self) -> nn.Module:
        """Towers under training."""
        return self._towers

    @property
    def examples(self) -> int:
        """Number of likes."""
        return len(self._liked)

    def batches(self, rng: np.random.Generator) -> Iterator[dict[str, Tensor]]:
        """Yield one epoch in random order; items are numbered within the batch's ``items``."""
        if self._hard is not None:
            self._hard.refresh(self._all_item_vectors())
        order = rng.permutation(self._liked)
        size = self._settings.batch_size
        for start in range(0, len(order), size):
            part = order[start : start + size]
            # Batch normalization has no variance of a single example.
            if len(part) > 1:
                yield self._batch(part, rng)

    def loss(self, batch: dict[str, Tensor]) -> Tensor:
        """Weighted mean loss over the batch."""
        towers = self._towers
        vectors = towers.item_vectors(batch["items"])  # (items of the batch, d)
        users = towers.user_vectors(
            batch["users"],
            batch["tenure_s"],
            vectors[batch["history"]],
            batch["age_s"],
            batch["history_used"],
        )
        # (B, C): the dot product of each user and candidate
        logits = towers.scale * (users @ vectors.T).gather(1, batch["candidates"]) + towers.bias
        of_popularity = towers.popularity_weights(batch["tenure_s"])
        logits = logits.float() + torch.einsum("bcp,bp->bc", batch["popularity"], of_popularity)
        usable, target = batch["usable"], batch["target"]
        if self._settings.loss == "softmax":
            logits = (logits - batch["log_q"]).masked_fill(~usable, _REFUSED)
            losses = functional.cross_entropy(logits, target, reduction="none")
            return (losses * batch["weights"]).mean()
        positive = functional.one_hot(target, logits.shape[1]).bool()
        terms = functional.softplus(torch.where(positive, -logits, logits)) * usable
        terms = torch.where(positive, terms * batch["stars"].unsqueeze(1), terms)
        return (terms.sum(dim=1) / usable.sum(dim=1) * batch["weights"]).mean()

    def validate(self) -> tuple[float, dict[str, float]]:
        """Compute NDCG@10 of known users, by the published protocol; of all users where none is known."""
        self._epochs += 1
        if self._split is None:
            return float(self._epochs), {}
        users, items = self._final()

        def scores(of_users: NDArray[np.int32]) -> NDArray[np.floating]:
            return users[of_users + 1] @ items.T

        report = evaluate_topn(self._split, scores, self._protocol)
        figures = {
            f"{segment}_{name}": estimate.mean
            for segment in ("known", "all")
            for name, estimate in report.segments[segment].metrics.items()
            if name.startswith(("ndcg", "hit_rate"))
        }
        if not figures:
            raise ValueError("the validation has no high rating of a known item: give it more ratings")
        return figures.get("known_ndcg@10", figures["all_ndcg@10"]), figures

    def export(self) -> dict[str, NDArray[np.float32]]:
        """Tables of users and items by the names of a bundle: d columns of the towers, then popularity.

        Items that nobody rated have the zero vector.
        """
        users, items = self._final()
        rated = np.bincount(self._train.item, minlength=len(items)) > 0
        return {
            "article.news_id.weight": np.concatenate(
                [np.zeros((1, items.shape[1]), np.float32), items * rated[:, None]]
            ),
            "user.table.weight": users,
        }

    @torch.no_grad()
    def _final(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Final vectors of users (1 + users, d + half-lives), the unknown one first, and of items."""
        liked = np.bincount(self._train.user[self._liked], minlength=len(self._train.user_ids)) > 0
        self._towers.replace_untrained_users(torch.from_numpy(liked).to(self._towers.bias.device))
        vectors = self._all_item_vectors()
        table = torch.from_numpy(vectors).to(self._towers.bias.device)
        everybody = np.arange(-1, len(self._train.user_ids))
        size = self._settings.batch_size
        rows = [
            self._users_at_the_end(everybody[start : start + size], table)
            for start in range(0, len(everybody), size)
        ]
        return to_numpy(torch.cat(rows)), np.concatenate([vectors, self._popularity.last], axis=1)

    def _users_at_the_end(self, users: NDArray[np.int64], vectors: Tensor) -> Tensor:
        device, towers = vectors.device, self._towers
        known, known_users = users >= 0, np.maximum(users, 0)
        times_s = np.full(len(users), np.nextafter(self._train.time_s[-1], np.inf))
        items, age_s = self._histories.before(known_users, times_s, self._settings.max_history)
        tenure_s = torch.from_numpy(self._histories.tenure_s(known_users, times_s) * known).to(device)
        of_users = towers.user_vectors(
            torch.from_numpy(users).to(device),
            tenure_s,
            vectors[torch.from_numpy(np.maximum(items, 0).astype(np.int64)).to(device)],
            torch.from_numpy(age_s).to(device),
            torch.from_numpy((items != NOTHING) & known[:, None]).to(device),
        )
        return torch.cat([of_users * towers.scale, towers.popularity_weights(tenure_s)], dim=1)

    def _all_item_vectors(self) -> NDArray[np.float32]:
        towers = self._towers
        numbers = torch.arange(len(self._train.item_ids), device=towers.bias.device)
        with evaluating(towers):
            return to_numpy(towers.item_vectors(numbers))

    def _batch(self, positions: NDArray[np.int64], rng: np.random.Generator) -> dict[str, Tensor]:
        train, settings = self._train, self._settings
        user, item, times_s = train.user[positions], train.item[positions], train.time_s[positions]
        n = len(positions)
        if self._sampler is None:
            candidates = np.broadcast_to(item, (n, n))
            usable = in_batch_mask(user, item, self._index)
            target = np.arange(n)
            log_q = in_batch_log_q(self._counts, candidates)
        else:
            negatives = self._sampler.sample(user, settings.n_negatives, rng, item)
            candidates = np.concatenate([item[:, None], negatives], axis=1)
            usable = np.ones(candidates.shape, np.bool_)
            target = np.zeros(n, np.int64)
            log_q = self._sampler.log_q(candidates)
        history, age_s = self._histories.before(user, times_s, settings.max_history)
        used = history != NOTHING
        history = np.where(used, history, item[:, None])
        # Marks instead of np.unique, which sorts 70,000 numbers where there are 1,700 items.
        marks = np.zeros(len(train.item_ids), np.bool_)
        marks[candidates] = True
        marks[history] = True
        items = np.flatnonzero(marks)
        number = np.cumsum(marks) - 1  # (items,): each item's number within the batch
        arrays = {
            "users": user.astype(np.int64),
            "items": items.astype(np.int64),
            "candidates": number[candidates],
            "usable": usable,
            "target": target,
            "log_q": (log_q if settings.correct_sampling else np.zeros_like(log_q)).astype(np.float32),
            "popularity": self._popularity.at(times_s, candidates),
            "history": number[history],
            "age_s": age_s,
            "tenure_s": self._histories.tenure_s(user, times_s),
            "history_used": used,
            "stars": train.rating[positions] if settings.weigh_by_rating else np.ones(n, np.float32),
            "weights": self._weights[positions],
        }
        return {name: torch.from_numpy(np.ascontiguousarray(array)) for name, array in arrays.items()}

    def _example_weights(self) -> NDArray[np.float32]:
        """Weights (ratings,) of examples, 1 on average over the likes."""
        weights = np.ones(len(self._train))
        if self._settings.recency_half_life_days:
            age_days = (self._train.time_s[-1] - self._train.time_s) / SECONDS_PER_DAY
            weights = np.exp2(-age_days / self._settings.recency_half_life_days)
            weights /= weights[self._liked].mean()
        return weights.astype(np.float32)
