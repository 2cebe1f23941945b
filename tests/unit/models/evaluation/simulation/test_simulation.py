"""What the simulation promises: the same readers for all, truths that add up, logs that can be read back."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import orjson
import pytest
from click.testing import CliRunner

from freshet.models.datasets.mind import BadLine, read_behaviors
from freshet.models.datasets.recommendation_log import RECOMMENDATIONS_FILE
from freshet.models.datasets.synthetic.stream import attraction, examination
from freshet.models.datasets.synthetic.world import SynthConfig, build_world
from freshet.models.evaluation.simulation.measures import hits_of
from freshet.models.evaluation.simulation.readers import SimulatedReaders, visits
from freshet.models.evaluation.simulation.run import LoggedList, SimulationConfig, simulate
from freshet.models.events.events import Recommendation
from freshet.models.recommend.exploration.plackett_luce import PlackettLuceExplorer
from freshet.models.recommend.exploration.slots import ExplorationSlots
from freshet.models.recommend.exploration.thompson import ThompsonExplorer
from freshet.workers.cli.main import main

SMALL = SynthConfig(users=120, articles=150, impressions=250, hours=12.0, seed=3)


@pytest.fixture(scope="module")
def lists() -> dict[str, list[LoggedList]]:
    found: dict[str, list[LoggedList]] = {"none": [], "thompson": [], "twin": []}
    simulate(
        SimulationConfig(SMALL),
        {"none": lambda: None, "thompson": ThompsonExplorer, "twin": lambda: None},
        on_list=lambda entry: found[entry.policy].append(entry),
    )
    return found


def test_all_policies_meet_the_same_visits(lists: dict[str, list[LoggedList]]) -> None:
    met = [
        [(entry.shown.request.user_id, entry.shown.request.time) for entry in of_policy]
        for of_policy in lists.values()
    ]
    assert len(met[0]) == SMALL.impressions
    assert met[0] == met[1] == met[2]


def test_two_policies_that_are_the_same_have_the_same_luck(lists: dict[str, list[LoggedList]]) -> None:
    for one, other in zip(lists["none"], lists["twin"], strict=True):
        assert one.shown.rows.tolist() == other.shown.rows.tolist()
        assert one.clicked.tolist() == other.clicked.tolist()
        assert one.chances == pytest.approx(other.chances)


def test_clicks_come_as_often_as_their_chances_say(lists: dict[str, list[LoggedList]]) -> None:
    entries = [entry for of_policy in lists.values() for entry in of_policy]
    chances = np.concatenate([entry.chances for entry in entries])
    clicks = sum(int(entry.clicked.sum()) for entry in lists["none"] + lists["thompson"])
    expected = sum(float(entry.chances.sum()) for entry in lists["none"] + lists["thompson"])
    assert abs(clicks - expected) < 4 * (2 * (chances * (1 - chances)).sum()) ** 0.5


def test_without_exploration_the_list_is_its_own_greedy_list(lists: dict[str, list[LoggedList]]) -> None:
    for entry in lists["none"]:
        assert entry.shown.rows.tolist() == entry.shown.greedy.tolist()
        assert entry.greedy_value == pytest.approx(entry.chances.sum())
        assert not entry.shown.explored.any()


def test_no_article_is_shown_before_it_is_published_or_after_it_was_clicked(
    lists: dict[str, list[LoggedList]],
) -> None:
    world = build_world(SMALL)
    read: dict[str, set[int]] = {}
    for entry in lists["thompson"]:
        rows = entry.shown.rows
        now_s = entry.shown.request.time.timestamp()
        assert (world.articles.published_s[rows] <= now_s).all()
        clicked = read.setdefault(entry.shown.request.user_id, set())
        assert not clicked & set(rows.tolist())
        clicked.update(rows[entry.clicked].tolist())


def test_the_oracle_is_the_best_of_all_lists() -> None:
    world = build_world(SMALL)
    readers = SimulatedReaders(world, 3)
    k = 5
    for window in visits(world, 3):
        published = readers.begin(window)
        if not len(window.users):
            continue
        best = readers.best_values(k)
        for visit in range(len(window.users)):
            everything = np.sort(readers.attractions(visit, np.arange(published)))[::-1][:k]
            assert best[visit] <= float(everything @ examination(np.arange(k))) + 1e-5
            unread = np.setdiff1d(np.arange(published), readers.history(int(window.users[visit])))
            chances = np.sort(readers.attractions(visit, unread))[::-1][:k]
            assert best[visit] == pytest.approx(float(chances @ examination(np.arange(k))), rel=1e-4)
        break


def test_hits_are_the_articles_that_readers_like_most() -> None:
    world = build_world(SMALL)
    start_s, end_s = float(SMALL.start_s), SMALL.end_s
    hits = hits_of(world, 0.1, start_s, end_s)
    published = world.articles.published_s
    during = np.flatnonzero((published >= start_s) & (published < end_s))
    assert set(hits.tolist()) <= set(during.tolist())
    assert len(hits) == round(0.1 * len(during))

    def appeal(rows: np.ndarray) -> float:
        odds = world.readers.base @ world.articles.vectors[rows].T + world.articles.quality[rows]
        return float(attraction(odds).mean())

    assert appeal(hits) > 1.3 * appeal(during)


def test_the_same_configuration_gives_the_same_figures() -> None:
    config = SimulationConfig(SynthConfig(users=60, articles=120, impressions=60, hours=8.0, seed=5))
    make = {"plackett-luce": lambda: PlackettLuceExplorer(0.2)}
    assert simulate(config, make) == simulate(config, make)


def test_exploring_shows_what_the_ranker_would_not() -> None:
    config = SimulationConfig(SMALL)
    wide = ExplorationSlots(budget=3, max_age_s=6 * 3_600.0, max_impressions=1e6)
    found = simulate(config, {"none": lambda: None, "thompson": lambda: ThompsonExplorer(wide)})
    assert found["none"].explored_slots == 0.0
    assert found["thompson"].explored_slots > 2.0
    assert found["thompson"].lost_in_other_slots > found["thompson"].won_in_explored_slots > 0.0
    for outcome in found.values():
        assert outcome.value < outcome.oracle_value
        assert outcome.regret == pytest.approx(1 - outcome.value / outcome.oracle_value)


@pytest.mark.parametrize(
    "wrong", [{"k": 0}, {"k": 15}, {"warm_up": 0.9}, {"hit_share": 0.0}, {"hits_until": 1.5}]
)
def test_a_configuration_that_cannot_be_simulated_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="must be"):
        SimulationConfig(SMALL, **wrong)  # type: ignore[arg-type] - one dict for all fields


ARGUMENTS = ["simulate", "--users", "60", "--articles", "120", "--impressions", "80", "--hours", "8"]


def test_the_log_reads_back_as_lists_with_propensities(tmp_path: Path) -> None:
    result = CliRunner().invoke(
        main, [*ARGUMENTS, "--seeds", "1", "--policy", "plackett-luce", "--log", str(tmp_path), "--json"]
    )
    assert result.exit_code == 0, result.output
    report = orjson.loads(result.stdout)
    assert set(report["policies"]) == {"none", "plackett-luce"}
    folder = tmp_path / "plackett-luce"
    impressions = list(read_behaviors(folder))
    answers = [
        Recommendation.from_json(line) for line in (folder / RECOMMENDATIONS_FILE).read_bytes().splitlines()
    ]
    truths = [orjson.loads(line) for line in (folder / "truth.jsonl").read_bytes().splitlines()]
    assert len(impressions) == len(answers) == len(truths) == 80
    clicks = 0
    for impression, answer, truth in zip(impressions, answers, truths, strict=True):
        assert not isinstance(impression, BadLine)
        assert impression.impression_id == answer.request_id == truth["request_id"]
        assert impression.candidates == tuple(item.news_id for item in answer.items)
        assert set(impression.candidates) <= set(answer.candidates)
        assert all(item.propensity and 0 < item.propensity <= 1 for item in answer.items)
        assert len(truth["chances"]) == len(impression.candidates)
        clicks += len(impression.clicked) if truth["measured"] else 0
    outcome = orjson.loads((folder / "truth.json").read_bytes())["outcomes"]["plackett-luce"]
    measured = sum(truth["measured"] for truth in truths)
    assert outcome["clicks_per_list"] == pytest.approx(clicks / measured)
    value = np.mean([sum(truth["chances"]) for truth in truths if truth["measured"]])
    assert outcome["value"] == pytest.approx(value)


def test_inverse_propensities_find_the_truth_in_the_log() -> None:
    options = [
        "--seeds",
        "1",
        "--policy",
        "plackett-luce",
        "--temperature",
        "0.3",
        "--diversity",
        "0",
        "--k",
        "3",
    ]
    sizes = ["simulate", "--users", "150", "--articles", "150", "--impressions", "900", "--hours", "8"]
    result = CliRunner().invoke(main, [*sizes, *options, "--json"])
    assert result.exit_code == 0, result.output
    check = orjson.loads(result.stdout)["off_policy"]
    for estimator in ("ips", "snips"):
        found = check["estimate"][estimator]
        half = (found["high"] - found["low"]) / 2
        # Twice the interval of 95 %: one seed in 10,000 would fail by chance.
        assert abs(found["mean"] - check["truth"]) < 2 * half, (found, check["truth"])


def test_several_worlds_give_intervals_of_the_differences() -> None:
    result = CliRunner().invoke(main, [*ARGUMENTS, "--seeds", "2", "--policy", "linucb", "--json"])
    assert result.exit_code == 0, result.output
    report = orjson.loads(result.stdout)
    value = report["policies"]["linucb"]["against_none"]["value"]
    assert value["low"] <= value["value"] <= value["high"]
    assert len(report["runs"]) == 2


def test_the_table_names_every_policy() -> None:
    result = CliRunner().invoke(
        main, [*ARGUMENTS, "--seeds", "1", "--policy", "thompson"], terminal_width=120
    )
    assert result.exit_code == 0, result.output
    assert "thompson" in result.stdout
    assert "regret" in result.stdout


def test_a_folder_that_is_not_empty_is_not_written_into(tmp_path: Path) -> None:
    (tmp_path / "none").mkdir()
    (tmp_path / "none" / "keep").write_text("mine")
    result = CliRunner().invoke(main, [*ARGUMENTS, "--policy", "none", "--log", str(tmp_path)])
    assert result.exit_code == 1
    assert "not empty" in result.output


def test_a_temperature_that_the_settings_refuse_is_wrong_usage() -> None:
    result = CliRunner().invoke(main, [*ARGUMENTS, "--temperature", "0"])
    assert result.exit_code == 2
