"""Co-clicks promise the counts of their bounded contexts, and scores that follow from these by formula."""

from __future__ import annotations

from math import log1p, sqrt

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from freshet.models.articles import co_clicks
from freshet.models.articles.co_clicks import CoClicks, trim

LAW = settings(max_examples=60)
NAMES = [f"N{i}" for i in range(8)]
ids = st.sampled_from(NAMES)
contexts = st.lists(ids, unique=True, max_size=6)
added = st.tuples(ids, contexts)
replaced = st.tuples(ids, st.dictionaries(ids, st.integers(1, 9), max_size=4))
BOUND = 5


def counted(
    changes: list[tuple[str, list[str] | dict[str, int]]],
) -> tuple[CoClicks, dict[str, dict[str, int]]]:
    """Co-clicks after clicks and replacements, and the same counts kept plainly."""
    found, wanted = CoClicks(), dict[str, dict[str, int]]()
    for news_id, change in changes:
        if isinstance(change, dict):
            found.replace(news_id, change)
            wanted[news_id] = dict(change)
            continue
        found.add_click(news_id, change)
        counts = wanted.setdefault(news_id, {})
        for before in change:
            if before != news_id:
                counts[before] = counts.get(before, 0) + 1
        trim(counts)
    return found, wanted


@LAW
@given(st.lists(st.one_of(added, replaced), max_size=25), contexts, st.integers(0, 40))
def test_counts_and_scores_are_those_of_the_definition(
    changes: list[tuple[str, list[str] | dict[str, int]]], recent: list[str], all_clicks: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(co_clicks, "MAX_CONTEXT", BOUND)
        found, wanted = counted(changes)

    for news_id in NAMES:
        counts = wanted.get(news_id, {})
        assert list(found.contexts(news_id).items()) == list(counts.items())
    totals = {b: sum(counts.get(b, 0) for counts in wanted.values()) for b in NAMES}
    clicks = np.arange(float(len(NAMES)))
    scores = found.scores(NAMES, recent, clicks, float(all_clicks))
    surprise, cosine = np.zeros((2, len(NAMES))) if scores is None else scores.T
    for i, a in enumerate(NAMES):
        shared = {b: wanted[a][b] for b in recent if b in wanted.get(a, {})}
        assert surprise[i] == pytest.approx(
            sum(log1p(n * all_clicks / ((totals[b] + 5) * (clicks[i] + 5))) for b, n in shared.items())
        )
        assert cosine[i] == pytest.approx(
            sum(n / sqrt((totals[b] + 1) * (clicks[i] + 1)) for b, n in shared.items())
        )


def test_a_count_of_more_than_32_bits_is_held_as_a_large_one() -> None:
    found = CoClicks()
    found.replace("a", {"b": (1 << 63) - 1, "c": 1})
    assert found.contexts("a") == {"b": co_clicks.MAX_COUNT, "c": 1}
    found.add_click("a", ["b", "c"])
    assert found.contexts("a") == {"b": co_clicks.MAX_COUNT + 1, "c": 2}
    found.replace("a", {})
    assert not found._number_of


def test_what_is_forgotten_leaves_no_memory() -> None:
    found = CoClicks()
    for round_ in range(20):
        for i in range(200):
            found.add_click(f"a{round_}", [f"b{round_} {i}"])
        found.replace(f"a{round_}", {})

    assert not found._contexts
    assert not found._number_of
    assert len(found._names) == 200
