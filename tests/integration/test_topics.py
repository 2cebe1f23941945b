"""freshet's topics come into being as the design wants them, and what differs is named with its remedy."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

import pytest
from click.testing import CliRunner
from kafka import KafkaAdminClient
from kafka.admin import ConfigResource, ConfigResourceType

from freshet.streams.errors import PartitionsDiffer
from freshet.streams.kafka.connection import MAX_REQUEST_BYTES
from freshet.streams.kafka.topic_admin import check_topics, ensure_changelogs, ensure_topics
from freshet.streams.kafka.topics import TOPICS
from freshet.streams.settings import Settings
from freshet.workers.cli.commands.topics import command

pytestmark = pytest.mark.broker

_REFUSED_S = 90.0


def test_every_topic_is_created_once_and_then_nothing_is_wrong(settings: Settings) -> None:
    assert sorted(ensure_topics(settings)) == sorted(settings.topic_prefix + topic.name for topic in TOPICS)
    assert ensure_topics(settings) == []
    assert check_topics(settings) == []


def test_partitions_follow_the_settings(settings: Settings) -> None:
    names = ensure_topics(settings)
    admin = KafkaAdminClient(bootstrap_servers=settings.bootstrap_servers)
    try:
        counts = {topic["name"]: len(topic["partitions"]) for topic in admin.describe_topics(names)}
    finally:
        admin.close()
    assert counts == dict.fromkeys(names, settings.partitions)


def test_changelogs_are_compacted_and_as_wide_as_the_topics(settings: Settings) -> None:
    name = f"{settings.topic_prefix}stream-counts-changelog"
    assert ensure_changelogs(settings, [name]) == [name]
    assert ensure_changelogs(settings, [name]) == []
    admin = KafkaAdminClient(bootstrap_servers=settings.bootstrap_servers)
    try:
        (topic,) = admin.describe_topics([name])
        resource = ConfigResource(ConfigResourceType.TOPIC, name)
        config = admin.describe_configs([resource], config_filter="all")["topic"][name]
    finally:
        admin.close()
    assert len(topic["partitions"]) == settings.partitions
    assert str(config["cleanup.policy"]["value"]) == "compact"


def test_a_missing_topic_is_a_problem_that_names_the_verb(settings: Settings) -> None:
    problems = check_topics(settings)
    assert {problem.topic for problem in problems} == {settings.topic_prefix + topic.name for topic in TOPICS}
    assert all("freshet topics create" in problem.remedy for problem in problems)


def test_the_verb_creates_what_is_missing_and_then_changes_nothing(settings: Settings) -> None:
    first, answer = _verb(settings, "create", "--json")
    assert (first, len(answer["created"]), answer["problems"]) == (0, len(TOPICS), [])
    again, answer = _verb(settings, "create", "--json")
    assert (again, answer) == (0, {"created": [], "problems": []})
    status, answer = _verb(settings, "list", "--json")
    assert status == 0
    assert {row["topic"]: row["partitions"] for row in answer["topics"]} == {
        settings.topic_prefix + topic.name: settings.partitions for topic in TOPICS
    }


def test_the_verb_says_what_is_missing_or_wrong_and_fails(settings: Settings) -> None:
    status, answer = _verb(settings, "list", "--json")
    assert status == 1
    assert all("does not exist" in row["problem"] and row["partitions"] is None for row in answer["topics"])
    _create(settings, "articles", configs={"cleanup.policy": "delete"})
    status, answer = _verb(settings, "create", "--json")
    assert status == 1
    assert len(answer["created"]) == len(TOPICS) - 1
    assert any("cleanup.policy=compact" in problem for problem in answer["problems"])


def test_topics_with_unequal_partitions_are_a_problem(settings: Settings) -> None:
    ensure_topics(settings)
    clicks = settings.topic_prefix + "clicks"
    admin = KafkaAdminClient(bootstrap_servers=settings.bootstrap_servers)
    try:
        admin.create_partitions({clicks: 5})
    finally:
        admin.close()
    with pytest.raises(PartitionsDiffer, match=f"Topic {clicks} has 5 partitions"):
        ensure_topics(settings)
    problems = {problem.topic: problem for problem in check_topics(settings)}
    # The topic with the most partitions sets the number: partitions can be added, never taken away.
    assert "FRESHET_PARTITIONS=5" in problems.pop(clicks).remedy
    assert problems.keys() == {settings.topic_prefix + topic.name for topic in TOPICS} - {clicks}
    assert all("has 4 partitions, while" in problem.what for problem in problems.values())


def test_workers_refuse_topics_of_another_number_of_partitions_and_say_what_to_do(settings: Settings) -> None:
    ensure_topics(settings)
    verbs = (["stream"], ["embed"], ["up", "--no-embed"])
    environment = os.environ | {
        "FRESHET_BOOTSTRAP_SERVERS": settings.bootstrap_servers,
        "FRESHET_TOPIC_PREFIX": settings.topic_prefix,
        "FRESHET_DATA_DIR": str(settings.data_dir),
        "FRESHET_METRICS_PORT": "0",
        "FRESHET_PARTITIONS": "6",
    }
    workers = [
        subprocess.Popen(
            [sys.executable, "-m", "freshet.workers", *verb],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for verb in verbs
    ]
    outputs = [worker.communicate(timeout=_REFUSED_S)[0] for worker in workers]
    for worker, said in zip(workers, outputs, strict=True):
        assert worker.returncode == 1, said
        assert f"Topic {settings.topic_prefix}article-stats has 4 partitions" in said
        assert "FRESHET_PARTITIONS (--partitions) is 6" in said
        assert "Set FRESHET_PARTITIONS=4" in said
        assert "Traceback" not in said


def test_the_verb_says_that_the_topics_have_another_number_of_partitions(settings: Settings) -> None:
    ensure_topics(settings)
    other = settings.model_copy(update={"partitions": 6})
    status, answer = _verb(other, "list", "--json")
    assert status == 1
    assert all("FRESHET_PARTITIONS (--partitions) is 6" in row["problem"] for row in answer["topics"])


def test_a_wrong_cleanup_policy_is_a_problem_with_the_command_that_mends_it(settings: Settings) -> None:
    size = {"max.message.bytes": str(MAX_REQUEST_BYTES)}
    _create(settings, "articles", configs={"cleanup.policy": "delete", **size})
    _create(settings, "clicks", configs={"cleanup.policy": "compact", **size})
    ensure_topics(settings)
    problems = {
        problem.topic.removeprefix(settings.topic_prefix): problem for problem in check_topics(settings)
    }
    assert set(problems) == {"articles", "clicks"}
    assert "--add-config cleanup.policy=compact" in problems["articles"].remedy
    assert "--add-config cleanup.policy=delete" in problems["clicks"].remedy


def test_a_topic_that_refuses_the_largest_event_is_a_problem(settings: Settings) -> None:
    _create(settings, "articles", configs={"cleanup.policy": "compact", "max.message.bytes": "1000"})
    ensure_topics(settings)
    (problem,) = check_topics(settings)
    assert "max.message.bytes is '1000'" in problem.what


def _verb(settings: Settings, *arguments: str) -> tuple[int, Any]:
    """Exit status and JSON of ``freshet topics``."""
    options = {
        "--bootstrap-servers": settings.bootstrap_servers,
        "--topic-prefix": settings.topic_prefix,
        "--partitions": str(settings.partitions),
    }
    result = CliRunner().invoke(
        command, [*arguments, *(word for option in options.items() for word in option)]
    )
    return result.exit_code, json.loads(result.stdout)


def _create(settings: Settings, name: str, configs: dict[str, str]) -> None:
    request = {"num_partitions": settings.partitions, "replication_factor": 1, "configs": configs}
    admin = KafkaAdminClient(bootstrap_servers=settings.bootstrap_servers)
    try:
        admin.create_topics({settings.topic_prefix + name: request}, wait_for_metadata=True)
    finally:
        admin.close()
