"""Reads headline tests: randomized experiments that show a story under several headlines.

A test says more about words than an impression log: its arms differ only in the headline (and in the picture,
over which the counts are summed), not in story, page or hour. The format is that of the Upworthy Research
Archive (Matias et al., "The Upworthy Research Archive, a time series of 32,487 experiments in U.S. media",
Scientific Data 8, 2021), aggregated to a line for each arm: ``clickability_test_id, test_week (YYYYWW),
headline, impressions, clicks``, tab-separated with a header.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from io import BytesIO
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from freshet.models.datasets.ragged import concatenated_ranges
from freshet.models.datasets.text_lines import read_lines, readable_reason

HEADLINE_TESTS_FILE = "headline_tests.tsv"
COLUMNS = ("clickability_test_id", "test_week", "headline", "impressions", "clicks")
CRITICAL_Z = 1.959963984540054
"""Standard normal distribution's 97.5 % quantile, for a two-sided test at 5 %."""

_WEEK_DIGITS = 6
_LAST_WEEK = 53


class HeadlineTestsError(ValueError):
    """A file of headline tests cannot be used; the message names file and line."""


@dataclass(frozen=True)
class HeadlineTests:
    """Headline tests in the file's order, their arms one after another. Treat the arrays as read-only."""

    source: Path
    test_ids: tuple[str, ...]
    week: NDArray[np.int32]
    """Shape (tests,): year and week, YYYYWW."""
    arm_start: NDArray[np.int64]
    """Shape (tests + 1,): test ``t`` has the arms ``[arm_start[t], arm_start[t + 1])``."""
    headlines: tuple[str, ...]
    """Headline of each arm."""
    impressions: NDArray[np.int64]
    """Shape (arms,), at least 1."""
    clicks: NDArray[np.int64]
    """Shape (arms,), at most the impressions."""
    sha256: str
    """Digest of the file."""

    def __len__(self) -> int:
        return len(self.test_ids)

    @property
    def click_rate(self) -> NDArray[np.float64]:
        """Click-through rate of each arm (arms,)."""
        rate: NDArray[np.float64] = self.clicks / self.impressions
        return rate

    @property
    def test_of_arm(self) -> NDArray[np.int64]:
        """Test number of each arm (arms,)."""
        return np.repeat(np.arange(len(self)), np.diff(self.arm_start))

    def take(self, tests: ArrayLike) -> Self:
        """Select tests by number, in the given order."""
        chosen = np.asarray(tests, np.int64)
        sizes = np.diff(self.arm_start)[chosen]
        start = np.concatenate(([0], np.cumsum(sizes)))
        arms = concatenated_ranges(self.arm_start[chosen], sizes)
        return replace(
            self,
            test_ids=tuple(self.test_ids[test] for test in chosen),
            week=self.week[chosen],
            arm_start=start,
            headlines=tuple(self.headlines[arm] for arm in arms),
            impressions=self.impressions[arms],
            clicks=self.clicks[arms],
        )

    def joined(self, later: Self) -> Self:
        """Append the tests of ``later``, of the same file."""
        return replace(
            self,
            test_ids=self.test_ids + later.test_ids,
            week=np.concatenate((self.week, later.week)),
            arm_start=np.concatenate((self.arm_start, self.arm_start[-1] + later.arm_start[1:])),
            headlines=self.headlines + later.headlines,
            impressions=np.concatenate((self.impressions, later.impressions)),
            clicks=np.concatenate((self.clicks, later.clicks)),
        )

    def split_weeks(self, until: float) -> tuple[Self, Self]:
        """Temporal hold-out: split at the share ``until`` of the weeks that have tests.

        Raises:
            ValueError: A part would have no week.
        """
        weeks = np.unique(self.week)
        cut = int(until * len(weeks))
        if not 0 < cut < len(weeks):
            raise ValueError(
                f"{self.source}: cannot split {len(weeks)} weeks at {until}: give a share that leaves "
                "at least one week on either side"
            )
        later = self.week >= weeks[cut]
        return self.take(np.flatnonzero(~later)), self.take(np.flatnonzero(later))


@dataclass(frozen=True)
class HeadlinePairs:
    """Pairs of arms of the same test with different click-through rates."""

    better: NDArray[np.int64]
    """Shape (pairs,): arm with the higher click-through rate."""
    worse: NDArray[np.int64]
    """Shape (pairs,): arm with the lower click-through rate."""
    test: NDArray[np.int64]
    """Shape (pairs,): test number."""
    z: NDArray[np.float64]
    """Shape (pairs,), positive: z statistic of the difference (:func:`headline_pairs`)."""

    def __len__(self) -> int:
        return len(self.better)

    def significant(self) -> Self:
        """Select the pairs whose click-through rates differ at two-sided p < 0.05."""
        kept = self.z > CRITICAL_Z
        return type(self)(self.better[kept], self.worse[kept], self.test[kept], self.z[kept])


