"""Converts the lines of a MIND folder to events, and events to lines.

MIND (Wu et al., ACL 2020): ``news.tsv`` and ``behaviors.tsv``, tab-separated UTF-8 without a header. Readers
hold a line at a time. A line that cannot be read becomes a :class:`BadLine`, in its place. Blank lines are
skipped. Times are UTC, to the second.

Rules for what real files contain:

- A slate whose candidates have no labels (MIND's test split) is a bad line. Read as an impression without
  clicks, it would mean that every candidate was skipped.
- A candidate listed twice in one slate is kept once, clicked if either is.
- A history longer than an event may hold keeps its latest clicks.
- A text longer than an event may hold is cut, an address that is too long is left out, and an entities column
  that is missing or broken leaves the article without entities. :class:`Repairs` counts all three.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import BinaryIO, TypeVar

import orjson

from freshet.models.datasets.text_lines import read_lines, readable_reason
from freshet.models.events.events import MAX_HISTORY, Article, Impression, from_unix_s
from freshet.models.events.times import checked_unix_s

NEWS_FILE = "news.tsv"
BEHAVIORS_FILE = "behaviors.tsv"
PUBLISHED_FILE = "published.tsv"
"""Extension of MIND for data with publication times: lines of ``news_id<TAB>Unix seconds``."""

BEHAVIORS_COLUMNS = 5

_MAX_TITLE = 1_000
_MAX_ABSTRACT = 10_000
_MAX_URL = 2_048
_MAX_LABEL = 128
_MAX_ENTITIES = 64
_MAX_ID = 128
_NEWS_COLUMNS = 8
_NEWS_COLUMNS_WITHOUT_ENTITIES = 6
_NOON = 12
_MIND_TIME = re.compile(
    r"(\d\d?/\d\d?/\d{4}) (0?[1-9]|1[0-2]):([0-5]?\d):([0-5]?\d) (AM|PM)",
    re.ASCII,
)

T = TypeVar("T")


class MindError(ValueError):
    """A MIND folder cannot be used at all: a file is missing, or has no readable line."""


@dataclass(frozen=True, slots=True)
class BadLine:
    """A line that does not have its file's format."""

    file: str
    """Name of the file, without its folder."""
    line: int
    """Line number, counted from 1."""
    reason: str
    raw: bytes
    """Line without its break; an overlong line is cut to ``MAX_LINE_BYTES``."""


@dataclass(frozen=True, slots=True)
class BadLinePolicy:
    """Handles each bad line of a folder: raises ``error``, or reports the line to ``on_bad_line``."""

    folder: Path
    error: type[ValueError]
    skip: bool = False
    """Reports bad lines instead of raising."""
    on_bad_line: Callable[[BadLine], None] | None = None

    def __call__(self, bad: BadLine) -> None:
        """Raise or report ``bad``."""
        if not self.skip:
            raise self.error(f"{self.folder / bad.file}:{bad.line}: {bad.reason} (--skip-bad-lines skips it)")
        if self.on_bad_line is not None:
            self.on_bad_line(bad)


@dataclass(slots=True)
class Repairs:
    """Counts of articles that were read with something left out."""

    cut_texts: int = 0
    """Articles whose title, abstract, category or address was too long."""
    broken_entities: int = 0
    """Articles whose entities column was missing or broken."""


def read_news(
    path: Path,
    published_at_s: Mapping[str, float] | None = None,
    *,
    default_published_at_s: float = 0.0,
    repairs: Repairs | None = None,
) -> Iterator[Article | BadLine]:
    """Yield the articles of a folder or of a ``news.tsv``, in the file's order.

    Args:
        path: Folder or file.
        published_at_s: Publication times by news id, Unix seconds, which MIND does not have. By default those
            of the folder's ``published.tsv``, if there is one.
        default_published_at_s: Publication time of the other articles. Class
            :class:`~freshet.models.datasets.mind_timeline.Timeline` infers a better one.
        repairs: Counts the articles that were read with something left out.

    Raises:
        MindError: The file is missing or unreadable.
    """
    path = _file(path, NEWS_FILE)
    if published_at_s is None:
        published_at_s = dict(
            entry for entry in read_published(path.parent) if not isinstance(entry, BadLine)
        )
    times_s, counts = published_at_s, repairs or Repairs()
    return _parsed(path, lambda raw: parse_article(raw, times_s, default_published_at_s, counts))


