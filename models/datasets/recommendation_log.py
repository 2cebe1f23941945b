"""Reads a log of what was recommended, shown and clicked, which off-policy evaluation learns from.

The log is a MIND folder with these files:

======================  ================================================================================
file                    contents
======================  ================================================================================
``behaviors.tsv``       what was shown and clicked; the impression id is the request id
``impressions.jsonl``   takes precedence over ``behaviors.tsv``: an
                        :class:`~freshet.models.events.events.Impression` a line, whose ``request_id`` names
                        the request; times to the microsecond
``recommendations.jsonl``  a :class:`~freshet.models.events.events.Recommendation` a line, with the
                        propensities of its items, and the candidates that they were drawn from
``news.tsv``, ``published.tsv``  articles, as in any MIND folder
======================  ================================================================================

Impressions come in the order of time, each with its recommendation; both are read from disk on demand. Memory
is 20 bytes a line. Of two recommendations with the same request id, the first in the file counts (Kafka
delivers at least once).
"""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import orjson
from numpy.typing import NDArray

from freshet.models.datasets.mind import NEWS_FILE, BadLine, BadLinePolicy, MindError
from freshet.models.datasets.mind_timeline import LineIndex, Timeline, sorted_by
from freshet.models.datasets.text_lines import read_line, read_lines
from freshet.models.events.events import Article, EventError, Impression, Recommendation
from freshet.models.events.times import parse_time

RECOMMENDATIONS_FILE = "recommendations.jsonl"
IMPRESSIONS_FILE = "impressions.jsonl"

Progress = Callable[[int, int], None]
"""Callback with the bytes read so far, and all bytes to read."""

_REPORT_EVERY = 1_000


class RecommendationLogError(ValueError):
    """A log cannot be used; the message names the missing file or the bad line."""


@dataclass(frozen=True, slots=True)
class LoggedImpression:
    """An impression and the recommendation that it shows."""

    impression: Impression
    recommendation: Recommendation | None
    """``None`` if the impression names no recommendation, or one that is not in the log."""


