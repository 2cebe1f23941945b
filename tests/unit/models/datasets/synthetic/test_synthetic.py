"""What a synthetic stream promises: MIND's format, a known truth, one seed, and readers who mean it."""

from __future__ import annotations

import json
import tracemalloc
from collections import Counter, defaultdict
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from freshet.models.datasets.mind import BadLine, read_behaviors, read_news, read_published
from freshet.models.datasets.synthetic.folder import REPORT_FILE, demo_world, write_synth
from freshet.models.datasets.synthetic.measures import ORACLE, SynthReport, slate_aucs
from freshet.models.datasets.synthetic.stream import impressions
from freshet.models.datasets.synthetic.titles import (
    CATEGORIES,
    DRAWS,
    FOCI,
    PLACES,
    STYLES,
    TOPICS,
    Vocabulary,
    article_text,
)
from freshet.models.datasets.synthetic.truth import (
    TruthError,
    click_probabilities,
    log_odds,
    oracle_scores,
    read_truth,
)
from freshet.models.datasets.synthetic.world import HISTORY, HOUR_S, SynthConfig, build_world
from freshet.models.evaluation.ranking_metrics import auc
from freshet.models.events.events import Article, Impression
from freshet.workers.cli.commands.synth import command

CONFIG = SynthConfig(users=600, articles=400, impressions=6_000, hours=48, seed=3)
SMALL = SynthConfig(users=50, articles=100, impressions=200, hours=6, seed=5)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, SynthReport]:
    folder = tmp_path_factory.mktemp("synth")
    return folder, write_synth(folder, CONFIG)


@pytest.fixture(scope="module")
def news(made: tuple[Path, SynthReport]) -> dict[str, Article]:
    articles = list(read_news(made[0]))
    assert all(isinstance(article, Article) for article in articles)
    return {article.news_id: article for article in articles if isinstance(article, Article)}


@pytest.fixture(scope="module")
def log(made: tuple[Path, SynthReport]) -> list[Impression]:
    lines = list(read_behaviors(made[0]))
    assert all(isinstance(line, Impression) for line in lines)
    return [line for line in lines if isinstance(line, Impression)]


def _files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_the_same_seed_gives_the_same_bytes_and_another_seed_others(tmp_path: Path) -> None:
    write_synth(tmp_path / "a", SMALL)
    write_synth(tmp_path / "b", SMALL)
    write_synth(tmp_path / "c", SynthConfig(users=50, articles=100, impressions=200, hours=6, seed=6))
    first, again, other = (_files(tmp_path / name) for name in "abc")
    assert first == again
    assert all(first[name] != other[name] for name in first)


def test_every_line_parses_and_the_counts_are_those_asked_for(
    made: tuple[Path, SynthReport], news: dict[str, Article], log: list[Impression]
) -> None:
    folder, report = made
    assert len(news) == CONFIG.articles == report.articles
    assert len(log) == CONFIG.impressions == report.impressions
    assert [line.impression_id for line in log] == [str(number + 1) for number in range(len(log))]
    assert sum(len(line.candidates) for line in log) == report.candidates
    assert sum(len(line.clicked) for line in log) == report.clicks
    assert len({line.user_id for line in log}) == report.users <= CONFIG.users
    assert json.loads((folder / REPORT_FILE).read_text())["report"] == asdict(report)


def test_impressions_come_in_time_order_and_show_only_what_is_published(
    made: tuple[Path, SynthReport], log: list[Impression]
) -> None:
    published_s = dict(entry for entry in read_published(made[0]) if not isinstance(entry, BadLine))
    assert len(published_s) == CONFIG.articles
    times_s = [line.time.timestamp() for line in log]
    assert all(earlier <= later for earlier, later in pairwise(times_s))
    assert CONFIG.start_s <= times_s[0] and times_s[-1] < CONFIG.end_s
    assert all(
        published_s[news_id] <= time_s
        for line, time_s in zip(log, times_s, strict=True)
        for news_id in line.candidates
    )


