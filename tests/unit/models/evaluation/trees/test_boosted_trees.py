"""Trees as plain arrays answer as those that they were taken from, in whatever form they travelled."""

from __future__ import annotations

import dataclasses
import sys
from typing import Any

import numpy as np
import orjson
import pytest
from numpy.typing import NDArray
from sklearn.ensemble import HistGradientBoostingClassifier

from freshet.models.evaluation.trees.boosted_trees import (
    MAX_JSON_BYTES,
    MAX_LEAVES,
    MAX_TREES,
    TREE_INPUTS,
    BoostedTrees,
    Tree,
    tree_inputs,
)
from freshet.models.evaluation.trees.tree_fitting import TreeFittingError, TreeSettings, fit_trees, trees_of
from freshet.models.ranking.features import FEATURES

F = len(FEATURES)
LEAF = Tree((-1,), (0.0,), (-1,), (-1,), (0.5,))
STUMP = Tree((0, -1, -1), (0.25, 0.0, 0.0), (1, -1, -1), (2, -1, -1), (0.1, -0.2, 0.6))

Slates = list[tuple[NDArray[np.float32], NDArray[np.bool_]]]


def slates(n: int, seed: int = 0) -> Slates:
    """Impressions of 2 to 30 candidates whose clicks hang on a product and on a step."""
    random = np.random.default_rng(seed)
    window = []
    for _ in range(n):
        x = random.normal(size=(int(random.integers(2, 30)), F)).astype(np.float32)
        worth = 1.5 * x[:, 0] * x[:, 1] + (x[:, 2] > 0.3) + random.gumbel(size=len(x))
        window.append((x, worth == worth.max()))
    return window


@pytest.fixture(scope="module")
def window() -> Slates:
    return slates(200)


@pytest.fixture(scope="module")
def trees(window: Slates) -> BoostedTrees:
    return fit_trees(window, TreeSettings(trees=30, min_rows_in_leaf=20))


def follow(tree: Tree, row: NDArray[np.float32]) -> tuple[float, NDArray[np.float64]]:
    """The leaf's value and the path's contributions, one question after another."""
    node, path = 0, np.zeros(len(TREE_INPUTS))
    while tree.column[node] >= 0:
        at_most = float(row[tree.column[node]]) <= tree.threshold[node]
        child = tree.left[node] if at_most else tree.right[node]
        path[tree.column[node]] += tree.value[child] - tree.value[node]
        node = child
    return tree.value[node], path


def test_outputs_are_those_of_scikit_learn(window: Slates) -> None:
    x = np.concatenate([tree_inputs(x) for x, _ in window])
    model = HistGradientBoostingClassifier(
        max_iter=40, max_leaf_nodes=MAX_LEAVES, min_samples_leaf=10, early_stopping=False
    )
    model.fit(x, np.concatenate([clicked for _, clicked in window]))
    # Also for numbers that lie exactly on a threshold.
    of_nodes = np.concatenate([p.nodes["num_threshold"] for (p,) in model._predictors])
    on_thresholds = np.repeat(of_nodes.astype(np.float32)[:, None], len(TREE_INPUTS), axis=1)
    for rows in (x, on_thresholds, np.nextafter(on_thresholds, np.float32(np.inf))):
        np.testing.assert_allclose(
            trees_of(model).output(rows), model.decision_function(rows), rtol=0, atol=1e-9
        )


def test_all_questions_at_once_lead_to_the_leaf_that_one_after_another_lead_to(
    trees: BoostedTrees, window: Slates
) -> None:
    rows = tree_inputs(window[0][0])
    expected = [trees.intercept + sum(follow(tree, row)[0] for tree in trees.trees) for row in rows]
    np.testing.assert_allclose(trees.output(rows), expected, rtol=0, atol=1e-12)


def test_contributions_follow_the_paths_and_sum_to_the_score(trees: BoostedTrees, window: Slates) -> None:
    for x, _ in window[:20]:
        found = trees.contributions(x)
        np.testing.assert_allclose(found.sum(axis=1), trees.score(x), rtol=0, atol=1e-12)
        paths = np.array([sum(follow(tree, row)[1] for tree in trees.trees) for row in tree_inputs(x)])
        np.testing.assert_allclose(found, paths - paths.mean(axis=0), rtol=0, atol=1e-12)


def test_what_decides_the_clicks_contributes_most(trees: BoostedTrees, window: Slates) -> None:
    moved = np.concatenate([np.abs(trees.contributions(x)) for x, _ in window]).mean(axis=0)
    assert set(np.argsort(-moved)[:3].tolist()) == {0, 1, 2}


def test_scores_are_centred_and_follow_the_candidates_when_their_order_changes(
    trees: BoostedTrees, window: Slates
) -> None:
    x = window[3][0]
    score = trees.score(x)
    assert score.mean() == pytest.approx(0.0, abs=1e-12)
    order = np.random.default_rng(1).permutation(len(x))
    np.testing.assert_allclose(trees.score(x[order]), score[order], rtol=0, atol=1e-12)


