"""Reads the lines of a MIND folder in the order of time, with 20 bytes of memory a line.

MIND's files are not sorted. One pass records the time and the position of each line. The events are then read
from disk one at a time, in the order of time. Lines of the same time keep their order in the file.

MIND does not say when an article was published. These rules infer a time that does not reveal the future:

- An article in ``published.tsv`` has that time, but at the latest one second before it was first shown.
- Any other article that was shown was published one second before it was first shown.
- An article that was never shown was published one second before the folder's first impression.
"""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

import numpy as np
from numpy.typing import NDArray

from freshet.models.datasets.mind import (
    BEHAVIORS_COLUMNS,
    BEHAVIORS_FILE,
    NEWS_FILE,
    PUBLISHED_FILE,
    BadLine,
    MindError,
    Repairs,
    open_mind_file,
    parse_article,
    parse_impression,
    parse_time,
    read_published,
)
from freshet.models.datasets.text_lines import read_line, read_lines, readable_reason
from freshet.models.events.events import Article, Impression

SHOWN_AFTER_S = 1.0
"""Least time between an article's publication and its first impression."""

K = TypeVar("K", np.float64, np.uint64)

_TIME_COLUMN, _SLATE_COLUMN = 2, 4
_LABELS = (b"-0", b"-1")


@dataclass(frozen=True, slots=True)
class LineIndex:
    """Positions of the lines of a file, in the order of their time."""

    times_s: NDArray[np.float64]
    """Shape (n,), Unix seconds, ascending."""
    offsets: NDArray[np.int64]
    """Shape (n,), bytes from the file's beginning."""
    lines: NDArray[np.int32]
    """Shape (n,), line numbers counted from 1."""

    def __len__(self) -> int:
        return len(self.times_s)


class Timeline(AbstractContextManager["Timeline"]):
    """Gives the articles and impressions of a folder by their rank in time. Close it, or use it in ``with``.

    Raises:
        MindError: A file is missing, or no line of ``behaviors.tsv`` is a labelled impression.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.repairs = Repairs()
        """Counts of the articles read so far."""
        self._files = ExitStack()
        try:
            self._behaviors = self._files.enter_context(open_mind_file(folder / BEHAVIORS_FILE))
            self._news = self._files.enter_context(open_mind_file(folder / NEWS_FILE))
            self.impressions, first_shown_s, self._untimed = _scan_behaviors(self._behaviors, folder)
            self._bad_published: list[BadLine] = []
            self._published_at_s = self._publication_times(first_shown_s)
            self.articles = self._scan_news()
        except BaseException:
            self._files.close()
            raise

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the files."""
        self._files.close()

    @property
    def first_time_s(self) -> float:
        """Time of the first impression, Unix seconds."""
        return float(self.impressions.times_s[0])

    @property
    def last_time_s(self) -> float:
        """Time of the last impression, Unix seconds."""
        return float(self.impressions.times_s[-1])

    def impression(self, position: int) -> Impression | BadLine:
        """Read the impression of rank ``position`` in time, or its line if that is not one."""
        try:
            return parse_impression(self._behaviors_line(position))
        except ValueError as error:
            return self.refused(position, readable_reason(error))

    def refused(self, position: int, reason: str) -> BadLine:
        """Return the line of the impression of rank ``position`` as a bad line, for ``reason``."""
        line = int(self.impressions.lines[position])
        return BadLine(BEHAVIORS_FILE, line, reason, self._behaviors_line(position))

    def article(self, position: int) -> Article | BadLine:
        """Read the article of rank ``position`` in publication time, or its line if that is not one."""
        index = self.articles
        self._news.seek(int(index.offsets[position]))
        raw, _, problem = read_line(self._news)
        try:
            if problem:
                raise ValueError(problem)
            return parse_article(raw, self._published_at_s, self._before_everything_s, self.repairs)
        except ValueError as error:
            return BadLine(NEWS_FILE, int(index.lines[position]), readable_reason(error), raw)

    def untimed(self) -> Iterator[BadLine]:
        """Yield the lines without a readable time, and the bad lines of ``published.tsv``."""
        yield from self._bad_published
        for offset, line in self._untimed:
            self._behaviors.seek(offset)
            raw, _, problem = read_line(self._behaviors)
            yield BadLine(BEHAVIORS_FILE, line, problem or _why_untimed(raw), raw)

    def fingerprint(self) -> str:
        """Compute the BLAKE2b digest of the folder's files, 32 hexadecimal digits; reads them whole."""
        digest = hashlib.blake2b(digest_size=16)
        for name in (BEHAVIORS_FILE, NEWS_FILE, PUBLISHED_FILE):
            path = self.folder / name
            if path.exists():
                with path.open("rb") as file:
                    digest.update(hashlib.file_digest(file, "blake2b").digest())
        return digest.hexdigest()

    def _behaviors_line(self, position: int) -> bytes:
        self._behaviors.seek(int(self.impressions.offsets[position]))
        return read_line(self._behaviors)[0]

    @property
    def _before_everything_s(self) -> float:
        return self.first_time_s - SHOWN_AFTER_S

    def _publication_times(self, first_shown_s: dict[str, float]) -> dict[str, float]:
        times = {news_id: shown_s - SHOWN_AFTER_S for news_id, shown_s in first_shown_s.items()}
        for entry in read_published(self.folder):
            if isinstance(entry, BadLine):
                self._bad_published.append(entry)
            else:
                news_id, published_at_s = entry
                times[news_id] = min(published_at_s, times.get(news_id, published_at_s))
        return times

    def _scan_news(self) -> LineIndex:
        times_s, offsets, lines = array("d"), array("q"), array("i")
        for line in read_lines(self._news):
            news_id = line.raw[: line.raw.find(b"\t")].decode("utf-8", "replace")
            times_s.append(self._published_at_s.get(news_id, self._before_everything_s))
            offsets.append(line.offset)
            lines.append(line.number)
        return LineIndex(*sorted_by(np.array(times_s, np.float64), offsets, lines))


