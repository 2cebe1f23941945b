"""A MovieLens folder as columns: who rated what, how, and when, in the order of time.

Two layouts are read, told apart by their files: that of MovieLens 100K (``u.data``, with ``u.item``,
``u.user`` and ``u.genre``) and that of the later sets (``ratings.csv``, with ``movies.csv``). Only the
ratings are required. A line that cannot be read is an error that names the file and the line.
"""

from __future__ import annotations

import csv
import hashlib
import math
from array import array
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import IO, Self

import numpy as np
from numpy.typing import NDArray

from freshet.models.datasets.text_lines import read_lines
from freshet.models.events.times import checked_unix_s

DATA_FILE, ITEM_FILE, USER_FILE, GENRE_FILE = "u.data", "u.item", "u.user", "u.genre"
RATINGS_FILE, MOVIES_FILE = "ratings.csv", "movies.csv"
RATING_COLUMNS = ("userId", "movieId", "rating", "timestamp")
MOVIE_COLUMNS = ("movieId", "title", "genres")
NO_GENRE = "(no genres listed)"
ITEM_COLUMNS_BEFORE_GENRES = 5
USER_COLUMNS = ("user_id", "age", "gender", "occupation", "zip_code")


class MovieLensError(ValueError):
    """A folder is no MovieLens set, or a line of it cannot be read."""


@dataclass(frozen=True)
class Ratings:
    """Ratings in the order of time; those of one moment keep their order in the file.

    Users and items are numbers into the ids, which splits share. Treat the arrays as read-only.
    """

    user: NDArray[np.int32]
    """Shape (n,): a number into ``user_ids``."""
    item: NDArray[np.int32]
    """Shape (n,): a number into ``item_ids``."""
    rating: NDArray[np.float32]
    """Shape (n,), in stars."""
    time_s: NDArray[np.float64]
    """Shape (n,), Unix seconds, ascending."""
    user_ids: tuple[str, ...]
    item_ids: tuple[str, ...]
    """Of all known items, also those that nobody rated."""
    titles: tuple[str, ...]
    """By item; empty where the folder has none."""
    genres: tuple[tuple[str, ...], ...]
    """By item."""
    user_features: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """``age``, ``gender``, ``occupation`` and ``zip_code`` by user, where the folder has them."""
    sha256: str = ""
    """Over the folder's files."""

    def __len__(self) -> int:
        return len(self.rating)

    def take(self, positions: NDArray[np.integer] | NDArray[np.bool_]) -> Self:
        """Those at ``positions``, ascending, or where a mask is true; ids and what is known of them stay."""
        return replace(
            self,
            user=self.user[positions],
            item=self.item[positions],
            rating=self.rating[positions],
            time_s=self.time_s[positions],
        )

    @property
    def rating_range(self) -> tuple[float, float]:
        """The lowest and the highest rating.

        Raises:
            ValueError: There is no rating.
        """
        if not len(self):
            raise ValueError("no rating has a range")
        return float(self.rating.min()), float(self.rating.max())


def random_split(ratings: Ratings, test_fraction: float, seed: int) -> tuple[Ratings, Ratings]:
    """Draw the test's ratings by chance: the customary protocol for errors of predicted ratings.

    Later ratings then help to predict earlier ones: the error is not one that a running system would have.

    Returns:
        The rest, and ``test_fraction`` of the ratings (rounded); the same for the same seed.

    Raises:
        ValueError: The fraction is not between 0 and 1.
    """
    _check_fraction("test_fraction", test_fraction)
    in_test = np.zeros(len(ratings), np.bool_)
    order = np.random.default_rng(seed).permutation(len(ratings))
    in_test[order[: round(test_fraction * len(ratings))]] = True
    return ratings.take(~in_test), ratings.take(in_test)


def time_split(ratings: Ratings, fraction: float) -> tuple[Ratings, Ratings]:
    """Cut in time.

    Returns:
        About the first ``fraction`` of the ratings, and the rest. Ratings of one moment stay together: those
        of the rest are all later.

    Raises:
        ValueError: The fraction is not between 0 and 1.
    """
    _check_fraction("fraction", fraction)
    cut = round(fraction * len(ratings))
    if cut < len(ratings):
        cut = int(np.searchsorted(ratings.time_s, ratings.time_s[cut], side="left"))
    positions = np.arange(len(ratings))
    return ratings.take(positions[:cut]), ratings.take(positions[cut:])


