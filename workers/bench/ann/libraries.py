"""Exact and approximate search behind one interface: build on disk, open, ask for the largest dot products.

- Flat: every article is scored. Exact; the time grows with the articles.
- IVF (Sivic and Zisserman, 2003): k-means cells, of which the ``nprobe`` nearest to the query are scored. It
  loses what lies beyond their borders.
- HNSW (Malkov and Yashunin, 2016): greedy walks through a graph of neighbours, layer by layer. It pays with
  memory for edges and a slow build.
- IVF-PQ (Jégou et al., 2011): cells, and each vector as 8 codes of 8 bits, 8 bytes an article. It loses the
  order among near ones.
- Annoy (Bernhardsson, 2013): trees of random planes, each between two articles, in a file that processes
  share. It sees angles only, and needs many trees.

Annoy does not have the dot product and gets lifted vectors (:mod:`freshet.models.articles.inner_product`).
The graphs are measured both ways: "transformed" is the lifted one, by Euclidean distance. A library is
imported when it is used, never before; each computes with one thread, so that times compare.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from freshet.models.articles.inner_product import angular, lifted, lifted_queries, longest
from freshet.models.ports import FloatMatrix, FloatVector, IndexedArticle

Rows = NDArray[np.int64]
Search = Callable[[FloatVector, int], Rows]
"""A function of a query (d,) and k to the rows of at most ``k`` articles, best first."""

NPROBE = 10
EF_SEARCH = 128
EF_CONSTRUCTION = 200
HNSWLIB_M = 16
HNSWLIB_EF = 50
"""A beam narrower than k: hnswlib then keeps k candidates."""
PQ_CODES = 8
_SEED = 7
_BUNDLE = "bench"
_UPSERT = 500
_BUILD_TIMEOUT_S = 3_600.0


class Library(Protocol):
    """A library of nearest neighbours with its parameters."""

    @property
    def name(self) -> str:
        """Unique, and fit for a file's name."""
        ...

    @property
    def title(self) -> str:
        """Library and family of indexes, as tables show them."""
        ...

    @property
    def parameters(self) -> str:
        """Parameters as tables show them."""
        ...

    @property
    def package(self) -> str:
        """The module whose absence means that the library is not installed."""
        ...

    @property
    def least_articles(self) -> int:
        """The fewest articles that the index can be built of."""
        ...

    def build(self, vectors: FloatMatrix, folder: Path) -> None:
        """Build the index of ``vectors`` (n, d) and save it in the empty ``folder``."""
        ...

    def open(self, folder: Path) -> Search:
        """Open what :meth:`build` saved."""
        ...


@dataclass(frozen=True, slots=True)
class Exact:
    """Exact search by one matrix product over all articles, in NumPy: the floor."""

    name: str = "exact"
    title: str = "NumPy, exact"
    parameters: str = "the floor"
    package: str = "numpy"
    least_articles: int = 1

    def build(self, vectors: FloatMatrix, folder: Path) -> None:
        """Build the index and save it."""
        np.save(folder / "vectors.npy", vectors)

    def open(self, folder: Path) -> Search:
        """Open the saved index."""
        vectors: FloatMatrix = np.load(folder / "vectors.npy")

        def search(query: FloatVector, k: int) -> Rows:
            return exact_rows(vectors, query, k)

        return search


@dataclass(frozen=True, slots=True)
class QdrantEdge:
    """The index that serves, as it serves: a graph once enough articles wait, exact scoring before."""

    name: str = "qdrant-edge"
    title: str = "Qdrant Edge"
    parameters: str = "as served"
    package: str = "qdrant_edge"
    least_articles: int = 1

    def build(self, vectors: FloatMatrix, folder: Path) -> None:
        """Build the index and save it."""
        from freshet.streams.index.edge_index import EdgeIndex

        index = EdgeIndex(folder, vectors.shape[1], bundle=_BUNDLE)
        try:
            for start in range(0, len(vectors), _UPSERT):
                index.upsert(
                    [
                        IndexedArticle(str(row), vectors[row], published_at_s=0.0)
                        for row in range(start, min(start + _UPSERT, len(vectors)))
                    ]
                )
            while index.unindexed() >= index.index_from_articles:
                index.optimize(_BUILD_TIMEOUT_S)
        finally:
            index.close()
        (folder / "d").write_text(str(vectors.shape[1]))

    def open(self, folder: Path) -> Search:
        """Open the saved index."""
        from freshet.streams.index.edge_index import EdgeIndex

        index = EdgeIndex(folder, int((folder / "d").read_text()), bundle=_BUNDLE)

        def search(query: FloatVector, k: int) -> Rows:
            (hits,) = index.search(query[None], k)
            return np.array([int(hit.news_id) for hit in hits], np.int64)

        return search