def _scan_behaviors(
    file: BinaryIO, folder: Path
) -> tuple[LineIndex, dict[str, float], list[tuple[int, int]]]:
    """Return the index, the first impression of each candidate, and (offset, line) of untimed lines."""
    times_s, offsets, lines = array("d"), array("q"), array("i")
    first_shown_s: dict[bytes, float] = {}
    untimed: list[tuple[int, int]] = []
    labelled = False
    reason = "the file is empty"
    for line in read_lines(file):
        columns = line.raw.split(b"\t")
        try:
            line.checked_raw()
            if len(columns) != BEHAVIORS_COLUMNS:
                raise ValueError(f"{len(columns)} columns, not {BEHAVIORS_COLUMNS}")
            time_s = float(parse_time(columns[_TIME_COLUMN].decode()))
        except ValueError as error:
            if not untimed:
                reason = f"line {line.number}: {readable_reason(error)}"
            untimed.append((line.offset, line.number))
            continue
        times_s.append(time_s)
        offsets.append(line.offset)
        lines.append(line.number)
        slots = columns[_SLATE_COLUMN].split()
        labelled = labelled or (bool(slots) and slots[-1].endswith(_LABELS))
        for slot in slots:
            if time_s < first_shown_s.get(slot, np.inf):
                first_shown_s[slot] = time_s
    path = folder / BEHAVIORS_FILE
    if not times_s:
        raise MindError(
            f"{path}: no line is a MIND impression (impression id, user id, time like "
            f"'11/11/2019 9:05:58 AM', history, candidates; tab-separated): {reason}"
        )
    if not labelled:
        raise MindError(
            f"{path}: no candidate carries a label (-0 or -1); MIND's test split cannot be replayed, "
            "use its train or dev split"
        )
    index = LineIndex(*sorted_by(np.array(times_s), offsets, lines))
    return index, _without_labels(first_shown_s), untimed


def _without_labels(first_shown_s: dict[bytes, float]) -> dict[str, float]:
    by_id: dict[str, float] = {}
    for slot, time_s in first_shown_s.items():
        news_id = slot[:-2].decode("utf-8", "replace")
        by_id[news_id] = min(time_s, by_id.get(news_id, time_s))
    return by_id


def _why_untimed(raw: bytes) -> str:
    try:
        parse_impression(raw)
    except ValueError as error:
        return readable_reason(error)
    raise AssertionError("a line without a time was read as an impression")


def sorted_by(keys: NDArray[K], offsets: array[int], lines: array[int]) -> tuple[NDArray[Any], ...]:
    """Sort the positions of lines by ``keys`` (n,), stably.

    Returns:
        Keys (n,), offsets (n,) int64 and line numbers (n,) int32.
    """
    order = np.argsort(keys, kind="stable")
    return keys[order], np.array(offsets, np.int64)[order], np.array(lines, np.int32)[order]
