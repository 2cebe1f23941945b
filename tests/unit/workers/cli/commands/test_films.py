"""The commands for MovieLens of docs/explanation/models.md run, on small folders of its two layouts."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from freshet.workers.cli.main import main

USERS, FILMS = 30, 40


def latest_small(folder: Path) -> None:
    """Users of even numbers like films of even numbers, the odd ones the odd."""
    films = [f'{film},"Film {film} (1999)",{"Drama" if film % 2 else "War|Drama"}' for film in range(FILMS)]
    (folder / "movies.csv").write_text("\n".join(["movieId,title,genres", *films, ""]))
    ratings = [f"{user},{film},{stars},{time_s}" for user, film, stars, time_s in _ratings()]
    (folder / "ratings.csv").write_text("\n".join(["userId,movieId,rating,timestamp", *ratings, ""]))


def ml_100k(folder: Path) -> None:
    ratings = ["\t".join(map(str, rating)) for rating in _ratings()]
    (folder / "u.data").write_text("\n".join([*ratings, ""]))
    (folder / "u.genre").write_text("unknown|0\nWar|1\nDrama|2\n\n")
    films = [f"{film}|Film {film} (1999)|01-Jan-1999||http://x|0|{1 - film % 2}|1" for film in range(FILMS)]
    (folder / "u.item").write_text("\n".join([*films, ""]))
    users = [f"{user}|{20 + user}|{'FM'[user % 2]}|writer|12345" for user in range(USERS)]
    (folder / "u.user").write_text("\n".join([*users, ""]))


def _ratings() -> list[tuple[int, int, int, int]]:
    rng = np.random.default_rng(2)
    pairs = rng.permutation([(user, film) for user in range(USERS) for film in range(FILMS)]).tolist()
    liked = [(user, film, 5 if (user + film) % 2 == 0 else 2) for user, film in pairs]
    return [(*rating, 881_250_000 + second) for second, rating in enumerate(liked)]


def run(*arguments: object) -> dict[str, Any]:
    result = CliRunner().invoke(main, [*map(str, arguments), "--json"])
    assert result.exit_code == 0, result.stderr
    printed: dict[str, Any] = json.loads(result.stdout)
    return printed


@pytest.mark.parametrize(("folder_of", "model"), [(latest_small, "mf"), (ml_100k, "dssm")])
def test_a_model_of_films_is_trained_and_measured(folder_of: Any, model: str, tmp_path: Path) -> None:
    films, bundle = tmp_path / "films", tmp_path / "bundle"
    films.mkdir()
    folder_of(films)
    trained = run("train", films, "--model", model, "--out", bundle, "--epochs", "2", "--device", "cpu")
    measured = run("evaluate", films, "--bundle", bundle)
    assert measured["bundle"] == trained["bundle"]


# gensim, which trains item2vec, is not there for Python 3.14 yet.
@pytest.mark.parametrize("model", ["two-tower", "item2vec"][: 2 if sys.version_info < (3, 14) else 1])
def test_ratings_of_one_moment_cannot_be_cut_in_time(tmp_path: Path, model: str) -> None:
    """Nothing is left on one side of any cut."""
    lines = [f"{user}\t{film}\t{stars}\t881250949\n" for user, film, stars, _ in _ratings()]
    (tmp_path / "u.data").write_text("".join(lines))
    result = CliRunner().invoke(
        main, ["train", str(tmp_path), "--model", model, "--out", str(tmp_path / "out")]
    )
    assert result.exit_code == 1
    assert f"of {USERS * FILMS:,} ratings 0 are left to train on" in result.stderr
    assert "--until" in result.stderr
