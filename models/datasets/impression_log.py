"""Reads a MIND folder into columns in the order of time, 5 bytes a candidate, for training and evaluation.

The impressions of MIND-large (2.2 million, 83 million candidates) take less than 1 GB: ids become numbers,
and a user's click history, which MIND repeats in each of the user's lines, is kept once.
"""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

from freshet.models.datasets.mind import (
    BEHAVIORS_COLUMNS,
    BEHAVIORS_FILE,
    NEWS_FILE,
    BadLine,
    BadLinePolicy,
    MindError,
    open_mind_file,
    parse_impression,
    parse_time,
    read_news,
    read_published,
)
from freshet.models.datasets.ragged import concatenated_ranges
from freshet.models.datasets.text_lines import read_lines, readable_reason

MAX_HISTORY = 1_000
"""Latest clicks of a history that are kept."""
Progress = Callable[[int, int], None]
"""Callback with the bytes read so far, and all bytes to read."""


@dataclass(frozen=True)
class ArticleTable:
    """Articles of a log, by number; the texts of an article without a line in ``news.tsv`` are empty."""

    ids: tuple[str, ...]
    announced: NDArray[np.bool_]
    """Shape (articles,): whether the article has a line in ``news.tsv``."""
    titles: list[str]
    abstracts: list[str]
    categories: list[str]
    subcategories: list[str]
    entities: list[str]
    """WikiData id of the title's first entity; empty if there is none."""

    def __len__(self) -> int:
        return len(self.ids)

    @cached_property
    def id_array(self) -> NDArray[np.object_]:
        """Ids as an array (articles,), for fancy indexing."""
        ids = np.empty(len(self.ids), np.object_)
        ids[:] = self.ids
        return ids


@dataclass(frozen=True)
class ImpressionLog:
    """Impressions in the order of time. Slices share the arrays; treat them as read-only."""

    folder: Path
    articles: ArticleTable
    user_ids: tuple[str, ...]
    time_s: NDArray[np.float64]
    """Shape (n,), Unix seconds, ascending."""
    user: NDArray[np.int32]
    """Shape (n,): indices into ``user_ids``."""
    slate_start: NDArray[np.int64]
    """Shape (n + 1,): impression ``i`` shows ``candidates[slate_start[i] : slate_start[i + 1]]``."""
    candidates: NDArray[np.int32]
    """Shape (slots,): article numbers of all slates, one slate after another."""
    clicked: NDArray[np.bool_]
    """Shape (slots,): whether each candidate was clicked."""
    history: NDArray[np.int32]
    """Shape (n,): indices of histories."""
    history_start: NDArray[np.int64]
    """Shape (histories + 1,): history ``h`` is ``history_items[history_start[h] : history_start[h + 1]]``."""
    history_items: NDArray[np.int32]
    """Article numbers clicked before the log begins, the oldest first. History 0 is empty."""
    sha256: str
    """Digest of the folder's files."""
    unannounced: int = field(default=0)
    """Number of articles in slates or histories that have no line in ``news.tsv``."""

    def __len__(self) -> int:
        return len(self.time_s)

    def slate(self, position: int) -> tuple[NDArray[np.int32], NDArray[np.bool_]]:
        """Return the candidates (c,) of one impression, and whether each was clicked (c,)."""
        part = slice(int(self.slate_start[position]), int(self.slate_start[position + 1]))
        return self.candidates[part], self.clicked[part]

    def history_of(self, position: int) -> NDArray[np.int32]:
        """Return what the user of one impression had clicked before the log begins, the oldest first."""
        number = int(self.history[position])
        return self.history_items[int(self.history_start[number]) : int(self.history_start[number + 1])]

    def slice(self, start: int, stop: int) -> Self:
        """Return the impressions ``[start, stop)``, with the same articles, users and histories."""
        first, last = int(self.slate_start[start]), int(self.slate_start[stop])
        return replace(
            self,
            time_s=self.time_s[start:stop],
            user=self.user[start:stop],
            slate_start=self.slate_start[start : stop + 1] - first,
            candidates=self.candidates[first:last],
            clicked=self.clicked[first:last],
            history=self.history[start:stop],
        )

    def before(self, time_s: float) -> int:
        """Count the impressions before ``time_s`` (Unix seconds)."""
        return int(np.searchsorted(self.time_s, time_s, side="left"))

    def position_at(self, fraction: float) -> int:
        """Find the position with about ``fraction`` of the impressions before it.

        Impressions of the same time stay together: those from the position on are later than those before it.
        """
        if not 0.0 <= fraction <= 1.0:
            raise ValueError(f"fraction is {fraction}, must be between 0 and 1")
        position = min(round(fraction * len(self)), len(self))
        return len(self) if position == len(self) else self.before(float(self.time_s[position]))


def read_impression_log(
    folder: Path,
    *,
    skip_bad_lines: bool = False,
    on_bad_line: Callable[[BadLine], None] | None = None,
    progress: Progress | None = None,
) -> ImpressionLog:
    """Read a MIND folder.

    Args:
        folder: Folder with ``behaviors.tsv``, and with ``news.tsv`` if texts and categories are known.
        skip_bad_lines: Skips lines that cannot be read; otherwise they are errors.
        on_bad_line: Callback for each skipped line.
        progress: Callback while reading.

    Raises:
        MindError: A file is missing, a line cannot be read (with its number), or there is no impression.
    """
    builder = _Builder()
    refuse_or_skip = BadLinePolicy(folder, MindError, skip_bad_lines, on_bad_line)
    path = folder / BEHAVIORS_FILE
    with open_mind_file(path) as file:
        total = path.stat().st_size
        digest = hashlib.sha256()
        for line in read_lines(file):
            digest.update(line.raw)
            try:
                builder.add_line(line.checked_raw())
            except ValueError as error:
                refuse_or_skip(BadLine(path.name, line.number, readable_reason(error), line.raw))
            if progress is not None and not line.number % 1_000:
                progress(line.offset, total)
    if not builder.times:
        raise MindError(f"{path}: no impression in it")
    for bad in _read_news(folder, builder, digest):
        refuse_or_skip(bad)
    # Reading the publication times later skips the bad lines silently.
    for entry in read_published(folder):
        if isinstance(entry, BadLine):
            refuse_or_skip(entry)
    if progress is not None:
        progress(total, total)
    return builder.log(folder, digest.hexdigest())


