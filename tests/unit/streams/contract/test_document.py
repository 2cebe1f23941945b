"""The contract: generated, checked in as generated, compatible with the last release, breaks found."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from jsonschema import Draft7Validator
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT7

from freshet.streams.contract.changes import additions, contract_breaks
from freshet.streams.contract.document import contract
from freshet.streams.kafka.topic_admin import topic_configs
from freshet.streams.kafka.topics import TOPICS
from freshet.streams.settings import Settings
from freshet.workers.cli.main import main
from tests.documents.contracts import FOLDER, RELEASED, ROOT, contract_files, default_settings

NOW = contract(default_settings())
Change = Callable[[dict[str, Any]], None]


def released() -> dict[str, Any]:
    read: dict[str, Any] = json.loads(RELEASED.read_bytes())
    return read


@pytest.mark.parametrize(
    ("path", "text"), contract_files().items(), ids=lambda part: getattr(part, "name", "")
)
def test_a_file_is_what_the_code_says(path: Path, text: str) -> None:
    assert path.exists() and path.read_text(encoding="utf-8") == text, (
        f"{path.relative_to(ROOT)} is not what the code says: run `make reference`"
    )


def test_no_schema_is_left_of_an_event_that_is_gone() -> None:
    assert set((FOLDER / "schemas").iterdir()) == {path for path in contract_files() if path.parent != FOLDER}


def test_clients_of_the_last_release_are_not_broken() -> None:
    """Where this is meant, the wire format's version has to change: docs/contracts/README.md."""
    assert [str(found) for found in contract_breaks(released(), NOW)] == []


def test_every_topic_is_a_channel_as_it_is_created() -> None:
    assert list(NOW["channels"]) == [topic.name for topic in TOPICS]
    for topic in TOPICS:
        channel = NOW["channels"][topic.name]
        assert (channel["address"], channel["x-key"]) == (f"freshet.{topic.name}", topic.key)
        configured = channel["bindings"]["kafka"]["topicConfiguration"]
        assert {
            name: ",".join(value) if isinstance(value, list) else str(value)
            for name, value in configured.items()
        } == topic_configs(topic)


def test_freshet_receives_what_clients_publish_and_sends_the_rest() -> None:
    actions: dict[str, set[str]] = {}
    for operation in NOW["operations"].values():
        actions.setdefault(operation["channel"]["$ref"].removeprefix("#/channels/"), set()).add(
            operation["action"]
        )
    for topic in TOPICS:
        internal = {"send", "receive"} if topic.read_back else {"send"}
        assert actions[topic.name] == ({"receive"} if topic.published_by == "clients" else internal)
    assert NOW["operations"]["receive-recommendation-requests"]["reply"]["channel"] == {
        "$ref": "#/channels/recommendations"
    }


@pytest.mark.parametrize(
    "message", NOW["components"]["messages"].values(), ids=lambda message: message["name"]
)
def test_a_messages_example_is_valid_where_the_document_is_read_as_asyncapi_reads_it(
    message: dict[str, Any],
) -> None:
    """AsyncAPI's own schemas are draft 7."""
    whole = Resource(contents=NOW, specification=DRAFT7)
    registry: Registry[Any] = Registry().with_resource("urn:contract", whole)
    schema = {"$ref": "urn:contract" + message["payload"]["$ref"]}
    for example in message["examples"]:
        Draft7Validator(schema, registry=registry).validate(example["payload"])
    with pytest.raises(Exception, match="is a required property"):
        Draft7Validator(schema, registry=registry).validate({})


def test_the_settings_are_those_of_the_system_and_no_secret_is_among_them() -> None:
    settings = Settings(
        bootstrap_servers="kafka-1:9093,kafka-2:9093",
        topic_prefix="daily.",
        partitions=32,
        replication=3,
        kafka_username="somebody",
        kafka_password="hunter2",
    )
    document = contract(settings)
    assert document["servers"]["sasl"]["host"] == "kafka-1:9093"
    clicks = document["channels"]["clicks"]
    assert clicks["address"] == "daily.clicks"
    assert (clicks["bindings"]["kafka"]["partitions"], clicks["bindings"]["kafka"]["replicas"]) == (32, 3)
    assert "hunter2" not in json.dumps(document) and "somebody" not in json.dumps(document)


def schemas(document: dict[str, Any], name: str) -> dict[str, Any]:
    found: dict[str, Any] = document["components"]["schemas"][name]
    return found


def _topic_gone(new: dict[str, Any]) -> None:
    del new["channels"]["clicks"]


def _topic_renamed(new: dict[str, Any]) -> None:
    new["channels"]["clicks"]["address"] = "freshet.taps"


def _other_key(new: dict[str, Any]) -> None:
    new["channels"]["clicks"]["x-key"] = "news_id"


def _other_partitioner(new: dict[str, Any]) -> None:
    new["channels"]["clicks"]["x-partitioner"] = "crc32"


def _compacted(new: dict[str, Any]) -> None:
    new["channels"]["clicks"]["bindings"]["kafka"]["topicConfiguration"]["cleanup.policy"] = ["compact"]


