"""Methods are measured on the same impressions, whole and in part, as one impression at a time would be."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from freshet.models.evaluation.baselines import random_order
from freshet.models.evaluation.list_metrics import diversity, novelty
from freshet.models.evaluation.ranking_metrics import auc, hit_rate, mrr, ndcg, recall
from freshet.models.evaluation.slate_scores import METRICS, Parts, Slates, SlateScores

ARTICLES = 40


def drawn(n: int, seed: int = 0) -> tuple[Slates, dict[str, NDArray[np.float64]]]:
    """Slates of 2 to 20 candidates; the scores of ``ties`` tie often."""
    random = np.random.default_rng(seed)
    sizes = random.integers(2, 21, n)
    candidates = np.concatenate([random.choice(ARTICLES, size, replace=False) for size in sizes])
    clicked = random.random(len(candidates)) < 0.3
    slates = Slates(np.arange(n) + 100, candidates.astype(np.int32), clicked, sizes)
    scores = {
        "ties": random.integers(0, 3, len(candidates)) * 1.0,
        "fine": random.normal(size=len(candidates)),
    }
    return slates, scores


def test_each_value_is_that_of_the_impression_alone() -> None:
    slates, scores = drawn(60)
    random = np.random.default_rng(1)
    vectors = random.normal(size=(ARTICLES, 4)).astype(np.float32)
    information = random.random(ARTICLES)
    collected = SlateScores(scores, vectors=vectors, information=information)
    collected.add_slates(slates, scores)

    starts = np.cumsum(slates.sizes) - slates.sizes
    values = dict(zip(collected.positions.tolist(), collected.values, strict=True))
    one_label = 0
    for position, start, size in zip(slates.positions.tolist(), starts, slates.sizes, strict=True):
        part = slice(start, start + size)
        y = slates.clicked[part]
        if y.all() or not y.any():
            one_label += 1
            assert position not in values
            continue
        for m, method in enumerate(scores):
            s = scores[method][part]
            expected = [auc(y, s), mrr(y, s), ndcg(y, s, 5), ndcg(y, s, 10)]
            expected += [hit_rate(y, s, 5), hit_rate(y, s, 10), recall(y, s, 5), recall(y, s, 10)]
            assert values[position][m, : len(expected)] == pytest.approx(np.array(expected), abs=1e-6)
        best = slates.candidates[part][np.argsort(-scores["fine"][part])][None, :5]
        lists = [diversity(best, vectors)[0], novelty(best, information)[0]]
        assert values[position][1, len(METRICS) - 2 :] == pytest.approx(np.array(lists), abs=1e-5)
    assert 0 < one_label == collected.left_out
    assert len(collected) + collected.left_out == 60


def test_batches_add_up() -> None:
    slates, scores = drawn(50)
    parts = {"half": Parts(("low", "high"), (np.arange(ARTICLES) >= 20).astype(np.int32))}
    whole = SlateScores(scores, parts=parts)
    whole.add_slates(slates, scores)
    cut = SlateScores(scores, parts=parts)
    middle = int(slates.sizes[:20].sum())
    for positions, candidates in ((slice(0, 20), slice(0, middle)), (slice(20, 50), slice(middle, None))):
        batch = Slates(
            slates.positions[positions],
            slates.candidates[candidates],
            slates.clicked[candidates],
            slates.sizes[positions],
        )
        cut.add_slates(batch, {name: values[candidates] for name, values in scores.items()})

    np.testing.assert_array_equal(cut.values, whole.values)
    np.testing.assert_array_equal(cut.part_scores("half").auc, whole.part_scores("half").auc)
    assert cut.coverage() == whole.coverage()
    np.testing.assert_allclose(cut.click_rates()[0], whole.click_rates()[0])


def test_a_part_is_measured_among_its_own_candidates_only() -> None:
    slates = Slates(
        np.array([7, 8]),
        np.array([0, 1, 2, 3, 0, 2, 3], np.int32),
        np.array([True, False, True, False, True, False, False]),
        np.array([4, 3]),
    )
    # Articles 0 and 1 are one part, 2 is the other, 3 is in none.
    parts = {"kind": Parts(("a", "b"), np.array([0, 0, 1, -1], np.int32))}
    collected = SlateScores(["one"], parts=parts)
    collected.add_slates(slates, {"one": np.array([0.1, 0.2, 0.9, 0.0, 0.5, 0.1, 0.9])})

    found = collected.part_scores("kind")
    # Only the first slate has a click and a skip in a part, and there the skip is above.
    assert (found.positions.tolist(), found.codes.tolist(), found.auc.tolist()) == ([7], [0], [[0.0]])


def test_coverage_and_click_rates_by_hand() -> None:
    slates = Slates(
        np.arange(2),
        np.array([0, 1, 2, 1], np.int32),
        np.array([True, False, False, True]),
        np.array([2, 2]),
    )
    collected = SlateScores(["good", "blind"])
    collected.add_slates(slates, {"good": np.array([1.0, 0, 0, 1]), "blind": np.zeros(4)})

    assert collected.coverage() == {"good": 1.0, "blind": 1.0}
    rates, shown = collected.click_rates()
    assert rates[:, :2].tolist() == [[1.0, 0.0], [0.5, 0.5]]
    assert shown[:3].tolist() == [2, 2, 0]


def test_a_score_that_is_no_number_is_refused_by_name() -> None:
    slates, scores = drawn(3)
    scores["fine"][0] = np.nan
    with pytest.raises(ValueError, match="fine: a score is NaN"):
        SlateScores(scores).add_slates(slates, scores)


def test_the_shuffled_order_knows_nothing_and_repeats() -> None:
    positions, articles = np.repeat(np.arange(2_000), 10), np.tile(np.arange(10), 2_000)
    order = random_order(positions, articles)

    np.testing.assert_array_equal(order, random_order(positions, articles))
    assert not np.array_equal(order, random_order(positions, articles, seed=1))
    first = order.reshape(-1, 10).argmin(axis=1)
    assert np.bincount(first, minlength=10) == pytest.approx(np.full(10, 200), abs=60)
