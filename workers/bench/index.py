"""Measures speed and recall of the embedded index, beside exact scoring in NumPy on the same vectors.

Index and floor answer the same queries by turns, in one process, so that a busy machine slows both. Articles
are clustered, their norms differ by a factor of three, and queries lie among them, as users' vectors do.
Searches are also measured as a live stream makes them: with a filter, and while articles and popularities are
written.
"""

from __future__ import annotations

import json
import math
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from freshet.models.ports import EVERYTHING, ArticleFilter, FloatMatrix, FloatVector, IndexedArticle
from freshet.streams.index.edge_index import EdgeIndex
from freshet.workers.bench.report import percentile_ms
from freshet.workers.bench.vectors import clustered

TARGET_RECALL = 0.99
FASTER_FROM_ARTICLES = 100_000
"""Number of articles from which on a search must beat exact scoring."""
TARGET_MEMORY_RATIO = 4.0
"""Private bytes of an article over its vector's. Mapped files are counted apart: the kernel may drop them."""

_K = 100
_QUERIES = 200
_ROUNDS = 3
_TURNS = 4
_WARM_UP = 20
_BUNDLE = "bench"
_NEWEST_S = 1_700_000_000.0
_SPAN_S = 30 * 86_400.0
_WRITE_EVERY_S = 0.3
_ARTICLES_PER_WRITE = 6
_POPULARITIES_PER_WRITE = 500
_BUILD_TIMEOUT_S = 600.0

Times = list[float]


@dataclass(frozen=True, slots=True)
class _Corpus:
    """Articles, their columns for exact scoring, and queries among them."""

    articles: list[IndexedArticle]
    vectors: FloatMatrix
    published_at_s: NDArray[np.float64]
    queries: FloatMatrix


@dataclass(frozen=True, slots=True)
class _Searches:
    """Answers of the index and of exact scoring to the same queries."""

    index_s: Times
    exact_s: Times
    recall: float

    def figures(self, prefix: str) -> dict[str, float]:
        return {
            f"{prefix}_p50_ms": percentile_ms(self.index_s, 50),
            f"{prefix}_p99_ms": percentile_ms(self.index_s, 99),
            f"{prefix}_floor_p50_ms": percentile_ms(self.exact_s, 50),
            f"{prefix}_floor_p99_ms": percentile_ms(self.exact_s, 99),
            f"{prefix}_recall_at_{_K}": self.recall,
        }


