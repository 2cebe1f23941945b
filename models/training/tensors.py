"""Conversions and modes of torch that all training tasks use."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

_TINY = 1e-12


def to_numpy(weight: Tensor) -> NDArray[np.float32]:
    """A weight in the form of a bundle: float32, in its own memory."""
    return weight.detach().to("cpu", torch.float32).numpy().copy()


def unit_vectors(vectors: Tensor) -> Tensor:
    """Vectors (..., d) scaled to L2 norm 1; a zero vector stays zero."""
    unit: Tensor = vectors / vectors.norm(dim=-1, keepdim=True).clamp_min(_TINY)
    return unit


@contextmanager
def evaluating(module: nn.Module) -> Iterator[None]:
    """Evaluation mode without gradients; afterwards the module is in the mode it was in."""
    training = module.training
    module.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        module.train(training)
