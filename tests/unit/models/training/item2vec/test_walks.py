"""Walks step with node2vec's probabilities, start everywhere, and repeat by seed."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import sparse

from freshet.models.training.item2vec import walks
from freshet.models.training.item2vec.item_graph import ItemGraph
from freshet.models.training.item2vec.walks import Walker, WalkSettings

# Two triangles on a common edge, a tail, and an isolated node.
EDGES = {(0, 1): 1.0, (0, 2): 2.0, (1, 2): 0.5, (1, 3): 4.0, (2, 3): 1.0, (3, 4): 3.0}
NODES = 6


def small_graph() -> ItemGraph:
    matrix = np.zeros((NODES, NODES))
    for (a, b), weight in EDGES.items():
        matrix[a, b] = matrix[b, a] = weight
    return ItemGraph.of_matrix(sparse.csr_matrix(matrix))


def formula(graph: ItemGraph, origin: int, at: int, p: float, q: float) -> NDArray[np.float64]:
    """The probabilities of the next node, shape (nodes,), as in section 3.2.2 of the paper."""
    near = {
        node: set(graph.neighbours[graph.starts[node] : graph.starts[node + 1]].tolist())
        for node in range(NODES)
    }
    shares = np.zeros(NODES)
    for place in range(graph.starts[at], graph.starts[at + 1]):
        target = int(graph.neighbours[place])
        bias = 1 / p if target == origin else 1.0 if target in near[origin] else 1 / q
        shares[target] = bias * graph.weights[place]
    return shares / shares.sum()


@pytest.mark.parametrize("p", [0.2, 1.0, 3.0])
@pytest.mark.parametrize("q", [0.25, 0.5, 1.0, 4.0])
def test_steps_have_the_probabilities_of_the_formula(p: float, q: float) -> None:
    graph = small_graph()
    walker = Walker(graph, WalkSettings(p=p, q=q))
    rng = np.random.default_rng(0)
    draws = 10_000
    source = np.repeat(np.arange(NODES), graph.degrees)

    for edge in range(len(graph.neighbours)):
        taken = walker.next_edges(np.full(draws, edge), rng)
        at = int(graph.neighbours[edge])
        assert (source[taken] == at).all()
        shares = np.bincount(graph.neighbours[taken], minlength=NODES) / draws
        # Five standard deviations of a share of a half.
        assert shares == pytest.approx(formula(graph, int(source[edge]), at, p, q), abs=5 * 0.5 / draws**0.5)


@given(st.integers(0, 100), st.sampled_from([0.3, 1.0, 2.0]), st.sampled_from([0.3, 1.0, 2.0]))
@hypothesis_settings(max_examples=20)
def test_walks_follow_edges_and_start_everywhere_equally_often(seed: int, p: float, q: float) -> None:
    graph = small_graph()
    settings = WalkSettings(p=p, q=q, walks_per_node=3, length=7)

    found = np.concatenate(list(Walker(graph, settings).walks(np.random.default_rng(seed))))

    assert found.dtype == np.int32
    assert np.bincount(found[:, 0], minlength=NODES).tolist() == [3, 3, 3, 3, 3, 0]
    steps = {tuple(sorted(step)) for row in found.tolist() for step in pairwise(row)}
    assert steps <= set(EDGES)


def test_a_seed_repeats_its_walks_and_a_chunk_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(walks, "CHUNK_STEPS", 24)
    walker = Walker(small_graph(), WalkSettings(p=0.5, q=2.0, walks_per_node=2, length=10))

    first, second = (list(walker.walks(np.random.default_rng(4))) for _ in range(2))

    assert [chunk.shape for chunk in first] == [(2, 10), (2, 10), (1, 10)] * 2
    assert all((a == b).all() for a, b in zip(first, second, strict=True))


def test_a_graph_without_edges_has_no_walks() -> None:
    graph = ItemGraph.of_matrix(sparse.csr_matrix((3, 3)))

    assert list(Walker(graph, WalkSettings()).walks(np.random.default_rng(0))) == []


@pytest.mark.parametrize("setting", [{"p": 0.0}, {"q": -1.0}, {"length": 1}, {"walks_per_node": 0}])
def test_settings_out_of_range_are_named(setting: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(setting))):
        WalkSettings(**setting)
