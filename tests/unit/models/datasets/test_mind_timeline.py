"""A MIND folder in the order of time."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from freshet.models.datasets.mind import BadLine, MindError, behaviors_line, news_line, published_line
from freshet.models.datasets.mind_timeline import Timeline
from freshet.models.events.events import Article, Impression, from_unix_s

_folders = itertools.count()


def folder(path: Path, impressions: list[tuple[int, str]], published: dict[str, float] | None = None) -> Path:
    """A folder of impressions (time in seconds, candidate) and of articles N0 to N4."""
    path = path / f"timeline{next(_folders)}"
    path.mkdir()
    events = [
        Impression(
            impression_id=f"I{number}", user_id="U", time=from_unix_s(time_s), candidates=(shown, "other")
        )
        for number, (time_s, shown) in enumerate(impressions)
    ]
    (path / "behaviors.tsv").write_text("".join(map(behaviors_line, events)))
    articles = [Article(news_id=f"N{n}", published_at=from_unix_s(0)) for n in range(5)]
    (path / "news.tsv").write_text("".join(map(news_line, articles)))
    if published is not None:
        lines = (published_line(news_id, time_s) for news_id, time_s in published.items())
        (path / "published.tsv").write_text("".join(lines))
    return path


def impressions_of(timeline: Timeline) -> list[Impression]:
    lines = [timeline.impression(position) for position in range(len(timeline.impressions))]
    return [line for line in lines if isinstance(line, Impression)]


def articles_of(timeline: Timeline) -> dict[str, float]:
    lines = [timeline.article(position) for position in range(len(timeline.articles))]
    return {line.news_id: line.published_at.timestamp() for line in lines if isinstance(line, Article)}


SHOWN = st.lists(
    st.tuples(st.integers(1_000, 2_000), st.sampled_from(["N0", "N1", "N2", "N3", "N4"])),
    min_size=1,
    max_size=30,
)


@given(SHOWN)
def test_impressions_come_in_the_order_of_time_those_of_one_time_in_the_files(
    tmp_path_factory: pytest.TempPathFactory, shown: list[tuple[int, str]]
) -> None:
    with Timeline(folder(tmp_path_factory.getbasetemp(), shown)) as timeline:
        read = [(event.time.timestamp(), event.impression_id) for event in impressions_of(timeline)]
        assert timeline.impressions.times_s.tolist() == [time_s for time_s, _ in read]
    in_order = sorted(range(len(shown)), key=lambda number: shown[number][0])
    assert read == [(float(shown[number][0]), f"I{number}") for number in in_order]


@given(SHOWN, st.none() | st.dictionaries(st.sampled_from(["N0", "N1", "N2"]), st.integers(0, 3_000)))
def test_an_article_is_published_before_it_is_first_shown_and_in_order(
    tmp_path_factory: pytest.TempPathFactory, shown: list[tuple[int, str]], published: dict[str, float] | None
) -> None:
    with Timeline(folder(tmp_path_factory.getbasetemp(), shown, published)) as timeline:
        articles = articles_of(timeline)
        assert list(articles.values()) == sorted(articles.values())
        for event in impressions_of(timeline):
            assert articles[event.candidates[0]] < event.time.timestamp()


def test_a_known_publication_time_is_kept_and_an_unknown_one_is_the_first_appearance(tmp_path: Path) -> None:
    shown = [(1_500, "N0"), (1_200, "N1"), (1_300, "N1"), (1_900, "N2")]
    with Timeline(folder(tmp_path, shown, {"N0": 700, "N2": 5_000, "N3": 6_000})) as timeline:
        assert articles_of(timeline) == {
            "N0": 700.0,
            "N1": 1_199.0,
            "N2": 1_899.0,
            "N3": 6_000.0,
            "N4": 1_199.0,
        }


def test_bad_lines_keep_their_number_with_or_without_a_time(tmp_path: Path) -> None:
    path = folder(tmp_path, [(1_500, "N0"), (1_200, "N1")], {"N0": 1})
    with (path / "behaviors.tsv").open("ab") as file:
        file.write(b"\nno columns\nI 9\tU\t1/1/1970 12:22:00 AM\t\tN1-0\n\xff\t\xff\t\xff\t\xff\t\xff\n")
    with (path / "published.tsv").open("a") as file:
        file.write("N1\tsoon\n")
    with Timeline(path) as timeline:
        untimed = [(bad.file, bad.line) for bad in timeline.untimed()]
        assert untimed == [("published.tsv", 2), ("behaviors.tsv", 4), ("behaviors.tsv", 6)]
        bad = timeline.impression(1)
        assert isinstance(bad, BadLine)
        assert (bad.line, bad.raw[:3]) == (5, b"I 9")


def test_the_fingerprint_is_that_of_the_contents(tmp_path: Path) -> None:
    one, same, other = (folder(tmp_path, [(time_s, "N0")]) for time_s in (1_000, 1_000, 1_001))
    with Timeline(one) as a, Timeline(same) as b, Timeline(other) as c:
        assert a.fingerprint() == b.fingerprint() != c.fingerprint()


def test_a_folder_that_cannot_be_replayed_says_why(tmp_path: Path) -> None:
    with pytest.raises(MindError, match="No such file"):
        Timeline(tmp_path)
    path = folder(tmp_path, [(1_000, "N0")])
    (path / "behaviors.tsv").write_text("")
    with pytest.raises(MindError, match="empty"):
        Timeline(path)
    (path / "behaviors.tsv").write_text("a\tb\n")
    with pytest.raises(MindError, match="no line is"):
        Timeline(path)
    (path / "behaviors.tsv").write_text("1\tU\t1/1/2020 9:00:00 AM\t\tN1 N2\n")
    with pytest.raises(MindError, match="test split"):
        Timeline(path)
