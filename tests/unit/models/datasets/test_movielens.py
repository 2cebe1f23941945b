"""Both layouts of MovieLens give the same columns, and what cannot be read is named with file and line."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from freshet.models.datasets.movielens import (
    MovieLensError,
    Ratings,
    is_movielens,
    random_split,
    read_movielens,
    time_split,
)

CSV = {
    "ratings.csv": "userId,movieId,rating,timestamp\n7,20,3.5,300\n7,10,5.0,100\n9,10,0.5,200\n",
    "movies.csv": "movieId,title,genres\n"
    '10,"Café, The (1999)",Comedy|Drama\n'
    "20,Alone (2001),(no genres listed)\n"
    "30,Unseen (2002),Drama\n",
}
OLD = {
    "u.data": "7\t20\t3\t300\n7\t10\t5\t100\n9\t10\t1\t200\n",
    "u.genre": "unknown|0\nComedy|1\nDrama|2\n\n",
    "u.item": "10|Café, The (1999)|01-Jan-1999||http://x|0|1|1\n20|Alone (2001)||||0|0|0\n"
    "30|Unseen (2002)||||0|0|1\n",
    "u.user": "7|24|M|writer|12345\n9|53|F|other|00000\n",
}


def write(folder: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (folder / name).write_bytes(text.encode("latin-1" if name.startswith("u.") else "utf-8"))
    return folder


def many(n: int = 1_000) -> Ratings:
    """Ratings of which ten at a time have one moment."""
    rng = np.random.default_rng(3)
    return Ratings(
        rng.integers(0, 5, n).astype(np.int32),
        rng.integers(0, 7, n).astype(np.int32),
        rng.integers(1, 6, n).astype(np.float32),
        (np.arange(n) // 10).astype(np.float64),
        tuple("abcde"),
        tuple("tuvwxyz"),
        ("",) * 7,
        ((),) * 7,
    )


@pytest.mark.parametrize("files", [CSV, OLD], ids=["latest", "100k"])
def test_both_layouts_give_columns_in_the_order_of_time(tmp_path: Path, files: dict[str, str]) -> None:
    ratings = read_movielens(write(tmp_path, files))
    assert ratings.time_s.tolist() == [100, 200, 300]
    assert [ratings.user_ids[u] for u in ratings.user] == ["7", "9", "7"]
    assert [ratings.item_ids[i] for i in ratings.item] == ["10", "10", "20"]
    assert ratings.rating.tolist() == ([5.0, 0.5, 3.5] if files is CSV else [5.0, 1.0, 3.0])
    assert ratings.titles == ("Café, The (1999)", "Alone (2001)", "Unseen (2002)")
    assert ratings.genres == (("Comedy", "Drama"), (), ("Drama",))
    assert (ratings.user.dtype, ratings.rating.dtype) == (np.int32, np.float32)
    assert len(ratings.sha256) == 64
    assert is_movielens(tmp_path)


def test_what_is_known_of_users_comes_along(tmp_path: Path) -> None:
    ratings = read_movielens(write(tmp_path, OLD))
    assert ratings.user_features == {
        "age": ("24", "53"),
        "gender": ("M", "F"),
        "occupation": ("writer", "other"),
        "zip_code": ("12345", "00000"),
    }


@pytest.mark.parametrize("name", ["ratings.csv", "u.data"])
def test_ratings_alone_are_enough(tmp_path: Path, name: str) -> None:
    ratings = read_movielens(write(tmp_path, {name: (CSV | OLD)[name]}))
    assert ratings.titles == ("", "")
    assert ratings.user_features == {}


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({}, "neither u.data nor ratings.csv"),
        ({"ratings.csv": "userId,movieId,rating,timestamp\n"}, "no rating in it"),
        ({"ratings.csv": ""}, r"ratings.csv:1: no column userId, movieId, rating, timestamp"),
        ({"ratings.csv": "userId,rating,timestamp\n1,2,3\n"}, "ratings.csv:1: no column movieId"),
        ({"ratings.csv": CSV["ratings.csv"] + "1,2,good,5\n"}, r"ratings.csv:5: rating 'good' is no number"),
        ({"ratings.csv": CSV["ratings.csv"] + "1,2,nan,5\n"}, r"ratings.csv:5: rating is nan"),
        ({"ratings.csv": CSV["ratings.csv"] + "1,2,3\n"}, r"ratings.csv:5: 3 columns, not 4"),
        (
            {"ratings.csv": CSV["ratings.csv"] + ",2,3,4\n"},
            r"ratings.csv:5: the user or the movie is missing",
        ),
        (CSV | {"movies.csv": CSV["movies.csv"] + "10,Again,\n"}, r"movies.csv:5: movie 10 a second time"),
        ({"u.data": "1\t2\t3\t4\n1\t2\t3\n"}, r"u.data:2: 3 columns, not 4"),
        ({"u.data": "1\t2\t3\tnoon\n"}, r"u.data:1: timestamp 'noon' is no number"),
        ({"u.data": ""}, "no rating in it"),
        (OLD | {"u.item": "10|A|||\n"}, r"u.item:1: 5 columns, not 8"),
        (OLD | {"u.genre": "Comedy|1\n"}, r"u.genre:1: genre Comedy has number 1, not 0"),
        (OLD | {"u.user": "7|24|M\n"}, r"u.user:1: 3 columns, not 5"),
    ],
)
def test_what_cannot_be_read_is_named(tmp_path: Path, files: dict[str, str], message: str) -> None:
    with pytest.raises(MovieLensError, match=message):
        read_movielens(write(tmp_path, files))


def test_a_byte_that_is_no_text_is_named(tmp_path: Path) -> None:
    (tmp_path / "ratings.csv").write_bytes(CSV["ratings.csv"].encode() + b"\xff,1,2,3\n")
    with pytest.raises(MovieLensError, match=r"ratings.csv:\d: .*can't decode"):
        read_movielens(tmp_path)


def test_a_random_split_is_a_partition_that_its_seed_decides() -> None:
    ratings = many()
    train, test = random_split(ratings, 0.2, 1)
    assert (len(train), len(test)) == (800, 200)
    both = np.concatenate([train.time_s * 1e6 + train.item, test.time_s * 1e6 + test.item])
    assert sorted(both) == sorted(ratings.time_s * 1e6 + ratings.item)
    assert (np.diff(train.time_s) >= 0).all()
    assert np.array_equal(random_split(ratings, 0.2, 1)[1].user, test.user)
    assert not np.array_equal(random_split(ratings, 0.2, 2)[1].user, test.user)


def test_a_split_in_time_keeps_moments_together() -> None:
    before, after = time_split(many(), 0.805)
    assert (len(before), len(after)) == (800, 200)
    assert before.time_s.max() < after.time_s.min()
    assert [len(part) for part in time_split(many(), 1.0)] == [1_000, 0]


def test_fractions_out_of_range_are_refused() -> None:
    with pytest.raises(ValueError, match=r"test_fraction is 1\.5"):
        random_split(many(), 1.5, 0)
    with pytest.raises(ValueError, match=r"fraction is -1"):
        time_split(many(), -1)


def test_the_range_of_ratings_is_that_of_the_data() -> None:
    assert many().rating_range == (1.0, 5.0)
    with pytest.raises(ValueError, match="no rating"):
        many().take(np.zeros(1_000, np.bool_)).rating_range  # noqa: B018


@pytest.mark.data
@pytest.mark.parametrize(
    ("name", "sizes"), [("ml-100k", (100_000, 943, 1_682)), ("ml-latest-small", (100_004, 671, 9_125))]
)
def test_the_sets_that_everybody_uses_are_read_whole(name: str, sizes: tuple[int, int, int]) -> None:
    root = os.environ.get("FRESHET_DATA")
    if root is None or not (Path(root) / name).is_dir():
        pytest.skip(f"FRESHET_DATA names no folder with {name}")
    ratings = read_movielens(Path(root) / name)
    assert (len(ratings), len(ratings.user_ids), len(ratings.item_ids)) == sizes
