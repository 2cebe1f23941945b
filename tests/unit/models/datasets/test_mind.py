"""Reading and writing the files of a MIND folder."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from freshet.models.datasets.mind import (
    BadLine,
    MindError,
    Repairs,
    behaviors_line,
    format_time,
    news_line,
    parse_impression,
    parse_time,
    published_line,
    read_behaviors,
    read_news,
    read_published,
)
from freshet.models.datasets.text_lines import MAX_LINE_BYTES
from freshet.models.events.events import MAX_CANDIDATES, MAX_HISTORY, Article, Impression, from_unix_s

IDS = st.text(st.characters(codec="utf-8", exclude_categories=["Z", "C"]), min_size=1, max_size=20)
TEXTS = st.text(
    st.characters(codec="utf-8", exclude_categories=["C", "Z"], include_characters=" "), max_size=60
)
YEARS_S = st.integers(0, 4_000_000_000)


def line(slate: str = "N1-0 N2-1", *, time: str = "11/11/2019 9:05:58 AM", history: str = "N9") -> bytes:
    return f"1\tU1\t{time}\t{history}\t{slate}".encode()


def news(path: Path, *lines: str) -> Path:
    (path / "news.tsv").write_text("".join(text + "\n" for text in lines))
    return path


@pytest.mark.parametrize(
    ("text", "time"),
    [
        ("11/11/2019 9:05:58 AM", datetime(2019, 11, 11, 9, 5, 58, tzinfo=UTC)),
        ("11/9/2019 12:00:00 AM", datetime(2019, 11, 9, 0, 0, 0, tzinfo=UTC)),
        ("2/29/2020 12:59:59 PM", datetime(2020, 2, 29, 12, 59, 59, tzinfo=UTC)),
        ("1/1/2020 11:00:00 PM", datetime(2020, 1, 1, 23, 0, 0, tzinfo=UTC)),
    ],
)
def test_times_are_twelve_hour_utc(text: str, time: datetime) -> None:
    assert parse_time(text) == time.timestamp()
    assert format_time(time.timestamp()) == text


@given(YEARS_S)
def test_a_time_written_is_the_time_read(time_s: int) -> None:
    assert parse_time(format_time(time_s)) == time_s


@pytest.mark.parametrize(
    "text",
    ["", "11/11/2019", "13/1/2019 9:05:58 AM", "2/30/2019 9:05:58 AM", "1/1/2019 0:05:58 AM",
     "1/1/2019 13:05:58 PM", "1/1/2019 9:60:58 AM", "1/1/2019 9:05:58", "2019-11-11T09:05:58Z",
     "1/1/2019 9:05:58 XM", "1/1/2019 9:-5:58 AM", "11/11/19 9:00:00 AM", "1/1/02019 9:05:58 AM",
     "1/1/1969 9:05:58 AM", "1/1/2100 9:05:58 AM", "+1/1/2019 9:05:58 AM", "1/1/2019 9:0_5:58 AM"],
)  # fmt: skip
def test_a_time_that_is_not_one_is_named(text: str) -> None:
    with pytest.raises(ValueError, match="is not like"):
        parse_time(text)


@given(
    IDS,
    st.lists(IDS, min_size=1, max_size=10, unique=True),
    st.lists(IDS, max_size=10),
    st.sets(st.integers(0, 9)),
    YEARS_S,
)
def test_an_impression_written_is_the_impression_read(
    name: str, candidates: list[str], history: list[str], clicks: set[int], time_s: int
) -> None:
    impression = Impression(
        impression_id=name,
        user_id=name,
        time=from_unix_s(time_s),
        candidates=tuple(candidates),
        clicked=tuple(news_id for n, news_id in enumerate(candidates) if n in clicks),
        history=tuple(history),
    )
    assert parse_impression(behaviors_line(impression).encode().rstrip(b"\n")) == impression


@given(
    texts=st.tuples(TEXTS, TEXTS, TEXTS),
    entities=st.lists(st.from_regex(r"\AQ[0-9]{1,8}\Z"), max_size=5, unique=True),
    time_s=YEARS_S,
)
def test_an_article_written_is_the_article_read(
    tmp_path_factory: pytest.TempPathFactory,
    texts: tuple[str, str, str],
    entities: list[str],
    time_s: int,
) -> None:
    title, abstract, category = (" ".join(text.split()) for text in texts)
    folder = tmp_path_factory.mktemp("mind")
    article = Article(
        news_id="N1",
        published_at=from_unix_s(time_s),
        title=title,
        abstract=abstract,
        category=category,
        url="https://example.org/1",
        entities=tuple(entities),
    )
    (folder / "news.tsv").write_text(news_line(article))
    (folder / "published.tsv").write_text(published_line("N1", time_s))
    assert list(read_news(folder)) == [article]


def test_tabs_and_line_breaks_in_a_text_do_not_break_its_line(tmp_path: Path) -> None:
    article = Article(news_id="N1", published_at=from_unix_s(0), title="a\tb\nc\r d")
    (tmp_path / "news.tsv").write_text(news_line(article))
    (read,) = read_news(tmp_path)
    assert isinstance(read, Article)
    assert read.title == "a b c d"


def test_a_slate_without_labels_is_a_bad_line_not_an_impression_where_all_was_skipped() -> None:
    with pytest.raises(ValueError, match="test split"):
        parse_impression(line("N1 N2"))
    with pytest.raises(ValueError, match="'N2' has no label"):
        parse_impression(line("N1-0 N2"))


def test_an_id_may_end_like_a_label() -> None:
    assert parse_impression(line("N1-0-1 N1-1-0")).clicked == ("N1-0",)


def test_a_candidate_listed_twice_is_kept_once_and_clicked_if_either_is() -> None:
    impression = parse_impression(line("N1-0 N2-0 N1-1 N2-0"))
    assert (impression.candidates, impression.clicked) == (("N1", "N2"), ("N1",))


def test_of_a_long_history_the_latest_clicks_are_kept() -> None:
    history = " ".join(f"N{n}" for n in range(MAX_HISTORY + 5))
    kept = parse_impression(line(history=history)).history
    assert (len(kept), kept[0], kept[-1]) == (MAX_HISTORY, "N5", f"N{MAX_HISTORY + 4}")


def test_bad_lines_come_in_their_place_with_number_reason_and_bytes(tmp_path: Path) -> None:
    too_many = " ".join(f"N{n}-0" for n in range(MAX_CANDIDATES + 1))
    (tmp_path / "behaviors.tsv").write_bytes(
        b"\n".join(
            [line(), b"", b"one\ttwo", line(""), b"\xff\xfe", line(too_many), line(time="now"), line()]
        )
    )
    first, *bad, last = read_behaviors(tmp_path)
    assert isinstance(first, Impression)
    assert isinstance(last, Impression)
    assert [(entry.file, entry.line) for entry in bad if isinstance(entry, BadLine)] == [
        ("behaviors.tsv", number) for number in (3, 4, 5, 6, 7)
    ]
    reasons = [entry.reason for entry in bad if isinstance(entry, BadLine)]
    for reason, part in zip(
        reasons, ["2 columns", "candidates", "not UTF-8 at byte 0", "candidates", "'now'"], strict=True
    ):
        assert part in reason
    assert isinstance(bad[0], BadLine)
    assert bad[0].raw == b"one\ttwo"


def test_an_endless_line_is_one_bad_line_of_bounded_size(tmp_path: Path) -> None:
    (tmp_path / "behaviors.tsv").write_bytes(b"x" * (3 * MAX_LINE_BYTES) + b"\n" + line() + b"\n")
    bad, good = read_behaviors(tmp_path)
    assert isinstance(bad, BadLine)
    assert (bad.line, len(bad.raw)) == (1, MAX_LINE_BYTES)
    assert isinstance(good, Impression)


def test_windows_line_ends_are_read(tmp_path: Path) -> None:
    (tmp_path / "behaviors.tsv").write_bytes(line() + b"\r\n" + line() + b"\r\n")
    assert all(isinstance(entry, Impression) for entry in read_behaviors(tmp_path))


@pytest.mark.parametrize("entities", ["not json", '{"a": 1}', "[1]", '[{"WikidataId": 5}]', None])
def test_broken_entities_do_not_lose_the_article_and_are_counted(
    tmp_path: Path, entities: str | None
) -> None:
    columns = ["N1", "news", "world", "Title", "Abstract", "http://x"]
    columns += [] if entities is None else [entities, "[]"]
    repairs = Repairs()
    (article,) = read_news(news(tmp_path, "\t".join(columns)), repairs=repairs)
    assert isinstance(article, Article)
    assert (article.title, article.entities, repairs.broken_entities) == ("Title", (), 1)


def test_texts_longer_than_an_event_may_hold_are_cut_and_counted(tmp_path: Path) -> None:
    repairs = Repairs()
    text = "\t".join(["N1", "news", "world", "t" * 2_000, "a" * 20_000, "http://x", "[]", "[]"])
    (article,) = read_news(news(tmp_path, text), repairs=repairs)
    assert isinstance(article, Article)
    assert (len(article.title), len(article.abstract), repairs.cut_texts) == (1_000, 10_000, 1)


def test_bad_publication_times_are_bad_lines(tmp_path: Path) -> None:
    (tmp_path / "published.tsv").write_text("N1\t12.5\nN2\tsoon\nN3\tnan\nN4\t1573463100000\nN5\n")
    good, *bad = read_published(tmp_path)
    assert good == ("N1", 12.5)
    assert [entry.line for entry in bad if isinstance(entry, BadLine)] == [2, 3, 4, 5]


def test_a_missing_file_says_what_a_folder_holds(tmp_path: Path) -> None:
    with pytest.raises(MindError, match=r"behaviors\.tsv and news\.tsv"):
        list(read_behaviors(tmp_path))
    with pytest.raises(MindError, match=r"behaviors\.tsv and news\.tsv"):
        list(read_news(tmp_path))
