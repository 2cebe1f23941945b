"""The demo can be followed on a terminal and in a log."""

from __future__ import annotations

import io
from collections.abc import Sequence

import pytest
from click.testing import CliRunner
from rich.console import Console
from rich.text import Text

from freshet.models.events.events import Article, Recommendation, RecommendedArticle, from_unix_s
from freshet.workers.cli.main import main
from freshet.workers.demo.newspaper import Reader
from freshet.workers.demo.screen import Screen, duration, feed_line, feed_panel, sparks
from freshet.workers.demo.story import ClickStory, Effect
from freshet.workers.demo.text import click_story
from freshet.workers.replay.report import ReplayProgress

ARTICLES = {
    news_id: Article(
        news_id=news_id, published_at=from_unix_s(0), title=f"Title of {news_id}", category="arts"
    )
    for news_id in "abcdefgh"
}
VIEW = {
    "history": {
        "impressions_per_s": [0.0, 181.4],
        "answer_p50_s": [None, 0.012],
        "answer_p99_s": [None, 1.25],
        "click_p50_s": [None, 0.02],
        "click_p99_s": [None, 0.09],
        "auc": [None, 0.5, 0.6, 0.6512],
    }
}
TRENDING = [
    {"news_id": "a", "title": "Title of a", "category": "arts", "clicks": 12.4},
    {"news_id": "b", "title": "", "category": "", "clicks": 3.0},
]


def answer(ids: Sequence[str], clicks: int = 3) -> Recommendation:
    return Recommendation(
        request_id="R1",
        user_id="U1",
        time=from_unix_s(3_600),
        bundle="b",
        ranker="r",
        items=tuple(
            RecommendedArticle(
                news_id=news_id,
                score=0.1,
                title=ARTICLES[news_id].title,
                category="arts",
                published_at=from_unix_s(0),
            )
            for news_id in ids
        ),
        user_clicks=clicks,
    )


def shown(*parts: object) -> str:
    console = Console(file=io.StringIO(), width=100)
    for part in parts:
        console.print(part)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_the_panel_and_the_line_say_the_same() -> None:
    progress = ReplayProgress("impressions", total=4_000, done=2_310, time_s=1_767_722_580.0)
    panel = shown(feed_panel(progress, VIEW, TRENDING, scored=True))
    line = feed_line(progress, VIEW, TRENDING, scored=True)
    for fact in ("2,310 of 4,000", "Tue 6 Jan 18:03", "181/s", "12 ms (p99 1.2 s)", "0.651", "Title of a"):
        assert fact in panel
        assert fact in line


def test_clicks_that_have_all_decayed_are_no_error() -> None:
    trending = [article | {"clicks": 0.0} for article in TRENDING]
    panel = shown(feed_panel(ReplayProgress("impressions", 1, 10), VIEW, trending, scored=False))
    assert "Title of a" in panel


def test_what_is_not_known_yet_is_no_error() -> None:
    progress = ReplayProgress("impressions", 0, 10)
    panel = shown(feed_panel(progress, {}, [], scored=True))
    assert "0 of 10" in panel
    assert "..." in feed_line(progress, {}, [], scored=True)


def test_a_log_gets_a_last_line_and_no_control_characters() -> None:
    console = Console(file=io.StringIO(), width=100)
    with Screen(console).watch(lambda: "panel", lambda: "line") as tick:
        tick()
    assert isinstance(console.file, io.StringIO)
    assert console.file.getvalue() == "line\n"


def test_a_terminal_gets_the_panel() -> None:
    console = Console(file=io.StringIO(), width=100, force_terminal=True)
    with Screen(console).watch(lambda: "panel", lambda: "line") as tick:
        tick()
    assert isinstance(console.file, io.StringIO)
    assert "panel" in console.file.getvalue()


def test_a_click_is_told_by_what_moved() -> None:
    story = ClickStory(
        reader=Reader("U1", "sports", ("a",), 1),
        article=answer("h").items[0],
        before=answer("abcde"),
        after=answer("aecfb", clicks=4),
        effect=Effect(0.04, 2),
    )
    assert story.moves() == [1, 5, 3, None, 2]
    assert [(item.news_id, was, rank) for item, was, rank in story.risen()] == [("e", 5, 2)]
    text = shown(*click_story(story))
    for fact in ("U1", "Title of h", "▲3", "▼3", "new", "5 → 2", "40 ms"):
        assert fact in text


@pytest.mark.parametrize(("seconds", "text"), [(None, "..."), (0.0123, "12 ms"), (3.44, "3.4 s")])
def test_durations_read_as_people_say_them(seconds: float | None, text: str) -> None:
    assert duration(seconds) == text


def test_sparks_go_from_the_lowest_to_the_highest() -> None:
    assert sparks((0.5, 0.6, 0.7)) == "▁▅█"
    assert sparks((0.5, 0.5)) == "▁▁"
    assert sparks(()) == ""


@pytest.mark.parametrize("arguments", [["--users", "3"], ["--articles", "5"], ["--seed", "-1"]])
def test_a_world_that_is_too_small_is_wrong_usage(arguments: list[str]) -> None:
    assert CliRunner().invoke(main, ["demo", *arguments]).exit_code == 2


def test_a_headline_that_is_too_long_is_cut_not_wrapped() -> None:
    console = Console(file=io.StringIO(), width=40)
    Screen(console).say(Text("long " * 20, no_wrap=True, overflow="ellipsis"))
    assert isinstance(console.file, io.StringIO)
    (line,) = console.file.getvalue().splitlines()
    assert line.endswith("…")
