"""The compiled kernels promise what those in NumPy compute, and to refuse what is out of bounds."""

from __future__ import annotations

import math
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from freshet.models import kernels
from freshet.models.datasets.impression_log import read_impression_log
from freshet.models.datasets.synthetic.folder import write_synth
from freshet.models.datasets.synthetic.world import SynthConfig
from freshet.models.evaluation.prequential_log import METHODS, PrequentialLog
from freshet.models.evaluation.slate_scores import SlateScores
from freshet.models.kernels import in_numpy
from freshet.models.ranking.features import FEATURES
from freshet.models.ranking.online_ranker import OnlineRanker
from freshet.models.users.pooling import Pooling
from tests.external_tools import unusable

LAW = settings(max_examples=80)
CAPACITY = 12
RATES = np.array([1 / 1_800.0, 1 / 10_800.0, 1 / 86_400.0, 0.0])
NOW_S = 1_700_000_000.0
POOLING = Pooling(1, (7_200.0,), 86_400.0, 1.0, 20, 50)
seeds = st.integers(0, 2**32 - 1)
sizes = st.integers(1, 9)


@pytest.fixture(scope="module")
def compiled() -> ModuleType:
    if not kernels.COMPILED:
        unusable("the kernels are not compiled: no C compiler was there at installation")
    from freshet.models.kernels import compiled

    return compiled


class Statistics:
    """Statistics of some articles, some of them never shown or clicked, of which the last row is empty."""

    def __init__(self, seed: int, size: int) -> None:
        rng = np.random.default_rng(seed)
        self.counts: NDArray[np.float64] = rng.uniform(0.0, 50.0, (CAPACITY, 12))
        self.times_s: NDArray[np.float64] = NOW_S - rng.uniform(-3_600.0, 10 * 86_400.0, (CAPACITY, 4))
        self.times_s[rng.random((CAPACITY, 4)) < 0.2] = np.nan
        unknown = rng.random(CAPACITY) < 0.2
        unknown[-1] = True
        self.counts[unknown], self.times_s[unknown] = 0.0, np.nan
        self.has_clicks: NDArray[np.bool_] = self.counts[:, 3] > 0.0
        self.sums: NDArray[np.float64] = rng.uniform(0.0, 500.0, (3, 4))
        self.newest_s = NOW_S - rng.uniform(-600.0, 86_400.0)
        self.rows = rng.permutation(CAPACITY - 1)[:size].astype(np.int64)
        self.clicked: NDArray[np.bool_] = rng.random(size) < 0.3
        self.rng = rng

    def count(self, kernel: Callable[..., float], time_s: float) -> tuple[NDArray[np.float64], ...]:
        """Everything after a slate was counted."""
        counts, times_s, has_clicks, sums = (
            a.copy() for a in (self.counts, self.times_s, self.has_clicks, self.sums)
        )
        newest_s = kernel(
            self.rows, self.clicked, time_s, counts, times_s, has_clicks, RATES, sums, self.newest_s
        )
        return counts, times_s, has_clicks.astype(np.float64), sums, np.array([newest_s])


def equal(found: NDArray[Any], wanted: NDArray[Any]) -> None:
    np.testing.assert_allclose(found, wanted, rtol=1e-12, atol=1e-12)


def test_both_have_the_same_functions(compiled: ModuleType) -> None:
    names = set(kernels.__all__) - {"COMPILED"}
    assert {name for name in names if callable(getattr(compiled, name))} == names
    assert {name for name in names if callable(getattr(in_numpy, name))} == names
    assert all(getattr(kernels, name) is getattr(compiled, name) for name in names)


@pytest.mark.parametrize("missing", ["counts", "features", "ranking"])
def test_all_kernels_are_of_numpy_where_one_module_was_not_compiled(missing: str) -> None:
    program = f"""
import sys
sys.modules["freshet.models.kernels.compiled.{missing}"] = None
from freshet.models import kernels
from freshet.models.kernels import in_numpy
assert not kernels.COMPILED
assert all(getattr(kernels, name) is getattr(in_numpy, name) for name in in_numpy.__all__)
"""
    subprocess.run([sys.executable, "-c", program], check=True)


@LAW
@given(seeds, sizes, st.floats(-2 * 86_400.0, 2 * 86_400.0))
def test_a_slate_is_counted_alike_whether_early_or_late(
    compiled: ModuleType, seed: int, size: int, late_s: float
) -> None:
    statistics = Statistics(seed, size)
    found, wanted = (
        statistics.count(kernel, NOW_S + late_s) for kernel in (compiled.count_slate, in_numpy.count_slate)
    )
    for mine, theirs in zip(found, wanted, strict=True):
        equal(mine, theirs)


