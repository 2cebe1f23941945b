"""The index of a bundle that is not known yet finds nothing, and one that does not open is tried again.

Requests wait neither for its opening nor for one that is out of order.
"""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest

from freshet.models.articles.exact_index import ExactIndex
from freshet.models.ports import (
    EVERYTHING,
    ArticleFilter,
    ArticleIndex,
    Hit,
    IndexedArticle,
    IndexUnavailable,
)
from freshet.streams.index import bundle_index
from freshet.streams.index.bundle_index import BundleIndex
from tests.waiting import HANG_S, wait_until

_D = 4
_ARTICLE = IndexedArticle("N1", np.eye(_D, dtype=np.float32)[0], 100.0, popularity=1.0)
_QUERY = np.eye(_D, dtype=np.float32)[:2]


def newest(index: BundleIndex) -> list[str] | None:
    """What a request is given; ``None`` where it has to do without."""
    try:
        with index.answering() as searches:
            return [hit.news_id for hit in searches.newest(3)]
    except IndexUnavailable:
        return None


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


def test_a_request_neither_opens_an_index_elsewhere_nor_waits_for_its_opening() -> None:
    opened_by: list[str] = []
    let_open = threading.Event()

    def opener(bundle: str) -> ArticleIndex:
        opened_by.append(threading.current_thread().name)
        assert let_open.wait(HANG_S)
        index = ExactIndex(_D)
        index.upsert([_ARTICLE])
        return index

    index = BundleIndex(_D, opener, answer_timeout_s=HANG_S)
    assert newest(index) == [], "no bundle, no articles"
    index.open("b1")
    for _ in range(5):
        assert newest(index) is None
    wait_until(lambda: bool(opened_by), "the index to be opened in the background")
    assert newest(index) is None
    let_open.set()
    wait_until(lambda: newest(index) == ["N1"], "the index to be open")
    assert opened_by == ["probe-b1"]
    index.close()


def test_an_index_that_does_not_open_at_the_start_is_opened_later() -> None:
    opener = Opener(failures=2)
    index = BundleIndex(_D, opener, answer_timeout_s=HANG_S)
    index.open("b1")
    index.prepare()
    assert newest(index) is None
    wait_until(lambda: newest(index) == [], "the index to be open")
    assert opener.opened == ["b1"]
    index.close()


class SlowIndex(ExactIndex):
    """Takes its time for each list of the newest."""

    takes_s = 0.0

    def newest(self, k: int, where: ArticleFilter = EVERYTHING) -> list[Hit]:
        time.sleep(self.takes_s)
        return super().newest(k, where)


def test_one_that_is_late_is_asked_no_more_until_it_is_in_time_again() -> None:
    slow = SlowIndex(_D)
    index = BundleIndex(_D, lambda bundle: slow, answer_timeout_s=0.5)
    index.open("b1")
    index.prepare()
    index.upsert([_ARTICLE])
    assert newest(index) == ["N1"]
    slow.takes_s = 0.7
    assert newest(index) is None
    assert newest(index) is None
    slow.newest = None  # type: ignore[method-assign, assignment]  # whoever asks it now fails of it
    for _ in range(5):
        assert newest(index) is None
    with pytest.raises(IndexUnavailable, match=r"more than 0\.5 s"):
        index.set_popularity({"N1": 1.0})
    index.upsert([_ARTICLE])  # an article is worth a patient attempt
    del slow.newest
    slow.takes_s = 0.0
    wait_until(lambda: newest(index) == ["N1"], "the index to be in time")
    index.close()


def test_a_search_whose_answer_is_out_already_is_not_made_and_says_nothing_of_the_index() -> None:
    index = BundleIndex(_D, Opener(), answer_timeout_s=HANG_S)
    index.open("b1")
    index.prepare()
    for _ in range(5):
        with (
            pytest.raises(IndexUnavailable, match="could not wait"),
            index.answering(time.monotonic() - 1.0) as searches,
        ):
            searches.newest(3)
    assert newest(index) == []
    index.close()