def read_behaviors(path: Path) -> Iterator[Impression | BadLine]:
    """Yield the impressions of a folder or of a ``behaviors.tsv``, in the file's order.

    That order is not necessarily the order of time.

    Raises:
        MindError: The file is missing or unreadable.
    """
    return _parsed(_file(path, BEHAVIORS_FILE), parse_impression)


def read_published(folder: Path) -> Iterator[tuple[str, float] | BadLine]:
    """Yield news ids with publication times (Unix seconds); nothing for a folder without ``published.tsv``.

    Raises:
        MindError: The file is unreadable.
    """
    path = folder / PUBLISHED_FILE
    return _parsed(path, _parse_published) if path.exists() else iter(())


def parse_article(
    raw: bytes, published_at_s: Mapping[str, float], default_published_at_s: float, repairs: Repairs
) -> Article:
    """Parse a line of ``news.tsv``; the other arguments are those of :func:`read_news`.

    Raises:
        ValueError: The line is not an article.
    """
    columns = raw.decode().split("\t")
    if not _NEWS_COLUMNS_WITHOUT_ENTITIES <= len(columns) <= _NEWS_COLUMNS:
        raise ValueError(f"{len(columns)} columns, not {_NEWS_COLUMNS}")
    news_id, category, subcategory, title, abstract, url = columns[:_NEWS_COLUMNS_WITHOUT_ENTITIES]
    try:
        entities = _entity_ids(columns[_NEWS_COLUMNS_WITHOUT_ENTITIES])
        broken_entities = False
    except (ValueError, IndexError):
        entities, broken_entities = (), True
    article = Article(
        news_id=news_id,
        published_at=from_unix_s(published_at_s.get(news_id, default_published_at_s)),
        title=title[:_MAX_TITLE],
        abstract=abstract[:_MAX_ABSTRACT],
        category=category[:_MAX_LABEL],
        subcategory=subcategory[:_MAX_LABEL],
        url=url if len(url) <= _MAX_URL else "",
        entities=entities,
    )
    repairs.broken_entities += broken_entities
    repairs.cut_texts += (
        article.title != title
        or article.abstract != abstract
        or article.category != category
        or article.subcategory != subcategory
        or article.url != url
    )
    return article


def parse_impression(raw: bytes) -> Impression:
    """Parse a line of ``behaviors.tsv``.

    Raises:
        ValueError: The line is not an impression (pydantic's ``ValidationError`` is a ``ValueError`` too).
    """
    columns = raw.decode().split("\t")
    if len(columns) != BEHAVIORS_COLUMNS:
        raise ValueError(f"{len(columns)} columns, not {BEHAVIORS_COLUMNS}")
    impression_id, user_id, time, history, slate = columns
    candidates, clicked = _slate(slate)
    return Impression(
        impression_id=impression_id,
        user_id=user_id,
        time=from_unix_s(parse_time(time)),
        candidates=candidates,
        clicked=clicked,
        history=tuple(history.split()[-MAX_HISTORY:]),
    )


def parse_time(text: str) -> int:
    """Parse MIND's ``11/11/2019 9:05:58 AM``, taken as UTC, to Unix seconds.

    Raises:
        ValueError: The text is not such a time between 1970 and 2100.
    """
    try:
        match = _MIND_TIME.fullmatch(text)
        if match is None:
            raise ValueError("the year has four digits, the time AM or PM")
        date, hour, minute, second, half = match.groups()
        hours = int(hour) % _NOON + (_NOON if half == "PM" else 0)
        return _day_s(date) + hours * 3_600 + int(minute) * 60 + int(second)
    except ValueError as error:
        raise ValueError(f"time {text[:40]!r} is not like '11/11/2019 9:05:58 AM': {error}") from error


