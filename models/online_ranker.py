"""A linear ranker that learns from every impression: listwise softmax, AdaGrad steps.

The loss of an impression with scores s and m clicks is the cross-entropy between the clicks, each worth 1/m,
and the softmax of the scores over the slate (ListNet's top-one form; Cao, Qin, Liu, Tsai, Li, "Learning to
rank: from pairwise approach to listwise approach", ICML 2007). Its gradient is

    g = sum_i (softmax(s)_i - clicked_i / m) x_i,

and each weight takes the step ``-rate * g / sqrt(G)``, G being the sum of its squared gradients so far
(AdaGrad; Duchi, Hazan, Singer, JMLR 2011). G starts at ``initial_square``, so that the first steps are small.

Guarantees: what cannot be learned from (no click, no skip, a feature that is not finite) changes nothing; no
step is larger than ``max_step``; the state is plain numbers, and a restored one goes on as if never stopped.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from freshet.models.ranking import FEATURES, LinearRanker


@dataclass(frozen=True, slots=True)
class OnlineSettings:
    """How fast to learn."""

    rate: float = 0.05
    initial_square: float = 1.0
    max_step: float = 0.2
    """The most that one impression may change a weight."""

    def __post_init__(self) -> None:
        for name in ("rate", "initial_square", "max_step"):
            value = getattr(self, name)
            if not 0.0 < value < np.inf:
                raise ValueError(f"{name} is {value}, must be a positive number")


@dataclass(frozen=True, slots=True)
class OnlineState:
    """All that an :class:`OnlineRanker` has learned, by the features' names."""

    name: str
    revision: int
    """Impressions and corrections learned from, counted from the start's revision."""
    weights: Mapping[str, float]
    squares: Mapping[str, float]
    """The sums of squared gradients."""


class OnlineRanker:
    """Learns a :class:`~freshet.models.ranking.LinearRanker`'s weights.

    Args:
        start: Where to begin.
        settings: How fast.
    """

    def __init__(self, start: LinearRanker | None = None, settings: OnlineSettings | None = None) -> None:
        start = LinearRanker() if start is None else start
        self.settings = OnlineSettings() if settings is None else settings
        self.name = start.name
        self.revision = start.revision
        self._weights: NDArray[np.float64] = np.array([start.weights.get(name, 0.0) for name in FEATURES])
        self._squares: NDArray[np.float64] = np.full(len(FEATURES), self.settings.initial_square)
        self._ranker: LinearRanker | None = start

    @property
    def ranker(self) -> LinearRanker:
        """A snapshot of what was learned so far; it does not change."""
        if self._ranker is None:
            weights = dict(zip(FEATURES, self._weights.tolist(), strict=True))
            self._ranker = LinearRanker(weights, self.name, self.revision)
        return self._ranker

    def score(self, x: NDArray[np.float32]) -> NDArray[np.float64]:
        """Scores (n,) of candidates with the features ``x`` (n, len(FEATURES)), as :attr:`ranker` gives."""
        scores: NDArray[np.float64] = (x * self._weights).sum(axis=1)
        return scores

    def learn(self, x: NDArray[np.float32], clicked: NDArray[np.bool_]) -> bool:
        """Take one step.

        Args:
            x: Shape (n, len(FEATURES)), as they were when the slate was ranked.
            clicked: Shape (n,).

        Returns:
            False if there is nothing to learn: no click, no skip, or not finite. Nothing is changed then.
        """
        clicks = int(clicked.sum())
        if not 0 < clicks < len(clicked):
            return False
        return self._step(self._gradient(x, clicked / clicks))

    def correct(self, x: NDArray[np.float32], before: NDArray[np.bool_], after: NDArray[np.bool_]) -> bool:
        """Take the step that is missing because the slate's labels were ``before`` and are ``after``.

        Args:
            x: Shape (n, len(FEATURES)), as they were when the slate was ranked.
            before: Shape (n,): the labels that were learned from; nothing was, if none is a click.
            after: Shape (n,): the labels known now.

        Returns:
            False if there is nothing to learn; nothing is changed then.
        """
        learned = 0 < int(before.sum()) < len(before)
        if not learned:
            return self.learn(x, after)
        clicks = int(after.sum())
        if not 0 < clicks < len(after) or bool((before == after).all()):
            return False
        # The softmax is in both gradients and drops out of their difference.
        return self._step((before / before.sum() - after / clicks) @ x)

    def state(self) -> OnlineState:
        """Everything learned, for :meth:`restore`."""
        return OnlineState(
            self.name,
            self.revision,
            dict(zip(FEATURES, self._weights.tolist(), strict=True)),
            dict(zip(FEATURES, self._squares.tolist(), strict=True)),
        )

    @classmethod
    def restore(cls, state: OnlineState, settings: OnlineSettings | None = None) -> Self:
        """The ranker whose :meth:`state` this was; features that the state does not know start anew.

        Raises:
            ValueError: A number is not finite, or a sum of squares is not positive.
        """
        known = {name: weight for name, weight in state.weights.items() if name in FEATURES}
        restored = cls(LinearRanker(known, state.name, state.revision), settings)
        initial = restored.settings.initial_square
        squares = np.array([state.squares.get(name, initial) for name in FEATURES])
        if not (np.isfinite(squares) & (squares > 0.0)).all():
            raise ValueError(
                f"ranker {state.name} revision {state.revision}: a sum of squares is not positive"
            )
        restored._squares = squares
        return restored

    def _gradient(self, x: NDArray[np.float32], wanted: NDArray[np.float64]) -> NDArray[np.float64]:
        scores = self.score(x)
        shares = np.exp(scores - scores.max())
        shares /= shares.sum()
        gradient: NDArray[np.float64] = (shares - wanted) @ x
        return gradient

    def _step(self, gradient: NDArray[np.float64]) -> bool:
        squares = self._squares + gradient * gradient
        if not np.isfinite(squares).all():
            return False
        step = self.settings.rate * gradient / np.sqrt(squares)
        self._squares = squares
        self._weights = self._weights - np.clip(step, -self.settings.max_step, self.settings.max_step)
        self.revision += 1
        self._ranker = None
        return True
