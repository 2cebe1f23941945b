"""Two towers on ratings: items by id and genres, users by id, features and likes.

    v_i = item_layers(concatenate(e_i, G g_i)),   u = user_layers(concatenate(p, e_u, F f_u, t_u)),
    score = c u . v_i + (a + a' t_u) . s_i(t) + b

with e tables of ids, g_i the item's genres as zeros and ones, f_u the user's age (scaled) and the categories
of gender and occupation, p what the user liked, pooled over the *item tower's* vectors, so that both sides
share one table (Covington et al., 2016), s_i(t) the item's popularity at the time
(:class:`~freshet.models.training.ratings.histories.PopularityInTime`), a number feature of the item that
changes, and t_u how long the user has been there: who signs up rates the best known films of all times, who
comes back rates what is new. Each part can be left out. Where vectors are normalised, c is one over the
temperature.

The score is one dot product all the same, of (c u, a + a' t_u) and (v_i, s_i(t)).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from freshet.models.datasets.movielens import Ratings
from freshet.models.embedding.bundle import Activation
from freshet.models.evaluation.ratings.baselines import SECONDS_PER_DAY
from freshet.models.training.ratings.settings import RatingSettings
from freshet.models.training.tensors import unit_vectors
from freshet.models.training.towers.feature_tower import MultiLayer

ATTENTION_HEADS = 4
_EMBEDDING_STD = 0.1
_AGE_SCALE_YEARS = 50.0
_TENURE_SCALE_DAYS = 30.0
POPULARITY_SCALE = 10.0
"""Factor of the optimizer's steps on popularity's weights: Adam's steps of 0.002 would change them little in
the few epochs after which a small set is overfitted."""
_FIRST_POPULARITY = 0.5
_NUMBERS = ("age",)
_CATEGORIES = ("gender", "occupation")


def genre_marks(ratings: Ratings) -> Tensor:
    """Genres (items, genres) of items, float32: 1 where the item has the genre."""
    names = sorted({genre for genres in ratings.genres for genre in genres})
    number = {name: i for i, name in enumerate(names)}
    marks = np.zeros((len(ratings.item_ids), len(names)), np.float32)
    for item, genres in enumerate(ratings.genres):
        marks[item, [number[genre] for genre in genres]] = 1.0
    return torch.from_numpy(marks)


def user_marks(ratings: Ratings) -> Tensor:
    """Features (users, features) of users, float32: the age around 0, one-hot gender and occupation."""
    columns: list[list[float]] = []
    for name in _NUMBERS:
        for values in [ratings.user_features[name]] if name in ratings.user_features else []:
            known = [float(value) if value.isdecimal() else None for value in values]
            columns.append([0.0 if age is None else age / _AGE_SCALE_YEARS - 0.5 for age in known])
    for name in _CATEGORIES:
        values = ratings.user_features.get(name, ())
        columns += [[float(value == kind) for value in values] for kind in sorted(set(values) - {""})]
    marks = np.array(columns, np.float32).T if columns else np.zeros((len(ratings.user_ids), 0), np.float32)
    return torch.from_numpy(np.ascontiguousarray(marks))


class RatingTowers(nn.Module):
    """Towers of the users and items of one set of ratings; row 0 of the users' table is the unknown user.

    Args:
        ratings: Users, items, genres and features; the ratings themselves are not read.
        settings: Parts and widths of the towers.
    """

    def __init__(self, ratings: Ratings, settings: RatingSettings) -> None:
        super().__init__()
        self.settings = settings
        self.register_buffer("genres", genre_marks(ratings), persistent=False)
        self.register_buffer("features", user_marks(ratings), persistent=False)
        self.genres: Tensor
        self.features: Tensor
        d = settings.d
        self.items = _table(len(ratings.item_ids), settings.id_embedding)
        self.users = _table(1 + len(ratings.user_ids), settings.id_embedding) if settings.user_ids else None
        self.of_genres = _linear(self.genres.shape[1], settings.genre_embedding)
        self.of_features = _linear(self.features.shape[1], settings.feature_embedding)
        width = settings.id_embedding + (settings.genre_embedding if self.of_genres else 0)
        self.item_layers = _layers(width, settings.item_widths, settings)
        width = d if settings.history_pooling != "none" else 0
        width += settings.id_embedding if settings.user_ids else 0
        width += settings.feature_embedding if self.of_features else 0
        width += 1 if settings.popularity_half_lives_days else 0
        self.user_layers = _layers(width, settings.user_widths, settings)
        self.population = nn.Parameter(torch.zeros(d))
        self.attention = (
            nn.MultiheadAttention(d, ATTENTION_HEADS, batch_first=True)
            if settings.history_pooling == "attention"
            else None
        )
        self.log_scale = nn.Parameter(
            torch.tensor(-np.log(settings.temperature), dtype=torch.float32),
            requires_grad=settings.learn_temperature,
        )
        self.bias = nn.Parameter(torch.zeros(()))
        self.of_popularity = nn.Parameter(torch.zeros(2, len(settings.popularity_half_lives_days)))

    @property
    def scale(self) -> Tensor:
        """Factor of the dot product."""
        return self.log_scale.exp()

    def item_vectors(self, items: Tensor) -> Tensor:
        """Vectors (n, d) of items (n,)."""
        parts = [self.items(items)]
        if self.of_genres is not None:
            parts.append(self.of_genres(self.genres[items]))
        return self._normalised(self.item_layers(torch.cat(parts, dim=1)).float())

    @torch.no_grad()
    def replace_untrained_users(self, trained: Tensor) -> None:
        """Replace the rows of users without an example, which are still random, by that of the unknown user.

        That is row 0 where ``user_id_dropout`` has trained it, else the mean of the trained rows.

        Args:
            trained: (users,) bool.
        """
        if self.users is None:
            return
        table = self.users.weight
        if not self.settings.user_id_dropout:
            table[0] = table[1:][trained].mean(dim=0)
        table[1:][~trained] = table[0]

    def popularity_weights(self, tenure_s: Tensor) -> Tensor:
        """Weights (B, half-lives) of popularity for users by their time since the first rating (B,)."""
        constant, slope = _FIRST_POPULARITY + POPULARITY_SCALE * self.of_popularity[0], self.of_popularity[1]
        return constant + POPULARITY_SCALE * slope * _scaled_tenure(tenure_s).unsqueeze(1)

    def user_vectors(
        self, users: Tensor, tenure_s: Tensor, liked: Tensor, age_s: Tensor, used: Tensor
    ) -> Tensor:
        """Vectors (B, d) of users.

        Args:
            users: (B,), numbers of users; -1 for an unknown one.
            tenure_s: (B,), seconds since the user's first rating.
            liked: (B, L, d), vectors of the items that each user liked.
            age_s: (B, L), seconds since the like.
            used: (B, L), false for padding.
        """
        parts = []
        if self.settings.history_pooling != "none":
            parts.append(self._pooled(liked, age_s, used))
        if self.users is not None:
            rows = users + 1
            if self.training and self.settings.user_id_dropout:
                hidden = torch.rand(len(rows), device=rows.device) < self.settings.user_id_dropout
                rows = rows.masked_fill(hidden, 0)
            parts.append(self.users(rows))
        if self.of_features is not None:
            known = (users >= 0).unsqueeze(1)
            parts.append(self.of_features(self.features[users.clamp(min=0)] * known))
        if self.settings.popularity_half_lives_days:
            parts.append(_scaled_tenure(tenure_s).unsqueeze(1))
        return self._normalised(self.user_layers(torch.cat(parts, dim=1)).float())

    def _pooled(self, liked: Tensor, age_s: Tensor, used: Tensor) -> Tensor:
        if self.attention is not None and liked.shape[1]:
            # The softmax over nothing of a user without history is NaN: let all through, and pool none.
            hidden = ~used & used.any(dim=1, keepdim=True)
            liked = (
                liked + self.attention(liked, liked, liked, key_padding_mask=hidden, need_weights=False)[0]
            )
        weights = torch.exp2(-age_s / self.settings.half_life_s) * used  # (B, L)
        sums = torch.einsum("bl,bld->bd", weights, liked) + self.population  # (B, d)
        return sums / (weights.sum(dim=1, keepdim=True) + 1.0)

    def _normalised(self, vectors: Tensor) -> Tensor:
        return unit_vectors(vectors) if self.settings.normalise else vectors


def _scaled_tenure(tenure_s: Tensor) -> Tensor:
    return (tenure_s / SECONDS_PER_DAY).log1p() / math.log1p(_TENURE_SCALE_DAYS)


def _table(rows: int, width: int) -> nn.Embedding:
    table = nn.Embedding(rows, width)
    nn.init.normal_(table.weight, std=_EMBEDDING_STD)
    return table


def _linear(inputs: int, outputs: int) -> nn.Linear | None:
    return nn.Linear(inputs, outputs, bias=False) if inputs and outputs else None


def _layers(width: int, widths: Sequence[int], settings: RatingSettings) -> nn.Module:
    """ReLU layers and a linear one to ``d``; the identity where the input has ``d`` numbers already."""
    if not widths and width == settings.d:
        return nn.Identity()
    activations: list[Activation] = ["relu"] * len(widths)
    return MultiLayer(
        width,
        [*widths, settings.d],
        [*activations, "none"],
        batch_norm=settings.batch_norm,
        dropout=settings.dropout,
    )
