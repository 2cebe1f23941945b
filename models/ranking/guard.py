"""Guard of an online ranker: refuses bad examples and rolls back when the learned weights fall behind.

Guarantees:

- An example with a feature that is not finite, or implausibly large, changes nothing. No example moves a
  weight further than the online ranker's ``max_step``.
- Each example is ranked before it is learned from, by the learned weights and by the frozen start. When the
  learned weights fall behind, the last good weights replace them.

Definition of "behind": let :math:`d_i` be the difference of the two AUCs on example i, m its mean and e the
standard error of m, over the last ``window`` examples and over the last ``recent`` ones, where a sudden drop
shows sooner. The learned ranker has fallen behind if, over either, m < -``tolerance`` - ``z`` e.

Both rank the same examples, so that the difficulty of a slate is in both AUCs and drops out of the
difference. Weights are good when they are a window old and were not behind the start since: later examples
reveal a drop. The first roll back is to the good weights; another one, before there are new good ones, is to
the start.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from freshet.models.ranking.linear import LinearRanker
from freshet.models.ranking.online_ranker import OnlineRanker, OnlineSettings, OnlineState

Verdict = Literal["learned", "nothing", "not-finite", "too-large", "rolled-back"]
"""Outcome of an example; ``nothing`` means that it has no click or no skip."""


_JUDGED_EVERY = 20
"""Examples between two comparisons with the start: one takes as long as learning from an example."""


@dataclass(frozen=True, slots=True)
class GuardSettings:
    """Thresholds for refusing an example and for rolling back."""

    max_feature: float = 100.0
    """Largest absolute value of a feature that is learned from; features are of roughly unit size."""
    window: int = 500
    """Examples over which the AUCs are averaged."""
    recent: int = 100
    """Examples in which a sudden drop shows; nothing is compared before there are as many."""
    tolerance: float = 0.01
    """Difference of AUCs by which the learned weights may be behind."""
    z: float = 3.0
    """Standard errors beyond the tolerance. A simulated ranker as good as the start (differences normal,
    standard deviation 0.15) was not rolled back once in 400,000 examples."""

    def __post_init__(self) -> None:
        for name in ("max_feature", "z"):
            if not 0.0 < getattr(self, name) < math.inf:
                raise ValueError(f"{name} is {getattr(self, name)}, must be a positive number")
        if not _JUDGED_EVERY <= self.recent <= self.window:
            raise ValueError(f"recent is {self.recent}, must be {_JUDGED_EVERY} to window ({self.window})")
        if not 0.0 <= self.tolerance < 1.0:
            raise ValueError(f"tolerance is {self.tolerance}, must be 0 to 1")


class RankerGuard:
    """An online ranker that bad examples cannot lead far astray.

    Args:
        start: Weights with which the learned ones are compared, and the last resort.
        state: State to resume from; without it learning begins at the start.
        online: Settings of the online ranker.
        settings: Thresholds for refusing and for rolling back.
    """

    def __init__(
        self,
        start: LinearRanker,
        state: OnlineState | None = None,
        *,
        online: OnlineSettings | None = None,
        settings: GuardSettings | None = None,
    ) -> None:
        self._settings = GuardSettings() if settings is None else settings
        self._online = online
        self._start = start
        self._begin = OnlineRanker(start, online).state()
        self._ranker = OnlineRanker.restore(self._begin if state is None else state, online)
        self._good = self._ranker.state()
        self._candidate = self._good
        self._candidate_age = 0
        self._good_since_rollback = True
        self._unjudged = 0
        self._aucs: deque[tuple[float, float]] = deque(maxlen=self._settings.window)
        self.rollbacks = 0

    @property
    def ranker(self) -> LinearRanker:
        """Weights learned so far."""
        return self._ranker.ranker

    def state(self) -> OnlineState:
        """Everything learned, from which a later guard resumes."""
        return self._ranker.state()

    @property
    def auc(self) -> float | None:
        """Mean AUC of the learned weights over the last examples; ``None`` before the first."""
        return None if not self._aucs else sum(pair[0] for pair in self._aucs) / len(self._aucs)

    @property
    def start_auc(self) -> float | None:
        """Mean AUC of the start on the same examples; ``None`` before the first."""
        return None if not self._aucs else sum(pair[1] for pair in self._aucs) / len(self._aucs)

    def learn(
        self,
        x: NDArray[np.float32],
        clicked: NDArray[np.bool_],
        before: NDArray[np.bool_] | None = None,
        *,
        time_s: float | None = None,
    ) -> Verdict:
        """Ranks an example, then learns from it or from its correction.

        Args:
            x: Shape (n, F): features at ranking time.
            clicked: Shape (n,): labels known now.
            before: Shape (n,): labels before a correction.
            time_s: Event time, Unix seconds.
        """
        largest = np.abs(x).max(initial=0.0)
        if not np.isfinite(largest):
            return "not-finite"
        if largest > self._settings.max_feature:
            return "too-large"
        first = before is None or not before.any()
        aucs = self._measured(x, clicked) if first else None
        learned = (
            self._ranker.learn(x, clicked, time_s=time_s)
            if before is None
            else self._ranker.correct(x, before, clicked)
        )
        if not learned:
            return "nothing"
        if aucs is None:
            return "learned"
        self._aucs.append(aucs)
        return "rolled-back" if self._judge() else "learned"

    def _measured(self, x: NDArray[np.float32], clicked: NDArray[np.bool_]) -> tuple[float, float] | None:
        if not clicked.any() or clicked.all():
            return None
        return _auc(self._ranker.score(x), clicked), _auc(self._start.score(x), clicked)

    def _judge(self) -> bool:
        """Keeps good weights; rolls back and returns True if the learned weights have fallen behind."""
        settings = self._settings
        self._unjudged += 1
        n = len(self._aucs)
        if n < settings.recent or self._unjudged < _JUDGED_EVERY:
            return False
        self._unjudged = 0
        differences = np.array(self._aucs) @ (1.0, -1.0)  # (n,): learned less start
        if self._is_behind(differences) or self._is_behind(differences[-settings.recent :]):
            self._roll_back()
            return True
        self._candidate_age += _JUDGED_EVERY
        if self._candidate_age >= settings.window and differences.mean() >= 0.0:
            self._good, self._candidate = self._candidate, self._ranker.state()
            self._candidate_age = 0
            self._good_since_rollback = True
        return False

    def _is_behind(self, differences: NDArray[np.float64]) -> bool:
        error = float(differences.std(ddof=1)) / math.sqrt(len(differences))
        return float(differences.mean()) < -self._settings.tolerance - self._settings.z * error

    def _roll_back(self) -> None:
        target = self._good if self._good_since_rollback else self._begin
        # No revision twice: answers name their ranker by it.
        revision = self._ranker.revision + 1
        self._ranker = OnlineRanker.restore(replace(target, revision=revision), self._online)
        self._good = self._candidate = self._ranker.state()
        self._candidate_age = 0
        self._good_since_rollback = False
        self._unjudged = 0
        self._aucs.clear()
        self.rollbacks += 1


def _auc(scores: NDArray[np.float64], clicked: NDArray[np.bool_]) -> float:
    """Share of pairs of a click and a skip that are in order; ties count half."""
    differences = scores[clicked][:, None] - scores[~clicked]  # (clicks, skips)
    return float(((differences > 0.0) + 0.5 * (differences == 0.0)).mean())