def _check_fraction(name: str, fraction: float) -> None:
    if not 0.0 <= fraction <= 1.0:
        raise ValueError(f"{name} is {fraction}, must be between 0 and 1")


def read_movielens(folder: Path) -> Ratings:
    """Read a MovieLens folder of either layout.

    Raises:
        MovieLensError: The folder has no ratings, or a line cannot be read (with its file and number).
    """
    builder = _Builder()
    if (folder / DATA_FILE).is_file():
        _read_100k(folder, builder)
    elif (folder / RATINGS_FILE).is_file():
        _read_csv(folder, builder)
    else:
        raise MovieLensError(
            f"{folder} has neither {DATA_FILE} nor {RATINGS_FILE}: it is no MovieLens folder"
        )
    return builder.ratings(folder)


def is_movielens(folder: Path) -> bool:
    """Whether the folder has ratings by name; it may still not be readable."""
    return (folder / DATA_FILE).is_file() or (folder / RATINGS_FILE).is_file()


class _BadLine(ValueError):
    """What is wrong with a line; the reader adds where it is."""


class _Builder:
    """Columns that grow, and what is known of users and items."""

    def __init__(self) -> None:
        self.users: dict[str, int] = {}
        self.items: dict[str, int] = {}
        self.movies: dict[str, tuple[str, tuple[str, ...]]] = {}
        self.people: dict[str, tuple[str, ...]] = {}
        self.digest = hashlib.sha256()
        self._user = array("i")
        self._item = array("i")
        self._rating = array("f")
        self._time_s = array("d")

    def add_rating(self, columns: Sequence[str]) -> None:
        user_id, item_id, rating, timestamp = columns
        if not user_id or not item_id:
            raise _BadLine("the user or the movie is missing")
        value, time_s = _number("rating", rating), _number("timestamp", timestamp)
        try:
            checked_unix_s(time_s)
        except ValueError as error:
            raise _BadLine(f"timestamp: {error}") from None
        self._user.append(self.users.setdefault(user_id, len(self.users)))
        self._item.append(self.items.setdefault(item_id, len(self.items)))
        self._rating.append(value)
        self._time_s.append(time_s)

    def add_movie(self, item_id: str, title: str, genres: tuple[str, ...]) -> None:
        if not item_id or item_id in self.movies:
            raise _BadLine(f"movie {item_id} a second time" if item_id else "the movie is missing")
        self.movies[item_id] = title, genres
        self.items.setdefault(item_id, len(self.items))

    def add_person(self, columns: Sequence[str]) -> None:
        user_id = columns[0]
        if not user_id or user_id in self.people:
            raise _BadLine(f"user {user_id} a second time" if user_id else "the user is missing")
        self.people[user_id] = tuple(columns[1:])
        self.users.setdefault(user_id, len(self.users))

    def ratings(self, folder: Path) -> Ratings:
        if not self._rating:
            raise MovieLensError(f"{folder}: no rating in it")
        time_s = np.frombuffer(self._time_s, np.float64)
        order = np.argsort(time_s, kind="stable")
        known = [self.movies.get(item_id, ("", ())) for item_id in self.items]
        features: dict[str, tuple[str, ...]] = {}
        if self.people:
            nobody = ("",) * (len(USER_COLUMNS) - 1)
            rows = [self.people.get(user_id, nobody) for user_id in self.users]
            features = dict(zip(USER_COLUMNS[1:], zip(*rows, strict=True), strict=True))
        return Ratings(
            np.frombuffer(self._user, np.int32)[order],
            np.frombuffer(self._item, np.int32)[order],
            np.frombuffer(self._rating, np.float32)[order],
            time_s[order],
            tuple(self.users),
            tuple(self.items),
            tuple(title for title, _ in known),
            tuple(genres for _, genres in known),
            features,
            self.digest.hexdigest(),
        )