def run(
    sizes: Sequence[int] = (10_000, 100_000),
    d: int = 64,
    seed: int = 7,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> dict[str, Any]:
    """Measure each size, and return figures by name; their names end with their units.

    Args:
        sizes: Numbers of articles.
        d: The vectors' dimension.
        seed: Of the synthetic vectors.
        progress: Told after each size how many are done, and of how many.
    """
    results = []
    for done, size in enumerate(sizes, 1):
        with tempfile.TemporaryDirectory(prefix="freshet-bench-index-") as folder:
            results.append(_measured(Path(folder), _corpus(size, d, seed)))
        progress(done, len(sizes))
    return {
        "floor": "exact scoring in NumPy: one matrix product, argpartition, sort",
        "d": d,
        "k": _K,
        "sizes": results,
        "target": (
            f"recall@{_K} >= {TARGET_RECALL}; from {FASTER_FROM_ARTICLES:,} articles on faster than the "
            f"floor, in at most {TARGET_MEMORY_RATIO:g} times the vectors' bytes"
        ),
        "met": all(result["met"] for result in results),
    }


def _measured(folder: Path, corpus: _Corpus) -> dict[str, Any]:
    n, d = corpus.vectors.shape
    index = EdgeIndex(folder / "full", d, bundle=_BUNDLE)
    try:
        started_s = time.perf_counter()
        for start in range(0, n, 500):
            index.upsert(corpus.articles[start : start + 500])
        filled_s = time.perf_counter() - started_s
        # What serving does by itself: a graph once enough articles wait, none before.
        while index.unindexed() >= index.index_from_articles:
            index.optimize(_BUILD_TIMEOUT_S)
        built_s = time.perf_counter() - started_s
        filtered = ArticleFilter(
            published_before_s=_NEWEST_S - 0.05 * _SPAN_S,
            exclude_ids=tuple(article.news_id for article in corpus.articles[:50]),
        )
        quiet = _searches(index, corpus, EVERYTHING)
        narrowed = _searches(index, corpus, filtered)
        with _writing(index, corpus) as writes:
            busy = _searches(index, corpus, EVERYTHING, lasting_s=5.0)
        upsert_s = [_timed(lambda: index.upsert(corpus.articles[:100])) for _ in range(10)]
        unindexed = index.unindexed()
    finally:
        index.close()
    full, empty = _memory_bytes(folder / "full", d), _memory_bytes(folder / "empty", d)
    private = (full["RssAnon"] - empty["RssAnon"]) / n
    result: dict[str, Any] = {
        "articles": n,
        "fill_s": filled_s,
        "build_s": built_s,
        "unindexed_articles": unindexed,
        **quiet.figures("search"),
        **narrowed.figures("filtered_search"),
        **busy.figures("search_while_writing"),
        f"set_popularity_{_POPULARITIES_PER_WRITE}_p50_ms": percentile_ms(writes, 50),
        "upsert_100_p50_ms": percentile_ms(upsert_s, 50),
        "disk_bytes_per_article": _disk_bytes(folder / "full") / n,
        "private_memory_bytes_per_article": private,
        "mapped_file_bytes_per_article": (full["RssFile"] - empty["RssFile"]) / n,
        "floor_memory_bytes_per_article": 4 * d,
        "ratio_to_floor": percentile_ms(quiet.index_s, 50) / percentile_ms(quiet.exact_s, 50),
    }
    recalls = [searches.recall for searches in (quiet, narrowed, busy)]
    small = n < FASTER_FROM_ARTICLES
    faster = small or result["ratio_to_floor"] < 1
    lean = small or math.isnan(private) or private <= TARGET_MEMORY_RATIO * 4 * d
    return result | {"met": min(recalls) >= TARGET_RECALL and faster and lean}


def _corpus(n: int, d: int, seed: int) -> _Corpus:
    rng = np.random.default_rng(seed)
    vectors, queries = clustered(rng, n, d, _QUERIES)
    published_at_s = np.round(_NEWEST_S - _SPAN_S * rng.random(n))
    articles = [
        IndexedArticle(
            news_id=f"N{row}",
            vector=vectors[row],
            published_at_s=float(published_at_s[row]),
            title="A headline of an article that is as long as most of them are",
            category=f"category-{row % 18}",
            language="en",
        )
        for row in range(n)
    ]
    return _Corpus(articles, vectors, published_at_s, queries)


def _searches(index: EdgeIndex, corpus: _Corpus, where: ArticleFilter, lasting_s: float = 0.0) -> _Searches:
    """Ask every query a few times; or, with 10 ms between as at 100 requests/s, for ``lasting_s``."""
    allowed: NDArray[np.bool_] | None = None
    if where is not EVERYTHING:
        allowed = corpus.published_at_s <= (where.published_before_s or np.inf)
        allowed[[int(news_id[1:]) for news_id in where.exclude_ids]] = False
    for query in corpus.queries[:_WARM_UP]:
        index.search(query[None], _K, where)
        _exact(corpus.vectors, query, allowed)
    index_s: Times = []
    exact_s: Times = []
    shared = 0
    deadline_s = time.perf_counter() + lasting_s
    while len(index_s) < _ROUNDS * len(corpus.queries) or time.perf_counter() < deadline_s:
        # Turns of many queries: after each product over all vectors, the index would find the caches cold.
        for turn in np.array_split(corpus.queries, _TURNS):
            found = []
            for query in turn:
                started_s = time.perf_counter()
                found.append(index.search(query[None], _K, where)[0])
                index_s.append(time.perf_counter() - started_s)
                if lasting_s:
                    time.sleep(0.01)
            for query, hits in zip(turn, found, strict=True):
                started_s = time.perf_counter()
                best = _exact(corpus.vectors, query, allowed)
                exact_s.append(time.perf_counter() - started_s)
                shared += len({f"N{row}" for row in best.tolist()} & {hit.news_id for hit in hits})
    return _Searches(index_s, exact_s, shared / (_K * len(index_s)))


def _exact(vectors: FloatMatrix, query: FloatVector, allowed: NDArray[np.bool_] | None) -> NDArray[np.intp]:
    scores = vectors @ query
    if allowed is not None:
        scores[~allowed] = -np.inf
    best = np.argpartition(-scores, _K)[:_K]
    return best[np.argsort(-scores[best])]


@contextmanager
def _writing(index: EdgeIndex, corpus: _Corpus) -> Iterator[Times]:
    """Rewrite 20 articles/s and popularities as a live stream does; how long each writing of those took."""
    stop = threading.Event()
    popularity_s: Times = []
    failures: list[Exception] = []
    n = len(corpus.articles)

    def write() -> None:
        rng = np.random.default_rng(0)
        try:
            while not stop.wait(_WRITE_EVERY_S):
                rows = rng.integers(n, size=_ARTICLES_PER_WRITE)
                index.upsert([corpus.articles[row] for row in rows])
                changed = {
                    f"N{row}": float(rng.random()) for row in rng.integers(n, size=_POPULARITIES_PER_WRITE)
                }
                popularity_s.append(_timed(partial(index.set_popularity, changed)))
        except Exception as error:
            failures.append(error)

    writer = threading.Thread(target=write, name="bench-index-writer")
    writer.start()
    try:
        yield popularity_s
    finally:
        stop.set()
        writer.join()
    if failures:
        raise failures[0]


_MEMORY_SCRIPT = """
import json, sys
from pathlib import Path
import numpy as np
import psutil
from freshet.streams.index.edge_index import EdgeIndex

def resident():
    memory = psutil.Process().memory_info()
    mapped = getattr(memory, "shared", float("nan"))
    return {"RssAnon": memory.rss - mapped, "RssFile": mapped}

folder, d, bundle = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
queries = np.random.default_rng(0).normal(size=(200, d)).astype(np.float32)
before = resident()
index = EdgeIndex(folder, d, bundle=bundle)
for query in queries:
    index.search(query[None], 100)
    index.trending(100)
    index.newest(100)
print(json.dumps({name: bytes - before[name] for name, bytes in resident().items()}))
index.close()
"""


def _memory_bytes(folder: Path, d: int) -> dict[str, float]:
    """What opening and asking the index adds to a fresh process: ``RssAnon`` private, ``RssFile`` mapped.

    Both are not a number where the system does not distinguish them, unlike Linux.
    """
    command = [sys.executable, "-c", _MEMORY_SCRIPT, str(folder), str(d), _BUNDLE]
    answer = subprocess.run(command, check=True, capture_output=True, text=True, timeout=120)
    memory: dict[str, float] = json.loads(answer.stdout)
    return memory


def _disk_bytes(folder: Path) -> int:
    return sum(file.stat().st_blocks * 512 for file in folder.rglob("*") if file.is_file())


def _timed(call: Callable[[], object]) -> float:
    started_s = time.perf_counter()
    call()
    return time.perf_counter() - started_s
