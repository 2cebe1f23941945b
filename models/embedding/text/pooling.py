"""Pooling of a text's token vectors into one vector: the first token's, their mean, or an attention."""

from __future__ import annotations

from typing import Literal, get_args

import torch
from torch import Tensor

TextPooling = Literal["cls", "mean", "attention"]
TEXT_POOLINGS: tuple[TextPooling, ...] = get_args(TextPooling)


def pool(hidden: Tensor, mask: Tensor, pooling: TextPooling) -> Tensor:
    """Pool token vectors into text vectors, in float32.

    ``attention`` has no parameters until a bundle brings trained ones: each token weighs
    ``softmax(h . m / sqrt(d))``, where m is the mean of the text's tokens, so that tokens far from what the
    text is about count less.

    Args:
        hidden: (n, t, d), the encoder's last layer.
        mask: (n, t), 1 for a token of the text and 0 for padding; every text has a token.
        pooling: Kind of pooling.

    Returns:
        (n, d) float32.
    """
    if pooling == "cls":
        return hidden[:, 0].float()
    hidden = hidden.float()
    weights = mask.unsqueeze(-1).float()  # (n, t, 1)
    mean = (hidden * weights).sum(1) / weights.sum(1)  # (n, d)
    if pooling == "mean":
        return mean
    scores = torch.einsum("ntd,nd->nt", hidden, mean) / hidden.shape[-1] ** 0.5  # (n, t)
    attention = scores.masked_fill(mask == 0, -torch.inf).softmax(-1)  # (n, t), 0 on padding
    return torch.einsum("nt,ntd->nd", attention, hidden)