class RecommendationLog(AbstractContextManager["RecommendationLog"]):
    """Gives the impressions of a folder with their recommendations. Close it, or use it in ``with``.

    Args:
        folder: Folder of the log.
        skip_bad_lines: Skips lines that cannot be read; otherwise they are errors.
        on_bad_line: Callback for each skipped line.
        progress: Callback of the first pass through the recommendations.

    Raises:
        RecommendationLogError: The log cannot be used.
    """

    def __init__(
        self,
        folder: Path,
        *,
        skip_bad_lines: bool = False,
        on_bad_line: Callable[[BadLine], None] | None = None,
        progress: Progress | None = None,
    ) -> None:
        self.folder = folder
        self._refuse_or_skip = BadLinePolicy(folder, RecommendationLogError, skip_bad_lines, on_bad_line)
        self._files = ExitStack()
        try:
            self._recommendations = self._open(RECOMMENDATIONS_FILE)
            found = self._index(
                self._recommendations, RECOMMENDATIONS_FILE, _request_key, array("Q"), progress
            )
            self._requests = _RequestIndex(*found)
            try:
                self._timeline = self._files.enter_context(Timeline(folder))
            except MindError as error:
                raise RecommendationLogError(str(error)) from error
            self._events: BinaryIO | None = None
            self._order = self._timeline.impressions
            if (folder / IMPRESSIONS_FILE).exists():
                self._events = self._open(IMPRESSIONS_FILE)
                self._order = LineIndex(*self._index(self._events, IMPRESSIONS_FILE, _time_s, array("d")))
            else:
                for bad in self._timeline.untimed():
                    self._refuse_or_skip(bad)
        except BaseException:
            self._files.close()
            raise

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the files."""
        self._files.close()

    def __len__(self) -> int:
        """Count the lines with a time of impression; a bad one among them is skipped when it is read."""
        return len(self._order)

    @property
    def times_s(self) -> NDArray[np.float64]:
        """Times of the impressions (len(self),), Unix seconds, ascending."""
        return self._order.times_s

    def __iter__(self) -> Iterator[LoggedImpression]:
        """Yield the impressions in the order of time; those of the same time keep the file's order.

        Raises:
            RecommendationLogError: A line cannot be read, and bad lines are not skipped.
        """
        for position in range(len(self._order)):
            impression = self._impression(position)
            if isinstance(impression, BadLine):
                self._refuse_or_skip(impression)
                continue
            request_id = impression.request_id
            if request_id is None and self._events is None:
                request_id = impression.impression_id
            found = None if request_id is None else self._recommendation(request_id)
            yield LoggedImpression(impression, found)

    def articles(self) -> Iterator[Article]:
        """Yield the articles in the order of publication, which is never later than the first impression.

        Raises:
            RecommendationLogError: A line cannot be read, and bad lines are not skipped.
        """
        for position in range(len(self._timeline.articles)):
            article = self._timeline.article(position)
            if isinstance(article, BadLine):
                self._refuse_or_skip(article)
            else:
                yield article

    def _impression(self, position: int) -> Impression | BadLine:
        if self._events is None:
            return self._timeline.impression(position)
        self._events.seek(int(self._order.offsets[position]))
        raw, _, problem = read_line(self._events)
        try:
            if problem:
                raise EventError(problem)
            return Impression.from_json(raw)
        except EventError as error:
            return BadLine(IMPRESSIONS_FILE, int(self._order.lines[position]), str(error), raw)

    def _recommendation(self, request_id: str) -> Recommendation | None:
        keys, key = self._requests.keys, np.uint64(_key(request_id))
        place = int(np.searchsorted(keys, key, side="left"))
        while place < len(keys) and keys[place] == key:
            self._recommendations.seek(int(self._requests.offsets[place]))
            raw, _, _ = read_line(self._recommendations)
            try:
                found = Recommendation.from_json(raw)
            except EventError as error:
                line = int(self._requests.lines[place])
                self._refuse_or_skip(BadLine(RECOMMENDATIONS_FILE, line, str(error), raw))
            else:
                if found.request_id == request_id:
                    return found
            place += 1
        return None

    def _index(
        self,
        file: BinaryIO,
        name: str,
        key_of: Callable[[dict[str, object]], float],
        keys: array[Any],
        progress: Progress | None = None,
    ) -> tuple[NDArray[Any], ...]:
        """Collect the keys of the lines in ``keys``, and sort the lines' positions by them."""
        offsets, lines = array("q"), array("i")
        total = (self.folder / name).stat().st_size
        for line in read_lines(file):
            try:
                value = orjson.loads(line.checked_raw())
                if not isinstance(value, dict):
                    raise ValueError("not a JSON object")
                keys.append(key_of(value))
            except ValueError as error:
                self._refuse_or_skip(BadLine(name, line.number, str(error), line.raw))
            else:
                offsets.append(line.offset)
                lines.append(line.number)
            if progress is not None and not line.number % _REPORT_EVERY:
                progress(line.offset, total)
        if not keys:
            raise RecommendationLogError(f"{self.folder / name}: no {name.removesuffix('s.jsonl')} in it")
        return sorted_by(np.array(keys), offsets, lines)

    def _open(self, name: str) -> BinaryIO:
        try:
            return self._files.enter_context((self.folder / name).open("rb"))
        except OSError as error:
            raise RecommendationLogError(
                f"{self.folder / name}: {error.strerror}; a log of recommendations is a MIND folder "
                f"({NEWS_FILE} and what was shown) with {RECOMMENDATIONS_FILE}: `freshet log` makes one"
            ) from error


@dataclass(frozen=True, slots=True)
class _RequestIndex:
    """Positions of the recommendations, by the digest of the request id."""

    keys: NDArray[np.uint64]
    """Shape (n,), ascending; equal keys are in the file's order."""
    offsets: NDArray[np.int64]
    lines: NDArray[np.int32]


def _key(request_id: str) -> int:
    return int.from_bytes(hashlib.blake2b(request_id.encode(), digest_size=8).digest())


def _request_key(recommendation: dict[str, object]) -> int:
    request_id = recommendation.get("request_id")
    if not isinstance(request_id, str):
        raise ValueError("request_id: missing, or no text")
    return _key(request_id)


def _time_s(impression: dict[str, object]) -> float:
    time = impression.get("time")
    if not isinstance(time, str):
        raise ValueError("time: missing, or no text")
    try:
        return parse_time(time).timestamp()
    except ValueError as error:
        raise ValueError(f"time: {error}") from error