@dataclass(frozen=True, slots=True)
class Faiss:
    """An index of FAISS' factory, by dot product or, lifted, by Euclidean distance."""

    name: str
    title: str
    parameters: str
    factory: str
    least_articles: int = 1
    transformed: bool = False
    multiple_of: int = 1
    """The dimension is filled up with zeros to a multiple of this."""
    package: str = "faiss"

    def build(self, vectors: FloatMatrix, folder: Path) -> None:
        """Build the index and save it."""
        faiss = _single_threaded_faiss()
        rows = lifted(vectors, longest(vectors)) if self.transformed else vectors
        rows = _filled_up(rows, self.multiple_of)
        metric = faiss.METRIC_L2 if self.transformed else faiss.METRIC_INNER_PRODUCT
        index = faiss.index_factory(rows.shape[1], self.factory, metric)
        if "HNSW" in self.factory:
            index.hnsw.efConstruction = EF_CONSTRUCTION
        if "PQ" in self.factory:
            # Three quarters of the training's time, for a filter that no search here uses.
            index.do_polysemous_training = False
        if not index.is_trained:
            index.train(rows)
        index.add(rows)
        faiss.write_index(index, str(folder / "index.faiss"))

    def open(self, folder: Path) -> Search:
        """Open the saved index."""
        faiss = _single_threaded_faiss()
        index = faiss.read_index(str(folder / "index.faiss"))
        if "IVF" in self.factory:
            faiss.extract_index_ivf(index).nprobe = NPROBE
        if "HNSW" in self.factory:
            index.hnsw.efSearch = EF_SEARCH

        def search(query: FloatVector, k: int) -> Rows:
            asked = lifted_queries(query[None]) if self.transformed else query[None]
            _, found = index.search(_filled_up(asked, self.multiple_of), k)
            rows: Rows = found[0]
            return rows[rows >= 0]

        return search


@dataclass(frozen=True, slots=True)
class Annoy:
    """Annoy's trees over the angular form."""

    trees: int
    package: str = "annoy"
    least_articles: int = 1

    @property
    def name(self) -> str:
        """Name with the parameters."""
        return f"annoy-{self.trees}"

    @property
    def title(self) -> str:
        """Library and family of indexes."""
        return "Annoy"

    @property
    def parameters(self) -> str:
        """Parameters as text."""
        return f"{self.trees} trees, angular, transformed"

    def build(self, vectors: FloatMatrix, folder: Path) -> None:
        """Build the index and save it."""
        annoy = importlib.import_module("annoy")
        rows = angular(vectors)
        index = annoy.AnnoyIndex(rows.shape[1], "angular")
        index.set_seed(_SEED)
        for number, row in enumerate(rows):
            index.add_item(number, row)
        index.build(self.trees, n_jobs=1)
        index.save(str(folder / "index.annoy"))
        (folder / "d").write_text(str(rows.shape[1]))

    def open(self, folder: Path) -> Search:
        """Open the saved index."""
        annoy = importlib.import_module("annoy")
        index = annoy.AnnoyIndex(int((folder / "d").read_text()), "angular")
        index.load(str(folder / "index.annoy"))

        def search(query: FloatVector, k: int) -> Rows:
            return np.array(index.get_nns_by_vector(lifted_queries(query[None])[0], k), np.int64)

        return search


