"""The demo's newspaper ends shortly before now, and its readers are told apart by what they read."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from freshet.models.datasets.synthetic.folder import demo_world, write_synth
from freshet.models.datasets.synthetic.titles import TOPICS
from freshet.models.datasets.synthetic.world import START_S, SynthConfig
from freshet.models.events.events import Impression, from_unix_s, to_unix_s
from freshet.workers.demo.newspaper import RECENT_CLICKS, Newspaper, Reader, pick_readers, until_now

DAY_S = 86_400
SMALL = SynthConfig(users=40, articles=100, impressions=200, hours=12.0)


def impression(
    user_id: str, time_s: float, clicked: Sequence[str], history: Sequence[str] = ()
) -> Impression:
    return Impression(
        impression_id=f"I{time_s:.0f}",
        user_id=user_id,
        time=from_unix_s(START_S + time_s),
        candidates=(*clicked, "never"),
        clicked=tuple(clicked),
        history=tuple(history),
    )


CATEGORIES = {**{f"s{n}": "sports" for n in range(20)}, **{f"m{n}": "music" for n in range(20)}, "f0": "food"}


def pick(impressions: Sequence[Impression], count: int = 3) -> list[Reader]:
    return pick_readers(impressions, CATEGORIES, count, recent_s=3_600.0)


@pytest.mark.parametrize("now_s", [START_S + 36 * 3_600, START_S + 300 * DAY_S + 5, START_S - 7 * DAY_S])
def test_the_newspaper_ends_within_the_day_before_now_and_moves_by_whole_days(now_s: float) -> None:
    config = until_now(demo_world(), now_s)
    assert 0 <= now_s - config.end_s < DAY_S
    assert (config.start_s - START_S) % DAY_S == 0


def test_each_category_is_represented_by_who_reads_it_the_most() -> None:
    readers = pick(
        [
            impression("ann", 0, ["s0", "s1"]),
            impression("bob", 1, ["s2", "s3", "s4"]),
            impression("eve", 2, ["m0", "m1"]),
            impression("joe", 3, ["f0"]),
        ]
    )
    assert [(reader.user_id, reader.category, reader.of_category) for reader in readers] == [
        ("bob", "sports", 3),
        ("eve", "music", 2),
        ("joe", "food", 1),
    ]


def test_a_reader_is_known_by_the_latest_clicks_history_included() -> None:
    history = [f"s{n}" for n in range(RECENT_CLICKS)]
    (reader,) = pick([impression("ann", 0, ["m0"], history), impression("ann", 1, ["m1"], ["ignored"])])
    assert reader.clicks == (*history[2:], "m0", "m1")
    assert reader.of_category == RECENT_CLICKS - 2


def test_who_was_there_lately_comes_before_all_others() -> None:
    old = impression("ann", 0, ["s0", "s1", "s2"])
    readers = pick([old, impression("bob", 10_000, ["s3"]), impression("eve", 10_001, ["m0"])])
    assert [reader.user_id for reader in readers] == ["bob", "eve"]


def test_the_newspaper_is_read_back_and_its_oracle_beats_chance(tmp_path: Path) -> None:
    write_synth(tmp_path, SMALL)
    newspaper = Newspaper.read(tmp_path)
    assert (len(newspaper.articles), len(newspaper.impressions)) == (SMALL.articles, SMALL.impressions)
    assert newspaper.end_s == to_unix_s(newspaper.impressions[-1].time)
    report = newspaper.oracle(first=100)
    assert report.impressions + report.left_out == 100
    assert report.auc > 0.6


def test_new_articles_are_unlike_all_others(tmp_path: Path) -> None:
    write_synth(tmp_path, SMALL)
    newspaper = Newspaper.read(tmp_path)
    written = [newspaper.write(topic, number, newspaper.end_s) for number, topic in enumerate(TOPICS)]
    breaking = newspaper.breaking("sports", newspaper.end_s)
    assert breaking.category == "sports"
    assert breaking.title.startswith("Breaking: ")
    everything = [*newspaper.articles.values(), *written, breaking]
    assert len({article.news_id for article in everything}) == len(everything)
    assert len({article.title for article in everything}) == len(everything)
