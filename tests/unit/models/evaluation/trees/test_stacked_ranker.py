"""Trees are fitted to what was learned before, never to what is ranked, and memory is bounded."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from freshet.models.evaluation.trees.boosted_trees import TREE_INPUTS, BoostedTrees, Tree
from freshet.models.evaluation.trees.stacked_ranker import Slate, StackedRanker, StackingSettings
from freshet.models.evaluation.trees.tree_fitting import TreeSettings, fit_trees
from freshet.models.ranking.features import FEATURES
from freshet.models.ranking.linear import LinearRanker
from freshet.models.ranking.online_ranker import OnlineSettings

F = len(FEATURES)
SMALL = TreeSettings(trees=20, min_rows_in_leaf=20)
NOTHING = LinearRanker({})


def slates(n: int, seed: int = 0, *, shuffled: bool = False) -> list[Slate]:
    """Impressions of 10 candidates: the click is where a product of two features is large, or anywhere."""
    random = np.random.default_rng(seed)
    found = []
    for _ in range(n):
        x = random.normal(size=(10, F)).astype(np.float32)
        worth = 2.0 * x[:, 0] * x[:, 1] + random.gumbel(size=10)
        clicked = worth == worth.max()
        found.append((x, random.permutation(clicked) if shuffled else clicked))
    return found


def auc(scores: NDArray[np.float64], clicked: NDArray[np.bool_]) -> float:
    return float((scores[clicked][:, None] > scores[~clicked][None, :]).mean())


def prequential_aucs(ranker: StackedRanker, stream: Iterable[Slate]) -> NDArray[np.float64]:
    found = []
    for at_s, (x, clicked) in enumerate(stream):
        found.append(auc(ranker.score(x), clicked))
        assert ranker.learn(x, clicked, time_s=float(at_s))
    return np.array(found)


class Recorder:
    """Fits nothing, and remembers what it should have been fitted to."""

    def __init__(self) -> None:
        self.windows: list[list[Slate]] = []

    def __call__(self, window: Sequence[Slate], settings: TreeSettings) -> BoostedTrees:
        self.windows.append(list(window))
        return BoostedTrees([])


def test_interactions_are_learned_that_a_weighted_sum_cannot_know() -> None:
    ranker = StackedRanker(NOTHING, stacking=StackingSettings(first_fit=200, trees=SMALL))
    found = prequential_aucs(ranker, slates(800))
    assert found[:200].mean() == pytest.approx(0.5, abs=0.06)
    assert found[400:].mean() > 0.7
    assert ranker.weight > 0.5


def test_shuffled_labels_rank_no_better_than_chance() -> None:
    ranker = StackedRanker(NOTHING, stacking=StackingSettings(first_fit=200, trees=SMALL))
    found = prequential_aucs(ranker, slates(1_500, shuffled=True))[200:]
    assert ranker.fits > 5
    assert abs(found.mean() - 0.5) < 3.0 * found.std() / np.sqrt(len(found))


def test_a_fit_that_knew_the_slate_being_ranked_would_be_noticed() -> None:
    """What the test above rests on: trees fitted to shuffled labels do know them."""
    stream = slates(300, shuffled=True)
    trees = fit_trees(stream, SMALL)
    assert np.mean([auc(trees.score(x), clicked) for x, clicked in stream]) > 0.6


def test_trees_are_fitted_only_to_what_was_learned_and_only_when_due() -> None:
    fitted = Recorder()
    ranker = StackedRanker(stacking=StackingSettings(first_fit=8, refit_share=0.5), fit=fitted)
    stream = slates(30)
    lengths = []
    for number, (x, clicked) in enumerate(stream, 1):
        ranker.score(x)
        ranker.learn(x, clicked)
        if len(fitted.windows) > len(lengths):
            lengths.append(number)
            assert [id(x) for x, _ in fitted.windows[-1]] == [id(x) for x, _ in stream[:number]]
    assert lengths == [8, 16]


def test_ranking_changes_nothing() -> None:
    ranker = StackedRanker(NOTHING, stacking=StackingSettings(first_fit=20, trees=SMALL))
    for x, clicked in slates(40):
        ranker.learn(x, clicked)
    x = slates(1, seed=9)[0][0]
    first = ranker.score(x)
    for other, _ in slates(5, seed=3):
        ranker.score(other)
    np.testing.assert_array_equal(ranker.score(x), first)


def test_the_window_is_bounded_by_impressions_and_by_candidates() -> None:
    by_impressions = StackedRanker(stacking=StackingSettings(first_fit=5, max_impressions=12), fit=Recorder())
    by_candidates = StackedRanker(stacking=StackingSettings(first_fit=5, max_candidates=75), fit=Recorder())
    for x, clicked in slates(40):
        by_impressions.learn(x, clicked)
        by_candidates.learn(x, clicked)
    assert len(by_impressions) == 12
    assert len(by_candidates) == 7


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_the_share_of_the_trees_is_the_one_that_ranked_best(sign: float) -> None:
    """Of trees that know or mistake the clicks, beside a ranker that knows nothing."""

    def fit(window: Sequence[Slate], settings: TreeSettings) -> BoostedTrees:
        return BoostedTrees(
            [Tree((0, -1, -1), (0.0, 0.0, 0.0), (1, -1, -1), (2, -1, -1), (0.0, -sign, sign))]
        )

    stacking = StackingSettings(first_fit=1, refit_share=1.0)
    ranker = StackedRanker(NOTHING, OnlineSettings(prior=1e6), stacking, fit)
    assert ranker.share == 0.0
    for x, _ in slates(200, seed=8):
        ranker.learn(x, x[:, 0] + 0.5 * x[:, 1] > 0.3)
    assert (ranker.share > 0.0) == (sign > 0.0)


def test_contributions_sum_to_the_score() -> None:
    ranker = StackedRanker(stacking=StackingSettings(first_fit=100, trees=SMALL))
    prequential_aucs(ranker, slates(150))
    x = slates(1, seed=5)[0][0]
    found = ranker.contributions(x)
    assert found.shape == (len(x), len(TREE_INPUTS))
    assert ranker.weight != 0.0
    np.testing.assert_allclose(found.sum(axis=1), ranker.score(x), rtol=0, atol=1e-5)


def test_before_the_first_fit_it_ranks_as_the_start_does() -> None:
    x = slates(1)[0][0]
    np.testing.assert_allclose(StackedRanker().score(x), LinearRanker().score(x), rtol=1e-6)


def test_what_cannot_be_learned_from_changes_nothing() -> None:
    ranker = StackedRanker(stacking=StackingSettings(first_fit=20, trees=SMALL))
    for x, clicked in slates(30):
        ranker.learn(x, clicked)
    x, clicked = slates(1, seed=4)[0]
    before = ranker.score(x)
    broken = x.copy()
    broken[0, 0] = np.nan
    assert not ranker.learn(broken, clicked)
    assert not ranker.learn(x, np.zeros(len(x), bool))
    assert not ranker.learn(x, np.ones(len(x), bool))
    np.testing.assert_array_equal(ranker.score(x), before)
    assert len(ranker) == 30


@pytest.mark.parametrize(
    "wrong",
    [
        {"first_fit": 0},
        {"refit_share": 0.0},
        {"max_candidates": 0},
        {"shares": ()},
        {"shares": (-1.0,)},
        {"leader_memory": 0.0},
    ],
)
def test_settings_that_make_no_sense_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        StackingSettings(**wrong)