def test_the_first_slate_is_counted_alike(compiled: ModuleType) -> None:
    for kernel in (compiled.count_slate, in_numpy.count_slate):
        counts, times_s = np.zeros((CAPACITY, 12)), np.full((CAPACITY, 4), np.nan)
        sums, has_clicks = np.zeros((3, 4)), np.zeros(CAPACITY, np.bool_)
        rows, clicked = np.array([3, 1]), np.array([True, False])
        assert kernel(rows, clicked, NOW_S, counts, times_s, has_clicks, RATES, sums, -math.inf) == NOW_S
        equal(counts[3], [1.0] * 8 + [0.5] * 4)
        equal(sums, np.array([[1.0] * 4, [2.0] * 4, [1.0] * 4]))
        assert has_clicks.nonzero()[0].tolist() == [3]


@LAW
@given(seeds, sizes, st.floats(-86_400.0, 86_400.0))
def test_features_of_statistics_are_alike(compiled: ModuleType, seed: int, size: int, ahead_s: float) -> None:
    statistics = Statistics(seed, size)
    rows = np.where(statistics.rng.random(size) < 0.2, -1, statistics.rows)
    found, wanted = np.zeros((2, size, len(FEATURES)))
    for kernel, x in ((compiled.statistics_features, found), (in_numpy.statistics_features, wanted)):
        kernel(
            x,
            5,
            rows,
            NOW_S + ahead_s,
            statistics.counts,
            statistics.times_s,
            RATES,
            statistics.sums,
            statistics.newest_s,
        )
    equal(found, wanted)
    assert not wanted[:, :5].any()
    assert not wanted[:, 22:].any()


@LAW
@given(st.lists(st.sampled_from([f"N{i}" for i in range(300)]), max_size=260))
def test_ids_are_found_and_ordered_alike(compiled: ModuleType, ids: list[str]) -> None:
    row_of = {f"N{i}": i for i in range(0, 300, 2)}
    equal(compiled.rows_of(row_of, ids), in_numpy.rows_of(row_of, ids))
    assert compiled.canonical_order(ids, {}) == in_numpy.canonical_order(ids, {})
    # Of one hash: the ids decide.
    same = dict.fromkeys(ids, 7)
    for module in (compiled, in_numpy):
        assert module.canonical_order(ids, dict(same)) == sorted(set(ids))


@LAW
@given(seeds, st.integers(0, 12), st.integers(0, 6))
def test_co_clicks_are_added_alike(compiled: ModuleType, seed: int, held: int, added: int) -> None:
    rng = np.random.default_rng(seed)
    counts = np.stack([rng.permutation(20)[:held], rng.integers(1, 9, held)]).astype(np.int32)
    context, of_contexts = rng.permutation(20)[:added].astype(np.int64), rng.integers(0, 9, 20)
    mine, sums = counts.copy(), of_contexts.copy()
    found = compiled.add_co_clicks(mine, context, sums)
    joined = np.setdiff1d(context, counts[0])
    assert (found is mine) == (not len(joined))
    wanted = in_numpy.add_co_clicks(counts, context, of_contexts)
    assert found.tolist() == wanted.tolist()
    assert found.dtype == wanted.dtype == np.int32
    assert sums.tolist() == of_contexts.tolist()


@LAW
@given(seeds, sizes, st.integers(0, 12))
def test_co_clicks_are_scored_alike(compiled: ModuleType, seed: int, size: int, recent: int) -> None:
    rng = np.random.default_rng(seed)
    contexts = [
        np.stack([rng.permutation(30)[:k], rng.integers(1, 9, k)]).astype(np.int32) if k else None
        for k in rng.integers(0, 20, size).tolist()
    ]
    arguments = (
        contexts,
        rng.permutation(np.concatenate([np.arange(30), [-1, -1, -1]]))[:recent],
        rng.integers(1, 40, 30),
        rng.uniform(0.0, 30.0, size),
        250.0,
    )
    found, wanted = (module.co_click_scores(*arguments) for module in (compiled, in_numpy))
    assert (found is None) == (wanted is None)
    if found is not None:
        equal(found, wanted)


@LAW
@given(seeds, st.lists(st.sampled_from([1, 2, 5, 40, 300]), min_size=1, max_size=6))
def test_slates_are_ordered_by_score(compiled: ModuleType, seed: int, lengths: list[int]) -> None:
    scores = np.random.default_rng(seed).integers(0, 50, sum(lengths)).astype(np.float64)
    at = np.array(lengths, np.intp)
    found, wanted = compiled.order_slates(scores, at), in_numpy.order_slates(scores, at)
    equal(scores[found], scores[wanted])
    for mine, theirs in zip(np.split(found, np.cumsum(at)), np.split(wanted, np.cumsum(at)), strict=True):
        assert sorted(mine) == sorted(theirs)


