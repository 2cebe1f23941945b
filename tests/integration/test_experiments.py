"""Two rankers at once on one stream, on a real broker: each user has one of them, and the report adds up."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from freshet.models.datasets.mind import behaviors_line, news_line
from freshet.models.evaluation.ranking_metrics import auc
from freshet.models.events.control import Control
from freshet.models.events.events import Article, Impression, Recommendation, from_unix_s
from freshet.models.events.experiment import Experiment
from freshet.models.experiments.assignment import Assigner
from freshet.streams.client import Freshet
from freshet.streams.kafka.connection import topic_name
from freshet.streams.kafka.topic_admin import ensure_topics
from freshet.streams.settings import Settings
from freshet.workers.cli.main import main
from freshet.workers.processes.kafka.broker import LocalKafka
from freshet.workers.replay.report import ReplayOptions
from freshet.workers.replay.run import replay
from tests.integration.stream_harness import events_on, read_all, send, settings_for, stream_process, wait_for
from tests.waiting import HANG_S

pytestmark = pytest.mark.broker

NAME = "popular-or-not"
USERS = 40
IMPRESSIONS = 200
START_S = 1_573_290_000.0
UNPOPULAR_FIRST = {"log_ctr_all": -1.0}


def lowest_clicked(folder: Path) -> Path:
    """A log in which the candidate with the lowest number is always clicked."""
    folder.mkdir()
    articles = [Article(news_id=f"N{n}", published_at=from_unix_s(0), title=f"Title {n}") for n in range(8)]
    (folder / "news.tsv").write_text("".join(map(news_line, articles)))
    lines = []
    for number in range(IMPRESSIONS):
        candidates = tuple(dict.fromkeys(f"N{(number * 3 + step * step) % 8}" for step in range(4)))
        lines.append(
            Impression(
                impression_id=f"I{number}",
                user_id=f"U{number % USERS}",
                time=from_unix_s(START_S + 20 * number),
                candidates=candidates,
                clicked=(min(candidates),),
            )
        )
    (folder / "behaviors.tsv").write_text("".join(map(behaviors_line, lines)))
    return folder


class Operator:
    """Somebody at the command line."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings

    def run(self, *args: object, status: int = 0) -> str:
        options = [
            f"--bootstrap-servers={self.settings.bootstrap_servers}",
            f"--topic-prefix={self.settings.topic_prefix}",
        ]
        done = CliRunner().invoke(main, ["experiment", *map(str, args), *options])
        assert done.exit_code == status, done.output
        return done.stdout if status == 0 else done.output

    def json(self, *args: object) -> Any:
        return json.loads(self.run(*args, "--json"))


