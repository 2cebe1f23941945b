"""Headline tests are read whole or refused by line; pairs count as the docstring says."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from freshet.models.datasets.headline_tests import (
    COLUMNS,
    CRITICAL_Z,
    HEADLINE_TESTS_FILE,
    HeadlineTests,
    HeadlineTestsError,
    headline_pairs,
    read_headline_tests,
)
from freshet.models.evaluation.headlines.pairwise import pairwise_accuracy
from freshet.models.evaluation.headlines.ridge import log_click_rates, ridge_baseline, ridge_weights

HEADER = "\t".join(COLUMNS)
LINES = (
    "a\t201401\tOne thing\t1000\t10",
    "a\t201401\tAnother thing\t1000\t40",
    'a\t201401\t"She said ""no"" twice"\t1000\t12',
    "b\t201403\tFirst\t500\t5",
    "b\t201403\tSecond\t500\t5",
    "a\t201405\tOne thing\t2000\t100",
    "a\t201405\tAnother thing\t2000\t50",
    "c\t201452\tAlone\t10\t0",
)


def _written(folder: Path, *lines: str, header: str = HEADER) -> Path:
    path = folder / HEADLINE_TESTS_FILE
    path.write_text("\n".join((header, *lines)) + "\n", encoding="utf-8")
    return path


@pytest.fixture
def tests(tmp_path: Path) -> HeadlineTests:
    return read_headline_tests(_written(tmp_path, *LINES))


def test_the_arms_of_one_id_in_one_week_are_a_test(tests: HeadlineTests) -> None:
    assert tests.test_ids == ("a", "b", "a", "c")
    assert tests.week.tolist() == [201401, 201403, 201405, 201452]
    assert tests.arm_start.tolist() == [0, 3, 5, 7, 8]
    assert tests.headlines[2] == 'She said "no" twice'
    assert tests.click_rate[:3].tolist() == [0.01, 0.04, 0.012]


def test_arms_that_are_not_beside_each_other_come_together(tmp_path: Path) -> None:
    tests = read_headline_tests(_written(tmp_path, LINES[0], LINES[3], LINES[1]).parent)
    assert tests.test_ids == ("a", "b")
    assert tests.headlines == ("One thing", "Another thing", "First")


def test_weeks_are_split_by_their_number_not_by_tests(tests: HeadlineTests) -> None:
    earlier, later = tests.split_weeks(0.75)
    assert earlier.week.tolist() == [201401, 201403, 201405]
    assert later.test_ids == ("c",)
    assert later.headlines == ("Alone",)
    with pytest.raises(ValueError, match="cannot split 4 weeks at 1"):
        tests.split_weeks(1.0)


def test_what_is_split_can_be_joined(tests: HeadlineTests) -> None:
    joined = HeadlineTests.joined(*tests.split_weeks(0.5))
    assert joined.headlines == tests.headlines
    assert joined.arm_start.tolist() == tests.arm_start.tolist()
    assert joined.week.tolist() == tests.week.tolist()


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("a\t201401\tOne\t10", "4 fields, it must have 5"),
        ("\t201401\tOne\t10\t1", "clickability_test_id is empty"),
        ("a\t2014\tOne\t10\t1", "test_week is '2014'"),
        ("a\t201454\tOne\t10\t1", "test_week is '201454'"),
        ("a\t201401\t \t10\t1", "headline is empty"),
        ("a\t201401\tOne\tten\t1", "impressions is 'ten'"),
        ("a\t201401\tOne\t10\t-1", "clicks is '-1'"),
        ("a\t201401\tOne\t0\t0", "impressions is 0"),
        ("a\t201401\tOne\t10\t11", "11 clicks of 10 impressions"),
    ],
)
def test_a_bad_line_is_refused_with_file_and_line(tmp_path: Path, line: str, reason: str) -> None:
    path = _written(tmp_path, *LINES[:2], line)
    with pytest.raises(HeadlineTestsError) as refused:
        read_headline_tests(path)
    assert str(refused.value).startswith(f"{path}, line 4: ")
    assert reason in str(refused.value)


def test_a_file_that_is_missing_empty_or_has_other_columns_is_refused(tmp_path: Path) -> None:
    with pytest.raises(HeadlineTestsError, match="cannot be read: No such file"):
        read_headline_tests(tmp_path)
    with pytest.raises(HeadlineTestsError, match="a header but no tests"):
        read_headline_tests(_written(tmp_path))
    with pytest.raises(HeadlineTestsError, match=r"line 1: the columns must be .* missing: clicks"):
        read_headline_tests(_written(tmp_path, header="\t".join(COLUMNS[:-1])))
    path = tmp_path / HEADLINE_TESTS_FILE
    path.write_bytes(HEADER.encode() + b"\na\t201401\t\xff\t1\t1\n")
    with pytest.raises(HeadlineTestsError, match="line 2: not UTF-8"):
        read_headline_tests(path)


def test_pairs_are_those_of_one_test_with_unequal_rates(tests: HeadlineTests) -> None:
    pairs = headline_pairs(tests)
    assert list(zip(pairs.better.tolist(), pairs.worse.tolist(), strict=True)) == [
        (1, 0),
        (1, 2),
        (2, 0),
        (5, 6),
    ]
    assert pairs.test.tolist() == [0, 0, 0, 2]


def test_z_is_that_of_two_proportions_with_pooled_variance(tests: HeadlineTests) -> None:
    p = 50 / 2000
    assert headline_pairs(tests).z[0] == pytest.approx(0.03 / np.sqrt(p * (1 - p) * (2 / 1000)))
    significant = headline_pairs(tests).significant()
    assert (significant.z > CRITICAL_Z).all()
    assert significant.better.tolist() == [1, 1, 5]


def test_accuracy_counts_pairs_and_ties_half(tests: HeadlineTests) -> None:
    scores = np.array([0.0, 1.0, 1.0, 9.0, -9.0, 3.0, 4.0, 0.0])
    found = pairwise_accuracy(tests, scores)
    assert found.accuracy == pytest.approx((1 + 0.5 + 0) / 3)
    assert (found.pairs, found.tests, found.share) == (3, 2, 0.75)
    assert 0.0 <= found.low <= found.accuracy <= found.high <= 1.0
    every = pairwise_accuracy(tests, scores, significant_only=False)
    assert every.accuracy == pytest.approx((1 + 0.5 + 1 + 0) / 4)
    assert pairwise_accuracy(tests, scores) == found, "the bootstrap repeats itself"


def test_scores_that_do_not_fit_are_refused(tests: HeadlineTests) -> None:
    with pytest.raises(ValueError, match="8 headlines need as many scores"):
        pairwise_accuracy(tests, np.zeros(3))
    with pytest.raises(ValueError, match="1 of 8 scores are not finite"):
        pairwise_accuracy(tests, [np.nan] + [0.0] * 7)
    with pytest.raises(ValueError, match="click rates that differ significantly"):
        pairwise_accuracy(tests.take([1]), np.zeros(2))


def test_ridge_finds_the_direction_that_clicks_follow(tmp_path: Path) -> None:
    train, validation, later, vectors = _linear_world(tmp_path)
    weights = ridge_weights(train, vectors[0], 1.0)
    assert int(np.abs(weights).argmax()) == 0
    baseline = ridge_baseline(train, validation, later, vectors)
    assert pairwise_accuracy(later, baseline.scores).accuracy > 0.95
    assert baseline.validation_accuracy > 0.95


def test_what_a_test_shares_has_no_part_in_the_regression(tmp_path: Path) -> None:
    train, _, _, vectors = _linear_world(tmp_path)
    shift = np.random.default_rng(3).normal(size=(len(train), 4)).astype(np.float32)
    shifted = vectors[0] + shift[train.test_of_arm] * np.array([0, 0, 0, 9], np.float32)
    centred = log_click_rates(train)
    sums = np.add.reduceat(centred * train.impressions, train.arm_start[:-1])
    assert np.abs(sums).max() < 1e-6
    plain, other = ridge_weights(train, vectors[0], 1e-6), ridge_weights(train, shifted, 1e-6)
    assert other == pytest.approx(plain, abs=1e-3)


@pytest.mark.data
def test_the_research_archive_is_read_whole() -> None:
    root = Path(os.environ.get("FRESHET_DATA", "")) / "upworthy"
    if not os.environ.get("FRESHET_DATA") or not root.is_dir():
        pytest.skip("FRESHET_DATA names no folder with upworthy")
    tests = read_headline_tests(root)
    earlier, later = tests.split_weeks(0.75)
    assert len(tests.headlines) == 9_176
    assert len(earlier) + len(later) == len(tests)
    assert earlier.week.max() < later.week.min()
    found = pairwise_accuracy(later, np.zeros(len(later.headlines)))
    assert found.accuracy == 0.5
    assert 0.2 < found.share < 0.4


def _linear_world(
    folder: Path,
) -> tuple[
    HeadlineTests, HeadlineTests, HeadlineTests, list[np.ndarray[tuple[int, ...], np.dtype[np.float32]]]
]:
    """Tests whose click rates follow the first of four dimensions."""
    random = np.random.default_rng(0)
    vectors = random.normal(size=(400, 4)).astype(np.float32)
    lines = []
    for arm, vector in enumerate(vectors):
        rate = 0.02 * np.exp(0.5 * vector[0])
        lines.append(
            f"t{arm // 4}\t{201401 + arm // 40}\tHeadline {arm}\t20000\t{random.binomial(20000, rate)}"
        )
    tests = read_headline_tests(_written(folder, *lines))
    before, later = tests.split_weeks(0.8)
    train, validation = before.split_weeks(0.75)
    first, second = len(train.headlines), len(before.headlines)
    return train, validation, later, [vectors[:first], vectors[first:second], vectors[second:]]
