"""Reads a MovieLens folder into columns: user, movie, rating and time, in the order of time.

The files decide between two layouts: that of MovieLens 100K (``u.data``, with ``u.item``, ``u.user`` and
``u.genre``) and that of the later sets (``ratings.csv``, with ``movies.csv``). Only the ratings are required.
A line that cannot be read is an error that names the file and the line.
"""

from __future__ import annotations

import csv
import hashlib
import math
from array import array
from collections.abc import Callable, Iterator, Mapping, Sequence
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
    """A folder is not a MovieLens set, or one of its lines cannot be read."""


@dataclass(frozen=True)
class Ratings:
    """Ratings in the order of time; those of the same time keep their order in the file.

    Users and items are indices of ids, which splits share. Treat the arrays as read-only.
    """

    user: NDArray[np.int32]
    """Shape (n,): indices into ``user_ids``."""
    item: NDArray[np.int32]
    """Shape (n,): indices into ``item_ids``."""
    rating: NDArray[np.float32]
    """Shape (n,), in stars."""
    time_s: NDArray[np.float64]
    """Shape (n,), Unix seconds, ascending."""
    user_ids: tuple[str, ...]
    item_ids: tuple[str, ...]
    """Ids of all known items, rated or not."""
    titles: tuple[str, ...]
    """Title of each item; empty if unknown."""
    genres: tuple[tuple[str, ...], ...]
    """Genres of each item."""
    user_features: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Columns ``age``, ``gender``, ``occupation`` and ``zip_code`` by user, if the folder has them."""
    sha256: str = ""
    """Digest of the folder's files."""

    def __len__(self) -> int:
        return len(self.rating)

    def take(self, positions: NDArray[np.integer] | NDArray[np.bool_]) -> Self:
        """Select ratings by ascending positions or by a mask; ids, titles and features stay."""
        return replace(
            self,
            user=self.user[positions],
            item=self.item[positions],
            rating=self.rating[positions],
            time_s=self.time_s[positions],
        )

    @property
    def rating_range(self) -> tuple[float, float]:
        """Lowest and highest rating, in stars.

        Raises:
            ValueError: There is no rating.
        """
        if not len(self):
            raise ValueError("no rating has a range")
        return float(self.rating.min()), float(self.rating.max())


def random_split(ratings: Ratings, test_fraction: float, seed: int) -> tuple[Ratings, Ratings]:
    """Random hold-out, the customary protocol for the error of predicted ratings.

    Later ratings help to predict earlier ones, so a running system has a larger error.

    Returns:
        Training ratings, and ``test_fraction`` of the ratings (rounded) as test ratings. The same seed gives
        the same split.

    Raises:
        ValueError: The fraction is not between 0 and 1.
    """
    _check_fraction("test_fraction", test_fraction)
    in_test = np.zeros(len(ratings), np.bool_)
    order = np.random.default_rng(seed).permutation(len(ratings))
    in_test[order[: round(test_fraction * len(ratings))]] = True
    return ratings.take(~in_test), ratings.take(in_test)


