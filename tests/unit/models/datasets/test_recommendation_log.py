"""A log comes back as it was written, in the order of time; what is wrong in it is told by file and line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from freshet.models.datasets.mind import BadLine
from freshet.models.datasets.recommendation_log import RecommendationLog, RecommendationLogError
from tests.recommendation_logs import IDS, serve, write_log

SERVED = serve(30)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_log(tmp_path / "log", SERVED)


def test_every_impression_comes_with_its_recommendation(folder: Path) -> None:
    with RecommendationLog(folder) as log:
        found = list(log)
        assert len(log) == 30
        assert list(log.times_s) == sorted(log.times_s)
    assert [logged.impression for logged in found] == SERVED.impressions
    assert [logged.recommendation for logged in found] == SERVED.recommendations


def test_impressions_as_events_name_their_request(tmp_path: Path) -> None:
    folder = write_log(tmp_path / "log", SERVED, as_events=True)
    with RecommendationLog(folder) as log:
        found = list(log)
    assert [logged.impression.impression_id for logged in found] == [f"I{number}" for number in range(30)]
    assert [logged.recommendation for logged in found] == SERVED.recommendations


def test_the_order_of_the_lines_does_not_matter(folder: Path) -> None:
    for name in ("recommendations.jsonl", "behaviors.tsv"):
        lines = (folder / name).read_bytes().splitlines(keepends=True)
        (folder / name).write_bytes(b"".join(reversed(lines)))
    with RecommendationLog(folder) as log:
        assert [logged.recommendation for logged in log] == SERVED.recommendations


def test_a_request_that_the_log_does_not_hold_has_no_recommendation(folder: Path) -> None:
    lines = (folder / "recommendations.jsonl").read_bytes().splitlines(keepends=True)
    (folder / "recommendations.jsonl").write_bytes(b"".join(lines[1:]))
    with RecommendationLog(folder) as log:
        found = list(log)
    assert found[0].recommendation is None
    assert found[1].recommendation == SERVED.recommendations[1]


def test_of_two_recommendations_of_a_request_the_first_counts(folder: Path) -> None:
    second = SERVED.recommendations[0].model_copy(update={"ranker": "delivered-again"})
    with (folder / "recommendations.jsonl").open("ab") as file:
        file.write(second.to_json() + b"\n")
    with RecommendationLog(folder) as log:
        assert next(iter(log)).recommendation == SERVED.recommendations[0]


def test_the_articles_are_those_of_the_folder(folder: Path) -> None:
    with RecommendationLog(folder) as log:
        assert {article.news_id for article in log.articles()} == set(IDS)


def _append(name: str, line: bytes) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        with (folder / name).open("ab") as file:
            file.write(line + b"\n")

    return change


def _spoil_second_recommendation(folder: Path) -> None:
    path = folder / "recommendations.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    lines[1] = b'{"version":1,"request_id":"R1"}\n'
    path.write_bytes(b"".join(lines))


@pytest.mark.parametrize(
    ("change", "where"),
    [
        (_append("recommendations.jsonl", b"{"), "recommendations.jsonl:31: "),
        (_append("recommendations.jsonl", b"[]"), "recommendations.jsonl:31: not a JSON object"),
        (_append("recommendations.jsonl", b"{}"), "recommendations.jsonl:31: request_id: missing"),
        (_append("impressions.jsonl", b'{"time": 5}'), "impressions.jsonl:31: time: missing, or no text"),
        (
            _append("impressions.jsonl", b'{"time": "2026-01-05T06:00"}'),
            "impressions.jsonl:31: .*offset",
        ),
        (
            _append("impressions.jsonl", b'{"time": "2026-01-05T06:00Z"}'),
            "impressions.jsonl:31: Impression: ",
        ),
        (_append("behaviors.tsv", b"no impression"), "behaviors.tsv:31: 1 columns"),
        (_append("news.tsv", b"no article"), "news.tsv:13: "),
        (_spoil_second_recommendation, "recommendations.jsonl:2: Recommendation: "),
    ],
)
def test_a_line_that_cannot_be_read_is_named_or_left_out_and_told(
    tmp_path: Path, change: Callable[[Path], None], where: str
) -> None:
    folder = write_log(tmp_path / "log", SERVED, as_events="impressions" in where)
    change(folder)

    def read(*, skip: bool) -> list[BadLine]:
        told: list[BadLine] = []
        with RecommendationLog(folder, skip_bad_lines=skip, on_bad_line=told.append) as log:
            list(log.articles())
            assert len(list(log)) == 30
        return told

    with pytest.raises(RecommendationLogError, match=where):
        read(skip=False)
    assert [f"{bad.file}:{bad.line}: " for bad in read(skip=True)] == [where[: where.index(": ") + 2]]


@pytest.mark.parametrize("name", ["recommendations.jsonl", "news.tsv", "behaviors.tsv"])
def test_a_missing_file_is_named(folder: Path, name: str) -> None:
    (folder / name).unlink()
    with pytest.raises(RecommendationLogError, match=name):
        RecommendationLog(folder)


@pytest.mark.parametrize("name", ["recommendations.jsonl", "impressions.jsonl"])
def test_an_empty_file_is_no_log(tmp_path: Path, name: str) -> None:
    folder = write_log(tmp_path / "log", SERVED, as_events=True)
    (folder / name).write_bytes(b"\n")
    with pytest.raises(RecommendationLogError, match=name):
        RecommendationLog(folder)


def test_the_first_pass_tells_how_far_it_is(tmp_path: Path) -> None:
    folder = write_log(tmp_path / "log", serve(1_001))
    told: list[tuple[int, int]] = []
    RecommendationLog(folder, progress=lambda done, total: told.append((done, total))).close()
    assert len(told) == 1
    assert 0 < told[0][0] < told[0][1]
