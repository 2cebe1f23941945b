"""What the embedded index promises beyond the port: persistence, one owner, a graph built meanwhile."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import psutil
import pytest

from freshet.models.articles.exact_index import ExactIndex
from freshet.models.ports import ArticleFilter, ArticleIndex, IndexedArticle, IndexUnavailable
from freshet.streams.index.edge_index import EdgeIndex
from freshet.streams.index.edge_optimizer import Optimization, OptimizationError
from freshet.streams.index.edge_shards import HnswTuning
from tests.waiting import HANG_S, wait_until

D = 16
NOW_S = 1_700_000_000.0


def articles(count: int, seed: int = 0) -> list[IndexedArticle]:
    """Random articles around a few centres, with every field that a filter looks at."""
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(10, D))
    vectors = centres[rng.integers(10, size=count)] + rng.normal(scale=0.7, size=(count, D))
    vectors *= rng.uniform(0.3, 3.0, size=(count, 1))
    return [
        IndexedArticle(
            news_id=f"N{number}",
            vector=vector,
            published_at_s=NOW_S - float(rng.integers(10_000)) - number / 1_000,
            category=f"category-{rng.integers(4)}",
            language=("en", "de")[rng.integers(2)],
            withdrawn=bool(rng.random() < 0.05),
            popularity=round(float(rng.random()), 9) if rng.random() < 0.5 else 0.0,
        )
        for number, vector in enumerate(vectors.astype(np.float32))
    ]


def contents(index: ArticleIndex, among: Sequence[IndexedArticle]) -> dict[str, tuple[object, ...]]:
    return {
        news_id: (held.vector.tobytes(), held.popularity, held.withdrawn, held.category)
        for news_id, held in index.get([article.news_id for article in among]).items()
    }


def python(script: str, *arguments: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", script, *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_everything_is_there_after_a_restart(tmp_path: Path) -> None:
    written = articles(300)
    index = EdgeIndex(tmp_path, D, bundle="b1")
    index.upsert(written)
    index.set_popularity({"N1": 99.0})
    index.set_withdrawn(["N2"])
    index.delete(["N3"])
    before = contents(index, written)
    found = index.search(written[0].vector[None], 20, ArticleFilter(categories=("category-1",)))
    index.close()
    index.close()

    with pytest.raises(IndexUnavailable):
        index.count()
    with pytest.raises(IndexUnavailable):
        index.upsert(written)

    again = EdgeIndex(tmp_path, D, bundle="b1")
    assert again.count() == 299
    assert contents(again, written) == before
    assert again.search(written[0].vector[None], 20, ArticleFilter(categories=("category-1",))) == found
    assert again.trending(1)[0].news_id == "N1"
    again.close()


def test_a_killed_process_loses_nothing_that_was_written(tmp_path: Path) -> None:
    killed = python(
        """
import os, signal, sys
import numpy as np
from pathlib import Path
from freshet.models.ports import IndexedArticle
from freshet.streams.index.edge_index import EdgeIndex
index = EdgeIndex(Path(sys.argv[1]), 4, bundle="b1")
for start in range(0, 1_000, 100):
    index.upsert([IndexedArticle(f"N{n}", np.full(4, n, np.float32), n) for n in range(start, start + 100)])