def time_split(ratings: Ratings, fraction: float) -> tuple[Ratings, Ratings]:
    """Temporal hold-out.

    Returns:
        About the first ``fraction`` of the ratings, and the rest, which are all later: ratings of the same
        time stay together.

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
        for name, add_columns in (
            (GENRE_FILE, builder.add_genre),
            (ITEM_FILE, builder.add_100k_movie),
            (USER_FILE, builder.add_person),
        ):
            if (folder / name).is_file():
                _read_100k(folder / name, "|", builder, add_columns)
        _read_100k(folder / DATA_FILE, "\t", builder, builder.add_rating)
    elif (folder / RATINGS_FILE).is_file():
        if (folder / MOVIES_FILE).is_file():
            _read_csv(folder / MOVIES_FILE, MOVIE_COLUMNS, builder, builder.add_csv_movie)
        _read_csv(folder / RATINGS_FILE, RATING_COLUMNS, builder, builder.add_rating)
    else:
        raise MovieLensError(
            f"{folder} has neither {DATA_FILE} nor {RATINGS_FILE}: it is no MovieLens folder"
        )
    return builder.ratings(folder)


def is_movielens(folder: Path) -> bool:
    """Whether the folder has a file of ratings, readable or not."""
    return (folder / DATA_FILE).is_file() or (folder / RATINGS_FILE).is_file()


class _Builder:
    """Appends to columns, and collects what is known of users and movies.

    Methods that take columns raise ``ValueError`` if they are wrong.
    """

    def __init__(self) -> None:
        self.users: dict[str, int] = {}
        self.items: dict[str, int] = {}
        self.movies: dict[str, tuple[str, tuple[str, ...]]] = {}
        self.people: dict[str, tuple[str, ...]] = {}
        self.genres: list[str] = []
        self.digest = hashlib.sha256()
        self._user = array("i")
        self._item = array("i")
        self._rating = array("f")
        self._time_s = array("d")

    def add_rating(self, columns: Sequence[str]) -> None:
        _check_count(columns, len(RATING_COLUMNS))
        user_id, item_id, rating, timestamp = columns
        if not user_id or not item_id:
            raise ValueError("the user or the movie is missing")
        value, time_s = _number("rating", rating), _number("timestamp", timestamp)
        try:
            checked_unix_s(time_s)
        except ValueError as error:
            raise ValueError(f"timestamp: {error}") from None
        self._user.append(self.users.setdefault(user_id, len(self.users)))
        self._item.append(self.items.setdefault(item_id, len(self.items)))
        self._rating.append(value)
        self._time_s.append(time_s)

    def add_movie(self, item_id: str, title: str, genres: tuple[str, ...]) -> None:
        if not item_id or item_id in self.movies:
            raise ValueError(f"movie {item_id} a second time" if item_id else "the movie is missing")
        self.movies[item_id] = title, genres
        self.items.setdefault(item_id, len(self.items))

    def add_100k_movie(self, columns: Sequence[str]) -> None:
        marks = columns[ITEM_COLUMNS_BEFORE_GENRES:]
        if self.genres:
            _check_count(columns, ITEM_COLUMNS_BEFORE_GENRES + len(self.genres))
        elif len(columns) < ITEM_COLUMNS_BEFORE_GENRES:
            raise ValueError(f"{len(columns)} columns, not {ITEM_COLUMNS_BEFORE_GENRES} or more")
        genres = tuple(name for name, mark in zip(self.genres, marks, strict=False) if mark == "1")
        self.add_movie(columns[0], columns[1], genres)

    def add_csv_movie(self, columns: Sequence[str]) -> None:
        item_id, title, genres = columns
        self.add_movie(item_id, title, () if genres in ("", NO_GENRE) else tuple(genres.split("|")))

    def add_genre(self, columns: Sequence[str]) -> None:
        _check_count(columns, 2)
        name, number = columns
        if number != str(len(self.genres)):
            raise ValueError(f"genre {name} has number {number}, not {len(self.genres)}")
        self.genres.append(name)

    def add_person(self, columns: Sequence[str]) -> None:
        _check_count(columns, len(USER_COLUMNS))
        user_id = columns[0]
        if not user_id or user_id in self.people:
            raise ValueError(f"user {user_id} a second time" if user_id else "the user is missing")
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


def _check_count(columns: Sequence[str], expected: int) -> None:
    if len(columns) != expected:
        raise ValueError(f"{len(columns)} columns, not {expected}")


def _number(name: str, text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        raise ValueError(f"{name} {text!r} is no number") from None
    if not math.isfinite(value):
        raise ValueError(f"{name} is {value}")
    return value


def _read_100k(
    path: Path, separator: str, builder: _Builder, add_columns: Callable[[Sequence[str]], None]
) -> None:
    """Add the columns of each line that is not blank.

    MovieLens 100K is Latin-1. Text in Latin-1 is hardly ever valid UTF-8, so a file that is UTF-8 was
    converted.
    """
    with path.open("rb") as file:
        for chunk in iter(partial(file.read, 1 << 20), b""):
            builder.digest.update(chunk)
        file.seek(0)
        for line in read_lines(file):
            try:
                raw = line.checked_raw()
                try:
                    text = raw.decode()
                except UnicodeDecodeError:
                    text = raw.decode("latin-1")
                add_columns(text.split(separator))
            except ValueError as error:
                raise MovieLensError(f"{path}:{line.number}: {error}") from None


def _read_csv(
    path: Path, wanted: tuple[str, ...], builder: _Builder, add_columns: Callable[[Sequence[str]], None]
) -> None:
    """Add the wanted columns of each row; an error names the row's last line."""
    number = 1

    def texts(file: IO[bytes]) -> Iterator[str]:
        nonlocal number
        for line in read_lines(file):
            number = line.number
            yield line.checked_raw().decode() + "\n"

    with path.open("rb") as file:
        builder.digest.update(hashlib.file_digest(file, "sha256").digest())
        file.seek(0)
        rows = csv.reader(texts(file))
        try:
            header = next(rows, [])
            missing = [name for name in wanted if name not in header]
            if missing:
                raise ValueError(f"no column {', '.join(missing)}; the header is {header}")
            places = [header.index(name) for name in wanted]
            for row in rows:
                _check_count(row, len(header))
                add_columns([row[place] for place in places])
        except (csv.Error, ValueError) as error:
            raise MovieLensError(f"{path}:{number}: {error}") from error
