r"""How likely each of many independent random values is the largest, the second largest, and so on.

For independent values :math:`V_i` with densities :math:`f_i`,

.. math:: P(V_a \text{ is the } r\text{-th largest})
   = \int f_a(v)\, P\Bigl(\sum_{i \ne a} [V_i > v] = r - 1\Bigr)\, dv.

The sum is Poisson-binomial; its distribution is the product of the polynomials
:math:`1 - p_i(v) + p_i(v) z` with :math:`p_i(v) = P(V_i > v)`, cut at the largest rank that is asked for. The
integral is a sum over a grid. So the probabilities are exact up to quadrature, without a random number: what
a policy that ranks by random draws (Plackett-Luce, Thompson sampling) needs to log its propensities.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

LEAST_PROBABILITY = 1e-12
"""What was drawn had a chance, whatever rounding leaves of it."""


def exceedance_counts(exceeding: NDArray[np.float64], terms: int) -> NDArray[np.float64]:
    """The probability that 0, 1, ... of some values lie above each grid point.

    Args:
        exceeding: Shape (n, q): the probability that each value lies above the grid point.
        terms: How many counts are wanted, from 0 on.

    Returns:
        Shape (<= terms, q); counts that are left out are impossible.
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
    """The probability that each of m values has rank 1, 2, ... ``ranks`` among them and the others.

    Args:
        density: Shape (m, q): of each value, the probability mass of each of q grid points.
        exceeding: Shape (m, q): the probability that each value lies above the grid point.
        others: Shape (t, q): the :func:`exceedance_counts` of the other values.
        ranks: How many; at least 1.

    Returns:
        Shape (m, ranks), from ``LEAST_PROBABILITY`` to 1.
    """
    own = _linear(exceeding)
    m = len(own)
    # The product over all but one: of those before it, and of those after it.
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
    """The product (<= terms, q) of two polynomials (coefficients, q): the counts of two sums' total."""
    if len(left) < len(right):
        left, right = right, left
    size = min(len(left) + len(right) - 1, terms)
    product = np.zeros((size, max(left.shape[1], right.shape[1])))
    for i in range(min(len(right), size)):
        width = min(len(left), size - i)
        product[i : i + width] += left[:width] * right[i]
    return product


def _linear(exceeding: NDArray[np.float64]) -> NDArray[np.float64]:
    """The polynomials (n, 2, q) of n single values."""
    return np.stack([1.0 - exceeding, exceeding], axis=1)


def _product(level: NDArray[np.float64], terms: int) -> NDArray[np.float64]:
    """The product (<= terms, q) of n polynomials (n, 2, q), pairwise, so that few array operations do it."""
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
