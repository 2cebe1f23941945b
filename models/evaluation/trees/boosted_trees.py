r"""Gradient-boosted trees as plain arrays, scored by NumPy alone.

The output is the sum of all trees' leaves (Friedman, "Greedy function approximation: a gradient boosting
machine", Annals of Statistics 2001). Unlike a weighted sum, trees model non-linearities, thresholds and
interactions, such as a click-through rate that counts for less if it rests on few impressions. They do not
extrapolate, and cannot be updated by one impression, only refitted.

**Inputs** are the candidate's features minus their means over the slate, and the logarithm of the slate's
size (:func:`tree_inputs`): a ranking compares candidates with each other, and otherwise the trees would
spend their splits on slates with more clicks. So an output depends on the other candidates, but not on their
order. **Outputs** are centred in the slate too, which changes no ranking.

**Scoring** evaluates all splits of all trees at once. A split whose condition is false rules out the leaves
on its left, and the leftmost leaf that remains is the one (Lucchese et al., "QuickScorer", SIGIR 2015). That
is a comparison and a bitwise or, without a loop.

**Contributions** follow the path to the leaf: a split adds the change in the mean output of the training rows
below to its feature's contribution (Saabas, "Interpreting random forests", 2014). They sum exactly to the
output. Of two equivalent features, the one nearer to the root gets the most.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Self

import numpy as np
import orjson
from numpy.typing import NDArray

from freshet.models.ranking.features import FEATURES

SLATE_SIZE: Final = "log_slate_size"
TREE_INPUTS: Final = (*FEATURES, SLATE_SIZE)
"""The columns of :func:`tree_inputs`, in order."""
MAX_LEAVES: Final = 16
"""Largest number of leaves of a tree, one bit each."""
MAX_TREES: Final = 512
MAX_JSON_BYTES: Final = 4 * 2**20
"""Largest size of a model's text, twice that of the largest model with 17 digits a number."""

_MAX_VALUE = 1e6


def tree_inputs(x: NDArray[np.float32]) -> NDArray[np.float32]:
    """Inputs (n, len(TREE_INPUTS)) of a slate: ``x`` minus the mean of each column, and log(n).

    Args:
        x: Shape (n, len(FEATURES)): the features of all of a slate's candidates, n at least 1.
    """
    inputs = np.empty((len(x), len(TREE_INPUTS)), np.float32)
    np.subtract(x, x.mean(axis=0, dtype=np.float64).astype(np.float32), out=inputs[:, :-1])
    inputs[:, -1] = math.log(len(x))
    return inputs


@dataclass(frozen=True, slots=True)
class Tree:
    """Tree of nodes in any order, the root first."""

    column: Sequence[int]
    """Column of the input at each node; -1 at a leaf."""
    threshold: Sequence[float]
    """Largest input of the rows that go left; 0 at a leaf."""
    left: Sequence[int]
    """Left child; -1 at a leaf."""
    right: Sequence[int]
    """Right child; -1 at a leaf."""
    value: Sequence[float]
    """Mean output of the training rows at each node; a leaf's output."""