@dataclass(frozen=True, slots=True)
class Hnswlib:
    """hnswlib's graph, by dot product or, lifted, by Euclidean distance."""

    transformed: bool
    package: str = "hnswlib"
    least_articles: int = 1

    @property
    def name(self) -> str:
        """Name with the parameters."""
        return "hnswlib-transformed" if self.transformed else "hnswlib-ip"

    @property
    def title(self) -> str:
        """Library and family of indexes."""
        return "hnswlib"

    @property
    def parameters(self) -> str:
        """Parameters as text."""
        by = "transformed" if self.transformed else "dot product"
        return f"M {HNSWLIB_M}, ef {EF_CONSTRUCTION}/max({HNSWLIB_EF}, k), {by}"

    def build(self, vectors: FloatMatrix, folder: Path) -> None:
        """Build the index and save it."""
        rows = lifted(vectors, longest(vectors)) if self.transformed else vectors
        index = self._index(rows.shape[1])
        index.init_index(len(rows), ef_construction=EF_CONSTRUCTION, M=HNSWLIB_M, random_seed=_SEED)
        index.add_items(rows, np.arange(len(rows)), num_threads=1)
        index.save_index(str(folder / "index.hnswlib"))
        (folder / "d").write_text(str(rows.shape[1]))

    def open(self, folder: Path) -> Search:
        """Open the saved index."""
        index = self._index(int((folder / "d").read_text()))
        index.load_index(str(folder / "index.hnswlib"))
        index.set_ef(HNSWLIB_EF)

        def search(query: FloatVector, k: int) -> Rows:
            asked = lifted_queries(query[None]) if self.transformed else query[None]
            try:
                found, _ = index.knn_query(asked, k, num_threads=1)
            except RuntimeError:
                # How hnswlib says that its walk met fewer than k articles; it then gives none of them.
                return np.zeros(0, np.int64)
            return np.asarray(found[0], np.int64)

        return search

    def _index(self, d: int) -> Any:
        return importlib.import_module("hnswlib").Index(space="l2" if self.transformed else "ip", dim=d)


_HNSW = f"M 32, ef {EF_CONSTRUCTION}/max({EF_SEARCH}, k)"
_IVF = f"nlist 100, nprobe {NPROBE}"

LIBRARIES: tuple[Library, ...] = (
    Exact(),
    QdrantEdge(),
    Faiss("faiss-flat", "FAISS flat", "dot product", "Flat"),
    Faiss("faiss-ivf", "FAISS IVF", f"{_IVF}, dot product", "IVF100,Flat", least_articles=100),
    Faiss("faiss-hnsw", "FAISS HNSW", f"{_HNSW}, dot product", "HNSW32"),
    Faiss("faiss-hnsw-transformed", "FAISS HNSW", f"{_HNSW}, transformed", "HNSW32", transformed=True),
    Faiss(
        "faiss-ivf-pq",
        "FAISS IVF-PQ",
        f"{_IVF}, {PQ_CODES} x 8 bits, dot product",
        f"IVF100,PQ{PQ_CODES}x8",
        least_articles=256,
        multiple_of=PQ_CODES,
    ),
    Annoy(10),
    Annoy(50),
    Hnswlib(transformed=False),
    Hnswlib(transformed=True),
)
"""All that ``freshet bench ann`` measures. ``ef a/b``: candidates kept while building and while searching."""


def library_named(name: str) -> Library:
    """The library of that name.

    Raises:
        ValueError: There is none.
    """
    for library in LIBRARIES:
        if library.name == name:
            return library
    known = ", ".join(library.name for library in LIBRARIES)
    raise ValueError(f"there is no library {name!r}; there are {known}")


def is_installed(library: Library) -> bool:
    """Whether its package is here; nothing is imported."""
    return find_spec(library.package) is not None


def exact_rows(vectors: FloatMatrix, query: FloatVector, k: int) -> Rows:
    """The rows of the ``k`` largest dot products, best first: what recall is measured against."""
    scores = vectors @ query
    best = np.argpartition(-scores, k - 1)[:k] if k < len(scores) else np.arange(len(scores))
    return best[np.argsort(-scores[best], kind="stable")]


def _filled_up(rows: FloatMatrix, multiple: int) -> FloatMatrix:
    missing = -rows.shape[1] % multiple
    return np.pad(rows, ((0, 0), (0, missing))) if missing else np.ascontiguousarray(rows)


def _single_threaded_faiss() -> Any:
    faiss = importlib.import_module("faiss")
    faiss.omp_set_num_threads(1)
    return faiss