def test_every_impression_has_a_click_and_a_plausible_slate(log: list[Impression]) -> None:
    sizes = [len(line.candidates) for line in log]
    clicks = Counter(len(line.clicked) for line in log)
    assert clicks[0] == 0
    assert clicks[1] > clicks[2] > clicks[3]
    assert max(sizes) <= 40
    assert 10 < np.mean(sizes) < 20


def test_the_history_is_what_the_reader_clicked_earlier(log: list[Impression]) -> None:
    expected: dict[str, list[str]] = {}
    for line in log:
        history = expected.setdefault(line.user_id, list(line.history))
        assert list(line.history) == history[-HISTORY:]
        assert not set(line.history) & set(line.clicked)
        history.extend(line.clicked)


def test_new_readers_and_new_articles_keep_coming(
    made: tuple[Path, SynthReport], news: dict[str, Article], log: list[Impression]
) -> None:
    _, report = made
    quarter_s = CONFIG.hours * HOUR_S / 4
    newcomers = {
        int((line.time.timestamp() - CONFIG.start_s) // quarter_s) for line in log if not line.history
    }
    births = Counter(
        int((article.published_at.timestamp() - CONFIG.start_s) // quarter_s) for article in news.values()
    )
    assert newcomers == {0, 1, 2, 3}
    assert min(births[quarter] for quarter in range(4)) > 10
    assert 0.02 < report.newcomer_impressions < 0.2
    assert 0.05 < report.fresh_candidates < 0.3


def test_the_truth_is_aligned_with_the_lines_and_gives_the_reported_auc(
    made: tuple[Path, SynthReport], log: list[Impression]
) -> None:
    folder, report = made
    aucs = []
    for index, (line, scores) in enumerate(zip(log, oracle_scores(folder), strict=True)):
        labels = [news_id in line.clicked for news_id in line.candidates]
        assert len(scores) == len(labels)
        if index >= 0.2 * len(log) and not all(labels):
            aucs.append(auc(labels, scores))
    # Measuring starts with a whole window, and the file holds 16-bit floats.
    assert np.mean(aucs) == pytest.approx(report.auc[ORACLE], abs=0.002)


def test_the_true_click_probabilities_are_calibrated(
    made: tuple[Path, SynthReport], log: list[Impression]
) -> None:
    chances, labels = [], []
    for line, slate in zip(log, read_truth(made[0]), strict=True):
        assert list(slate["position"]) == list(range(len(line.candidates)))
        chances.append(click_probabilities(slate))
        labels.append([news_id in line.clicked for news_id in line.candidates])
    chance, clicked = np.concatenate(chances), np.concatenate(labels)
    assert chance.max() <= 1.0
    for share in np.array_split(np.argsort(chance), 10):
        spread = np.sqrt((chance[share] * (1 - chance[share])).sum())
        assert abs(clicked[share].sum() - chance[share].sum()) < 4 * spread


def test_interests_matter_and_leave_room_above_popularity(made: tuple[Path, SynthReport]) -> None:
    measured = made[1].auc
    assert 0.75 < measured["oracle"] < 0.87
    assert measured["oracle"] > measured["quality_and_timeliness"] + 0.08
    assert measured["oracle"] > measured["interest"] + 0.02
    assert 0.57 < measured["ctr_so_far"] < 0.72
    assert 0.53 < measured["position"] < 0.65


def test_the_window_wise_auc_is_the_auc_of_each_impression() -> None:
    for batch in impressions(build_world(SMALL)):
        scores = np.round(batch.interest, 1)
        expected = [
            auc(batch.clicked[start:end], scores[start:end])
            for start, end in pairwise(batch.starts)
            if not batch.clicked[start:end].all()
        ]
        assert slate_aucs(batch, {"tied": scores})["tied"] == pytest.approx(np.array(expected))


def test_articles_live_for_hours_not_days(made: tuple[Path, SynthReport]) -> None:
    assert made[1].clicks_within_48h > 0.9
    world = build_world(CONFIG)
    row = int(np.flatnonzero((world.articles.storyline < 0) & ~world.articles.evergreen)[0])
    ages_s = np.array([0.0, 1.0, 12.0, 24.0]) * HOUR_S
    attention = world.articles.timeliness(np.full(4, row), world.articles.published_s[row] + ages_s)
    assert attention[0] < attention[1] > attention[2] > attention[3]


def test_readers_sleep_at_night_and_a_few_read_most(log: list[Impression]) -> None:
    hours = Counter(line.time.hour for line in log)
    assert hours[20] > 4 * hours[3]
    visits = sorted(Counter(line.user_id for line in log).values(), reverse=True)
    assert sum(visits[: len(visits) // 10]) > 0.25 * len(log)


def test_a_storyline_is_one_topic_told_within_hours() -> None:
    articles = build_world(CONFIG).articles
    told = [np.flatnonzero(articles.storyline == story) for story in range(articles.storyline.max() + 1)]
    assert len(told) > 10
    for rows in told:
        assert len(rows) >= 2
        assert len(set(articles.topic[rows])) == 1
        assert (articles.vectors[rows] == articles.vectors[rows[0]]).all()
    spans_h = [np.ptp(articles.published_s[rows]) / HOUR_S for rows in told]
    assert np.median(spans_h) < 12


def test_titles_are_readable_distinct_and_tell_their_topic(news: dict[str, Article]) -> None:
    articles = list(news.values())
    titles = Counter(article.title for article in articles)
    assert len(titles) > 0.99 * len(articles)
    for article in articles:
        assert article.title[0].isupper() or article.title[0].isdigit()
        assert article.abstract and "{" not in article.title + article.abstract
    words = [set(f"{article.title} {article.abstract}".lower().split()) for article in articles]
    frequency = Counter(word for text in words for word in text)
    right = 0
    for index, text in enumerate(words):
        others = (
            (sum(1 / frequency[word] for word in text & other), position)
            for position, other in enumerate(words)
            if position != index
        )
        nearest = articles[max(others)[1]]
        right += nearest.subcategory == articles[index].subcategory
    assert right > 0.8 * len(articles)


@pytest.mark.parametrize("topic", TOPICS, ids=lambda topic: topic.subcategory)
def test_every_phrase_of_every_topic_fits_every_style(topic: Vocabulary) -> None:
    rng = np.random.default_rng(0)
    for style in STYLES:
        for focus in range(FOCI):
            draws = rng.integers(0, 1 << 30, DRAWS).tolist()
            for text in article_text(topic, style, focus, PLACES[0], draws):
                assert "{" not in text and "  " not in text and "\t" not in text


def test_the_newspaper_is_broad_and_names_each_subcategory_once() -> None:
    subcategories = Counter(topic.subcategory for topic in TOPICS)
    by_category = defaultdict(list)
    for topic in TOPICS:
        by_category[topic.category].append(topic.subcategory)
    assert len(CATEGORIES) >= 15
    assert max(subcategories.values()) == 1
    assert min(len(names) for names in by_category.values()) >= 3


def test_a_subcategory_without_all_its_words_is_refused() -> None:
    with pytest.raises(ValueError, match="sports/golf"):
        Vocabulary("sports", "golf", (("golfer", "golf"),), ("putts",), ("rain",))


def test_memory_does_not_grow_with_the_impressions() -> None:
    peaks = []
    for count in (5_000, 12_000):
        world = build_world(SynthConfig(users=200, articles=200, impressions=count, hours=24, seed=1))
        tracemalloc.start()
        assert sum(len(batch.users) for batch in impressions(world)) == count
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.3 * peaks[0]


@pytest.mark.parametrize(
    "config",
    [
        SynthConfig(users=20, articles=100, impressions=1, hours=1),
        SynthConfig(users=20, articles=100, impressions=3_000, hours=1),
        SynthConfig(users=3_000, articles=100, impressions=50, hours=30),
    ],
    ids=["one impression", "few readers who have read everything", "more readers than impressions"],
)
def test_extreme_sizes_still_give_what_was_asked_for(tmp_path: Path, config: SynthConfig) -> None:
    report = write_synth(tmp_path, config)
    assert report.impressions == config.impressions
    assert len(list(read_truth(tmp_path))) == config.impressions
    assert report.newcomer_impressions < 0.5


def test_a_filled_folder_is_left_alone_unless_overwriting_is_asked_for(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("precious")
    with pytest.raises(FileExistsError, match="not empty"):
        write_synth(tmp_path, SMALL)
    assert _files(tmp_path) == {"mine.txt": b"precious"}
    write_synth(tmp_path, SMALL, overwrite=True)
    assert (tmp_path / "mine.txt").read_text() == "precious"


def test_an_interrupted_run_leaves_no_file(tmp_path: Path) -> None:
    def interrupt(share: float) -> None:
        if share > 0.5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_synth(tmp_path, SMALL, progress=interrupt)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_without_truth_says_so(tmp_path: Path) -> None:
    with pytest.raises(TruthError, match="freshet synth"):
        next(oracle_scores(tmp_path))
    np.save(tmp_path / "truth.npy", np.zeros(3))
    with pytest.raises(TruthError, match="not the ground truth"):
        next(oracle_scores(tmp_path))


def test_the_parts_of_the_truth_add_up_to_the_attraction(made: tuple[Path, SynthReport]) -> None:
    slate, scores = next(read_truth(made[0])), next(oracle_scores(made[0]))
    assert (np.argsort(log_odds(slate)) == np.argsort(scores)).all()


@pytest.mark.parametrize("change", [{"users": 0}, {"articles": 3}, {"impressions": 0}, {"hours": 0.1}])
def test_impossible_sizes_are_refused_by_name(change: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(change))):
        SynthConfig(**{"users": 100, "articles": 100, "impressions": 100, **change})


def test_the_duration_scales_with_the_visits_of_a_reader() -> None:
    assert SynthConfig(users=2_000, articles=800, impressions=20_000).hours == 48
    assert SynthConfig(users=2_000, articles=800, impressions=20).hours == 24
    assert SynthConfig(users=20, articles=800, impressions=20_000).hours == 168


def test_the_demo_is_small_enough_to_embed_and_replay_in_minutes() -> None:
    config = demo_world()
    assert (config.users, config.articles, config.impressions, config.hours) == (1_500, 600, 6_000, 36)


def test_the_command_prints_one_json_object_and_refuses_a_filled_folder(tmp_path: Path) -> None:
    sizes = ["--users", "50", "--articles", "100", "--impressions", "200", "--hours", "6"]
    arguments = [str(tmp_path / "out"), *sizes]
    made = CliRunner().invoke(command, [*arguments, "--json"])
    assert made.exit_code == 0
    assert json.loads(made.stdout)["impressions"] == 200
    refused = CliRunner().invoke(command, arguments)
    assert refused.exit_code == 1
    assert "--force" in refused.stderr
    forced = CliRunner().invoke(command, [*arguments, "--force"])
    assert forced.exit_code == 0
    assert "oracle" in forced.stdout


@pytest.mark.parametrize("wrong", [["--users", "1"], ["--start", "yesterday"], ["--hours", "0"]])
def test_wrong_usage_exits_with_2(tmp_path: Path, wrong: list[str]) -> None:
    assert CliRunner().invoke(command, [str(tmp_path / "out"), *wrong]).exit_code == 2


def test_a_stream_until_now_ended_within_the_last_day_and_is_the_same_otherwise(tmp_path: Path) -> None:
    sizes = ["--users", "30", "--articles", "100", "--impressions", "60"]
    for folder, options in (("then", []), ("now", ["--until-now"])):
        assert CliRunner().invoke(command, [str(tmp_path / folder), *sizes, *options]).exit_code == 0
    moved = [
        now.time - then.time
        for then, now in zip(behaviors(tmp_path / "then"), behaviors(tmp_path / "now"), strict=True)
    ]
    assert len(set(moved)) == 1
    assert moved[0] % timedelta(days=1) == timedelta(0)
    config = SynthConfig(users=30, articles=100, impressions=60)
    ended = datetime.fromtimestamp(config.end_s, UTC) + moved[0]
    assert timedelta(0) <= datetime.now(UTC) - ended < timedelta(days=1, minutes=5)


def behaviors(folder: Path) -> list[Impression]:
    """What a folder's readers were shown, in order."""
    lines = list(read_behaviors(folder / "behaviors.tsv"))
    return [line for line in lines if isinstance(line, Impression)]