def _kept_shorter(new: dict[str, Any]) -> None:
    new["channels"]["recommendations"]["bindings"]["kafka"]["topicConfiguration"]["retention.ms"] = 1_000


def _smaller_records(new: dict[str, Any]) -> None:
    new["channels"]["articles"]["bindings"]["kafka"]["topicConfiguration"]["max.message.bytes"] = 1_000


def _no_answers(new: dict[str, Any]) -> None:
    del new["operations"]["send-recommendations"]


def _other_direction(new: dict[str, Any]) -> None:
    new["operations"]["receive-clicks"]["action"] = "send"


def _answered_elsewhere(new: dict[str, Any]) -> None:
    new["operations"]["receive-recommendation-requests"]["reply"]["channel"]["$ref"] = "#/channels/clicks"


def _other_event(new: dict[str, Any]) -> None:
    messages = new["channels"]["clicks"]["messages"]
    messages["Tap"] = messages.pop("Click")


def _other_encoding(new: dict[str, Any]) -> None:
    new["components"]["messages"]["Click"]["contentType"] = "application/avro"


def _longer_key(new: dict[str, Any]) -> None:
    new["components"]["messages"]["Click"]["bindings"]["kafka"]["key"]["maxLength"] = 64


def _field_gone_from_a_click(new: dict[str, Any]) -> None:
    del schemas(new, "Click")["properties"]["request_id"]


def _field_required_of_a_click(new: dict[str, Any]) -> None:
    schemas(new, "Click")["required"].append("request_id")


def _shorter_titles(new: dict[str, Any]) -> None:
    schemas(new, "Article")["properties"]["title"]["maxLength"] = 100


def _kind_gone(new: dict[str, Any]) -> None:
    schemas(new, "Control")["properties"]["kind"]["enum"].remove("push-on")


def _field_gone_from_an_item(new: dict[str, Any]) -> None:
    del schemas(new, "RecommendedArticle")["properties"]["reasons"]


def _items_may_be_missing(new: dict[str, Any]) -> None:
    schemas(new, "Recommendation")["required"].remove("items")


def _score_may_be_text(new: dict[str, Any]) -> None:
    schemas(new, "RecommendedArticle")["properties"]["score"]["type"] = ["number", "string"]


def _other_degradation(new: dict[str, Any]) -> None:
    (values, _) = schemas(new, "Recommendation")["properties"]["degraded"]["anyOf"]
    values["enum"].append("stale")


def _worker_reads_less(new: dict[str, Any]) -> None:
    schemas(new, "ArticleVector")["properties"]["vector"]["maxItems"] = 64


def _worker_writes_more(new: dict[str, Any]) -> None:
    schemas(new, "ArticleVector")["properties"]["vector"]["maxItems"] = 10_000


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (_topic_gone, "clicks: the topic is gone"),
        (_topic_renamed, "clicks: address was 'freshet.clicks' and is 'freshet.taps'"),
        (_other_key, "clicks: x-key was 'user_id' and is 'news_id'"),
        (_other_partitioner, "clicks: x-partitioner was 'murmur2' and is 'crc32'"),
        (_compacted, "clicks: cleanup.policy was ['delete'] and is ['compact']"),
        (_kept_shorter, "recommendations: retention.ms was 86400000 and is 1000"),
        (_smaller_records, "articles: max.message.bytes was 1114112 and is 1000"),
        (_no_answers, "send-recommendations: the operation is gone"),
        (_other_direction, "receive-clicks: action was 'receive' and is 'send'"),
        (_answered_elsewhere, "receive-recommendation-requests: reply was"),
        (_other_event, "clicks: Click is gone"),
        (_other_encoding, "Click: contentType was application/json and is application/avro"),
        (_longer_key, "Click (key): maxLength was 128 and is 64"),
        (_field_gone_from_a_click, "Click.request_id: is gone"),
        (_field_required_of_a_click, "Click.request_id: is required now"),
        (_shorter_titles, "Article.title: maxLength was 1000 and is 100"),
        (_kind_gone, "Control.kind: the value 'push-on' is no longer allowed"),
        (_field_gone_from_an_item, "Recommendation.items[].reasons: is gone"),
        (_items_may_be_missing, "Recommendation.items: may be missing now"),
        (_score_may_be_text, "Recommendation.items[].score: its type was number and is number or string"),
        (_other_degradation, "Recommendation.degraded: the value 'stale' is new"),
        (_worker_reads_less, "ArticleVector.vector: maxItems was 4096 and is 64 (receive-article-vectors)"),
        (_worker_writes_more, "ArticleVector.vector: maxItems was 4096 and is 10000 (send-article-vectors)"),
    ],
    ids=lambda part: part.__name__.strip("_") if callable(part) else "",
)
def test_a_breaking_change_is_found_and_named(change: Change, said: str) -> None:
    new = copy.deepcopy(NOW)
    change(new)
    found = [str(line) for line in contract_breaks(NOW, new)]
    assert any(line.startswith(said) for line in found), found