@LAW
@given(seeds, st.lists(st.integers(2, 40), min_size=1, max_size=6), st.integers(1, 30))
def test_the_area_under_the_curve_is_that_of_its_definition(
    compiled: ModuleType, seed: int, lengths: list[int], values: int
) -> None:
    rng = np.random.default_rng(seed)
    scores = rng.integers(0, values, sum(lengths)).astype(np.float64)
    labels = [rng.permutation(np.arange(n) < rng.integers(1, n)).astype(np.float64) for n in lengths]
    wanted = []
    for label, score in zip(labels, np.split(scores, np.cumsum(lengths)[:-1]), strict=True):
        above = score[label == 1.0][:, None] - score[label == 0.0]
        wanted.append(((above > 0) + 0.5 * (above == 0)).mean())
    for module in (compiled, in_numpy):
        equal(module.slate_auc(np.concatenate(labels), scores, np.array(lengths)), np.array(wanted))


@LAW
@given(seeds, sizes, st.integers(0, 8))
def test_features_of_categories_are_alike(compiled: ModuleType, seed: int, size: int, clicks: int) -> None:
    rng = np.random.default_rng(seed)
    codes = tuple(rng.integers(0, 5, CAPACITY).astype(np.int32) for _ in range(2))
    for of_articles in codes:
        of_articles[-1] = 0
    arguments = (
        np.where(rng.random(size) < 0.2, -1, rng.integers(0, CAPACITY, size)),
        NOW_S,
        [(NOW_S - rng.uniform(-9.0, 9e5), f"N{i}") for i in rng.integers(0, 15, clicks)],
        {f"N{i}": i for i in range(CAPACITY)},
        codes,
        tuple(rng.dirichlet(np.ones(5)) for _ in range(2)),
        np.array([0.0, *rng.normal(size=4)]),
    )
    found, wanted = np.zeros((2, size, len(FEATURES)))
    compiled.category_features(found, 25, *arguments)
    in_numpy.category_features(wanted, 25, *arguments)
    equal(found, wanted)


@LAW
@given(seeds, sizes)
def test_crosses_are_alike(compiled: ModuleType, seed: int, size: int) -> None:
    x = np.random.default_rng(seed).integers(-2, 3, (size, 6)) / 3.0
    found, wanted = x.copy(), x.copy()
    products = [(0, 4, -0.3), (2, 5, 0.7)]
    compiled.cross_features(found, 2, 3, products)
    in_numpy.cross_features(wanted, 2, 3, products)
    equal(found, wanted)


