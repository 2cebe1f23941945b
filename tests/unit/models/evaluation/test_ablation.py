"""A ranker without a group knows nothing of it, and what a group is worth is measured on the same slates."""

from __future__ import annotations

import numpy as np
import orjson
import pytest
from numpy.typing import NDArray

from freshet.models.evaluation.ablation import GROUPS, WithoutFeatures, ablated, ablation
from freshet.models.evaluation.slate_scores import Slates, SlateScores
from freshet.models.ranking.features import FEATURES
from freshet.models.ranking.linear import LinearRanker
from freshet.models.ranking.online_ranker import OnlineRanker, OnlineSettings

MAIN = "freshet"
SLATES, SIZE = 80, 6


def examples(seed: int = 0) -> list[tuple[NDArray[np.float32], NDArray[np.bool_]]]:
    """Slates in which ``fatigue`` decides what is clicked."""
    random = np.random.default_rng(seed)
    made = []
    for _ in range(SLATES):
        x = random.normal(size=(SIZE, len(FEATURES))).astype(np.float32)
        clicked = np.zeros(SIZE, np.bool_)
        clicked[np.argmin(x[:, FEATURES.index("fatigue")])] = True
        made.append((x, clicked))
    return made


def test_every_feature_is_in_a_group() -> None:
    assert {name for names in GROUPS.values() for name in names} == set(FEATURES)


def test_what_is_no_feature_cannot_be_left_out() -> None:
    with pytest.raises(ValueError, match="dot_firts is no feature"):
        WithoutFeatures(["dot_firts"])


def test_a_ranker_without_features_neither_sees_them_nor_learns_from_them() -> None:
    left_out = ["fatigue", "log_age"]
    columns = [FEATURES.index(name) for name in left_out]
    ranker, whole = WithoutFeatures(left_out), OnlineRanker()
    for x, clicked in examples():
        changed = x.copy()
        changed[:, columns] += 1.0
        np.testing.assert_array_equal(ranker.score(x), ranker.score(changed))
        assert ranker.learn(x, clicked)
        without = x.copy()
        without[:, columns] = 0.0
        whole.learn(without, clicked)
    np.testing.assert_array_equal(ranker.score(x), whole.score(without))


def test_the_group_that_decides_is_worth_most_and_alone_as_good_as_all() -> None:
    start = LinearRanker({})
    rankers = ablated(start, OnlineSettings())
    whole = OnlineRanker(start)
    scores = SlateScores([MAIN], compared=tuple(rankers))
    for position, (x, clicked) in enumerate(examples()):
        found = {MAIN: whole.score(x)} | {name: ranker.score(x) for name, ranker in rankers.items()}
        slates = Slates(np.array([position]), np.arange(SIZE, dtype=np.int32), clicked, np.array([SIZE]))
        scores.add_slates(slates, found)
        for learner in (whole, *rankers.values()):
            learner.learn(x, clicked)

    groups = ablation(scores, MAIN)
    own = float(scores.values[:, 0, 0].mean())
    assert {group.group for group in groups} == set(GROUPS)
    assert groups[0].group == "fatigue"
    assert groups[0].loss.low > 0.2
    assert groups[0].alone.mean > own
    for group in groups:
        assert group.loss.mean == pytest.approx(own - group.without.mean, abs=1e-6)
        assert group.loss.low <= group.loss.mean <= group.loss.high
        assert orjson.loads(orjson.dumps(group))["features"] == list(GROUPS[group.group])