def _new_topic(new: dict[str, Any]) -> None:
    new["channels"]["follows"] = copy.deepcopy(new["channels"]["clicks"]) | {"address": "freshet.follows"}


def _new_field_of_a_click(new: dict[str, Any]) -> None:
    schemas(new, "Click")["properties"]["dwell_s"] = {"type": "number", "default": 0}


def _new_field_of_an_item(new: dict[str, Any]) -> None:
    schemas(new, "RecommendedArticle")["properties"]["image"] = {"type": "string", "default": ""}


def _new_kind(new: dict[str, Any]) -> None:
    schemas(new, "Control")["properties"]["kind"]["enum"].append("user-merged")


def _longer_titles(new: dict[str, Any]) -> None:
    schemas(new, "Article")["properties"]["title"]["maxLength"] = 5_000


def _fewer_items(new: dict[str, Any]) -> None:
    schemas(new, "Recommendation")["properties"]["items"]["maxItems"] = 200


def _kept_longer(new: dict[str, Any]) -> None:
    new["channels"]["clicks"]["bindings"]["kafka"]["topicConfiguration"]["retention.ms"] = -1


def _more_partitions(new: dict[str, Any]) -> None:
    new["channels"]["clicks"]["bindings"]["kafka"]["partitions"] = 64


def _other_words(new: dict[str, Any]) -> None:
    schemas(new, "Click")["description"] = new["info"]["description"] = "Better said."


@pytest.mark.parametrize(
    ("change", "added"),
    [
        (_new_topic, ["channels follows"]),
        (_new_field_of_a_click, ["Click.dwell_s"]),
        (_new_field_of_an_item, ["RecommendedArticle.image"]),
        *((change, []) for change in (_new_kind, _longer_titles, _fewer_items, _kept_longer)),
        *((change, []) for change in (_more_partitions, _other_words)),
    ],
    ids=lambda part: part.__name__.strip("_") if callable(part) else "",
)
def test_an_addition_breaks_nothing_and_is_named(change: Change, added: list[str]) -> None:
    new = copy.deepcopy(NOW)
    change(new)
    assert contract_breaks(NOW, new) == []
    assert additions(NOW, new) == added


def run(*arguments: str) -> tuple[int, str, str]:
    result = CliRunner().invoke(main, ["schema", *arguments])
    return result.exit_code, result.stdout, result.stderr


def test_the_verb_prints_the_schema_of_an_event_by_either_name() -> None:
    expected = contract_files()[FOLDER / "schemas" / "recommendation-request.json"]
    for name in ("recommendation-request", "RecommendationRequest"):
        assert run(name) == (0, expected, "")


def test_the_verb_prints_the_document_of_the_system_that_it_is_told_of() -> None:
    status, printed, _ = run("--asyncapi", "--topic-prefix", "daily.", "--partitions", "3")
    assert status == 0
    assert json.loads(printed) == contract(Settings(topic_prefix="daily.", partitions=3))


def test_the_verb_lists_the_events() -> None:
    status, printed, _ = run("--json")
    assert status == 0
    assert json.loads(printed)["events"][0] == {
        "event": "article",
        "topic": "freshet.articles",
        "key": "news_id",
        "published_by": "clients",
    }
    status, table, _ = run("--topic-prefix", "t.")
    assert status == 0
    assert all(text in table for text in ("dead-letter", "t.clicks", "bundle/news_id", "clients"))


def test_the_verb_fails_where_clients_would_break_and_says_how(tmp_path: Path) -> None:
    same = tmp_path / "same.json"
    same.write_text(json.dumps(contract(Settings())))
    assert run("--against", str(same)) == (0, "0 breaking changes, 0 added\n", "")
    old = copy.deepcopy(contract(Settings()))
    schemas(old, "Click")["properties"]["mood"] = {"type": "string"}
    del schemas(old, "Article")["properties"]["url"]
    earlier = tmp_path / "earlier.json"
    earlier.write_text(json.dumps(old))
    status, printed, _ = run("--against", str(earlier))
    assert status == 1
    assert printed.splitlines() == [
        "breaking  Click.mood: is gone (receive-clicks)",
        "added     Article.url",
        "1 breaking change, 1 added",
    ]
    status, printed, _ = run("--against", str(earlier), "--json")
    assert status == 1
    assert json.loads(printed) == {
        "compatible": False,
        "breaking": [{"where": "Click.mood", "what": "is gone (receive-clicks)"}],
        "added": ["Article.url"],
    }


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"channels": {"clicks": {}}}'])
def test_a_file_that_is_no_contract_is_refused_with_its_name(tmp_path: Path, content: str) -> None:
    file = tmp_path / "other.json"
    file.write_text(content)
    status, printed, error = run("--against", str(file))
    assert (status, printed) == (1, "")
    assert "other.json is no document of `freshet schema --asyncapi`" in error


@pytest.mark.parametrize("arguments", [("clicks",), ("click", "--asyncapi"), ("--against", "nowhere.json")])
def test_wrong_usage_is_status_2(arguments: tuple[str, ...]) -> None:
    status, printed, error = run(*arguments)
    assert (status, printed) == (2, "")
    assert "Error: " in error
