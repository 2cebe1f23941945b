"""The index of a bundle that is not known yet finds nothing, and one that does not open is tried again."""

from __future__ import annotations

import numpy as np
import pytest

from freshet.models.exact_index import ExactIndex
from freshet.models.ports import ArticleIndex, IndexedArticle, IndexUnavailable
from freshet.streams import bundle_index
from freshet.streams.bundle_index import BundleIndex

_D = 4
_ARTICLE = IndexedArticle("N1", np.eye(_D, dtype=np.float32)[0], 100.0, popularity=1.0)
_QUERY = np.eye(_D, dtype=np.float32)[:2]


class Opener:
    """Opens indexes in memory, after some failures."""

    def __init__(self, failures: int = 0) -> None:
        self.failures = failures
        self.opened: list[str] = []

    def __call__(self, bundle: str) -> ArticleIndex:
        if self.failures:
            self.failures -= 1
            raise IndexUnavailable("not yet")
        self.opened.append(bundle)
        return ExactIndex(_D)


def test_before_a_bundle_is_named_nothing_is_found_and_nothing_opened() -> None:
    opener = Opener()
    index = BundleIndex(_D, opener)
    assert index.d == _D
    assert index.search(_QUERY, 3) == [[], []]
    assert index.trending(3) == index.newest(3) == []
    assert index.get(["N1"]) == {}
    assert index.count() == 0
    index.delete(["N1"])
    index.set_withdrawn(["N1"])
    index.set_popularity({"N1": 1.0})
    index.close()
    assert opener.opened == []
    with pytest.raises(RuntimeError, match=r"open\(\) comes before upsert\(\)"):
        index.upsert([_ARTICLE])


def test_a_named_bundle_is_opened_once_and_used() -> None:
    opener = Opener()
    index = BundleIndex(_D, opener)
    index.open("b1")
    index.open("b1")
    index.upsert([_ARTICLE])
    assert opener.opened == ["b1"]
    assert [hit.news_id for hit in index.search(_QUERY, 3)[0]] == ["N1"]
    assert [hit.news_id for hit in index.trending(3)] == ["N1"]
    assert [hit.news_id for hit in index.newest(3)] == ["N1"]
    index.set_popularity({"N1": 2.0})
    assert index.get(["N1"])["N1"].popularity == 2.0
    index.set_withdrawn(["N1"])
    assert index.newest(3) == []
    index.delete(["N1"])
    assert index.count() == 0


def test_two_bundles_are_never_mixed() -> None:
    index = BundleIndex(_D, Opener())
    index.open("b1")
    with pytest.raises(ValueError, match="b1 is open, b2 cannot be mixed"):
        index.open("b2")


def test_an_index_that_does_not_open_is_tried_again_but_not_at_every_call(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = 1_000.0
    monkeypatch.setattr(bundle_index.time, "monotonic", lambda: now)
    opener = Opener(failures=2)
    index = BundleIndex(_D, opener)
    index.open("b1")
    for _ in range(3):
        with pytest.raises(IndexUnavailable):
            index.search(_QUERY, 3)
    assert opener.failures == 1, "only the first call tried"
    now += 60.0
    with pytest.raises(IndexUnavailable, match="not yet"):
        index.newest(3)
    now += 60.0
    assert index.newest(3) == []
    assert opener.opened == ["b1"]


def test_after_closing_another_bundle_may_be_opened() -> None:
    opener = Opener()
    index = BundleIndex(_D, opener)
    index.open("b1")
    index.upsert([_ARTICLE])
    index.close()
    index.open("b2")
    assert index.count() == 0
    assert opener.opened == ["b1", "b2"]