def _number(name: str, text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        raise _BadLine(f"{name} {text!r} is no number") from None
    if not math.isfinite(value):
        raise _BadLine(f"{name} is {value}")
    return value


def _read_100k(folder: Path, builder: _Builder) -> None:
    genres = _genre_names(folder, builder)
    for path, line, columns in _lines(folder / ITEM_FILE, "|", builder, optional=True):
        with _At(path, line):
            marks = columns[ITEM_COLUMNS_BEFORE_GENRES:]
            if genres and len(marks) != len(genres):
                expected = ITEM_COLUMNS_BEFORE_GENRES + len(genres)
                raise _BadLine(f"{len(columns)} columns, not {expected}")
            if not genres and len(columns) < ITEM_COLUMNS_BEFORE_GENRES:
                raise _BadLine(f"{len(columns)} columns, not {ITEM_COLUMNS_BEFORE_GENRES} or more")
            its = tuple(name for name, mark in zip(genres, marks, strict=False) if mark == "1")
            builder.add_movie(columns[0], columns[1], its)
    for path, line, columns in _lines(folder / USER_FILE, "|", builder, optional=True):
        with _At(path, line):
            _check_columns(columns, len(USER_COLUMNS))
            builder.add_person(columns)
    for path, line, columns in _lines(folder / DATA_FILE, "\t", builder):
        with _At(path, line):
            _check_columns(columns, len(RATING_COLUMNS))
            builder.add_rating(columns)


def _genre_names(folder: Path, builder: _Builder) -> tuple[str, ...]:
    """The names in the order of their numbers; none where the folder does not have them."""
    names: list[str] = []
    for path, line, columns in _lines(folder / GENRE_FILE, "|", builder, optional=True):
        with _At(path, line):
            _check_columns(columns, 2)
            if columns[1] != str(len(names)):
                raise _BadLine(f"genre {columns[0]} has number {columns[1]}, not {len(names)}")
            names.append(columns[0])
    return tuple(names)


def _lines(
    path: Path, separator: str, builder: _Builder, *, optional: bool = False
) -> Iterator[tuple[Path, int, list[str]]]:
    """The columns of each line that is not blank, with its number.

    MovieLens 100K is Latin-1, in which next to no text is UTF-8 by chance: a line that is was saved anew.
    """
    if optional and not path.is_file():
        return
    with path.open("rb") as file:
        for chunk in iter(partial(file.read, 1 << 20), b""):
            builder.digest.update(chunk)
        file.seek(0)
        for line, raw in _checked_lines(path, file):
            try:
                text = raw.decode()
            except UnicodeDecodeError:
                text = raw.decode("latin-1")
            yield path, line, text.split(separator)


def _checked_lines(path: Path, file: IO[bytes]) -> Iterator[tuple[int, bytes]]:
    for line in read_lines(file):
        with _At(path, line.number):
            if line.problem:
                raise _BadLine(line.problem)
        yield line.number, line.raw


def _read_csv(folder: Path, builder: _Builder) -> None:
    for path, line, (item_id, title, genres) in _csv_rows(folder / MOVIES_FILE, MOVIE_COLUMNS, builder):
        with _At(path, line):
            its = () if genres in ("", NO_GENRE) else tuple(genres.split("|"))
            builder.add_movie(item_id, title, its)
    for path, line, columns in _csv_rows(folder / RATINGS_FILE, RATING_COLUMNS, builder):
        with _At(path, line):
            builder.add_rating(columns)


def _csv_rows(
    path: Path, wanted: tuple[str, ...], builder: _Builder
) -> Iterator[tuple[Path, int, tuple[str, ...]]]:
    """The wanted columns of each row, with the number of its last line."""
    if path.name == MOVIES_FILE and not path.is_file():
        return
    line = 1

    def texts(file: IO[bytes]) -> Iterator[str]:
        nonlocal line
        for number, raw in _checked_lines(path, file):
            line = number
            yield raw.decode() + "\n"

    with path.open("rb") as file:
        builder.digest.update(hashlib.file_digest(file, "sha256").digest())
        file.seek(0)
        rows = csv.reader(texts(file))
        try:
            header = next(rows, [])
            missing = [name for name in wanted if name not in header]
            if missing:
                raise MovieLensError(f"{path}:1: no column {', '.join(missing)}; the header is {header}")
            places = [header.index(name) for name in wanted]
            for row in rows:
                with _At(path, line):
                    _check_columns(row, len(header))
                yield path, line, tuple(row[place] for place in places)
        except (csv.Error, UnicodeDecodeError) as error:
            raise MovieLensError(f"{path}:{line}: {error}") from error


def _check_columns(columns: Sequence[str], expected: int) -> None:
    if len(columns) != expected:
        raise _BadLine(f"{len(columns)} columns, not {expected}")


class _At:
    """Adds the place to what is wrong with a line."""

    def __init__(self, path: Path, line: int) -> None:
        self._path, self._line = path, line

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, _BadLine):
            raise MovieLensError(f"{self._path}:{self._line}: {error}") from None
