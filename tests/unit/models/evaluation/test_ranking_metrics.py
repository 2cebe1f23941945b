"""The ranking metrics are MIND's, blind to the order of ties, and their intervals can be repeated."""

from __future__ import annotations

import math
from itertools import permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from freshet.models.evaluation.ranking_metrics import (
    METRICS,
    RankingScores,
    auc,
    bootstrap,
    hit_rate,
    mrr,
    ndcg,
    recall,
)


def naive(labels: list[int], scores: list[float]) -> dict[str, float]:
    """MIND's evaluation script in plain Python, averaged over every order of the candidates."""
    found: dict[str, list[float]] = {name: [] for name in (*METRICS, "hit@2", "recall@3")}
    for order in permutations(range(len(labels))):
        ranked = [labels[i] for i in sorted(order, key=lambda i: -scores[i])]
        clicked = sum(ranked)
        pairs = [(a, b) for a in range(len(ranked)) for b in range(len(ranked)) if ranked[a] > ranked[b]]
        found["auc"].append(sum(a < b for a, b in pairs) / len(pairs))
        found["mrr"].append(sum(y / (r + 1) for r, y in enumerate(ranked)) / clicked)
        for k in (5, 10):
            gain = sum((2**y - 1) / math.log2(r + 2) for r, y in enumerate(ranked[:k]))
            best = sum((2**y - 1) / math.log2(r + 2) for r, y in enumerate(sorted(ranked)[::-1][:k]))
            found[f"ndcg@{k}"].append(gain / best)
        found["hit@2"].append(float(any(ranked[:2])))
        found["recall@3"].append(sum(ranked[:3]) / clicked)
    return {name: float(np.mean(values)) for name, values in found.items()}


slates = st.lists(st.tuples(st.integers(0, 1), st.integers(-2, 2)), min_size=2, max_size=6).filter(
    lambda slate: len({label for label, _ in slate}) == 2
)


@given(slates)
def test_metrics_are_those_of_mind_averaged_over_the_orders_of_ties(slate: list[tuple[int, int]]) -> None:
    labels, scores = [label for label, _ in slate], [float(score) for _, score in slate]

    measured = {
        "auc": auc(labels, scores),
        "mrr": mrr(labels, scores),
        "ndcg@5": ndcg(labels, scores, 5),
        "ndcg@10": ndcg(labels, scores, 10),
        "hit@2": hit_rate(labels, scores, 2),
        "recall@3": recall(labels, scores, 3),
    }

    assert measured == pytest.approx(naive(labels, scores))


@given(st.lists(slates, min_size=1, max_size=20))
def test_a_batch_measures_as_one_impression_at_a_time_does(batch: list[list[tuple[int, int]]]) -> None:
    collected = RankingScores()
    for slate in batch:
        collected.add_impression(*map(list, zip(*slate, strict=True)))

    expected = [
        [auc(y, s), mrr(y, s), ndcg(y, s, 5), ndcg(y, s, 10)]
        for y, s in (tuple(map(list, zip(*slate, strict=True))) for slate in batch)
    ]
    assert collected.values() == pytest.approx(np.array(expected))


def test_a_case_worked_by_hand() -> None:
    # Ranked labels: 0 1 0 1, so 1 of 4 pairs is in order but for the first skip ahead of both.
    labels, scores = [1, 0, 0, 1], [0.3, 0.9, 0.2, 0.1]

    assert auc(labels, scores) == pytest.approx(1 / 4)
    assert mrr(labels, scores) == pytest.approx((1 / 2 + 1 / 4) / 2)
    ideal = 1 + 1 / math.log2(3)
    assert ndcg(labels, scores, 5) == pytest.approx((1 / math.log2(3) + 1 / math.log2(5)) / ideal)
    assert ndcg(labels, scores, 1) == 0.0
    assert hit_rate(labels, scores, 1) == 0.0
    assert hit_rate(labels, scores, 2) == 1.0
    assert [recall(labels, scores, k) for k in (1, 2, 3, 4)] == [0.0, 0.5, 0.5, 1.0]


def test_a_constant_score_is_worth_one_half_whatever_the_labels() -> None:
    assert auc([1, 0, 0, 0, 1], [7.0] * 5) == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("labels", "scores", "reason"),
    [
        ([1, 1], [0.1, 0.2], "at least one clicked and one skipped"),
        ([0, 0], [0.1, 0.2], "at least one clicked and one skipped"),
        ([0, 1], [0.1], "one length"),
        ([0, 2], [0.1, 0.2], "0 or 1"),
        ([0, 1], [0.1, math.nan], "NaN"),
    ],
)
def test_what_cannot_be_measured_is_refused(labels: list[int], scores: list[float], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        auc(labels, scores)


def test_impressions_with_one_label_are_left_out_and_counted() -> None:
    collected = RankingScores()

    assert collected.add_impression([0, 1], [0.0, 1.0])
    assert not collected.add_impression([1, 1], [0.0, 1.0])
    assert not collected.add_impression([0], [0.0])

    report = collected.report()
    assert (report.impressions, report.left_out, len(collected)) == (1, 2, 1)
    assert report.auc == 1.0


def test_a_report_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="no impression"):
        RankingScores().report()


def test_intervals_repeat_with_the_seed_and_hold_the_mean() -> None:
    random = np.random.default_rng(5)
    collected = RankingScores()
    for _ in range(2_000):
        labels = np.zeros(10)
        labels[random.integers(10)] = 1
        collected.add_impression(labels, random.normal(size=10) + 0.3 * labels)

    one, same, other = (collected.report(seed=seed) for seed in (3, 3, 4))

    assert one == same
    assert one != other
    for estimate in one.metrics.values():
        assert estimate.low < estimate.mean < estimate.high
    # The interval of a mean, by the central limit theorem.
    spread = collected.values()[:, 0].std() / math.sqrt(2_000)
    assert one.metrics["auc"].high - one.metrics["auc"].low == pytest.approx(2 * 1.96 * spread, rel=0.15)


def test_of_columns_that_move_together_the_difference_is_certain() -> None:
    values = np.random.default_rng(0).normal(size=(500, 1))
    low, high = bootstrap(np.column_stack([values, values + 0.25, np.full(500, 0.25)]), resamples=200)

    assert high[1] - low[1] == pytest.approx(high[0] - low[0])
    assert [low[2], high[2]] == pytest.approx([0.25, 0.25])
