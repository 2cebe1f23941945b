"""The gauge of how well answers were ordered is the mean over the last of them."""

from __future__ import annotations

from collections import deque

import numpy as np
import pytest

from freshet.streams import metrics
from freshet.streams.monitoring.rolling_auc import RollingAuc


@pytest.fixture
def rolling() -> RollingAuc:
    metrics.ROLLING_AUC.set(-1.0)
    return RollingAuc()


def _add(rolling: RollingAuc, *clicked: bool) -> None:
    """An answer, the best first."""
    rolling.add_answer(np.array(clicked), -np.arange(len(clicked), dtype=np.float64))


def _gauge() -> float:
    (sample,) = next(iter(metrics.ROLLING_AUC.collect())).samples
    return float(sample.value)


def test_the_gauge_is_the_mean_over_answers(rolling: RollingAuc) -> None:
    _add(rolling, True, False, False)
    assert _gauge() == 1.0
    _add(rolling, False, False, True)
    assert _gauge() == 0.5


@pytest.mark.parametrize("clicked", [(False, False), (True, True)], ids=["no clicks", "only clicks"])
def test_one_label_says_nothing(rolling: RollingAuc, clicked: tuple[bool, ...]) -> None:
    _add(rolling, *clicked)
    assert _gauge() == -1.0


def test_only_the_last_count(rolling: RollingAuc) -> None:
    rolling._recent = deque(maxlen=2)
    for clicked in ((False, True), (True, False), (True, False)):
        _add(rolling, *clicked)
    assert _gauge() == 1.0