index.delete(["N0"])
index.set_withdrawn(["N1"])
index.set_popularity({"N2": 5.0})
os.kill(os.getpid(), signal.SIGKILL)
""",
        tmp_path,
    )
    _, errors = killed.communicate(timeout=HANG_S)
    assert killed.returncode == -signal.SIGKILL, errors
    index = EdgeIndex(tmp_path, 4, bundle="b1")
    assert index.count() == 999
    assert [hit.news_id for hit in index.trending(5)] == ["N2"]
    assert [hit.news_id for hit in index.search(np.full((1, 4), -1, np.float32), 2)[0]] == ["N2", "N3"]
    index.close()


def test_a_folder_belongs_to_one_process(tmp_path: Path) -> None:
    index = EdgeIndex(tmp_path, D, bundle="b1")
    other = python(
        "import sys; from pathlib import Path; from freshet.streams.index.edge_index import EdgeIndex\n"
        "EdgeIndex(Path(sys.argv[1]), int(sys.argv[2]), bundle='b1')",
        tmp_path,
        D,
    )
    _, errors = other.communicate(timeout=HANG_S)
    assert other.returncode == 1
    assert f"is open in process {os.getpid()}" in errors
    with pytest.raises(IndexUnavailable, match="is open in process"):
        EdgeIndex(tmp_path, D, bundle="b1")
    index.close()
    EdgeIndex(tmp_path, D, bundle="b1").close()


def test_vectors_of_two_bundles_never_meet(tmp_path: Path) -> None:
    first, second = EdgeIndex(tmp_path, D, bundle="b/1"), EdgeIndex(tmp_path, 4, bundle="b/2")
    first.upsert(articles(3))
    assert second.count() == 0
    first.close()
    second.close()
    with pytest.raises(ValueError, match=f"dimension {D}, not 4"):
        EdgeIndex(tmp_path, 4, bundle="b/1")
    reopened = EdgeIndex(tmp_path, D, bundle="b/1")
    assert reopened.count() == 3
    reopened.close()


@pytest.mark.parametrize("manifest", ["", "not json", "[1]", '{"layout": 1}'])
def test_a_folder_that_is_no_index_is_left_alone(tmp_path: Path, manifest: str) -> None:
    (tmp_path / "b1").mkdir()
    (tmp_path / "b1" / "index.json").write_text(manifest)
    with pytest.raises(ValueError, match=r"index\.json is not an index of freshet"):
        EdgeIndex(tmp_path, D, bundle="b1")
    assert (tmp_path / "b1" / "index.json").read_text() == manifest


def test_a_build_that_a_crash_cut_short_is_cleared_away(tmp_path: Path) -> None:
    EdgeIndex(tmp_path, D, bundle="b1").close()
    (tmp_path / "b1" / "vectors-1").mkdir()
    (tmp_path / "b1" / "vectors-1" / "half").write_text("")
    EdgeIndex(tmp_path, D, bundle="b1").close()
    assert not (tmp_path / "b1" / "vectors-1").exists()


def test_it_agrees_with_the_exact_index(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    edge, exact = EdgeIndex(tmp_path, D, bundle="b1"), ExactIndex(D)
    written = articles(1_500)
    indexes: tuple[ArticleIndex, ...] = (edge, exact)
    for index in indexes:
        index.upsert(written)
        index.upsert(articles(200, seed=1))
        index.delete([f"N{number}" for number in range(50, 60)])
        index.set_popularity({f"N{number}": number / 8 for number in range(300)})
        index.set_withdrawn([f"N{number}" for number in range(100, 120)])
    queries = rng.normal(size=(4, D)).astype(np.float32)
    filters = [
        ArticleFilter(),
        ArticleFilter(categories=("category-1", "category-2")),
        ArticleFilter(exclude_categories=("category-0",), languages=("de",)),
        ArticleFilter(published_after_s=NOW_S - 5_000, published_before_s=NOW_S - 1_000),
        ArticleFilter(exclude_ids=tuple(f"N{number}" for number in range(0, 1_500, 5))),
    ]
    for where in filters:
        for found, true in zip(
            edge.search(queries, 50, where), exact.search(queries, 50, where), strict=True
        ):
            assert [hit.news_id for hit in found] == [hit.news_id for hit in true]
            np.testing.assert_allclose(
                [hit.score for hit in found], [hit.score for hit in true], rtol=1e-5, atol=1e-5
            )
        assert edge.trending(50, where) == exact.trending(50, where)
        assert edge.newest(50, where) == exact.newest(50, where)
    assert contents(edge, written) == contents(exact, written)
    assert edge.count() == exact.count()
    edge.close()


def test_the_graph_finds_what_exact_scoring_finds(tmp_path: Path) -> None:
    written = articles(4_000)
    exact = ExactIndex(D)
    exact.upsert(written)
    edge = EdgeIndex(tmp_path, D, bundle="b1", hnsw=HnswTuning(full_scan_kb=1))
    edge.upsert(written)
    edge.optimize(timeout_s=HANG_S)
    assert edge.unindexed() == 0
    # A user's vector lies among the articles that the user reads.
    rng = np.random.default_rng(5)
    read = np.stack([written[row].vector for row in rng.integers(len(written), size=50)])
    queries = (read + rng.normal(scale=0.5, size=read.shape)).astype(np.float32)
    for where in (ArticleFilter(), ArticleFilter(languages=("de",))):
        found, true = edge.search(queries, 100, where), exact.search(queries, 100, where)
        shared = sum(
            len({hit.news_id for hit in left} & {hit.news_id for hit in right})
            for left, right in zip(found, true, strict=True)
        )
        assert shared >= 0.99 * 100 * len(queries)
    edge.close()
    reopened = EdgeIndex(tmp_path, D, bundle="b1")
    assert reopened.unindexed() == 0
    assert reopened.search(queries, 100, where) == found
    reopened.close()


def test_the_graph_is_built_unasked_once_enough_articles_wait(tmp_path: Path) -> None:
    index = EdgeIndex(tmp_path, D, bundle="b1", index_from_articles=500)
    index.upsert(articles(600))
    wait_until(lambda: index.unindexed() == 0, "the graph")
    index.close()


def test_writes_and_searches_go_on_while_the_graph_is_built(tmp_path: Path) -> None:
    index, expected = EdgeIndex(tmp_path, D, bundle="b1"), ExactIndex(D)
    both: tuple[ArticleIndex, ...] = (index, expected)
    written = articles(3_000)
    for one in both:
        one.upsert(written)
    builds = threading.Thread(target=index.optimize, args=(HANG_S,))
    builds.start()
    changed = articles(3_300, seed=2)
    rounds = 0
    while builds.is_alive():
        fresh = changed[(rounds * 20) % 3_300 : (rounds * 20) % 3_300 + 20]
        for one in both:
            one.upsert(fresh)
            one.delete([fresh[0].news_id])
            one.set_withdrawn([fresh[1].news_id])
            one.set_popularity({fresh[2].news_id: float(rounds)})
        # What was just written is found, whichever shard answers.
        seen = {hit.news_id for hit in index.newest(3_400)}
        assert fresh[0].news_id not in seen
        assert index.get([fresh[3].news_id])[fresh[3].news_id].vector.tobytes() == fresh[3].vector.tobytes()
        rounds += 1
    builds.join()
    assert rounds > 0
    assert contents(index, [*written, *changed]) == contents(expected, [*written, *changed])
    queries = np.random.default_rng(5).normal(size=(5, D)).astype(np.float32)
    for found, true in zip(index.search(queries, 20), expected.search(queries, 20), strict=True):
        assert [hit.news_id for hit in found] == [hit.news_id for hit in true]
    index.close()
    reopened = EdgeIndex(tmp_path, D, bundle="b1")
    assert contents(reopened, [*written, *changed]) == contents(expected, [*written, *changed])
    reopened.close()


def test_closing_ends_a_build_and_leaves_the_index_as_it_was(tmp_path: Path) -> None:
    index = EdgeIndex(tmp_path, D, bundle="b1", index_from_articles=1_000)
    written = articles(2_000)
    index.upsert(written)
    wait_until((tmp_path / "b1" / "vectors-1").exists, "the build's folder")
    index.close()
    reopened = EdgeIndex(tmp_path, D, bundle="b1")
    assert reopened.count() == 2_000
    assert len(reopened.search(written[0].vector[None], 10)[0]) == 10
    reopened.close()


def test_a_build_ends_with_the_process_that_started_it(tmp_path: Path) -> None:
    # A graph of 8,000 vectors takes seconds; the parent is dead long before.
    index = EdgeIndex(tmp_path, D, bundle="b1", index_from_articles=1_000_000)
    index.upsert(articles(8_000))
    index.close()
    parent = python(
        """
import os, signal, sys
from pathlib import Path
from freshet.streams.index.edge_optimizer import Optimization
build = Optimization(Path(sys.argv[1]), Path(sys.argv[2]))
print(build.pid, flush=True)
signal.pause()
""",
        tmp_path / "b1" / "vectors-0",
        tmp_path / "copy",
    )
    assert parent.stdout is not None
    pid = int(parent.stdout.readline())
    parent.kill()
    parent.communicate(timeout=HANG_S)
    wait_until(lambda: not _runs(pid), "the end of the build")


def _runs(pid: int) -> bool:
    # Where nobody reaps orphans, a process that has ended stays listed.
    return psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE


def test_a_build_that_fails_says_why(tmp_path: Path) -> None:
    (tmp_path / "no-shard").mkdir()
    build = Optimization(tmp_path / "no-shard", tmp_path / "copy")

    def failed() -> bool:
        try:
            assert not build.finished()
        except OptimizationError as error:
            assert "copy" in str(error)
            return True
        return False

    wait_until(failed, "the build's failure")
