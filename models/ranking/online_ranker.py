"""Online linear ranker: learns from every impression by Newton steps on the listwise softmax loss.

The loss of an impression with scores s and m clicks is the cross-entropy between the clicks, each worth 1/m,
and the softmax p of the scores over the slate (ListNet's top-one form; Cao, Qin, Liu, Tsai, Li, "Learning to
rank: from pairwise approach to listwise approach", ICML 2007). Its gradient and its Hessian are

    g = sum_i (p_i - clicked_i / m) x_i,    H = sum_i p_i (x_i - x)(x_i - x)^T,    x = sum_i p_i x_i,

and the weights take the step ``- C^-1 g``, where C is the sum of all Hessians so far, from ``prior`` times
the identity on, and forgets with a half-life (the online Newton step; Hazan, Agarwal, Kale, Machine Learning
2007; with Hessians for outer products of gradients it is a recursive Laplace approximation of Bayesian
regression). Click-through rates, lifts and counts are strongly correlated: AdaGrad, which scales each weight
alone (Duchi, Hazan, Singer, JMLR 2011; ``rule="adagrad"``), needs many more impressions for the same AUC.

Guarantees: an impression without a click, without a skip or with a number that is not finite changes nothing;
no step changes a weight by more than ``max_step``; the state is plain numbers, and a restored ranker behaves
like the one whose state it was.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Self

import numpy as np
from numpy.typing import NDArray

from freshet.models import kernels
from freshet.models.ranking.features import FEATURES
from freshet.models.ranking.linear import LinearRanker


@dataclass(frozen=True, slots=True)
class OnlineSettings:
    """Step rule of an online ranker, and its constants."""

    rule: Literal["newton", "adagrad"] = "newton"
    prior: float = 3.0
    """Confidence in the start's weights, in impressions."""
    half_life_s: float = 7 * 86_400.0
    """Half-life of the curvature of Newton's steps, in seconds of event time."""
    rate: float = 0.1
    """Learning rate of AdaGrad."""
    max_step: float = 0.5
    """Greatest change of a weight by one impression."""

    def __post_init__(self) -> None:
        if self.rule not in {"newton", "adagrad"}:
            raise ValueError(f"rule is {self.rule!r}, must be newton or adagrad")
        for name in ("prior", "half_life_s", "rate", "max_step"):
            value = getattr(self, name)
            if not 0.0 < value < math.inf:
                raise ValueError(f"{name} is {value}, must be a positive number")


@dataclass(frozen=True, slots=True, eq=False)
class OnlineState:
    """Everything that an :class:`OnlineRanker` has learned."""

    name: str
    revision: int
    """Revision of the start plus the steps taken."""
    weights: Mapping[str, float]
    features: tuple[str, ...]
    """Names of the rows and columns of ``curvature``."""
    curvature: NDArray[np.float64]
    """Shape (F, F), symmetric; for AdaGrad a diagonal of sums of squared gradients."""
    time_s: float = -math.inf
    """Event time up to which the curvature has decayed."""

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, OnlineState):
            return NotImplemented
        mine, theirs = (
            (state.name, state.revision, state.weights, state.features, state.time_s)
            for state in (self, other)
        )
        return mine == theirs and bool(np.array_equal(self.curvature, other.curvature))

    def __hash__(self) -> int:
        return hash((self.name, self.revision))


