"""A remembered list is what would be found now; it is forgotten when what it lists changes."""

from __future__ import annotations

import time

import pytest

from freshet.models.ports import Hit
from freshet.streams.index.remembered_lists import MAX_LISTS, RememberedLists


class Listing:
    """The hits N0, N1, ..., and how often they were asked for."""

    def __init__(self, of: int) -> None:
        self.hits = [Hit(f"N{i}", float(-i)) for i in range(of)]
        self.asked = 0

    def __call__(self, limit: int) -> list[Hit]:
        self.asked += 1
        return self.hits[:limit]


def test_lists_of_about_one_length_are_asked_for_once() -> None:
    lists, listing = RememberedLists(), Listing(500)
    for k in (50, 64, 1, 50):
        assert lists.first(k, "newest", listing) == listing.hits[:k]
    assert listing.asked == 1
    assert lists.first(65, "newest", listing) == listing.hits[:65]
    assert lists.first(50, "trending", listing) == listing.hits[:50]
    assert listing.asked == 3


def test_a_short_list_is_given_whole() -> None:
    assert len(RememberedLists().first(50, "newest", Listing(3))) == 3


def test_nothing_asked_for_before_a_change_is_given_after_it() -> None:
    lists, listing = RememberedLists(), Listing(5)

    def asks_while_something_changes(limit: int) -> list[Hit]:
        found = listing(limit)
        listing.hits = listing.hits[1:]
        lists.forget()
        return found

    assert lists.first(2, "newest", asks_while_something_changes)[0].news_id == "N0"
    assert lists.first(2, "newest", listing)[0].news_id == "N1"
    lists.forget()
    lists.first(2, "newest", listing)
    assert listing.asked == 3


def test_a_caller_may_change_its_list() -> None:
    lists, listing = RememberedLists(), Listing(5)
    lists.first(5, "newest", listing).clear()
    assert len(lists.first(5, "newest", listing)) == 5


def test_only_so_many_lists_are_kept() -> None:
    lists, listing = RememberedLists(), Listing(5)
    for question in range(2 * MAX_LISTS):
        lists.first(5, question, listing)
    for question in range(2 * MAX_LISTS):
        lists.first(5, question, listing)
    assert listing.asked == 3 * MAX_LISTS


def test_what_others_may_have_changed_is_asked_for_again_after_a_while(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock_s = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock_s[0])
    lists, listing = RememberedLists(max_age_s=0.25), Listing(5)
    for clock_s[0], asked in ((100.0, 1), (100.2, 1), (100.25, 2), (100.4, 2), (101.0, 3)):
        lists.first(5, "newest", listing)
        assert listing.asked == asked
