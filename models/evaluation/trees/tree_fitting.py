"""Fits boosted trees to a window of impressions; needs scikit-learn (the extra ``train``).

Each candidate of each impression is a row with its click as the label and the logistic loss. The listwise
losses of LambdaMART and XE-NDCG ranked worse on a sample of MIND-small. Trees grow best leaf first on
features binned to 255 values (Ke et al., "LightGBM", NeurIPS 2017).
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from freshet.models.evaluation.trees.boosted_trees import (
    MAX_LEAVES,
    MAX_TREES,
    BoostedTrees,
    Tree,
    tree_inputs,
)


class TreeFittingError(Exception):
    """Trees cannot be fitted; the message says why and what to do."""


@dataclass(frozen=True, slots=True)
class TreeSettings:
    """Settings of a fit."""

    trees: int = 80
    leaves: int = 16
    """Largest number of leaves of a tree."""
    learning_rate: float = 0.05
    min_rows_in_leaf: int = 100
    l2: float = 10.0
    """L2 regularisation of each leaf, in units of the loss's second derivative."""

    def __post_init__(self) -> None:
        if not 1 <= self.trees <= MAX_TREES:
            raise ValueError(f"trees is {self.trees}, must be 1 to {MAX_TREES}")
        if not 2 <= self.leaves <= MAX_LEAVES:  # noqa: PLR2004 - one leaf asks nothing
            raise ValueError(f"leaves is {self.leaves}, must be 2 to {MAX_LEAVES}")
        if not 0.0 < self.learning_rate <= 1.0:
            raise ValueError(f"learning_rate is {self.learning_rate}, must be above 0 and at most 1")
        if self.min_rows_in_leaf < 1:
            raise ValueError(f"min_rows_in_leaf is {self.min_rows_in_leaf}, must be at least 1")
        if not 0.0 <= self.l2 < math.inf:
            raise ValueError(f"l2 is {self.l2}, must be a number that is not negative")


def fit_trees(
    window: Iterable[tuple[NDArray[np.float32], NDArray[np.bool_]]], settings: TreeSettings | None = None
) -> BoostedTrees:
    """Fit trees that separate clicked candidates from skipped ones; the same window gives the same trees.

    Args:
        window: Features (n, len(FEATURES)) at the ranking and clicks (n,) of each impression.
        settings: Settings of the fit.

    Raises:
        TreeFittingError: scikit-learn is not installed, or no impression has both a click and a skip.
    """
    settings = settings or TreeSettings()
    try:
        from sklearn.ensemble import HistGradientBoostingClassifier
    except ModuleNotFoundError as error:
        raise TreeFittingError(
            f"fitting trees needs {error.name}, which is not installed: pip install 'freshet[train]'"
        ) from error
    slates = [(x, clicked) for x, clicked in window if 0 < int(clicked.sum()) < len(clicked)]
    if not slates:
        raise TreeFittingError("no impression of the window has both a click and a skip")
    model = HistGradientBoostingClassifier(
        max_iter=settings.trees,
        max_leaf_nodes=settings.leaves,
        learning_rate=settings.learning_rate,
        min_samples_leaf=settings.min_rows_in_leaf,
        l2_regularization=settings.l2,
        early_stopping=False,
        random_state=0,
    )
    model.fit(
        np.concatenate([tree_inputs(x) for x, _ in slates]),
        np.concatenate([clicked for _, clicked in slates]),
    )
    return trees_of(model)


def trees_of(model: object) -> BoostedTrees:
    """Copy the trees of a fitted ``HistGradientBoostingClassifier`` of two classes.

    Raises:
        TreeFittingError: This version of scikit-learn stores them differently.
    """
    try:
        # There is no public way to them; test_boosted_trees.py compares every output.
        predictors, intercept = model._predictors, model._baseline_prediction  # type: ignore[attr-defined]
        return BoostedTrees(
            [_tree(predictor.nodes) for (predictor,) in predictors], float(np.asarray(intercept).item())
        )
    except (AttributeError, KeyError, ValueError) as error:
        raise TreeFittingError(
            f"this version of scikit-learn keeps its trees elsewhere: {error!r}"
        ) from error


def _tree(nodes: NDArray[np.void]) -> Tree:
    leaf = nodes["is_leaf"].astype(bool)
    left, right = (np.where(leaf, -1, nodes[side].astype(np.int64)) for side in ("left", "right"))
    rows = nodes["count"].astype(np.float64)
    value = nodes["value"].astype(np.float64)
    # Only leaves carry the learning rate. A node comes before those below it.
    for node in np.flatnonzero(~leaf)[::-1].tolist():
        below = [left[node], right[node]]
        value[node] = np.average(value[below], weights=rows[below])
    return Tree(
        tuple(np.where(leaf, -1, nodes["feature_idx"]).tolist()),
        tuple(np.where(leaf, 0.0, nodes["num_threshold"]).tolist()),
        tuple(left.tolist()),
        tuple(right.tolist()),
        tuple(value.tolist()),
    )