@pytest.fixture(scope="module")
def settings(kafka: LocalKafka, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    settings = settings_for(kafka, tmp_path_factory.mktemp("experiments"))
    ensure_topics(settings)
    return settings


def variant_of(client: Freshet, user_id: str) -> str | None:
    answer = client.recommend(user_id, time=from_unix_s(START_S + 1e6), timeout_s=HANG_S)
    assert answer.experiment == (None if answer.variant is None else NAME)
    return answer.variant


def until_served(client: Freshet, worker: Any, variants: set[str | None]) -> dict[str, str | None]:
    """Every user's variant, as soon as it is one of ``variants``."""

    async def served() -> dict[str, str | None] | None:
        found = {f"U{i}": variant_of(client, f"U{i}") for i in range(USERS)}
        return found if set(found.values()) == variants else None

    found: dict[str, str | None] = asyncio.run(wait_for(served, f"variants {variants}", [worker]))
    return found


def start(operator: Operator, *variants: str, metric: bool = True) -> Experiment:
    """Start the experiment, or change its variants."""
    written = [part for variant in variants for part in ("--variant", variant)]
    started = operator.json("start", NAME, *written, *(("--metric", "auc") if metric else ()))
    return Experiment.model_validate_json(json.dumps(started["experiment"]))


def assigned(experiment: Experiment) -> dict[str, str | None]:
    assigner = Assigner(experiment)
    found = {f"U{i}": assigner.variant(f"U{i}") for i in range(USERS)}
    return {user: None if variant is None else variant.name for user, variant in found.items()}


def check_answers(settings: Settings, by_user: dict[str, str | None]) -> dict[str, list[float]]:
    """Each user was answered by one variant and its ranker; returns the AUC of each variant's answers."""
    answers: list[Recommendation] = asyncio.run(events_on(settings, "recommendations", Recommendation))
    impressions: list[Impression] = asyncio.run(events_on(settings, "impressions", Impression))
    by_request = {answer.request_id: answer for answer in answers}
    assert len(impressions) == IMPRESSIONS
    aucs: dict[str, list[float]] = {"A": [], "B": []}
    for impression in impressions:
        answer = by_request[impression.request_id or ""]
        assert answer.variant is not None
        assert answer.variant == by_user[impression.user_id], "the same variant in every answer"
        assert answer.ranker == {"A": "start-0", "B": f"{NAME}-B-0"}[answer.variant]
        scores = np.array([item.score for item in answer.items])
        labels = np.array([item.news_id in impression.clicked for item in answer.items])
        aucs[answer.variant].append(auc(labels, scores))
    return aucs


def check_report(operator: Operator, by_user: dict[str, str | None], aucs: dict[str, list[float]]) -> None:
    """What the report says is what happened."""
    found = operator.json("report", NAME)
    for variant in found["variants"]:
        name = variant["name"]
        assert variant["users"] == variant["users_shown"] == list(by_user.values()).count(name)
        assert variant["impressions"] == variant["auc_impressions"] == len(aucs[name])
        assert variant["clicks"] == len(aucs[name])
        assert variant["metrics"]["auc"]["value"] == pytest.approx(np.mean(aucs[name]))
    assert found["users_of_two_variants"] == 0
    assert not found["sample_ratio"]["mismatch"]


def deliver_again(settings: Settings) -> None:
    """At least once: what is delivered may be delivered twice."""
    again = [
        (topic, record.key, record.value)
        for topic in ("impressions", "recommendations")
        for record in asyncio.run(read_all(settings, topic_name(settings, topic)))
    ]
    asyncio.run(send(settings, again))


def test_two_rankers_serve_one_stream_each_to_its_users(settings: Settings, tmp_path: Path) -> None:
    operator = Operator(settings)
    file = tmp_path / "unpopular.json"
    file.write_text(json.dumps(UNPOPULAR_FIRST))
    with stream_process(settings, settings.data_dir) as worker, Freshet(settings) as client:
        assert variant_of(client, "U0") is None
        by_user = assigned(start(operator, "A=start:0.5", f"B={file}:0.5"))
        assert until_served(client, worker, {"A", "B"}) == by_user
        options = ReplayOptions(score=True, window=4, wait_for_vectors=False, answer_timeout_s=HANG_S)
        report = replay(settings, lowest_clicked(tmp_path / "mind"), options)
        assert report.score is not None
        assert report.score.unanswered == 0
        aucs = check_answers(settings, by_user)
        assert np.mean(aucs["A"]) > 0.7
        assert np.mean(aucs["B"]) < 0.4
        check_report(operator, by_user, aucs)
        deliver_again(settings)
        check_report(operator, by_user, aucs)
        assert worker.stop() == 0

    with stream_process(settings, settings.data_dir) as worker, Freshet(settings) as client:
        assert until_served(client, worker, {"A", "B"}) == by_user, "a restart moves nobody"
        wanted = assigned(start(operator, "A=start:0.75", f"B={file}:0.25", metric=False))
        assert all(by_user[user] == "B" for user in by_user if wanted[user] != by_user[user])

        async def moved_to_wanted() -> bool:
            return {user: variant_of(client, user) for user in by_user} == wanted

        asyncio.run(wait_for(moved_to_wanted, "the new shares", [worker]))
        operator.run("stop", NAME)
        until_served(client, worker, {None})
        assert worker.stop() == 0
    listed = operator.json("list")["experiments"]
    assert [(each["name"], each["running"]) for each in listed] == [(NAME, False)]
    assert "stopped" in operator.run("report", NAME)
    assert "was stopped" in operator.run("stop", NAME, status=1)
    assert asyncio.run(read_all(settings, topic_name(settings, "dead-letters"))) == []


def test_missing_users_fail_the_report(settings: Settings) -> None:
    """All users of one variant are lost on the way: the answers are put there as a broken system would."""
    operator = Operator(settings)
    started = operator.json("start", "broken", "--variant", "A=default:0.5", "--variant", "B=nowhere:0.5")
    control = Control.model_validate_json(json.dumps(started))
    answers = [
        Recommendation(
            request_id=f"broken-{i}",
            user_id=f"B{i}",
            time=control.time,
            bundle="b",
            ranker="default-0",
            items=(),
            experiment="broken",
            variant="A",
        )
        for i in range(50)
    ]
    records = [("recommendations", answer.user_id.encode(), answer.to_json()) for answer in answers]
    asyncio.run(send(settings, records))
    output = operator.run("report", "broken", status=1)
    assert "MISMATCH" in output
    assert "cannot be compared" in output
    assert "users are missing" in output


def test_wrong_usage_is_refused_before_anything_is_published(settings: Settings) -> None:
    operator = Operator(settings)
    ends = len(asyncio.run(read_all(settings, topic_name(settings, "control"))))
    assert "the shares sum to 1.2" in operator.run(
        "start", "wrong", "--variant", "A=default:0.6", "--variant", "B=default:0.6", status=2
    )
    assert "NAME=RANKER:SHARE" in operator.run("start", "wrong", "--variant", "A", status=2)
    assert "no experiment is called 'wrong'" in operator.run("report", "wrong", status=1)
    assert len(asyncio.run(read_all(settings, topic_name(settings, "control")))) == ends
