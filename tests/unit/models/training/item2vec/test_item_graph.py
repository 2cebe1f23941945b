"""The item graph has the Jaccard similarities of the users, and no more edges than it may."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse

from freshet.models.datasets.click_sequences import ClickSequences
from freshet.models.training.item2vec import item_graph
from freshet.models.training.item2vec.item_graph import GraphSettings, ItemGraph, build_item_graph

ITEMS = 7
histories = st.lists(st.lists(st.integers(0, ITEMS - 1), max_size=6), min_size=1, max_size=12)


def sequences(rows: list[list[int]]) -> ClickSequences:
    starts = np.concatenate([[0], np.cumsum([len(row) for row in rows])]).astype(np.int64)
    return ClickSequences(np.array([item for row in rows for item in row], np.int32), starts, ITEMS)


def dense(graph: ItemGraph) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    matrix = sparse.csr_matrix((graph.weights, graph.neighbours, graph.starts), (len(graph), len(graph)))
    return np.asarray(matrix.todense(), np.float64)


@given(histories, st.sampled_from([0.0, 0.2, 0.5]), st.integers(1, 3))
def test_weights_are_jaccard_similarities(rows: list[list[int]], least: float, common: int) -> None:
    graph = build_item_graph(sequences(rows), GraphSettings(min_similarity=least, min_common_users=common))

    users = [{u for u, row in enumerate(rows) if item in row} for item in range(ITEMS)]
    expected = np.zeros((ITEMS, ITEMS))
    for a in range(ITEMS):
        for b in range(ITEMS):
            both, either = users[a] & users[b], users[a] | users[b]
            if a != b and len(both) >= common and len(both) / len(either) >= least:
                expected[a, b] = len(both) / len(either)
    assert dense(graph) == pytest.approx(expected)


@given(histories)
def test_blocks_of_any_size_give_the_same_graph(rows: list[list[int]]) -> None:
    settings = GraphSettings(min_similarity=0.0, min_common_users=1, max_neighbours=2)
    whole = build_item_graph(sequences(rows), settings)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(item_graph, "BLOCK_CO_CLICKS", 5)
        in_blocks = build_item_graph(sequences(rows), settings)

    assert dense(in_blocks).tolist() == dense(whole).tolist()


def test_an_article_keeps_its_strongest_edges_and_those_that_others_keep_to_it() -> None:
    rows = [[0, 1], [0, 1], [0, 1], [0, 2], [0, 2], [0, 3], [4, 5]]

    graph = build_item_graph(
        sequences(rows), GraphSettings(min_similarity=0.0, min_common_users=1, max_neighbours=1)
    )

    # 2 and 3 keep their only edge, to 0, which itself would keep the one to 1.
    assert graph.degrees.tolist() == [3, 1, 1, 1, 1, 1, 0]
    assert graph.edges == 4


def test_only_the_latest_clicks_of_a_user_count() -> None:
    graph = build_item_graph(
        sequences([[0, 1, 2, 3]]), GraphSettings(min_similarity=0.0, min_common_users=1, max_clicks=2)
    )

    assert graph.degrees.tolist() == [0, 0, 1, 1, 0, 0, 0]


def test_a_graph_of_unequal_directions_is_refused() -> None:
    with pytest.raises(ValueError, match="not symmetric"):
        ItemGraph.of_matrix(sparse.csr_matrix(np.array([[0.0, 1.0], [0.5, 0.0]])))


@pytest.mark.parametrize(
    "setting", [{"min_similarity": 1.5}, {"min_common_users": 0}, {"max_neighbours": 0}, {"max_clicks": 1}]
)
def test_settings_out_of_range_are_named(setting: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=next(iter(setting))):
        GraphSettings(**setting)
