r"""Probabilities that each of many independent random values is the largest, the second largest, and so on.

For independent values :math:`V_i` with densities :math:`f_i`,

.. math:: P(V_a \text{ is the } r\text{-th largest})
   = \int f_a(v)\, P\Bigl(\sum_{i \ne a} [V_i > v] = r - 1\Bigr)\, dv.

The sum is Poisson-binomial; its distribution is the product of the polynomials
:math:`1 - p_i(v) + p_i(v) z` with :math:`p_i(v) = P(V_i > v)`, truncated at the largest rank needed. The
integral is a sum over a grid. So the probabilities are exact up to quadrature, without random numbers:
policies that rank by random draws (Plackett-Luce, Thompson sampling) log them as propensities.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

LEAST_PROBABILITY = 1e-12
"""Lower bound of a probability: a value that was drawn was possible, whatever rounding leaves."""


def exceedance_counts(exceeding: NDArray[np.float64], terms: int) -> NDArray[np.float64]:
    """Probabilities (<= terms, q) that 0, 1, ... of n values lie above each grid point; the rest are 0.

    Args:
        exceeding: Shape (n, q): probability that each value lies above the grid point.
        terms: Number of counts, from 0 on.

    >>> exceedance_counts(np.array([[0.5], [0.5]]), terms=3).ravel().tolist()
    [0.25, 0.5, 0.25]
    """
    if not len(exceeding):
        return np.ones((1, exceeding.shape[1]))
    return _product(_linear(exceeding), terms)


def rank_probabilities(
    density: NDArray[np.float64],
    exceeding: NDArray[np.float64],
    others: NDArray[np.float64],
    ranks: int,
) -> NDArray[np.float64]:
    """Probabilities (m, ranks) that each of m values has rank 1, 2, ... among them and the others.

    Args:
        density: Shape (m, q): probability mass of each value at each of q grid points.
        exceeding: Shape (m, q): probability that each value lies above the grid point.
        others: Shape (t, q): :func:`exceedance_counts` of the other values.
        ranks: Number of ranks, at least 1.
    """
    own = _linear(exceeding)
    m = len(own)
    # Products over all values but one: over those before it, and over those after it.
    before = [others]
    for j in range(m - 1):
        before.append(polynomial_product(before[-1], own[j], ranks))
    after: list[NDArray[np.float64]] = [np.ones((1, density.shape[1]))]
    for j in range(m - 1, 0, -1):
        after.append(polynomial_product(after[-1], own[j], ranks))
    probabilities = np.zeros((m, ranks))
    for j in range(m):
        counts = polynomial_product(before[j], after[m - 1 - j], ranks)
        probabilities[j, : len(counts)] = counts @ density[j]
    return np.clip(probabilities, LEAST_PROBABILITY, 1.0)


def polynomial_product(
    left: NDArray[np.float64], right: NDArray[np.float64], terms: int
) -> NDArray[np.float64]:
    """Product (<= terms, q) of two polynomials (coefficients, q): the distribution of a sum of two counts."""
    if len(left) < len(right):
        left, right = right, left
    size = min(len(left) + len(right) - 1, terms)
    product = np.zeros((size, max(left.shape[1], right.shape[1])))
    for i in range(min(len(right), size)):
        width = min(len(left), size - i)
        product[i : i + width] += left[:width] * right[i]
    return product


def _linear(exceeding: NDArray[np.float64]) -> NDArray[np.float64]:
    """Polynomials (n, 2, q) of n single values."""
    return np.stack([1.0 - exceeding, exceeding], axis=1)


def _product(level: NDArray[np.float64], terms: int) -> NDArray[np.float64]:
    """Product (<= terms, q) of n polynomials (n, 2, q), taken pairwise to need few array operations."""
    while len(level) > 1:
        odd = level[-1:] if len(level) % 2 else None
        left, right = level[0 : len(level) - 1 : 2], level[1::2]
        degree = left.shape[1]
        multiplied = np.zeros((len(left), min(2 * degree - 1, terms), level.shape[2]))
        for i in range(min(degree, terms)):
            width = min(degree, multiplied.shape[1] - i)
            multiplied[:, i : i + width] += left[:, i : i + 1] * right[:, :width]
        if odd is not None:
            padded = np.zeros((1, *multiplied.shape[1:]))
            padded[:, : min(degree, padded.shape[1])] = odd[:, : padded.shape[1]]
            multiplied = np.concatenate([multiplied, padded])
        level = multiplied
    return np.asarray(level[0][:terms])
