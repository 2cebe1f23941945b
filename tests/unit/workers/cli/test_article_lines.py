"""Articles from JSON: however the file is laid out, each article or bad line comes with its line's number."""

from __future__ import annotations

import io
import json

import pytest

from freshet.models.events.events import MAX_EVENT_BYTES, Article
from freshet.workers.cli.article_lines import BadArticle, read_articles


def line(news_id: str, indent: int | None = None) -> bytes:
    return json.dumps({"news_id": news_id, "published_at": "2026-03-02T08:00:00Z"}, indent=indent).encode()


def read(text: bytes) -> list[str | int]:
    """Each article's id and each bad line's number."""
    return [
        article.news_id if isinstance(article, Article) else article.line
        for article in read_articles(io.BytesIO(text))
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (b"", []),
        (b"\n \n", []),
        (line("N1"), ["N1"]),
        (line("N1", indent=2) + b"\n", ["N1"]),
        (b"\n\n" + line("N1", indent=2), ["N1"]),
        (line("N1") + b"\n" + line("N2") + b"\n", ["N1", "N2"]),
        (line("N1") + b"\r\n\r\n" + line("N2"), ["N1", "N2"]),
        (b"oops\n" + line("N2") + b"\n\n{}\n" + line("N5"), [1, "N2", 4, "N5"]),
        (line("N1") + b"\n" + line("N2")[:-1] + b"\n" + line("N3"), ["N1", 2, "N3"]),
        (b"[" + line("N1") + b"]", [1]),
        (line("N1", indent=2) + b"\n" + line("N2", indent=2), [*range(1, 9)]),
    ],
)
def test_articles_and_bad_lines_come_in_order(text: bytes, expected: list[str | int]) -> None:
    assert read(text) == expected


def test_a_bad_line_says_what_is_wrong() -> None:
    (bad,) = read_articles(io.BytesIO(b'{"news_id": "N1"}'))
    assert bad == BadArticle(1, "Article: published_at: Field required")


@pytest.mark.parametrize("before", [b"", b"oops\n", line("N1") + b"\n"])
def test_a_line_too_long_for_a_record_costs_only_itself(before: bytes) -> None:
    text = before + b'"' + b"x" * (3 * MAX_EVENT_BYTES) + b'"\n' + line("N9") + b"\n"
    number = 1 + before.count(b"\n")
    assert read(text)[-2:] == [number, "N9"]


@pytest.mark.parametrize("cut", [-1, 0, 1])
def test_a_line_end_at_the_bound_of_the_first_look_is_found(cut: int) -> None:
    filler = b"oops\n" + b" " * (MAX_EVENT_BYTES - 6 + cut) + b"\n"
    assert read(filler + line("N3") + b"\n" + line("N4")) == [1, "N3", "N4"]