@LAW
@given(seeds, st.integers(2, 30), st.integers(1, 12), st.floats(0.5, 1.0))
def test_newtons_steps_are_alike(
    compiled: ModuleType, seed: int, size: int, features: int, left: float
) -> None:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(size, features)).astype(np.float32)
    clicked = np.zeros(size, np.bool_)
    clicked[rng.permutation(size)[: rng.integers(1, size)]] = True
    root = rng.normal(size=(features, features))
    arguments = (x, clicked, rng.normal(size=features), root @ root.T + 3.0 * np.eye(features), left, 3.0)
    found, wanted = compiled.newton_step(*arguments), in_numpy.newton_step(*arguments)
    for mine, theirs in zip(found, wanted, strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_no_step_follows_from_what_is_not_finite(compiled: ModuleType, number: float) -> None:
    x = np.ones((3, 2), np.float32)
    x[1, 1] = number
    for module in (compiled, in_numpy):
        with np.errstate(all="ignore"):
            found = module.newton_step(
                x, np.array([True, False, False]), np.ones(2), np.eye(2) * 3.0, 1.0, 3.0
            )
        assert found is None


def test_no_step_follows_from_a_curvature_that_no_slates_have(compiled: ModuleType) -> None:
    """NumPy's solver would take an indefinite matrix; the compiled one says that there is no step."""
    x, clicked = np.zeros((2, 2), np.float32), np.array([True, False])
    assert compiled.newton_step(x, clicked, np.ones(2), np.array([[1.0, 2.0], [2.0, 1.0]]), 1.0, 3.0) is None


def test_an_evaluation_in_numpy_finds_the_same(
    compiled: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_synth(tmp_path / "synth", SynthConfig(users=60, articles=120, impressions=250, seed=7))
    log = read_impression_log(tmp_path / "synth")
    found = []
    for module in (compiled, in_numpy):
        for name in set(kernels.__all__) - {"COMPILED"}:
            monkeypatch.setattr(kernels, name, getattr(module, name))
        scores, ranker = SlateScores(METHODS), OnlineRanker()
        published_at_s = np.full(len(log.articles), log.time_s[0])
        evaluation = PrequentialLog(log, None, POOLING, ranker, published_at_s, scores)
        evaluation.run(0, len(log), measured=True)
        found.append((scores.values, np.array(list(ranker.ranker.weights.values()))))
    for mine, theirs in zip(*found, strict=True):
        np.testing.assert_allclose(mine, theirs, atol=1e-5)


def wrong(**changed: object) -> dict[str, Any]:
    """What :func:`statistics_features` takes, all of it right but for what is ``changed``."""
    right: dict[str, Any] = {
        "x": np.zeros((2, len(FEATURES))),
        "first": 5,
        "rows": np.array([0, -1]),
        "now_s": NOW_S,
        "counts": np.zeros((CAPACITY, 12)),
        "times_s": np.zeros((CAPACITY, 4)),
        "rates_per_s": RATES,
        "sums": np.zeros((3, 4)),
        "newest_s": 0.0,
    }
    return {**right, **changed}


@pytest.mark.parametrize(
    ("changed", "error"),
    [
        ({"rows": np.array([0, CAPACITY])}, IndexError),
        ({"rows": np.array([0, -2])}, IndexError),
        ({"rows": np.array([0, 1, 2])}, ValueError),
        ({"rows": np.array([0.0, 1.0])}, TypeError),
        ({"rows": np.array(0)}, ValueError),
        ({"counts": np.zeros(12)}, ValueError),
        ({"x": np.zeros(2)}, ValueError),
        ({"rows": np.array([0, 1, 2, 3])[::2]}, TypeError),
        ({"first": len(FEATURES) - 16}, IndexError),
        ({"first": -1}, IndexError),
        ({"counts": np.zeros((CAPACITY, 9))}, ValueError),
        ({"times_s": np.zeros((CAPACITY - 1, 4))}, ValueError),
        ({"sums": np.zeros((3, 3))}, ValueError),
        ({"rates_per_s": RATES[:3]}, ValueError),
        ({"x": np.zeros((2, len(FEATURES)), np.float32)}, TypeError),
    ],
)
def test_what_would_be_read_out_of_bounds_is_refused(
    compiled: ModuleType, changed: dict[str, object], error: type[Exception]
) -> None:
    compiled.statistics_features(*wrong().values())
    with pytest.raises(error):
        compiled.statistics_features(*wrong(**changed).values())


def test_other_kernels_refuse_indexes_out_of_bounds(compiled: ModuleType) -> None:
    counts, times_s, sums = np.zeros((4, 12)), np.zeros((4, 4)), np.zeros((3, 4))
    clicked, flags = np.array([False]), np.zeros(4, np.bool_)
    for row in (-1, 4):
        with pytest.raises(IndexError):
            compiled.count_slate(np.array([row]), clicked, 0.0, counts, times_s, flags, RATES, sums, 0.0)
    with pytest.raises(IndexError):
        compiled.add_co_clicks(np.empty((2, 0), np.int32), np.array([5]), np.zeros(5, np.int64))
    with pytest.raises(IndexError):
        compiled.co_click_scores([None], np.array([5]), np.zeros(5, np.int64), np.zeros(1), 0.0)
    for lengths in ([2], [4], [3, -1, 1]):
        with pytest.raises(ValueError, match="slates"):
            compiled.order_slates(np.zeros(3), np.array(lengths))
        with pytest.raises(ValueError, match="slates"):
            compiled.slate_auc(np.zeros(3), np.zeros(3), np.array(lengths))
    with pytest.raises(IndexError):
        compiled.cross_features(np.zeros((2, 3)), 0, 1, [(0, 3, 1.0)])
    codes = (np.array([0, 9], np.int32), np.zeros(2, np.int32))
    shares = (np.ones(3), np.ones(3))
    with pytest.raises(IndexError, match="category 9 of 3"):
        compiled.category_features(
            np.zeros((1, 3)), 0, np.array([1]), 0.0, [], {}, codes, shares, np.zeros(3)
        )
    with pytest.raises(ValueError, match="shape"):
        compiled.newton_step(
            np.zeros((2, 3), np.float32), np.array([True, False]), np.zeros(4), np.eye(4), 1.0, 3.0
        )
