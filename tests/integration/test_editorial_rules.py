"""What an editor decides holds in the next answer of a running worker, and of one that restarted."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from click.testing import CliRunner

from freshet.models.events.editorial_rules import AtMost, Bury
from freshet.models.events.events import Recommendation, from_unix_s
from freshet.streams.client import Freshet
from freshet.streams.settings import Settings
from freshet.workers.cli.main import main
from freshet.workers.processes.kafka.broker import LocalKafka
from tests.integration.served_world import NOW, World, categories_of, ids_of, served
from tests.integration.stream_harness import START_S, settings_for, stream_process
from tests.waiting import HANG_S

pytestmark = pytest.mark.broker


@pytest.fixture(scope="module")
def world(kafka: LocalKafka, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with served(settings_for(kafka, tmp_path_factory.mktemp("rules"))) as world:
        yield world


def freshet(settings: Settings, *args: str) -> str:
    """What a verb prints that succeeds."""
    connection = ["--bootstrap-servers", settings.bootstrap_servers, "--topic-prefix", settings.topic_prefix]
    result = CliRunner().invoke(main, [*args, *connection])
    assert result.exit_code == 0, result.output
    return result.stdout


async def obeyed(
    world: World, user: str, what: str, holds: Callable[[Recommendation], bool], **asked: Any
) -> Recommendation:
    """The first answer for which ``holds`` is true; rules take the moment that their record does."""

    async def answer() -> Recommendation | None:
        found = world.recommend(user, **asked)
        return found if holds(found) else None

    found: Recommendation = await world.until(answer, what)
    return found


async def test_a_rule_holds_from_the_next_answer_until_it_is_removed(world: World) -> None:
    settings = world.settings
    before = ids_of(world.recommend("U-rules", diversity=0.0))
    last = "P14" if "P14" not in before else "S14"

    freshet(settings, "rules", "set", "lead", "pin", "--news", last, "--position", "2")
    freshet(settings, "rules", "set", "gone", "withdraw", "--news", before[0])
    found = await obeyed(
        world,
        "U-rules",
        "both rules",
        lambda a: last in ids_of(a) and before[0] not in ids_of(a),
        diversity=0.0,
    )

    assert ids_of(found)[1] == last
    assert found.items[1].rules == ("lead",)
    assert found.unmet == ()
    listed = json.loads(freshet(settings, "rules", "list", "--json"))["rules"]
    assert [(rule["name"], rule["kind"]) for rule in listed] == [("gone", "withdraw"), ("lead", "pin")]
    assert "position 2" in freshet(settings, "rules", "list")

    freshet(settings, "rules", "remove", "lead")
    freshet(settings, "rules", "remove", "gone")
    await obeyed(world, "U-rules", "no rule", lambda a: ids_of(a) == before, diversity=0.0)
    assert "no rule is set" in freshet(settings, "rules", "list")


def test_a_request_brings_rules_for_its_own_answer(world: World) -> None:
    rules = (AtMost(name="spread", per="category", at_most=2), Bury(name="low", categories=("sport",)))
    found = world.recommend("U-own", rules=rules)
    assert [item.category for item in found.items] == ["politics", "politics", "sport", "sport"]
    assert {unmet.rule for unmet in found.unmet} == {"spread"}
    assert len(world.recommend("U-own").items) == 10


async def test_an_embargo_ends_with_the_time_of_the_request(world: World) -> None:
    settings = world.settings
    until = from_unix_s(START_S + 600.0)
    freshet(settings, "rules", "set", "wait", "embargo", "--category", "sport", "--until", until.isoformat())
    await obeyed(world, "U-wait", "the embargo", lambda found: categories_of(found) == {"politics"})
    assert "sport" in categories_of(world.recommend("U-wait", time=until))
    freshet(settings, "rules", "remove", "wait")
    await obeyed(world, "U-wait", "no embargo", lambda found: "sport" in categories_of(found))


async def test_an_article_is_explained_by_the_live_system(world: World) -> None:
    world.click("U-why", "P3")
    await world.after_clicks("U-why", 1)

    found = json.loads(freshet(world.settings, "explain", "U-why", "P1", "--time", NOW.isoformat(), "--json"))

    assert found["title"] == "politics P1"
    assert found["because"] == {"news_id": "P3", "title": "politics P3"}
    assert found["score"] == pytest.approx(sum(each["contribution"] for each in found["features"].values()))
    assert found["rank"] <= found["candidates"]
    assert found["sources"]
    assert any("politics P3" in sentence for sentence in found["sentences"])
    text = freshet(world.settings, "explain", "U-why", "P1", "--time", NOW.isoformat())
    assert "adds to the score" in text
    assert "politics P1" in text


def test_a_restarted_worker_knows_the_rules_before_its_first_answer(
    kafka: LocalKafka, tmp_path_factory: pytest.TempPathFactory
) -> None:
    settings = settings_for(kafka, tmp_path_factory.mktemp("restart"))
    with served(settings) as world:
        before = ids_of(world.recommend("U-restart"))
        freshet(settings, "rules", "set", "gone", "withdraw", "--news", before[0], "--news", before[1])
    with stream_process(settings, settings.data_dir) as worker, Freshet(settings) as client:
        after = client.recommend("U-restart", time=NOW, timeout_s=HANG_S)
        assert not {before[0], before[1]} & set(ids_of(after))
        assert worker.stop() == 0