def test_the_same_window_gives_the_same_trees(trees: BoostedTrees, window: Slates) -> None:
    assert fit_trees(window, TreeSettings(trees=30, min_rows_in_leaf=20)) == trees


def test_text_carries_all_of_it(trees: BoostedTrees, window: Slates) -> None:
    again = BoostedTrees.from_json(trees.to_json())
    assert again == trees
    np.testing.assert_array_equal(again.score(window[0][0]), trees.score(window[0][0]))


def test_no_trees_say_nothing() -> None:
    x = np.ones((3, F), np.float32)
    np.testing.assert_array_equal(BoostedTrees([]).score(x), np.zeros(3))
    np.testing.assert_array_equal(BoostedTrees([]).contributions(x), np.zeros((3, len(TREE_INPUTS))))
    np.testing.assert_array_equal(
        BoostedTrees([LEAF], 1.0).output(np.ones((2, F + 1), np.float32)), [1.5] * 2
    )
    assert len(BoostedTrees([STUMP]).score(x[:0])) == 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"left": (0, -1, -1)}, "node 0"),
        ({"left": (2, -1, -1)}, "node 2"),
        ({"right": (9, -1, -1)}, "node 9"),
        ({"column": (999, -1, -1)}, "input 999"),
        ({"column": (-1, -1, -1)}, "2 of its nodes"),
        ({"threshold": (float("nan"), 0.0, 0.0)}, "at most nan"),
        ({"value": (0.0, float("inf"), 0.0)}, "a value"),
        ({"value": (0.0, 0.0)}, "equally long"),
        ({name: () for name in ("column", "threshold", "left", "right", "value")}, "0 nodes"),
        ({name: (0,) * 99 for name in ("column", "threshold", "left", "right", "value")}, "99 nodes"),
    ],
)
def test_what_is_no_tree_is_refused_by_number(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=f"tree 1: .*{message}"):
        BoostedTrees([STUMP, dataclasses.replace(STUMP, **change)])


def test_too_much_is_refused() -> None:
    with pytest.raises(ValueError, match="513 trees"):
        BoostedTrees([LEAF] * (MAX_TREES + 1))
    with pytest.raises(ValueError, match="characters"):
        BoostedTrees.from_json(" " * (MAX_JSON_BYTES + 1))
    with pytest.raises(ValueError, match="intercept"):
        BoostedTrees([LEAF], float("nan"))


def test_the_largest_model_fits_into_its_text() -> None:
    """A chain of questions with long numbers, as often as there may be trees."""
    questions, leaves = range(MAX_LEAVES - 1), range(MAX_LEAVES)
    ends = [MAX_LEAVES - 1 + leaf for leaf in leaves]
    chain = Tree(
        (*questions, *(-1 for _ in leaves)),
        (*(-0.12345678901234567 for _ in questions), *(0.0 for _ in leaves)),
        (*ends[:-1], *(-1 for _ in leaves)),
        (*(q + 1 for q in questions[:-1]), ends[-1], *(-1 for _ in leaves)),
        (-0.12345678901234567,) * (2 * MAX_LEAVES - 1),
    )
    largest = BoostedTrees([chain] * MAX_TREES)
    assert BoostedTrees.from_json(largest.to_json()) == largest


@pytest.mark.parametrize(
    "text", ["", "{}", "[]", '{"inputs": 1}', '{"inputs": [], "intercept": 0, "trees": [3]}']
)
def test_what_is_no_model_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="boosted trees: cannot be read"):
        BoostedTrees.from_json(text)


def test_a_model_of_other_features_is_refused() -> None:
    found = orjson.loads(BoostedTrees([STUMP]).to_json())
    found["inputs"][0] = "something else"
    with pytest.raises(ValueError, match="other features"):
        BoostedTrees.from_json(orjson.dumps(found).decode())


def test_a_window_without_a_click_and_a_skip_is_refused() -> None:
    with pytest.raises(TreeFittingError, match="both a click and a skip"):
        fit_trees([(np.zeros((2, F), np.float32), np.array([True, True]))])


def test_without_scikit_learn_the_error_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, window: Slates
) -> None:
    monkeypatch.setitem(sys.modules, "sklearn.ensemble", None)
    with pytest.raises(TreeFittingError, match=r"freshet\[train\]"):
        fit_trees(window)


def test_another_scikit_learn_is_noticed() -> None:
    with pytest.raises(TreeFittingError, match="keeps its trees elsewhere"):
        trees_of(object())


@pytest.mark.parametrize(
    "wrong",
    [
        {"trees": 0},
        {"leaves": 1},
        {"leaves": MAX_LEAVES + 1},
        {"learning_rate": 0.0},
        {"min_rows_in_leaf": 0},
        {"l2": float("nan")},
    ],
)
def test_settings_that_make_no_sense_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        TreeSettings(**wrong)