class BoostedTrees:
    """Fitted, immutable model.

    Args:
        trees: At most ``MAX_TREES`` trees of at most ``MAX_LEAVES`` leaves.
        intercept: Constant added to the sum of the leaves.
        inputs: Names of the columns.

    Raises:
        ValueError: There are too many trees, or one has a cycle, an unknown node or column, or a number that
            is not finite or far too large. The message names the tree.
    """

    def __init__(
        self, trees: Sequence[Tree], intercept: float = 0.0, inputs: tuple[str, ...] = TREE_INPUTS
    ) -> None:
        if len(trees) > MAX_TREES:
            raise ValueError(f"{len(trees)} trees, at most {MAX_TREES} are allowed")
        if not abs(intercept) <= _MAX_VALUE:
            raise ValueError(
                f"the intercept is {intercept}, must be between -{_MAX_VALUE:g} and {_MAX_VALUE:g}"
            )
        self.trees = tuple(trees)
        self.intercept = intercept
        self.inputs = inputs
        n, questions = len(trees), MAX_LEAVES - 1
        # Missing splits compare with infinity, which no input exceeds.
        self._columns = np.zeros((questions, n), np.intp)
        self._thresholds = np.full((questions, n), np.inf, np.float32)
        self._ruled_out = np.zeros((questions, n), np.uint16)
        self._leaf_values = np.zeros((n, MAX_LEAVES))
        self._leaf_paths = np.zeros((n, MAX_LEAVES, len(inputs)))
        for number, tree in enumerate(self.trees):
            try:
                self._add_tree(number, tree)
            except ValueError as error:
                raise ValueError(f"tree {number}: {error}") from error

    def __len__(self) -> int:
        return len(self.trees)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, BoostedTrees):
            return NotImplemented
        return (self.trees, self.intercept, self.inputs) == (other.trees, other.intercept, other.inputs)

    def __hash__(self) -> int:
        return hash((len(self.trees), self.intercept, self.inputs))

    def output(self, inputs: NDArray[np.float32]) -> NDArray[np.float64]:
        """Sum the intercept and all trees' leaves (n,) for rows (n, len(self.inputs))."""
        values = self._leaf_values[np.arange(len(self.trees))[:, None], self._leaves(inputs)]
        total: NDArray[np.float64] = values.sum(axis=0)
        total += self.intercept
        return total

    def score(self, x: NDArray[np.float32]) -> NDArray[np.float64]:
        """Score a slate's candidates (n,), with mean 0, by features (n, len(FEATURES))."""
        if not len(x) or not self.trees:
            return np.zeros(len(x))
        output = self.output(tree_inputs(x))
        centred: NDArray[np.float64] = output - output.mean()
        return centred

    def contributions(self, x: NDArray[np.float32]) -> NDArray[np.float64]:
        """Contributions (n, len(TREE_INPUTS)) of each input to each of a slate's scores.

        A row sums to the candidate's score, a column to 0.

        Args:
            x: Shape (n, len(FEATURES)): the whole slate.
        """
        total = np.zeros((len(x), len(self.inputs)))
        if not len(x) or not self.trees:
            return total
        for leaves, paths in zip(self._leaves(tree_inputs(x)), self._leaf_paths, strict=True):
            total += paths.take(leaves, axis=0)
        total -= total.mean(axis=0)
        return total

    def to_json(self) -> str:
        """Serialise the model as text for :meth:`from_json`."""
        model = {"inputs": self.inputs, "intercept": self.intercept, "trees": self.trees}
        return orjson.dumps(model).decode()

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Read a model from the text of :meth:`to_json`.

        Raises:
            ValueError: The text is no model, is larger than ``MAX_JSON_BYTES``, or has other inputs.
        """
        if len(text) > MAX_JSON_BYTES:
            raise ValueError(
                f"boosted trees: {len(text):,} characters, at most {MAX_JSON_BYTES:,} are allowed"
            )
        try:
            found = orjson.loads(text)
            inputs = tuple(found["inputs"])
            trees = [_tree(each) for each in found["trees"]]
            intercept = float(found["intercept"])
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"boosted trees: cannot be read: {error!r}") from error
        if inputs != TREE_INPUTS:
            raise ValueError("boosted trees: they were fitted to other features, fit them anew")
        return cls(trees, intercept)

    def _leaves(self, inputs: NDArray[np.float32]) -> NDArray[np.intp]:
        """Find the leaf (trees, n) of each row in each tree, counted from the left."""
        columns = np.ascontiguousarray(inputs.T)
        above = np.take(columns, self._columns, axis=0) > self._thresholds[:, :, None]  # (splits, trees, n)
        ruled_out = np.bitwise_or.reduce(above * self._ruled_out[:, :, None], axis=0)  # (trees, n)
        # The position of the lowest bit that is not set is the number of set bits below it.
        lowest = ~ruled_out & (ruled_out + np.uint16(1))
        leaves: NDArray[np.intp] = np.bitwise_count(lowest - np.uint16(1)).astype(np.intp)
        return leaves

    def _add_tree(self, number: int, tree: Tree) -> None:
        nodes = len(tree.column)
        if not 1 <= nodes < 2 * MAX_LEAVES:
            raise ValueError(f"{nodes} nodes, must be 1 to {2 * MAX_LEAVES - 1}")
        if any(len(part) != nodes for part in (tree.threshold, tree.left, tree.right, tree.value)):
            raise ValueError("its parts are not equally long")
        if not all(abs(value) <= _MAX_VALUE for value in tree.value):
            raise ValueError(f"a value is not between -{_MAX_VALUE:g} and {_MAX_VALUE:g}")
        walk = _Walk(tree, len(self.inputs))
        leaves = walk.leaves(0, np.zeros(len(self.inputs)))
        for leaf, (value, path) in enumerate(leaves):
            self._leaf_values[number, leaf] = value
            self._leaf_paths[number, leaf] = path
        if len(walk.seen) != nodes:
            raise ValueError(f"{nodes - len(walk.seen)} of its nodes cannot be reached")
        for question, (column, threshold, ruled_out) in enumerate(walk.questions):
            self._columns[question, number] = column
            self._thresholds[question, number] = threshold
            self._ruled_out[question, number] = ruled_out


class _Walk:
    """Walk through a tree from left to right."""

    def __init__(self, tree: Tree, inputs: int) -> None:
        self._tree = tree
        self._inputs = inputs
        self.seen: set[int] = set()
        self.questions: list[tuple[int, np.float32, int]] = []
        """Column, threshold, and bits of the leaves on the left."""
        self._leaves = 0

    def leaves(self, node: int, path: NDArray[np.float64]) -> list[tuple[float, NDArray[np.float64]]]:
        """List the value and the path's contributions of each leaf below ``node``."""
        tree = self._tree
        if not 0 <= node < len(tree.column) or node in self.seen:
            raise ValueError(f"node {node} does not exist or is below two others")
        self.seen.add(node)
        column = tree.column[node]
        if column < 0:
            self._leaves += 1
            return [(tree.value[node], path)]
        if column >= self._inputs or not abs(tree.threshold[node]) <= _MAX_VALUE:
            raise ValueError(f"node {node} asks whether input {column} is at most {tree.threshold[node]}")
        found = []
        first = self._leaves
        for child in (tree.left[node], tree.right[node]):
            step = path.copy()
            if 0 <= child < len(tree.value):
                step[column] += tree.value[child] - tree.value[node]
            found += self.leaves(child, step)
            if child == tree.left[node]:
                on_left = (1 << self._leaves) - (1 << first)
                self.questions.append((column, _below(tree.threshold[node]), on_left))
        return found


def _below(threshold: float) -> np.float32:
    """Round down to float32, which keeps every float32 input on its side of ``threshold``."""
    rounded = np.float32(threshold)
    return rounded if float(rounded) <= threshold else np.nextafter(rounded, np.float32(-np.inf))


def _tree(parts: Mapping[str, Any]) -> Tree:
    column, left, right = (tuple(map(int, parts[name])) for name in ("column", "left", "right"))
    threshold, value = (tuple(map(float, parts[name])) for name in ("threshold", "value"))
    return Tree(column, threshold, left, right, value)
