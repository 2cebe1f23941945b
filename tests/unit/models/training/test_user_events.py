"""What a user had done before an impression: all of it that is asked for, and nothing of what came later."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from freshet.models.datasets.impression_log import ArticleTable, ImpressionLog
from freshet.models.training.user_events import NOTHING, UserEvents
from freshet.models.users.state import HISTORY_SPACING_S

ARTICLES = 9
USERS = ("U0", "U1", "U2")
LAW = settings(max_examples=150)


@dataclass(frozen=True)
class Line:
    """An impression of the log."""

    time_s: float
    user: int
    slate: tuple[int, ...]
    clicked: tuple[int, ...]
    history: tuple[int, ...]


@st.composite
def lines(draw: st.DrawFn) -> Line:
    articles = st.lists(st.integers(0, ARTICLES - 1), unique=True)
    slate = draw(articles.filter(bool))
    clicked = draw(st.lists(st.sampled_from(slate), unique=True))
    # Few moments, so that some impressions share theirs.
    return Line(
        draw(st.integers(0, 20)) * 60.0,
        draw(st.integers(0, 2)),
        tuple(slate),
        tuple(clicked),
        tuple(draw(articles)),
    )


def log_of(entries: list[Line]) -> ImpressionLog:
    entries = sorted(entries, key=lambda line: line.time_s)
    n = ARTICLES
    return ImpressionLog(
        folder=Path("log"),
        articles=ArticleTable(
            tuple(f"N{i}" for i in range(n)),
            np.ones(n, np.bool_),
            [""] * n,
            [""] * n,
            [""] * n,
            [""] * n,
            [""] * n,
        ),
        user_ids=USERS,
        time_s=np.array([line.time_s for line in entries]),
        user=np.array([line.user for line in entries], np.int32),
        slate_start=np.cumsum([0, *(len(line.slate) for line in entries)]),
        candidates=np.array([a for line in entries for a in line.slate], np.int32),
        clicked=np.array([a in line.clicked for line in entries for a in line.slate], np.bool_),
        history=np.arange(1, len(entries) + 1, dtype=np.int32),
        history_start=np.cumsum([0, 0, *(len(line.history) for line in entries)]),
        history_items=np.array([a for line in entries for a in line.history], np.int32),
        sha256="",
    )


def expected(
    entries: list[Line], position: int, max_clicks: int, max_skips: int
) -> tuple[list[tuple[int, float]], list[tuple[int, float]]]:
    """Clicks and skips with their ages, straight from the definition."""
    entries = sorted(entries, key=lambda line: line.time_s)
    now = entries[position]
    mine = [line for line in entries if line.user == now.user]
    first = mine[0]
    clicks = [
        (article, now.time_s - first.time_s + HISTORY_SPACING_S * (len(first.history) - i))
        for i, article in enumerate(first.history)
    ]
    skips = []
    for line in mine:
        if line.time_s < now.time_s:
            for article in line.slate:
                target = clicks if article in line.clicked else skips
                target.append((article, now.time_s - line.time_s))
    return clicks[::-1][:max_clicks], skips[::-1][:max_skips]


@LAW
@given(st.lists(lines(), min_size=1, max_size=12), st.integers(0, 12), st.integers(0, 30), st.integers(0, 30))
def test_a_batch_has_the_newest_events_of_strictly_earlier_impressions(
    entries: list[Line], cut: int, max_clicks: int, max_skips: int
) -> None:
    log = log_of(entries)
    cut = min(cut, len(log) - 1)
    events = UserEvents(log.slice(cut, len(log)), log.slice(0, cut))
    positions = np.arange(len(log) - cut)
    batch = events.batch(positions, max_clicks, max_skips)
    for i in positions.tolist():
        clicks, skips = expected(entries, cut + i, max_clicks, max_skips)
        for wanted, articles, age_s in (
            (clicks, batch.clicks[i], batch.click_age_s[i]),
            (skips, batch.skips[i], batch.skip_age_s[i]),
        ):
            found = [(a, t) for a, t in zip(articles.tolist(), age_s.tolist(), strict=True) if a != NOTHING]
            assert found == wanted
            assert (articles[len(wanted) :] == NOTHING).all()
            assert not age_s[len(wanted) :].any()


@LAW
@given(st.lists(lines(), min_size=2, max_size=10), st.integers(0, 9))
def test_nothing_of_an_impression_or_of_a_later_one_changes_its_events(entries: list[Line], at: int) -> None:
    log = log_of(entries)
    at = min(at, len(log) - 1)
    before = UserEvents(log).batch(np.array([at]), 50, 50)
    later = log.time_s >= log.time_s[at]
    of_candidate = np.repeat(later, np.diff(log.slate_start))
    changed = log_of(entries)
    changed.clicked[of_candidate] ^= True
    changed.candidates[of_candidate] = (changed.candidates[of_candidate] + 1) % ARTICLES
    after = UserEvents(changed).batch(np.array([at]), 50, 50)
    np.testing.assert_array_equal(before.clicks, after.clicks)
    np.testing.assert_array_equal(before.click_age_s, after.click_age_s)
    np.testing.assert_array_equal(before.skips, after.skips)
    np.testing.assert_array_equal(before.skip_age_s, after.skip_age_s)


def test_earlier_impressions_must_come_before_and_be_of_the_same_log() -> None:
    entries = [Line(60.0 * i, 0, (1, 2), (1,), ()) for i in range(4)]
    log, other = log_of(entries), log_of(entries)
    with pytest.raises(ValueError, match="not of the same log"):
        UserEvents(log.slice(2, 4), other.slice(0, 2))
    with pytest.raises(ValueError, match="do not end before"):
        UserEvents(log.slice(0, 2), log.slice(2, 4))