class OnlineRanker:
    """Learns the weights of a :class:`~freshet.models.ranking.linear.LinearRanker`.

    Args:
        start: Ranker whose weights, name and revision learning begins with.
        settings: Step rule and its constants.
        further_inputs: Names of I - F input columns after the features, whose weights begin with 0.

    >>> online = OnlineRanker()
    >>> x = np.zeros((2, len(FEATURES)), np.float32)
    >>> x[0, FEATURES.index("unseen")] = 1.0
    >>> online.learn(x, np.array([True, False]))
    True
    >>> online.ranker.weights["unseen"] > 0, online.revision
    (True, 1)
    """

    def __init__(
        self,
        start: LinearRanker | None = None,
        settings: OnlineSettings | None = None,
        further_inputs: Sequence[str] = (),
    ) -> None:
        start = LinearRanker() if start is None else start
        self.settings = OnlineSettings() if settings is None else settings
        self.name = start.name
        self.revision = start.revision
        self.inputs = (*FEATURES, *further_inputs)
        initial = self.settings.prior if self.settings.rule == "newton" else 1.0
        self._weights: NDArray[np.float64] = np.array([start.weights.get(name, 0.0) for name in self.inputs])
        self._curvature: NDArray[np.float64] = np.eye(len(self.inputs)) * initial
        self._time_s = -math.inf
        self._ranker: LinearRanker | None = start

    @property
    def ranker(self) -> LinearRanker:
        """Immutable snapshot of the features' weights learned so far."""
        if self._ranker is None:
            weights = dict(zip(FEATURES, self._weights[: len(FEATURES)].tolist(), strict=True))
            self._ranker = LinearRanker(weights, self.name, self.revision)
        return self._ranker

    @property
    def id(self) -> str:
        """Name and revision, as answers carry them."""
        return f"{self.name}-{self.revision}"

    def contributions(self, x: NDArray[np.float32]) -> NDArray[np.float64]:
        """Contribution of each input to each score, shape (n, I)."""
        return x * self._weights

    def score(self, x: NDArray[np.float32]) -> NDArray[np.float64]:
        """Scores (n,) of candidates with inputs ``x`` (n, I)."""
        scores: NDArray[np.float64] = np.vecdot(x, self._weights)
        return scores

    def learn(
        self, x: NDArray[np.float32], clicked: NDArray[np.bool_], *, time_s: float | None = None
    ) -> bool:
        """Takes one step; returns False and changes nothing without a click or a skip, or if not finite.

        Args:
            x: Shape (n, I): inputs at ranking time.
            clicked: Shape (n,).
            time_s: Event time, Unix seconds; without it the curvature does not decay.
        """
        clicks = int(np.count_nonzero(clicked))
        if not 0 < clicks < len(clicked):
            return False
        if self.settings.rule == "adagrad":
            return self._adagrad_step(self._shares(x) @ x - (clicked @ x) / clicks)
        left = self._left_at(time_s)
        found = kernels.newton_step(x, clicked, self._weights, self._curvature, left, self.settings.prior)
        if found is None:
            return False
        step, self._curvature = found
        if time_s is not None:
            self._time_s = max(self._time_s, time_s)
        return self._move(step)

    def correct(self, x: NDArray[np.float32], before: NDArray[np.bool_], after: NDArray[np.bool_]) -> bool:
        """Takes the step that corrects labels; returns False and changes nothing if there is none to take.

        Args:
            x: Shape (n, I): inputs at ranking time.
            before: Shape (n,): labels learned from; without a click nothing was learned.
            after: Shape (n,): labels known now.
        """
        learned = 0 < int(before.sum()) < len(before)
        if not learned:
            return self.learn(x, after)
        clicks = int(after.sum())
        if not clicks or bool((before == after).all()):
            return False
        # The softmax cancels in the difference of both gradients; the curvature includes it already. A slate
        # without a skip teaches nothing, so that its earlier step is undone.
        wanted = after / clicks if clicks < len(after) else self._shares(x)
        gradient = (before / before.sum() - wanted) @ x  # (I,)
        if self.settings.rule == "adagrad":
            return self._adagrad_step(gradient)
        if not math.isfinite(float(np.add.reduce(gradient))):
            return False
        step = np.asarray(np.linalg.solve(self._curvature, gradient), np.float64)
        return math.isfinite(float(np.add.reduce(step))) and self._move(step)

    def state(self) -> OnlineState:
        """Everything learned, for :meth:`restore`."""
        return OnlineState(
            self.name,
            self.revision,
            dict(zip(self.inputs, self._weights.tolist(), strict=True)),
            self.inputs,
            self._curvature.copy(),
            self._time_s,
        )

    @classmethod
    def restore(cls, state: OnlineState, settings: OnlineSettings | None = None) -> Self:
        """Restores a ranker from its :meth:`state`; features that the state does not know start anew.

        Raises:
            ValueError: A number is not finite, or the curvature has not the features' shape or is not
                positive definite.
        """
        known = {name: weight for name, weight in state.weights.items() if name in FEATURES}
        restored = cls(LinearRanker(known, state.name, state.revision), settings)
        size = len(state.features)
        where = f"ranker {state.name} revision {state.revision}"
        if state.curvature.shape != (size, size):
            raise ValueError(f"{where}: a curvature of shape {state.curvature.shape} for {size} features")
        if not is_positive_definite(state.curvature):
            raise ValueError(f"{where}: its curvature is not finite and positive definite")
        column_of = {name: column for column, name in enumerate(state.features)}
        kept = [(i, column_of[name]) for i, name in enumerate(FEATURES) if name in column_of]
        mine, theirs = [i for i, _ in kept], [column for _, column in kept]
        restored._curvature[np.ix_(mine, mine)] = state.curvature[np.ix_(theirs, theirs)]
        restored._time_s = state.time_s
        return restored

    def _shares(self, inputs: NDArray[np.floating]) -> NDArray[np.float64]:
        """Softmax (n,) of the scores."""
        shares: NDArray[np.float64] = np.vecdot(inputs, self._weights)
        shares -= np.maximum.reduce(shares)
        np.exp(shares, out=shares)
        shares /= np.add.reduce(shares)
        return shares

    def _adagrad_step(self, gradient: NDArray[np.float64]) -> bool:
        squares = np.diag(self._curvature) + gradient * gradient
        if not np.isfinite(squares).all():
            return False
        np.fill_diagonal(self._curvature, squares)
        return self._move(self.settings.rate * gradient / np.sqrt(squares))

    def _left_at(self, time_s: float | None) -> float:
        """Factor by which the curvature has decayed at ``time_s``."""
        if time_s is None or not -math.inf < self._time_s < time_s:
            return 1.0
        return float(2.0 ** ((self._time_s - time_s) / self.settings.half_life_s))

    def _move(self, step: NDArray[np.float64]) -> bool:
        bound = self.settings.max_step
        self._weights = self._weights - np.minimum(np.maximum(step, -bound), bound)
        self.revision += 1
        self._ranker = None
        return True


def is_positive_definite(matrix: NDArray[np.float64]) -> bool:
    """Whether a symmetric matrix is positive definite, as is every sum of prior and Hessians."""
    if not np.isfinite(matrix).all():
        return False
    try:
        np.linalg.cholesky(matrix)
    except np.linalg.LinAlgError:
        return False
    return True
