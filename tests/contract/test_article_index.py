"""Every adapter keeps the promises of the port :class:`freshet.models.ports.ArticleIndex`."""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest
from qdrant_client import QdrantClient

from freshet.models.articles.exact_index import ExactIndex
from freshet.models.ports import ArticleFilter, ArticleIndex, FloatMatrix, Hit, IndexedArticle
from freshet.streams.index.edge_index import EdgeIndex
from freshet.streams.index.server_index import ServerIndex
from tests.qdrant_stand_in import serve
from tests.waiting import HANG_S

D = 8
NOW_S = 1_700_000_000.0
SERVER_URL = os.environ.get("FRESHET_QDRANT_URL")
SERVER_GRPC_PORT = int(os.environ.get("FRESHET_QDRANT_GRPC_PORT", "6334"))


pytestmark = [
    # qdrant-client's local mode has no search parameters, and says so; it finds the same articles without.
    pytest.mark.filterwarnings("ignore:Local mode performs exact:UserWarning"),
]


@pytest.fixture(scope="module")
def indexed_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An embedded index without articles that once had some, and a graph of them."""
    folder = tmp_path_factory.mktemp("indexed")
    edge = EdgeIndex(folder, D, bundle="b1")
    fillers = [article(f"filler-{number}", [number]) for number in range(200)]
    edge.upsert(fillers)
    edge.optimize(timeout_s=HANG_S)
    edge.delete([filler.news_id for filler in fillers])
    edge.close()
    return folder


@pytest.fixture(
    params=[
        "exact",
        "edge",
        "edge-indexed",
        "server-local",
        pytest.param(
            "server",
            marks=pytest.mark.skipif(SERVER_URL is None, reason="FRESHET_QDRANT_URL names no Qdrant server"),
        ),
    ]
)
def index(request: pytest.FixtureRequest, tmp_path: Path, indexed_folder: Path) -> Iterator[ArticleIndex]:
    """An empty index of every kind; ``edge-indexed`` has a graph of deleted articles."""
    with ExitStack() as stack:
        opened: ArticleIndex
        match request.param:
            case "exact":
                opened = ExactIndex(D)
            case "edge":
                opened = EdgeIndex(tmp_path, D, bundle="b1")
            case "edge-indexed":
                shutil.copytree(indexed_folder, tmp_path, dirs_exist_ok=True)
                opened = EdgeIndex(tmp_path, D, bundle="b1")
            case "server-local":
                server, port = serve(QdrantClient(":memory:"))
                stack.callback(lambda: server.stop(grace=None).wait())
                opened = ServerIndex("http://127.0.0.1", D, bundle="b1", grpc_port=port, timeout_s=HANG_S)
            case _:
                client = QdrantClient(
                    url=SERVER_URL, grpc_port=SERVER_GRPC_PORT, prefer_grpc=True, check_compatibility=False
                )
                bundle = f"contract-test-{os.getpid()}"
                client.delete_collection(f"articles-{bundle}")
                assert SERVER_URL is not None
                opened = ServerIndex(SERVER_URL, D, bundle=bundle, grpc_port=SERVER_GRPC_PORT, timeout_s=10)
                stack.callback(client.close)
                stack.callback(client.delete_collection, f"articles-{bundle}")
        stack.callback(opened.close)
        yield opened


def article(news_id: str, vector: Sequence[float] = (), **fields: object) -> IndexedArticle:
    values = np.zeros(D, np.float32)
    values[: len(vector)] = vector
    known: dict[str, object] = {"published_at_s": NOW_S, "category": "news", "language": "en"}
    return IndexedArticle(news_id=news_id, vector=values, **(known | fields))  # type: ignore[arg-type]


def query(*vectors: Sequence[float]) -> FloatMatrix:
    rows = np.zeros((len(vectors), D), np.float32)
    for row, vector in zip(rows, vectors, strict=True):
        row[: len(vector)] = vector
    return rows


def ids(hits: Sequence[Hit]) -> list[str]:
    return [hit.news_id for hit in hits]


def searched(index: ArticleIndex, k: int = 100, where: ArticleFilter | None = None) -> set[str]:
    return set(ids(index.search(query([1.0]), k, where or ArticleFilter())[0]))


def test_the_dimension_is_the_one_asked_for(index: ArticleIndex) -> None:
    assert index.d == D


def test_an_empty_index_finds_nothing(index: ArticleIndex) -> None:
    assert index.search(query([1.0], [0.0, 1.0]), 5) == [[], []]
    assert index.trending(5) == []
    assert index.newest(5) == []
    assert index.get(["N1"]) == {}
    assert index.count() == 0


def test_nothing_asked_is_nothing_answered(index: ArticleIndex) -> None:
    index.upsert([])
    index.delete([])
    index.set_popularity({})
    index.set_withdrawn([])
    index.upsert([article("N1", [1.0], popularity=1.0)])
    assert index.search(np.zeros((0, D), np.float32), 5) == []
    assert index.search(query([1.0]), 0) == [[]]
    assert index.trending(0) == index.newest(0) == []
    assert index.get([]) == {}


def test_an_article_comes_back_as_it_went_in(index: ArticleIndex) -> None:
    written = IndexedArticle(
        news_id="N1",
        vector=np.random.default_rng(1).normal(size=D).astype(np.float32) * 7,
        published_at_s=NOW_S + 0.123456,
        title="Über den Wolken — 雲の上",
        category="travel",
        subcategory="flights",
        language="de",
        withdrawn=True,
        popularity=12.3456789012345,
    )
    index.upsert([written])
    read = index.get(["N1"])["N1"]
    # Bit for bit: nothing may normalise a vector whose norm says how strongly it should be recommended.
    assert read.vector.dtype == np.float32
    assert read.vector.tobytes() == written.vector.tobytes()
    for name in IndexedArticle.__slots__:
        if name != "vector":
            assert getattr(read, name) == getattr(written, name), name


def test_a_second_upsert_replaces_the_whole_article(index: ArticleIndex) -> None:
    index.upsert([article("N1", [1.0], category="sports", title="old", popularity=3.0)])
    index.upsert([article("N1", [0.0, 2.0], category="finance")])
    assert index.count() == 1
    assert [hit.score for hit in index.search(query([1.0], [0.0, 1.0]), 5)[1]] == [2.0]
    assert searched(index, where=ArticleFilter(categories=("sports",))) == set()
    assert index.trending(5) == []
    assert index.get(["N1"])["N1"].title == ""


def test_the_last_of_two_with_one_id_wins(index: ArticleIndex) -> None:
    index.upsert([article("N1", [1.0]), article("N2", [5.0]), article("N1", [3.0])])
    assert index.count() == 2
    assert index.get(["N1"])["N1"].vector[0] == 3.0


def test_search_orders_by_dot_product_and_not_by_angle(index: ArticleIndex) -> None:
    index.upsert(
        [article("same-direction", [1.0]), article("longer", [3.0, 3.0]), article("opposite", [-2.0])]
    )
    (hits,) = index.search(query([2.0]), 3)
    assert [(hit.news_id, hit.score) for hit in hits] == [
        ("longer", 6.0),
        ("same-direction", 2.0),
        ("opposite", -4.0),
    ]


def test_negative_scores_are_hits_too(index: ArticleIndex) -> None:
    index.upsert([article("N1", [-1.0]), article("N2", [-3.0])])
    (hits,) = index.search(query([1.0]), 2)
    assert [hit.score for hit in hits] == [-1.0, -3.0]


def test_each_query_gets_its_own_answer(index: ArticleIndex) -> None:
    index.upsert([article("N1", [1.0]), article("N2", [0.0, 1.0])])
    first, second = index.search(query([1.0], [0.0, 1.0]), 1)
    assert (ids(first), ids(second)) == (["N1"], ["N2"])


def test_a_hit_says_what_it_was_sorted_by(index: ArticleIndex) -> None:
    index.upsert([article("N1", [1.0], published_at_s=NOW_S + 0.25, category="sports", popularity=2.0)])
    assert index.search(query([1.0]), 1) == [[Hit("N1", 1.0)]]
    assert index.trending(1) == [Hit("N1", 2.0)]
    assert index.newest(1) == [Hit("N1", NOW_S + 0.25)]


def test_k_beyond_the_count_gives_all(index: ArticleIndex) -> None:
    index.upsert([article(f"N{number}", [number + 1.0], popularity=number + 1.0) for number in range(3)])
    assert ids(index.search(query([1.0]), 1_000)[0]) == ["N2", "N1", "N0"]
    assert ids(index.trending(1_000)) == ["N2", "N1", "N0"]
    assert len(index.newest(1_000)) == 3


FILTERED = (
    ("old-sports-en", "sports", "en", NOW_S - 100),
    ("new-sports-de", "sports", "de", NOW_S),
    ("old-finance-de", "finance", "de", NOW_S - 100),
    ("new-finance-en", "finance", "en", NOW_S),
    ("uncategorised", "", "", NOW_S - 50.5),
)


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        (ArticleFilter(), {name for name, *_ in FILTERED}),
        (ArticleFilter(categories=("sports",)), {"old-sports-en", "new-sports-de"}),
        (ArticleFilter(categories=("sports", "")), {"old-sports-en", "new-sports-de", "uncategorised"}),
        (ArticleFilter(categories=("weather",)), set()),
        (
            ArticleFilter(exclude_categories=("sports",)),
            {"old-finance-de", "new-finance-en", "uncategorised"},
        ),
        (ArticleFilter(categories=("sports",), exclude_categories=("sports",)), set()),
        (ArticleFilter(languages=("de",)), {"new-sports-de", "old-finance-de"}),
        (ArticleFilter(published_after_s=NOW_S), {"new-sports-de", "new-finance-en"}),
        (ArticleFilter(published_before_s=NOW_S - 100), {"old-sports-en", "old-finance-de"}),
        (
            ArticleFilter(published_after_s=NOW_S - 50.5, published_before_s=NOW_S - 50.5),
            {"uncategorised"},
        ),
        (
            ArticleFilter(exclude_ids=("uncategorised", "never-heard-of")),
            {name for name, *_ in FILTERED} - {"uncategorised"},
        ),
        (
            ArticleFilter(
                categories=("finance", "sports"),
                exclude_categories=("weather",),
                languages=("de",),
                published_after_s=NOW_S - 200,
                published_before_s=NOW_S - 1,
                exclude_ids=("new-finance-en",),
            ),
            {"old-finance-de"},
        ),
    ],
    ids=lambda value: "" if isinstance(value, set) else repr(value).removeprefix("ArticleFilter"),
)
def test_a_filter_holds_in_every_query(index: ArticleIndex, where: ArticleFilter, expected: set[str]) -> None:
    index.upsert(
        [
            article(name, [1.0], category=category, language=language, published_at_s=time_s, popularity=1.0)
            for name, category, language, time_s in FILTERED
        ]
    )
    assert searched(index, where=where) == expected
    assert set(ids(index.trending(10, where))) == expected
    assert set(ids(index.newest(10, where))) == expected


def test_three_hundred_seen_articles_can_be_left_out(index: ArticleIndex) -> None:
    index.upsert([article(f"N{number}", [number], popularity=number + 1.0) for number in range(310)])
    seen = ArticleFilter(exclude_ids=tuple(f"N{number}" for number in range(10, 310)))
    left = [f"N{number}" for number in reversed(range(10))]
    assert ids(index.search(query([1.0]), 100, seen)[0]) == left
    assert ids(index.trending(100, seen)) == left
    assert set(ids(index.newest(100, seen))) == set(left)


def test_a_withdrawn_article_is_hidden_everywhere_but_in_get(index: ArticleIndex) -> None:
    index.upsert([article("N1", [1.0], popularity=1.0), article("N2", [1.0], popularity=1.0)])
    index.set_withdrawn(["N1", "never-heard-of"])
    assert searched(index) == {"N2"}
    assert ids(index.trending(5)) == ids(index.newest(5)) == ["N2"]
    assert index.get(["N1"])["N1"].withdrawn
    assert index.count() == 2
    index.set_withdrawn(["N1"], withdrawn=False)
    assert searched(index) == {"N1", "N2"}
    assert len(index.trending(5)) == len(index.newest(5)) == 2
    assert not index.get(["N1"])["N1"].withdrawn


def test_an_article_can_arrive_withdrawn_and_be_replaced(index: ArticleIndex) -> None:
    index.upsert([article("N1", [1.0], withdrawn=True)])
    assert searched(index) == set()
    index.upsert([article("N1", [1.0])])
    assert searched(index) == {"N1"}


def test_trending_is_what_is_popular_now(index: ArticleIndex) -> None:
    index.upsert([article("N1", popularity=1.0), article("N2", popularity=2.0), article("N3"), article("N4")])
    assert ids(index.trending(5)) == ["N2", "N1"]
    index.set_popularity({"N3": 1.5, "N2": 0.0, "N4": -1.0, "never-heard-of": 9.0})
    assert [(hit.news_id, hit.score) for hit in index.trending(5)] == [("N3", 1.5), ("N1", 1.0)]
    assert index.get(["N3"])["N3"].popularity == 1.5
    assert index.count() == 4


def test_popularity_leaves_the_rest_of_an_article_alone(index: ArticleIndex) -> None:
    index.upsert([article("N1", [2.0], title="kept", category="sports")])
    index.set_popularity({"N1": 4.0})
    assert index.get(["N1"])["N1"].title == "kept"
    assert index.search(query([1.0]), 1, ArticleFilter(categories=("sports",)))[0][0].score == 2.0


def test_newest_comes_first_and_not_from_the_future(index: ArticleIndex) -> None:
    index.upsert([article(f"N{minute}", published_at_s=NOW_S + 60 * minute) for minute in range(10)])
    assert ids(index.newest(3)) == ["N9", "N8", "N7"]
    assert ids(index.newest(3, ArticleFilter(published_before_s=NOW_S + 60 * 5))) == ["N5", "N4", "N3"]
    assert ids(index.newest(3, ArticleFilter(published_before_s=NOW_S - 1))) == []


def test_a_deleted_article_is_gone(index: ArticleIndex) -> None:
    index.upsert([article("N1", [1.0], popularity=1.0), article("N2", [1.0], popularity=1.0)])
    index.delete(["N1", "never-heard-of"])
    assert index.count() == 1
    assert searched(index) == {"N2"}
    assert index.get(["N1", "N2"]).keys() == {"N2"}
    assert ids(index.trending(5)) == ids(index.newest(5)) == ["N2"]
    index.upsert([article("N1", [1.0])])
    assert searched(index) == {"N1", "N2"}


@pytest.mark.parametrize(
    "vector",
    [np.zeros(D + 1), np.zeros(D - 1), np.zeros((1, D)), np.full(D, np.nan), np.full(D, np.inf)],
    ids=["too long", "too short", "a matrix", "nan", "infinite"],
)
def test_a_vector_that_is_none_is_refused_and_nothing_written(
    index: ArticleIndex, vector: FloatMatrix
) -> None:
    bad = IndexedArticle("bad", vector.astype(np.float32), NOW_S)
    with pytest.raises(ValueError, match="bad"):
        index.upsert([article("good"), bad])
    assert index.count() == 0


@pytest.mark.parametrize("shape", [(D,), (1, D + 1), (1, 1, D)])
def test_queries_of_another_shape_are_refused(index: ArticleIndex, shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="shape"):
        index.search(np.zeros(shape, np.float32), 1)


def test_ids_may_be_in_any_script(index: ArticleIndex) -> None:
    names = ["статья-1", "記事", "🗞️", "a/b?c=d&e", "N1", "n1"]
    index.upsert([article(name, [1.0]) for name in names])
    assert index.count() == len(names)
    assert searched(index) == set(names)
    assert index.get(names).keys() == set(names)


def test_more_than_one_batch_can_be_written_at_once(index: ArticleIndex) -> None:
    index.upsert([article(f"N{number}", [number]) for number in range(1_200)])
    assert index.count() == 1_200
    index.set_popularity({f"N{number}": number + 1.0 for number in range(1_200)})
    assert ids(index.trending(2)) == ["N1199", "N1198"]
    assert len(index.get([f"N{number}" for number in range(1_200)])) == 1_200


def test_threads_may_share_it(index: ArticleIndex) -> None:
    errors: list[BaseException] = []

    def work(writer: int) -> None:
        try:
            for number in range(20):
                name = f"N{writer}-{number}"
                index.upsert([article(name, [1.0])])
                index.set_popularity({name: 1.0})
                assert name in searched(index, 200)
                assert name in ids(index.trending(200))
                assert name in index.get([name])
                if number % 2:
                    index.delete([name])
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(writer,)) for writer in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=HANG_S)
    assert not errors
    assert index.count() == 4 * 10
