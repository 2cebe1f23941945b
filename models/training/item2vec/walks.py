r"""Biased random walks of node2vec (Grover and Leskovec, 2016), all walkers at once.

A walker that came from t to v goes on to a neighbour x of v with a probability in proportion to

.. math::
    \alpha_{tx} w_{vx}, \quad \alpha_{tx} =
    \begin{cases} 1/p & x = t \\ 1 & x \text{ is a neighbour of } t \\ 1/q & \text{otherwise} \end{cases}

A small p keeps walks near their start; q above 1 does too (a local view, like breadth-first search), q below
1 leads away (depth-first). With p = q = 1 these are DeepWalk's walks (Perozzi et al., 2014).

A table of all second-order probabilities, as in the paper's code, has an entry for each pair of neighbouring
edges: billions for 100,000 nodes. Here a step is drawn by its weight from an alias table, and rejected as
often as the bias asks for (Yang et al., 2019, "KnightKing"), which gives exactly the same probabilities: with
m = max(1, 1/q), a proposal x is taken with probability alpha/m; where that of returning exceeds m, the
excess is a strip of its own beside the proposals, so that a small p costs no rejections.

Memory: 36 bytes for each edge and direction, and one chunk of walks. Isolated nodes have no walks.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from freshet.models.datasets.pair_set import PairSet
from freshet.models.training.item2vec.alias_table import AliasTable
from freshet.models.training.item2vec.item_graph import ItemGraph
from freshet.models.training.setting_ranges import check_at_least, check_positive

CHUNK_STEPS = 1 << 23
"""Maximum number of steps of one chunk of walks: 32 MB."""


@dataclass(frozen=True)
class WalkSettings:
    """Settings of random walks.

    Raises:
        ValueError: A value is out of range.
    """

    p: float = 1.0
    """Return parameter: the higher, the rarer a walk steps back."""
    q: float = 1.0
    """In-out parameter: the higher, the rarer a walk leaves its neighbourhood."""
    walks_per_node: int = 10
    length: int = 80
    """Number of nodes of a walk, its start included."""

    def __post_init__(self) -> None:
        """Check the ranges."""
        check_positive(self, "p", "q")
        check_at_least(self, 1, "walks_per_node")
        check_at_least(self, 2, "length")


class Walker:
    """Walker over one graph.

    Args:
        graph: Undirected weighted graph.
        settings: Settings of the walks.
    """

    def __init__(self, graph: ItemGraph, settings: WalkSettings) -> None:
        self._graph = graph
        self._settings = settings
        self._table = AliasTable(graph.weights, graph.starts)
        self._back = _reverse_edges(graph)
        self._bound = max(1.0, 1.0 / settings.q)
        # What returning exceeds the bound by, as a share of all that a walker at each edge's end may draw.
        excess = max(1.0 / settings.p - self._bound, 0.0) * graph.weights.astype(np.float64)
        source = np.repeat(np.arange(len(graph)), graph.degrees)
        strength = np.bincount(source, graph.weights, len(graph))
        self._return_share = excess / (excess + self._bound * strength[graph.neighbours])
        needs_neighbours = settings.q != 1.0
        self._pairs = PairSet(source, graph.neighbours, len(graph)) if needs_neighbours else None

    def walks(self, rng: np.random.Generator) -> Iterator[NDArray[np.int32]]:
        """Yield walks in chunks (walks, length) of numbers of nodes.

        Each node that is not isolated starts ``walks_per_node`` walks, in a random order of all nodes, as in
        the paper's Algorithm 1. The same state of ``rng`` gives the same walks.
        """
        nodes = np.flatnonzero(self._graph.degrees > 0)
        at_once = max(CHUNK_STEPS // self._settings.length, 1)
        for _ in range(self._settings.walks_per_node):
            order = rng.permutation(nodes)
            for start in range(0, len(order), at_once):
                yield self._walk(order[start : start + at_once], rng)

    def _walk(self, nodes: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.int32]:
        # A row for each step, because a step writes all walkers.
        steps = np.empty((self._settings.length, len(nodes)), np.int32)
        steps[0] = nodes
        edge = self._table.draw(nodes, rng)
        steps[1] = self._graph.neighbours[edge]
        for step in range(2, self._settings.length):
            edge = self.next_edges(edge, rng)
            steps[step] = self._graph.neighbours[edge]
        return np.ascontiguousarray(steps.T)

    def next_edges(self, edges: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.int64]:
        """Take one second-order step with each walker.

        Args:
            edges: Shape (walkers,), the last edge of each walker: a position in the graph's ``neighbours``.
            rng: Random numbers.

        Returns:
            Shape (walkers,): the edges taken next.
        """
        taken = np.empty(len(edges), np.int64)
        open_ = np.arange(len(edges))
        while len(open_):
            edge = edges[open_]
            proposed = self._table.draw(self._graph.neighbours[edge], rng)
            back = self._back[edge]
            if self._settings.p < 1.0:
                returns = rng.random(len(edge)) < self._return_share[edge]
                proposed = np.where(returns, back, proposed)
                accepted = returns | self._accepted(proposed, back, rng)
            else:
                accepted = self._accepted(proposed, back, rng)
            taken[open_[accepted]] = proposed[accepted]
            open_ = open_[~accepted]
        return taken

    def _accepted(
        self, proposed: NDArray[np.int64], back: NDArray[np.int64], rng: np.random.Generator
    ) -> NDArray[np.bool_]:
        """Mask of the accepted proposals; neighbours are looked up only where they decide."""
        p, q, bound = self._settings.p, self._settings.q, self._bound
        if p == q == 1.0:
            return np.ones(len(proposed), np.bool_)
        height = rng.random(len(proposed)) * bound
        is_return = proposed == back
        accepted = height < np.where(is_return, min(1.0 / p, bound), min(1.0, 1.0 / q))
        if self._pairs is not None:
            unclear = np.flatnonzero(~accepted & ~is_return)
            # Between the two biases lies what only the larger one accepts.
            target = self._graph.neighbours[proposed[unclear]]
            origin = self._graph.neighbours[back[unclear]]
            near = self._pairs.contains(origin, target)
            accepted[unclear] = near if q > 1.0 else ~near
        return accepted


def _reverse_edges(graph: ItemGraph) -> NDArray[np.int64]:
    """Position (2 * edges,) of each edge's opposite direction.

    Edges are sorted by source, then target; sorted by target, then source, they are their own opposites.
    """
    source = np.repeat(np.arange(len(graph)), graph.degrees)
    back = np.empty(len(source), np.int64)
    back[np.lexsort((source, graph.neighbours))] = np.arange(len(source))
    return back