def format_time(time_s: float) -> str:
    """Format Unix seconds in MIND's way, rounded down to the second."""
    time = from_unix_s(time_s // 1)
    half = "AM" if time.hour < _NOON else "PM"
    hour = time.hour % _NOON or _NOON
    return f"{time.month}/{time.day}/{time.year} {hour}:{time.minute:02}:{time.second:02} {half}"


def news_line(article: Article) -> str:
    """Format an article as a line of ``news.tsv``, with its line break.

    Tabs and line breaks inside a text become spaces. The language and the publication time have no column;
    :func:`published_line` keeps the latter.
    """
    entities = [{"WikidataId": entity, "Confidence": 1.0} for entity in article.entities]
    texts = (article.category, article.subcategory, article.title, article.abstract, article.url)
    columns = [article.news_id, *(" ".join(text.split()) for text in texts)]
    return "\t".join([*columns, orjson.dumps(entities).decode(), "[]"]) + "\n"


def behaviors_line(impression: Impression) -> str:
    """Format an impression as a line of ``behaviors.tsv``, with its line break."""
    clicked = set(impression.clicked)
    slate = " ".join(f"{news_id}-{int(news_id in clicked)}" for news_id in impression.candidates)
    time = format_time(impression.time.timestamp())
    history = " ".join(impression.history)
    return f"{impression.impression_id}\t{impression.user_id}\t{time}\t{history}\t{slate}\n"


def published_line(news_id: str, published_at_s: float) -> str:
    """Format a publication time as a line of ``published.tsv``, rounded down to the second."""
    return f"{news_id}\t{int(published_at_s // 1)}\n"


def open_mind_file(path: Path) -> BinaryIO:
    """Open one file of a MIND folder for reading.

    Raises:
        MindError: The file is missing or unreadable.
    """
    try:
        return path.open("rb")
    except OSError as error:
        raise MindError(
            f"{path}: {error.strerror}; a MIND folder holds {BEHAVIORS_FILE} and {NEWS_FILE}"
        ) from error


def _parsed(path: Path, parse: Callable[[bytes], T]) -> Iterator[T | BadLine]:
    with open_mind_file(path) as file:
        for line in read_lines(file):
            try:
                yield parse(line.checked_raw())
            except ValueError as error:
                yield BadLine(path.name, line.number, readable_reason(error), line.raw)


def _parse_published(raw: bytes) -> tuple[str, float]:
    try:
        news_id, seconds = raw.decode().split("\t")
        return news_id, checked_unix_s(float(seconds))
    except ValueError as error:
        raise ValueError(f"not a news id, a tab and Unix seconds: {error}") from error


def _file(path: Path, name: str) -> Path:
    return path / name if path.is_dir() else path


@lru_cache(maxsize=4_096)
def _day_s(date: str) -> int:
    month, day, year = (int(part) for part in date.split("/"))
    return int(checked_unix_s(datetime(year, month, day, tzinfo=UTC).timestamp()))


def _slate(text: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    shown: dict[str, bool] = {}
    unlabelled = ""
    for slot in text.split():
        label = slot[-2:]
        if label == "-0":
            shown.setdefault(slot[:-2], False)
        elif label == "-1":
            shown[slot[:-2]] = True
        else:
            unlabelled = slot
    if unlabelled and not shown:
        raise ValueError("no labels on the candidates (MIND's test split): clicks are unknown")
    if unlabelled:
        raise ValueError(f"candidate {unlabelled[:_MAX_ID]!r} has no label (-0 or -1)")
    return tuple(shown), tuple(news_id for news_id, clicked in shown.items() if clicked)


def _entity_ids(column: str) -> tuple[str, ...]:
    if not column.strip():
        return ()
    entries = orjson.loads(column)
    if not isinstance(entries, list):
        raise ValueError("not a JSON list")
    ids: dict[str, None] = {}
    for entry in entries:
        wikidata_id = entry.get("WikidataId") if isinstance(entry, dict) else None
        if not isinstance(wikidata_id, str):
            raise ValueError("an entity without a WikidataId")
        if 0 < len(wikidata_id) <= _MAX_ID and not any(c.isspace() or c < " " for c in wikidata_id):
            ids[wikidata_id] = None
    return tuple(ids)[:_MAX_ENTITIES]
