"""Ranking kernels in NumPy: order slates, measure the order, and learn from it."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def order_slates(scores: Floats, sizes: NDArray[np.intp]) -> NDArray[np.intp]:
    """Indices of each slate's candidates, best first, slate after slate; equal scores in any order.

    Args:
        scores: Scores of one slate after another, not NaN, shape (sum of sizes,).
        sizes: Slate sizes, shape (slates,).
    """
    # 16-bit integers are sorted by radix: half the time of a lexsort.
    kind = np.uint16 if len(sizes) <= 1 << 16 else np.intp
    slate = np.repeat(np.arange(len(sizes), dtype=kind), sizes)
    order = np.argsort(-scores)
    return order[np.argsort(slate[order], kind="stable")]


def slate_auc(labels: Floats, scores: Floats, sizes: NDArray[np.intp]) -> Floats:
    """Area under the ROC curve of each slate, shape (slates,); a tie counts one half.

    It is the Mann-Whitney U statistic of the mean ranks, over the number of pairs.

    Args:
        labels: 1 for clicked, 0 for skipped, both in every slate, shape (sum of sizes,).
        scores: Scores, not NaN, shape (sum of sizes,).
        sizes: Slate sizes, shape (slates,).
    """
    order = order_slates(scores, sizes)
    starts = np.cumsum(sizes) - sizes
    scores, labels = scores[order], labels[order]
    # Groups of equal scores within a slate share the mean of their ranks.
    new = np.concatenate([[True], scores[1:] != scores[:-1]])
    new[starts] = True
    ties = np.flatnonzero(new)
    lengths = np.diff(ties, append=len(scores))
    ranks = np.arange(1.0, len(scores) + 1.0) - np.repeat(starts, sizes)
    mean_ranks = np.repeat(np.add.reduceat(ranks, ties) / lengths, lengths)
    clicked = np.add.reduceat(labels, starts)
    below = clicked * (sizes + 1) - np.add.reduceat(labels * mean_ranks, starts) - clicked * (clicked + 1) / 2
    area: Floats = below / (clicked * (sizes - clicked))
    return area


def newton_step(  # noqa: PLR0917 - what the compiled one takes
    x: NDArray[np.float32],
    clicked: NDArray[np.bool_],
    weights: Floats,
    curvature: Floats,
    left: float,
    prior: float,
) -> tuple[Floats, Floats] | None:
    """Online Newton step of :mod:`freshet.models.ranking.online_ranker` for one slate.

    Args:
        x: Features, shape (n, F).
        clicked: Some but not all of the candidates, shape (n,).
        weights: Shape (F,).
        curvature: Curvature before the slate, shape (F, F); not changed.
        left: Share of it that is left at the slate's time; the rest returns to the prior.
        prior: Curvature at the start is this times the identity.

    Returns:
        The step to subtract from the weights (F,), and the curvature after the slate (F, F); None if a number
        is not finite or the equations have no solution.
    """
    inputs = x.astype(np.float64)
    # Softmax over the slate: the click probability of each candidate, (n,).
    shares = np.vecdot(inputs, weights)
    shares -= np.maximum.reduce(shares)
    np.exp(shares, out=shares)
    shares /= np.add.reduce(shares)
    mean = shares @ inputs  # (F,)
    gradient = mean - (clicked @ inputs) / np.count_nonzero(clicked)
    if not math.isfinite(float(np.add.reduce(gradient))):
        return None
    # Hessian of the log-likelihood: the covariance of the features under the shares.
    inputs -= mean
    inputs *= np.sqrt(shares)[:, None]
    after: Floats = curvature * left
    # Every len + 1st number is on the diagonal.
    after.reshape(-1)[:: len(after) + 1] += (1.0 - left) * prior
    after += inputs.T @ inputs
    try:
        step = np.asarray(np.linalg.solve(after, gradient), np.float64)
    except np.linalg.LinAlgError:
        return None
    return (step, after) if math.isfinite(float(np.add.reduce(step))) else None
