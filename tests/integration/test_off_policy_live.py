"""From a worker that draws its lists to an estimate of another ranker's clicks, by commands alone."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from freshet.models.events.events import Article, Recommendation
from freshet.workers.cli.main import main
from freshet.workers.processes.kafka.broker import LocalKafka
from tests.integration.served_world import NOW, articles, ids_of, served
from tests.integration.stream_harness import settings_for

pytestmark = pytest.mark.broker

LISTS = 60
K = 5


def _freshet(*arguments: object) -> Result:
    run = CliRunner().invoke(main, [str(argument) for argument in arguments])
    assert run.exit_code == 0, run.output
    return run


def test_drawn_lists_are_logged_and_judge_another_ranker(kafka: LocalKafka, tmp_path: Path) -> None:
    settings = settings_for(kafka, tmp_path / "data")
    answers: list[Recommendation] = []
    with served(
        settings, FRESHET_EXPLORATION="plackett-luce", FRESHET_EXPLORATION_TEMPERATURE="0.5"
    ) as world:
        world.client.publish(
            *(Article(news_id=vector.news_id, published_at=vector.published_at) for vector in articles())
        )
        for number in range(LISTS):
            time = NOW + timedelta(seconds=number)
            answer = world.recommend(f"U{number % 12}", K, time=time, exclude_seen=False)
            ids = ids_of(answer)
            shown = world.client.impression(
                answer.user_id, ids, ids[:1], time=time, request_id=answer.request_id
            )
            if number % 3 == 0:
                world.client.click(
                    answer.user_id, ids[1], time=time + timedelta(hours=1), impression_id=shown.impression_id
                )
            answers.append(answer)
        connection = (
            "--bootstrap-servers",
            settings.bootstrap_servers,
            "--topic-prefix",
            settings.topic_prefix,
        )
        log = _freshet("log", tmp_path / "log", "--json", *connection)
    written = json.loads(log.stdout)
    assert written["impressions"] == written["recommendations"] == written["propensities"] == LISTS
    assert (written["clicks"], written["late_clicks"]) == (LISTS + LISTS // 3, LISTS // 3)
    for answer in answers:
        assert set(ids_of(answer)) <= set(answer.candidates)
        assert all(0 < (item.propensity or 0) < 1 for item in answer.items)
    found = json.loads(
        _freshet(
            "evaluate", tmp_path / "log", "--off-policy", "--temperature", 1, "--from", 0, "--json"
        ).stdout
    )
    value = found["values"]["clicks per list"]
    assert found["lists"] == LISTS
    assert found["without_candidates"] == 0
    assert value["on_policy"]["mean"] == pytest.approx((LISTS + LISTS // 3) / LISTS)
    assert 0 < value["snips"]["mean"] <= K
    assert value["zero_support"] == 0
