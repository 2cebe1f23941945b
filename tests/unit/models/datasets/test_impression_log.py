"""A MIND folder as columns says what the folder says, and refuses what it cannot read, with file and line."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from freshet.models.datasets.impression_log import ImpressionLog, read_impression_log
from freshet.models.datasets.mind import BadLine, MindError, read_behaviors
from freshet.models.datasets.synthetic.folder import write_synth
from freshet.models.datasets.synthetic.world import SynthConfig

NEWS = "N1\tsport\tsoccer\tA title\tAn abstract\thttps://x\t[]\t[]\n"
LINES = (
    "1\tU1\t11/12/2019 9:00:00 AM\tN8 N9\tN1-0 N2-1\n"
    "2\tU2\t11/11/2019 9:00:00 AM\t\tN2-0 N3-0 N1-1\n"
    "3\tU1\t11/13/2019 9:00:00 AM\tN8 N9\tN3-1\n"
)


def folder(path: Path, behaviors: str = LINES, news: str | None = NEWS) -> Path:
    (path / "behaviors.tsv").write_text(behaviors)
    if news is not None:
        (path / "news.tsv").write_text(news)
    return path


def slates(log: ImpressionLog) -> list[tuple[str, dict[str, bool]]]:
    return [
        (
            log.user_ids[log.user[i]],
            {log.articles.ids[c]: bool(k) for c, k in zip(*log.slate(i), strict=True)},
        )
        for i in range(len(log))
    ]


def test_impressions_come_in_the_order_of_time(tmp_path: Path) -> None:
    log = read_impression_log(folder(tmp_path))
    assert slates(log) == [
        ("U2", {"N2": False, "N3": False, "N1": True}),
        ("U1", {"N1": False, "N2": True}),
        ("U1", {"N3": True}),
    ]
    assert np.diff(log.time_s).tolist() == [86_400.0, 86_400.0]


def test_a_history_that_is_repeated_is_kept_once(tmp_path: Path) -> None:
    log = read_impression_log(folder(tmp_path))
    assert [[log.articles.ids[a] for a in log.history_of(i)] for i in range(3)] == [
        [],
        ["N8", "N9"],
        ["N8", "N9"],
    ]
    assert len(log.history_items) == 2


def test_articles_without_a_news_line_are_known_by_id_only(tmp_path: Path) -> None:
    log = read_impression_log(folder(tmp_path))
    at = log.articles.ids.index("N1")
    assert (log.articles.titles[at], log.articles.categories[at]) == ("A title", "sport")
    assert log.articles.announced.sum() == 1
    assert log.unannounced == len(log.articles) - 1


def test_a_slice_is_what_was_cut_out(tmp_path: Path) -> None:
    log = read_impression_log(folder(tmp_path))
    assert slates(log.slice(1, 3)) == slates(log)[1:]
    assert slates(log.slice(1, 3).slice(1, 2)) == slates(log)[2:]
    assert not slates(log.slice(3, 3))


def test_a_cut_leaves_impressions_of_one_moment_together(tmp_path: Path) -> None:
    same = "".join(f"{i}\tU{i}\t11/11/2019 9:00:00 AM\t\tN1-1 N2-0\n" for i in range(8))
    later = "9\tU9\t11/11/2019 9:00:01 AM\t\tN1-1 N2-0\n"
    log = read_impression_log(folder(tmp_path, same + later))
    assert log.position_at(0.5) == 0
    assert log.position_at(0.95) == 9
    assert log.position_at(8 / 9) == 8
    assert log.position_at(1.0) == 9


def test_the_columns_hold_what_the_parser_of_the_events_reads(tmp_path: Path) -> None:
    write_synth(tmp_path / "s", SynthConfig(users=40, articles=120, impressions=300, seed=3))
    log = read_impression_log(tmp_path / "s")
    events = sorted(
        (e for e in read_behaviors(tmp_path / "s") if not isinstance(e, BadLine)), key=lambda e: e.time
    )
    assert slates(log) == [
        (e.user_id, {news_id: news_id in e.clicked for news_id in e.candidates}) for e in events
    ]
    assert [[log.articles.ids[a] for a in log.history_of(i)] for i in range(len(log))] == [
        list(e.history) for e in events
    ]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("4\tU1\t11/13/2019 9:00:00 AM\tN1-1\n", "4 columns, not 5"),
        ("4\tU1\t11/13/2019 9:00:00 AM\t\tN1-1 N2-2\n", "'N2-2' has no label"),
        ("4\tU1\t11/13/2019 9:00:00 AM\t\tN1 N2\n", "no labels"),
        ("4\tU1\t2019-11-13\t\tN1-1\n", "is not like"),
        ("4\tU1\t11/13/19 9:00:00 AM\t\tN1-1\n", "the year has four digits"),
        ("4\tU1\t11/13/2019 9:00:00 AM\t\t\n", "candidates"),
        ("4\t\t11/13/2019 9:00:00 AM\t\tN1-1\n", "user"),
    ],
)
def test_a_bad_line_is_refused_with_its_number_or_left_out_when_asked(
    tmp_path: Path, line: str, reason: str
) -> None:
    bad = folder(tmp_path, LINES + line)
    with pytest.raises(MindError, match=r"behaviors\.tsv:4: ") as error:
        read_impression_log(bad)
    assert reason in str(error.value)
    left_out: list[BadLine] = []
    assert len(read_impression_log(bad, skip_bad_lines=True, on_bad_line=left_out.append)) == 3
    assert [found.line for found in left_out] == [4]


def test_a_bad_line_of_news_is_refused_with_its_number(tmp_path: Path) -> None:
    with pytest.raises(MindError, match=r"news\.tsv:2: "):
        read_impression_log(folder(tmp_path, news=NEWS + "N2\tsport\n"))


def test_a_publication_time_in_milliseconds_is_refused_with_its_number(tmp_path: Path) -> None:
    path = folder(tmp_path)
    (path / "published.tsv").write_text("N1\t1573462000\nN2\t1573462000000\n")
    with pytest.raises(MindError, match=r"published\.tsv:2: .*not in milliseconds"):
        read_impression_log(path)
    assert len(read_impression_log(path, skip_bad_lines=True)) == 3


@pytest.mark.parametrize("behaviors", ["", "\n\n"])
def test_an_empty_folder_is_refused(tmp_path: Path, behaviors: str) -> None:
    with pytest.raises(MindError, match="no impression"):
        read_impression_log(folder(tmp_path, behaviors))
    (tmp_path / "behaviors.tsv").unlink()
    with pytest.raises(MindError, match=r"behaviors\.tsv"):
        read_impression_log(tmp_path)


def test_a_candidate_listed_twice_counts_once_and_as_clicked_if_it_was(tmp_path: Path) -> None:
    twice = "1\tU1\t11/13/2019 9:00:00 AM\t\tN1-0 N2-0 N1-1\n"
    assert slates(read_impression_log(folder(tmp_path, twice))) == [("U1", {"N1": True, "N2": False})]
