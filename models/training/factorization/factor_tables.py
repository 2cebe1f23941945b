"""Tables of a matrix factorization: vectors and biases of users and items, and their export."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from freshet.models.embedding.bundle import UserSpec

POOLED = UserSpec(half_lives_s=(2 * 3_600.0, 7 * 86_400.0), negative_half_life_s=86_400.0, prior_weight=1.0)
"""Pooling of users on a stream, which does not look up their rows: the stream's own defaults."""


class FactorTables(nn.Module):
    """Factor tables; row 0 of each stands for the unknown, is zero and never trained.

    Args:
        users: Number of known users.
        items: Number of known items.
        d: Dimension of the vectors.
        init_std: Standard deviation of the initial values.
        biases: Whether there are biases.
    """

    def __init__(self, users: int, items: int, d: int, init_std: float, biases: bool) -> None:
        super().__init__()
        self.user = nn.Embedding(1 + users, d, padding_idx=0)
        self.item = nn.Embedding(1 + items, d, padding_idx=0)
        for table in (self.user, self.item):
            nn.init.normal_(table.weight, std=init_std)
            with torch.no_grad():
                table.weight[0] = 0.0
        self.user_bias = nn.Parameter(torch.zeros(1 + users)) if biases else None
        self.item_bias = nn.Parameter(torch.zeros(1 + items)) if biases else None
        self.bias = nn.Parameter(torch.zeros(1)) if biases else None

    def forward(self, users: Tensor, items: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Scores (B, n) of rows ``items`` (B, n) for ``users`` (B,), and the vectors (B, d) and (B, n, d)."""
        p, q = self.user(users), self.item(items)
        scores = torch.bmm(q, p.unsqueeze(2)).squeeze(2)
        if self.user_bias is not None and self.item_bias is not None and self.bias is not None:
            scores = scores + self.bias + column(self.user_bias, users).unsqueeze(1)
            scores = scores + column(self.item_bias, items)
        return scores, p, q

    def export(self) -> dict[str, NDArray[np.float32]]:
        """The weights by the names of :mod:`freshet.models.embedding.bundle`."""
        weights = {"article.news_id.weight": self.item.weight, "user.table.weight": self.user.weight}
        if self.user_bias is not None and self.item_bias is not None and self.bias is not None:
            weights |= {"article.bias": self.item_bias, "user.bias": self.user_bias, "bias": self.bias}
        return {name: weight.detach().cpu().numpy().copy() for name, weight in weights.items()}


def column(table: Tensor, rows: Tensor) -> Tensor:
    """Look up entries of a vector by number, any shape; row 0 gets no gradient.

    ``table[rows]`` gives the same, but its gradient, computed by sorting, takes four times as long.
    """
    return functional.embedding(rows, table.unsqueeze(1), padding_idx=0).squeeze(-1)


def numbered(numbers: NDArray[np.integer], size: int) -> NDArray[np.int64]:
    """Table row (size,) of each number below ``size``: 1 + i for ``numbers[i]``, else 0."""
    rows = np.zeros(size, np.int64)
    rows[numbers] = 1 + np.arange(len(numbers))
    return rows
