"""The checked-in contract, by those who define it: AsyncAPI's own parser, and a validator of Node's.

The other tests of the contract are in Python, whose regular expressions are not JSON Schema's.
"""

from __future__ import annotations

import copy
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from freshet.models.events.events import Event, EventError
from freshet.models.events.json_schemas import event_name
from freshet.streams.kafka.topics import TOPICS
from tests.documents.contracts import FOLDER, GOLDEN
from tests.minimal_events import MINIMAL
from tests.node_packages import SOURCES, run_node

ASYNCAPI = FOLDER / "asyncapi.json"
ACCEPTED = {"asyncapi-latest-version"}
"""3.1 is newer than 3.0, which more tools read."""


def printed(program: str, folder: Path, *arguments: Path) -> Any:
    """What a program of ``tests/node`` prints."""
    run = run_node(Path(shutil.copy(SOURCES / program, folder)), *map(str, arguments))
    assert run.returncode == 0, run.stderr
    return json.loads(run.stdout)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("node")


def test_asyncapis_own_parser_finds_nothing_wrong_and_would_have_found_a_mistake(folder: Path) -> None:
    mistaken = json.loads(ASYNCAPI.read_bytes())
    mistaken["operations"]["receive-clicks"]["action"] = "publish"
    (folder / "mistaken.json").write_text(json.dumps(mistaken))
    found, wrong = printed("validate-asyncapi.mjs", folder, ASYNCAPI, folder / "mistaken.json")
    assert [one for one in found["diagnostics"] if one["code"] not in ACCEPTED] == []
    assert found["channels"] == [f"freshet.{topic.name}" for topic in TOPICS]
    assert found["servers"] == [
        ["local", "kafka", 0],
        ["tls", "kafka-secure", 0],
        ["sasl", "kafka-secure", 1],
    ]
    received = {name for name, action in found["operations"] if action == "receive"}
    assert {"receive-articles", "receive-clicks", "receive-impressions"} <= received
    assert any(one["severity"] == 0 for one in wrong["diagnostics"])


HOSTILE = [
    "",
    "a b",
    "I1\n",
    "\tI1",
    "I\u0085",
    "I\u00a0",
    "I\u2028",
    "\u3000I",
    "x" * 129,
    1,
    1.5,
    None,
    [],
    {},
]
"""In place of an id; U+FEFF, which ECMAScript calls white space and freshet does not, is allowed below."""
TIMES = ["2026-03-02T08:00:00", "2026-03-02", "today", 1_772_438_400, "2026-03-02T08:00:00Z\n", ""]


def hostile_records() -> list[tuple[type[Event], dict[str, Any]]]:
    """Records with one field missing or malformed."""
    records = []
    for event, minimal in MINIMAL.items():
        for name in minimal:
            short = copy.deepcopy(minimal)
            del short[name]
            records.append((event, short))
        for name in minimal.keys() & {"news_id", "user_id", "request_id", "impression_id", "bundle", "model"}:
            records += [(event, minimal | {name: value}) for value in HOSTILE]
        for name in minimal.keys() & {"time", "published_at"}:
            records += [(event, minimal | {name: value}) for value in TIMES]
        records += [(event, minimal | {"version": value}) for value in (0, 2, "1", None)]
    return records


def test_a_validator_of_nodes_agrees_with_freshet(folder: Path) -> None:
    good = [(event, json.loads((GOLDEN / f"{event_name(event)}.json").read_bytes())) for event in MINIMAL]
    good += list(MINIMAL.items())
    good += [(event, record | {"news_id": "a\ufeffb/c:ü"}) for event, record in good if "news_id" in record]
    bad = hostile_records()
    for event, record in good:
        event.from_json(json.dumps(record).encode())
    for event, record in bad:
        with pytest.raises(EventError):
            event.from_json(json.dumps(record).encode())
    task = {
        "schemas": {
            path.stem: json.loads(path.read_bytes()) for path in sorted((FOLDER / "schemas").iterdir())
        },
        "records": [{"schema": event_name(event), "record": record} for event, record in good + bad],
    }
    (folder / "records.json").write_text(json.dumps(task))
    valid = printed("validate-records.mjs", folder, folder / "records.json")
    assert valid[: len(good)] == [True] * len(good)
    let_through = [record for record, allowed in zip(bad, valid[len(good) :], strict=True) if allowed]
    assert let_through == []
