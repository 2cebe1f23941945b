"""Every library that is installed finds what it should: the exact ones all of it, the others most."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from freshet.models.ports import FloatMatrix
from freshet.workers.bench.ann.libraries import LIBRARIES, Library, exact_rows, is_installed, library_named
from freshet.workers.bench.vectors import clustered

ARTICLES, D, QUERIES, K = 2_000, 24, 40, 20
LEAST_RECALL = {
    "exact": 1.0,
    "qdrant-edge": 1.0,
    "faiss-flat": 1.0,
    "faiss-ivf": 0.6,
    "faiss-hnsw": 0.95,
    "faiss-hnsw-transformed": 0.8,
    "faiss-ivf-pq": 0.4,
    "annoy-10": 0.25,
    "annoy-50": 0.5,
    "hnswlib-ip": 0.9,
    "hnswlib-transformed": 0.7,
}
"""Of a seed, less a margin for other versions of the libraries."""

# FAISS' bindings warn at import from Python 3.12 on.
pytestmark = pytest.mark.filterwarnings("ignore:builtin type:DeprecationWarning")


def _recall(library: Library, vectors: FloatMatrix, queries: FloatMatrix, folder: Path) -> float:
    if not is_installed(library):
        pytest.skip(f"{library.package} is not installed")
    library.build(vectors, folder)
    search = library.open(folder)
    shared = 0
    for query in queries:
        found = search(query, K).tolist()
        assert len(found) == len(set(found)) <= K
        shared += len(set(found) & set(exact_rows(vectors, query, K).tolist()))
    return shared / (K * len(queries))


@pytest.mark.parametrize("library", LIBRARIES, ids=lambda library: library.name)
def test_a_library_finds_most_of_the_largest_dot_products(library: Library, tmp_path: Path) -> None:
    vectors, queries = clustered(np.random.default_rng(1), ARTICLES, D, QUERIES)
    assert _recall(library, vectors, queries, tmp_path) >= LEAST_RECALL[library.name]


def test_ivf_pq_takes_a_dimension_that_its_codes_do_not_divide(tmp_path: Path) -> None:
    vectors, queries = clustered(np.random.default_rng(1), ARTICLES, 13, QUERIES)
    assert _recall(library_named("faiss-ivf-pq"), vectors, queries, tmp_path) > 0.3


def test_exact_rows_are_those_of_a_sort() -> None:
    vectors, queries = clustered(np.random.default_rng(2), 300, 8, 5)
    for query in queries:
        expected = np.argsort(-(vectors @ query), kind="stable")
        assert exact_rows(vectors, query, 10).tolist() == expected[:10].tolist()
        assert exact_rows(vectors, query, 300).tolist() == expected.tolist()
        assert exact_rows(vectors, query, 400).tolist() == expected.tolist()


def test_names_are_unique_and_an_unknown_one_is_refused() -> None:
    assert len({library.name for library in LIBRARIES}) == len(LIBRARIES)
    with pytest.raises(ValueError, match="no library 'scann'; there are exact, "):
        library_named("scann")
