"""Every reader of a text file gets the same lines, however it was saved, and what is wrong with them."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import orjson
import pytest

from freshet.models.datasets.headline_tests import HeadlineTestsError, read_headline_tests
from freshet.models.datasets.impression_log import read_impression_log
from freshet.models.datasets.mind import BadLine, MindError, read_behaviors, read_news, read_published
from freshet.models.datasets.mind_timeline import Timeline
from freshet.models.datasets.movielens import MovieLensError, read_movielens
from freshet.models.datasets.recommendation_log import RecommendationLog, RecommendationLogError
from freshet.models.datasets.text_lines import MAX_LINE_BYTES, Line, read_lines
from freshet.models.events.events import Article, from_unix_s
from freshet.workers.cli.article_lines import BadArticle, read_articles
from freshet.workers.evaluation.off_policy.estimate import OffPolicyUnmeasurable, read_ranker

MARK = b"\xef\xbb\xbf"
TIME = "2019-11-11T09:00:00Z"
FILES = {
    "news.tsv": b"N1\tnews\tlocal\tTitle\t\t\t[]\t[]\nN2\tnews\tlocal\tTitle\t\t\t[]\t[]\n",
    "behaviors.tsv": b"I1\tU1\t11/11/2019 9:00:00 AM\tN2\tN1-1 N2-0\n",
    "published.tsv": b"N1\t1573462000\n",
    "impressions.jsonl": orjson.dumps(
        {"impression_id": "I1", "user_id": "U1", "time": TIME, "candidates": ["N1"], "request_id": "R1"}
    )
    + b"\n",
    "recommendations.jsonl": orjson.dumps(
        {"request_id": "R1", "user_id": "U1", "time": TIME, "bundle": "b", "ranker": "r", "items": []}
    )
    + b"\n",
    "u.data": b"U1\tM1\t5\t874965758\n",
    "u.item": b"M1|Mis\xe9rables|01-Jan-1995||u|1\n",
    "u.genre": b"Drama|0\n",
    "u.user": b"U1|24|M|writer|12345\n",
    "ratings.csv": b"userId,movieId,rating,timestamp\nU1,M1,5,874965758\n",
    "movies.csv": b"movieId,title,genres\nM1,Title,Drama\n",
    "headline_tests.tsv": b"clickability_test_id\ttest_week\theadline\timpressions\tclicks\n"
    b"T1\t201417\tA\t10\t1\nT1\t201417\tB\t10\t2\n",
    "articles.jsonl": orjson.dumps({"news_id": "N1", "published_at": TIME}) + b"\n",
    "ranker.json": b'{"log_ctr_3h": 0.5}\n',
}


def _timeline(folder: Path) -> object:
    with Timeline(folder) as timeline:
        return [
            (timeline.impression(0), *timeline.untimed()),
            [timeline.article(position) for position in range(len(timeline.articles))],
        ]


def _log(folder: Path) -> object:
    log = read_impression_log(folder)
    return log.articles.ids, log.articles.titles, log.user_ids, log.time_s.tolist()


def _ratings(folder: Path) -> object:
    ratings = read_movielens(folder)
    return ratings.user_ids, ratings.item_ids, ratings.titles, ratings.genres, ratings.time_s.tolist()


def _recommendations(folder: Path) -> object:
    with RecommendationLog(folder) as log:
        return [*log, *log.articles()]


def _articles(folder: Path) -> list[Article | BadArticle]:
    return list(read_articles(io.BytesIO((folder / "articles.jsonl").read_bytes())))


def _headlines(folder: Path) -> object:
    tests = read_headline_tests(folder)
    return tests.test_ids, tests.headlines


MIND = ("news.tsv", "behaviors.tsv", "published.tsv")
READERS: dict[str, tuple[Callable[[Path], object], tuple[str, ...]]] = {
    "news": (lambda folder: list(read_news(folder)), ("news.tsv",)),
    "behaviors": (lambda folder: list(read_behaviors(folder)), ("behaviors.tsv",)),
    "published": (lambda folder: list(read_published(folder)), ("published.tsv",)),
    "timeline": (_timeline, MIND),
    "impression log": (_log, ("news.tsv", "behaviors.tsv")),
    "recommendation log": (_recommendations, (*MIND, "impressions.jsonl", "recommendations.jsonl")),
    "MovieLens 100K": (_ratings, ("u.data", "u.item", "u.genre", "u.user")),
    "MovieLens": (_ratings, ("ratings.csv", "movies.csv")),
    "headline tests": (_headlines, ("headline_tests.tsv",)),
    "articles": (_articles, ("articles.jsonl",)),
    "ranker": (lambda folder: read_ranker(folder / "ranker.json").weights, ("ranker.json",)),
}
each_reader = pytest.mark.parametrize(("read", "names"), READERS.values(), ids=READERS)
REFUSALS = (
    MindError,
    MovieLensError,
    HeadlineTestsError,
    RecommendationLogError,
    OffPolicyUnmeasurable,
)


def folder_of(folder: Path, names: tuple[str, ...], change: Callable[[bytes], bytes] = bytes) -> Path:
    folder.mkdir()
    for name in names:
        (folder / name).write_bytes(change(FILES[name]))
    return folder


@each_reader
@pytest.mark.parametrize(
    "change",
    [
        lambda text: MARK + text,
        lambda text: text.replace(b"\n", b"\r\n"),
        lambda text: MARK + text.replace(b"\n", b"\r\n\r\n"),
        lambda text: text.removesuffix(b"\n"),
    ],
    ids=["mark", "CRLF", "both, and blank lines", "no break at the end"],
)
def test_how_a_file_was_saved_changes_nothing_that_is_read(
    tmp_path: Path,
    read: Callable[[Path], object],
    names: tuple[str, ...],
    change: Callable[[bytes], bytes],
) -> None:
    saved_anew = read(folder_of(tmp_path / "anew", names, change))
    assert saved_anew == read(folder_of(tmp_path / "plain", names))


@each_reader
@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda text: text.decode("latin-1").encode("utf-16"), "UTF-16: save it as UTF-8"),
        (lambda text: b"\x1f\x8b\x08" + text, "compressed with gzip"),
    ],
    ids=["UTF-16", "gzip"],
)
def test_a_file_that_is_no_utf_8_is_refused_with_the_reason(
    tmp_path: Path,
    read: Callable[[Path], object],
    names: tuple[str, ...],
    change: Callable[[bytes], bytes],
    reason: str,
) -> None:
    folder = folder_of(tmp_path / "folder", names)
    (folder / names[-1]).write_bytes(change(FILES[names[-1]]))
    try:
        found = repr(read(folder))
    except REFUSALS as error:
        found = str(error)
        assert names[-1] in found
    assert reason in found


@pytest.mark.parametrize("name", [name for name in FILES if "json" not in name])
def test_a_nul_byte_is_a_line_that_cannot_be_used(tmp_path: Path, name: str) -> None:
    read, names = next((read, names) for read, names in READERS.values() if name in names)
    folder = folder_of(tmp_path / "folder", names)
    (folder / name).write_bytes(FILES[name][:-1] + b"\0\n")
    try:
        found = repr(read(folder))
    except REFUSALS as error:
        found = str(error)
    assert "NUL" in found


def test_a_title_of_movielens_may_be_in_either_encoding(tmp_path: Path) -> None:
    names = ("u.data", "u.item", "u.genre")
    latin = read_movielens(folder_of(tmp_path / "latin", names))
    utf_8 = read_movielens(
        folder_of(tmp_path / "utf-8", names, lambda text: MARK + text.decode("latin-1").encode())
    )
    assert latin.titles == utf_8.titles == ("Misérables",)


def test_lines_come_with_number_and_place() -> None:
    text = MARK + b"one\r\n\n \r\ntwo\nth\0ree\n" + b"x" * (MAX_LINE_BYTES + 2) + b"\nlast"
    lines = list(read_lines(io.BytesIO(text)))
    assert [(line.number, line.offset, line.raw[:8]) for line in lines] == [
        (1, 3, b"one"),
        (4, 12, b"two"),
        (5, 16, b"th\0ree"),
        (6, 23, b"x" * 8),
        (7, 23 + MAX_LINE_BYTES + 3, b"last"),
    ]
    assert [bool(line.problem) for line in lines] == [False, False, True, True, False]
    assert len(lines[3].raw) == MAX_LINE_BYTES
    assert list(read_lines(io.BytesIO(b""))) == []
    assert list(read_lines(io.BytesIO(MARK))) == []
    assert list(read_lines(io.BytesIO(b"only"))) == [Line(1, 0, b"only", "")]


def test_a_year_of_two_digits_is_a_bad_line_to_whoever_reads_the_folder(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "folder", MIND)
    bad = b"I2\tU1\t11/11/19 9:00:00 AM\t\tN1-1\n"
    (folder / "behaviors.tsv").write_bytes(FILES["behaviors.tsv"] + bad)
    with pytest.raises(MindError, match=r"behaviors\.tsv:2: time '11/11/19 9:00:00 AM'"):
        read_impression_log(folder)
    with Timeline(folder) as timeline:
        assert [line.line for line in timeline.untimed()] == [2]
        assert len(timeline.impressions) == 1
        assert timeline.first_time_s == from_unix_s(1_573_462_800).timestamp()
    assert [line.line for line in read_behaviors(folder) if isinstance(line, BadLine)] == [2]
