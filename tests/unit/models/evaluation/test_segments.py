"""Segments hold who they say, with the means of their own impressions; differences are paired."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from freshet.models.datasets.impression_log import ImpressionLog
from freshet.models.evaluation.frozen import publication_times
from freshet.models.evaluation.segments import (
    SegmentTable,
    article_parts,
    differences,
    earlier_clicks,
    estimates,
    over_time,
    overall,
    segment_tables,
)
from freshet.models.evaluation.slate_scores import METRICS, Slates, SlateScores
from tests.logs import Line, log_of

CUT = 30


def measured(folder: Path) -> tuple[ImpressionLog, SlateScores]:
    """Users U0 to U4 come before the cut, U5 to U9 after it, the even ones of these with a history."""
    random = np.random.default_rng(0)
    lines: list[Line] = []
    for i in range(150):
        user = random.integers(10) if i >= CUT else random.integers(5)
        history = "N1 N2" if user >= 5 and user % 2 == 0 else ""
        slate = random.choice(10 if i < CUT else 14, 5, replace=False)
        labels = random.permutation([1, 1, 0, 0, 0])
        text = " ".join(f"N{n}-{label}" for n, label in zip(slate, labels, strict=True))
        lines.append((f"U{user}", 1_800.0 * i, history, text))
    log = log_of(folder, lines, {f"N{n}": ("sports", "travel")[n % 2] for n in range(12)})
    shown = np.bincount(log.candidates[: log.slate_start[CUT]], minlength=len(log.articles))
    scores = SlateScores(["one", "other"], parts=article_parts(log, shown, publication_times(log)))
    slates = Slates.of(log, CUT, len(log))
    one = random.normal(size=len(slates.candidates)) + 0.5 * slates.clicked
    scores.add_slates(slates, {"one": one, "other": random.normal(size=len(one))})
    return log, scores


def table(tables: tuple[SegmentTable, ...], title: str) -> SegmentTable:
    return next(found for found in tables if found.title == title)


def test_users_are_told_apart_by_what_was_known_of_them_at_the_cut(tmp_path: Path) -> None:
    log, scores = measured(tmp_path)
    users = table(segment_tables(scores, log, CUT), "users")
    names = [log.user_ids[user] for user in log.user[scores.positions].tolist()]
    kinds = [0 if name < "U5" else 2 - (int(name[1]) % 2 == 0) for name in names]

    auc = scores.values[:, :, METRICS.index("auc")]
    assert [segment.name for segment in users.segments] == [
        "known before the cut",
        "with a history only",
        "new: no event, no history",
    ]
    for kind, segment in enumerate(users.segments):
        own = auc[np.array(kinds) == kind]
        assert segment.impressions == len(own)
        assert segment.methods["one"].mean == pytest.approx(own[:, 0].mean(), abs=1e-6)
        assert segment.methods["one"].low < segment.methods["one"].mean < segment.methods["one"].high


def test_hours_and_days_hold_every_impression_once(tmp_path: Path) -> None:
    log, scores = measured(tmp_path)
    tables = segment_tables(scores, log, CUT)
    hours = table(tables, "hour of the day (UTC)")
    hour = (log.time_s[scores.positions] % 86_400 // 3_600).astype(int)

    for segment in hours.segments:
        assert segment.impressions == (hour == int(segment.name)).sum()
    days = table(tables, "day (UTC)")
    # A day of fewer than five impressions has no figures.
    assert len(scores) - 5 < sum(segment.impressions for segment in days.segments) <= len(scores)


def test_candidates_are_told_apart_by_cut_news_row_and_category(tmp_path: Path) -> None:
    log, scores = measured(tmp_path)
    tables = segment_tables(scores, log, CUT)

    names = {
        found.title: [segment.name for segment in found.segments] for found in tables if found.of_candidates
    }
    assert names["candidates by article"] == ["shown before the cut", "not shown before the cut"]
    assert names["candidates by news row"][0] == "with a line in news.tsv"
    assert names["candidates by category"] == ["sports", "travel", "(unknown)"]


def test_candidates_are_of_the_age_that_they_have_when_shown(tmp_path: Path) -> None:
    lines: list[Line] = [
        ("U0", 0.0, "", "N1-1 N2-0"),
        ("U1", 3_599.0, "", "N1-1 N2-0 N3-0 N4-1"),
        ("U2", 3_600.0, "", "N1-0 N2-1 N3-1 N4-0"),
    ]
    log = log_of(tmp_path, lines)
    division = article_parts(log, np.zeros(len(log.articles), int), publication_times(log))["age when shown"]
    positions = np.repeat(np.arange(3), [2, 4, 4])
    named = [division.names[code] for code in division.codes_of(positions, log.candidates).tolist()]

    assert named == ["first hour"] * 6 + ["1 to 6 hours"] * 2 + ["first hour"] * 2


def test_clicks_before_are_those_of_the_first_history_and_of_earlier_impressions(tmp_path: Path) -> None:
    lines: list[Line] = [
        ("U0", 0.0, "N8 N9", "N1-1 N2-0"),
        ("U1", 1.0, "", "N1-1 N2-1 N3-0"),
        ("U0", 2.0, "N8 N9 N1", "N1-0 N2-0"),
        ("U1", 3.0, "", "N1-1 N2-0"),
        ("U0", 4.0, "", "N1-1 N2-0"),
    ]

    assert earlier_clicks(log_of(tmp_path, lines)).tolist() == [2, 0, 3, 2, 3]


def test_the_stretches_of_time_are_equally_many_impressions(tmp_path: Path) -> None:
    log, scores = measured(tmp_path)
    found = over_time(scores, log, bins=4)

    assert [segment.impressions for segment in found.segments] == [30, 30, 30, 30]
    assert [segment.name for segment in found.segments] == sorted(segment.name for segment in found.segments)
    means = [segment.methods["one"].mean for segment in found.segments]
    assert np.mean(means) == pytest.approx(overall(scores)["one"]["auc"].mean, abs=1e-6)


def test_differences_are_resampled_in_pairs(tmp_path: Path) -> None:
    _, scores = measured(tmp_path)
    found = differences(scores, "one")["other"]
    whole = overall(scores)

    assert found.mean == pytest.approx(whole["one"]["auc"].mean - whole["other"]["auc"].mean, abs=1e-6)
    assert found.low > 0
    assert "diversity@5" not in whole["one"]


def test_a_figure_that_an_impression_lacks_is_left_out_of_its_mean_only() -> None:
    values = np.array([[1.0, np.nan, np.nan], [3.0, 5.0, np.nan]])
    means = [estimate.mean for estimate in estimates(values)]

    assert means == pytest.approx([2.0, 5.0, np.nan], nan_ok=True)
