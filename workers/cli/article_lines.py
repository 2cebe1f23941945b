"""Reads articles from a stream of JSON: one object over several lines, or one object per line.

Memory is bounded by the size of a record, however long the stream. A line that is not an article becomes a
:class:`BadArticle` with its number; the lines after it are still read.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from typing import IO

import orjson

from freshet.models.datasets.text_lines import text_start
from freshet.models.events.events import MAX_EVENT_BYTES, Article, EventError


@dataclass(frozen=True, slots=True)
class BadArticle:
    """Line that is not an article."""

    line: int
    """Number of the line, from 1."""
    reason: str


def read_articles(stream: IO[bytes]) -> Iterator[Article | BadArticle]:
    """Yield each article or bad line in order; skip empty lines."""
    number = 0
    first = b""
    while not first.strip():
        first = _read_line(stream)
        number += 1
        if not first:
            return
        if number == 1:
            first, problem = text_start(first)
            if problem:
                yield BadArticle(number, problem)
                return
    head = [first]
    if not _is_json(first):
        # It may be one object over several lines; if not, these lines are read one by one.
        text = first + stream.read(max(0, MAX_EVENT_BYTES - len(first)))
        if _is_json(text):
            head = [text]
        else:
            head = text.splitlines(keepends=True)
            if not head[-1].endswith(b"\n"):
                head[-1] += _read_line(stream)
    for line in chain(head, iter(lambda: _read_line(stream), b"")):
        if line.strip():
            yield _decode(line, number)
        number += 1


def _read_line(stream: IO[bytes]) -> bytes:
    """Read the next line; of one too long for a record, enough for it to be refused."""
    line = stream.readline(MAX_EVENT_BYTES + 2)
    if line.endswith(b"\n") or len(line) < MAX_EVENT_BYTES + 2:
        return line
    while (rest := stream.readline(1 << 16)) and not rest.endswith(b"\n"):
        pass
    return line + b"\n"


def _is_json(text: bytes) -> bool:
    try:
        orjson.loads(text)
    except orjson.JSONDecodeError:
        return False
    return True


def _decode(text: bytes, number: int) -> Article | BadArticle:
    try:
        return Article.from_json(text.strip())
    except EventError as error:
        return BadArticle(number, str(error))