def read_headline_tests(path: Path) -> HeadlineTests:
    """Read ``headline_tests.tsv``, or the folder that holds it.

    A test is the arms of an id in a week. The same id in another week is another test, because its arms were
    not shown at the same time. Fields may be quoted as in CSV, with quotes inside doubled.

    Raises:
        HeadlineTestsError: The file is missing, has other columns, no line, or a line that is wrong.
    """
    file = path / HEADLINE_TESTS_FILE if path.is_dir() else path
    try:
        raw = file.read_bytes()
    except OSError as error:
        raise HeadlineTestsError(f"{file} cannot be read: {error.strerror or error}") from error
    arms: dict[tuple[str, int], list[tuple[str, int, int]]] = {}
    header_read = False
    for line in read_lines(BytesIO(raw)):
        try:
            fields = line.checked_raw().decode().split("\t")
            if header_read:
                test_id, week, headline, impressions, clicks = _parsed(fields)
                arms.setdefault((test_id, week), []).append((headline, impressions, clicks))
            else:
                _check_header(fields)
                header_read = True
        except ValueError as error:
            raise HeadlineTestsError(f"{file}, line {line.number}: {readable_reason(error)}") from None
    if not header_read:
        raise HeadlineTestsError(f"{file} is empty; its first line must be {', '.join(COLUMNS)}")
    if not arms:
        raise HeadlineTestsError(f"{file} has a header but no tests")
    flat = [arm for test in arms.values() for arm in test]
    sizes = [len(test) for test in arms.values()]
    return HeadlineTests(
        file,
        tuple(test_id for test_id, _ in arms),
        np.array([week for _, week in arms], np.int32),
        np.concatenate(([0], np.cumsum(sizes))).astype(np.int64),
        tuple(headline for headline, _, _ in flat),
        np.array([impressions for _, impressions, _ in flat], np.int64),
        np.array([clicks for _, _, clicks in flat], np.int64),
        hashlib.sha256(raw).hexdigest(),
    )


def headline_pairs(tests: HeadlineTests) -> HeadlinePairs:
    r"""Pair the arms of each test that have different click-through rates, with the z of the difference.

    :math:`z = |p_1 - p_2| / \sqrt{p (1 - p) (1 / n_1 + 1 / n_2)}` with clicks :math:`k`, impressions
    :math:`n`, :math:`p_i = k_i / n_i` and the pooled rate :math:`p = (k_1 + k_2) / (n_1 + n_2)`: the
    two-proportion z-test (Fleiss, Levin and Paik, "Statistical Methods for Rates and Proportions", 2003,
    section 3.1, without continuity correction).
    """
    firsts: list[NDArray[np.int64]] = []
    seconds: list[NDArray[np.int64]] = []
    # All tests of the same size are paired at once.
    sizes = np.diff(tests.arm_start)
    for size in np.unique(sizes):
        first, second = np.triu_indices(int(size), 1)  # (pairs of a test,)
        start = tests.arm_start[:-1][sizes == size, None]  # (tests of this size, 1)
        firsts.append((start + first).ravel())
        seconds.append((start + second).ravel())
    one, two = np.concatenate(firsts), np.concatenate(seconds)  # (all pairs,)
    rate = tests.click_rate
    swap = rate[one] < rate[two]
    better, worse = np.where(swap, two, one), np.where(swap, one, two)
    unequal = rate[better] > rate[worse]
    better, worse = better[unequal], worse[unequal]  # (pairs,)
    order = np.lexsort((worse, better, tests.test_of_arm[better]))
    better, worse = better[order], worse[order]
    shown = tests.impressions
    pooled = (tests.clicks[better] + tests.clicks[worse]) / (shown[better] + shown[worse])
    error = np.sqrt(pooled * (1.0 - pooled) * (1.0 / shown[better] + 1.0 / shown[worse]))
    z = (rate[better] - rate[worse]) / error
    return HeadlinePairs(better, worse, tests.test_of_arm[better], z)


def _check_header(fields: Sequence[str]) -> None:
    if tuple(fields) != COLUMNS:
        missing = [name for name in COLUMNS if name not in fields]
        raise ValueError(
            f"the columns must be {', '.join(COLUMNS)}, tab-separated, in this order; "
            f"{'missing: ' + ', '.join(missing) if missing else 'found ' + ', '.join(fields)}"
        )


def _parsed(fields: Sequence[str]) -> tuple[str, int, str, int, int]:
    if len(fields) != len(COLUMNS):
        raise ValueError(f"{len(fields)} fields, it must have {len(COLUMNS)}, separated by tabs")
    test_id, week, headline, impressions, clicks = (_unquoted(field) for field in fields)
    if not test_id:
        raise ValueError("clickability_test_id is empty")
    if len(week) != _WEEK_DIGITS or not week.isdecimal() or int(week[4:]) > _LAST_WEEK:
        raise ValueError(f"test_week is {week!r}, it must be a year and a week of 00 to 53, such as 201417")
    if not headline.strip():
        raise ValueError("headline is empty")
    shown, clicked = _count("impressions", impressions), _count("clicks", clicks)
    if shown < 1:
        raise ValueError(
            "impressions is 0: remove the line, an arm without impressions has no click-through rate"
        )
    if clicked > shown:
        raise ValueError(f"{clicked} clicks of {shown} impressions, there cannot be more")
    return test_id, int(week), headline.strip(), shown, clicked


def _unquoted(field: str) -> str:
    if len(field) > 1 and field[0] == field[-1] == '"':
        return field[1:-1].replace('""', '"')
    return field


def _count(name: str, field: str) -> int:
    if not field.isdecimal():
        raise ValueError(f"{name} is {field!r}, it must be a whole number of 0 or more")
    return int(field)