def _read_news(folder: Path, builder: _Builder, digest: hashlib._Hash) -> Iterator[BadLine]:
    path = folder / NEWS_FILE
    if not path.exists():
        return
    with path.open("rb") as file:
        digest.update(hashlib.file_digest(file, "sha256").digest())
    for article in read_news(folder, {}):
        if isinstance(article, BadLine):
            yield article
            continue
        builder.texts[builder.article(article.news_id)] = (
            article.title,
            article.abstract,
            article.category,
            article.subcategory,
            article.entities[0] if article.entities else "",
        )


class _Builder:
    """Appends to columns."""

    def __init__(self) -> None:
        self.articles: dict[str, int] = {}
        self.users: dict[str, int] = {}
        self.texts: dict[int, tuple[str, str, str, str, str]] = {}
        self.times = array("d")
        self._user = array("i")
        self._slate_end = array("q")
        self._candidates = array("i")
        self._clicked = bytearray()
        self._history = array("i")
        self._history_end = array("q", [0])
        self._history_items = array("i")
        self._last_history: dict[int, tuple[bytes, int]] = {}
        """Digest and number of the last history, by user."""

    def article(self, news_id: str) -> int:
        return self.articles.setdefault(news_id, len(self.articles))

    def add_line(self, raw: bytes) -> None:
        """Append a line of ``behaviors.tsv``.

        Raises:
            ValueError: The line is not a labelled impression; nothing is appended.
        """
        columns = raw.decode().split("\t")
        if len(columns) != BEHAVIORS_COLUMNS:
            raise ValueError(f"{len(columns)} columns, not {BEHAVIORS_COLUMNS}")
        _, user_id, time, history, slate = columns
        time_s = parse_time(time)
        slots = slate.split()
        labels = [slot[-2:] for slot in slots]
        ids = [slot[:-2] for slot in slots]
        # The parser of events finds what is wrong with an unusual line.
        if not slots or not user_id.strip() or "" in ids or not {"-0", "-1"}.issuperset(labels):
            parse_impression(raw)
            raise ValueError("an impression without candidates")
        if len(set(ids)) < len(ids):
            shown = dict.fromkeys(ids, "-0")
            shown.update((news_id, "-1") for news_id, label in zip(ids, labels, strict=True) if label == "-1")
            ids, labels = list(shown), list(shown.values())
        number = self.articles.setdefault
        for news_id in ids:
            self._candidates.append(number(news_id, len(self.articles)))
        self._clicked.extend(label == "-1" for label in labels)
        self._slate_end.append(len(self._candidates))
        self.times.append(time_s)
        user = self.users.setdefault(user_id, len(self.users))
        self._user.append(user)
        self._history.append(self._history_number(user, history))

    def _history_number(self, user: int, history: str) -> int:
        items = history.split()[-MAX_HISTORY:]
        if not items:
            return 0
        digest = hashlib.blake2b(" ".join(items).encode(), digest_size=16).digest()
        held = self._last_history.get(user)
        if held is not None and held[0] == digest:
            return held[1]
        self._history_items.extend(self.article(news_id) for news_id in items)
        self._history_end.append(len(self._history_items))
        number = len(self._history_end) - 1
        self._last_history[user] = (digest, number)
        return number

    def log(self, folder: Path, sha256: str) -> ImpressionLog:
        """Build the log in the order of time; lines of the same time keep their order in the file."""
        time_s = np.frombuffer(self.times, np.float64)
        order = np.argsort(time_s, kind="stable")
        ends = np.frombuffer(self._slate_end, np.int64)
        starts = np.concatenate([np.zeros(1, np.int64), ends])
        candidates = np.frombuffer(self._candidates, np.int32)
        clicked = np.frombuffer(self._clicked, np.bool_)
        if not (order[1:] > order[:-1]).all():
            lengths = np.diff(starts)[order]
            sorted_starts = np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths)])
            gather = concatenated_ranges(starts[:-1][order], lengths)  # (slots,)
            candidates, clicked, starts = candidates[gather], clicked[gather], sorted_starts
        n = len(self.articles)
        texts = [self.texts.get(row, ("", "", "", "", "")) for row in range(n)]
        announced = np.zeros(n, np.bool_)
        announced[list(self.texts)] = True
        columns = [list(column) for column in zip(*texts, strict=True)]
        history_end = np.frombuffer(self._history_end, np.int64)
        return ImpressionLog(
            folder,
            ArticleTable(tuple(self.articles), announced, *columns),
            tuple(self.users),
            time_s[order],
            np.frombuffer(self._user, np.int32)[order],
            starts,
            candidates,
            clicked,
            np.frombuffer(self._history, np.int32)[order],
            np.concatenate([np.zeros(1, np.int64), history_end]),
            np.frombuffer(self._history_items, np.int32),
            sha256,
            int(n - announced.sum()),
        )
