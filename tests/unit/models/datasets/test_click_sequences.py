"""A user's sequence is the history, then the clicks in the order of time, and nothing from a later slice."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from freshet.models.datasets.click_sequences import ClickSequences
from freshet.models.datasets.impression_log import read_impression_log
from freshet.models.datasets.movielens import Ratings

BEHAVIORS = """\
1\tU1\t11/11/2019 9:00:00 AM\tN8 N9\tN1-1 N2-0 N3-1
2\tU2\t11/11/2019 9:01:00 AM\t\tN1-0 N4-1
3\tU1\t11/11/2019 9:02:00 AM\tN8 N9 N7\tN2-1 N5-0
4\tU3\t11/11/2019 9:03:00 AM\tN7\tN6-0 N1-0
"""


def test_the_history_of_the_first_line_comes_first(tmp_path: Path) -> None:
    (tmp_path / "behaviors.tsv").write_text(BEHAVIORS)
    log = read_impression_log(tmp_path)

    def sequences_of(start: int, stop: int) -> list[list[str]]:
        found = ClickSequences.of_log(log.slice(start, stop))
        return [[log.articles.ids[item] for item in found[number]] for number in range(len(found))]

    assert sequences_of(0, 4) == [["N8", "N9", "N1", "N3", "N2"], ["N4"], ["N7"]]
    assert sequences_of(0, 1) == [["N8", "N9", "N1", "N3"], [], []]
    assert sequences_of(0, 0) == [[], [], []]


def test_ratings_count_from_a_number_of_stars_on() -> None:
    ratings = Ratings(
        np.array([1, 0, 1, 1], np.int32),
        np.array([2, 1, 0, 1], np.int32),
        np.array([5, 4, 2, 4], np.float32),
        np.arange(4.0),
        ("a", "b"),
        ("x", "y", "z"),
        ("", "", ""),
        ((), (), ()),
    )

    found = ClickSequences.of_ratings(ratings, min_rating=4.0)

    assert [found[number].tolist() for number in range(2)] == [[1], [2, 1]]
    assert found.counts.tolist() == [0, 2, 1]


def test_the_latest_clicks_are_kept() -> None:
    sequences = ClickSequences(np.array([1, 2, 3, 4, 5], np.int32), np.array([0, 4, 4, 5]), 6).latest(2)

    assert [sequences[number].tolist() for number in range(3)] == [[3, 4], [], [5]]
