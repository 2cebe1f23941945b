"""The README says what is: its examples are the golden files, its tables name each setting, verb, topic."""

from __future__ import annotations

import json
import re
from pathlib import Path

import click
import pytest

from freshet.models.events import Event
from freshet.streams.settings import Settings
from freshet.streams.topics import TOPICS
from freshet.workers.cli import main

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
EVENTS = {event.__name__: event for event in Event.__subclasses__()}
EXAMPLES = dict(re.findall(r"^#### (\w+)\n.*?^```json\n(.*?)^```", README, re.MULTILINE | re.DOTALL))


def rows(heading: str) -> list[list[str]]:
    """The cells of the tables under a heading, without the tables' own headings."""
    section = README.split(f"\n## {heading}\n")[1].split("\n## ")[0]
    found = [
        [cell.strip().strip("`") for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
        for line in section.splitlines()
        if line.startswith("| ")
    ]
    return [cells for cells in found[1:] if not cells[0].startswith("---")]


def test_every_event_has_an_example() -> None:
    assert EXAMPLES.keys() == EVENTS.keys()


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_decodes_and_is_the_golden_file(name: str) -> None:
    file_name = re.sub(r"(?<!^)(?=[A-Z])", "-", name).lower() + ".json"
    golden = (ROOT / "tests" / "golden" / "v1" / file_name).read_bytes()
    assert json.loads(EXAMPLES[name]) == json.loads(golden)
    EVENTS[name].from_json(EXAMPLES[name].encode())


def test_the_topics_are_those_that_are_created() -> None:
    assert rows("The flow") == [[topic.name, topic.key, topic.cleanup] for topic in TOPICS]


def test_every_setting_is_documented_with_its_default() -> None:
    documented = {variable: default for variable, default, _ in rows("Configuration")}

    def shown(default: object) -> str:
        if default is None:
            return ""
        return json.dumps(default) if isinstance(default, tuple) else str(default)

    assert documented == {
        f"FRESHET_{name.upper()}": shown(field.default) for name, field in Settings.model_fields.items()
    }


def test_every_verb_is_documented() -> None:
    documented = {verb.split()[1] for verb, _ in rows("Command line")}
    assert set(main.list_commands(click.Context(main))) <= documented


def test_the_python_examples_are_python() -> None:
    examples = re.findall(r"^```python\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
    assert examples
    for example in examples:
        compile(example, "README.md", "exec")


def test_links_into_the_repository_lead_somewhere() -> None:
    links = [link for link in re.findall(r"\]\(([^)]+)\)", README) if not link.startswith(("http", "#"))]
    assert links
    for link in links:
        assert (ROOT / link).exists(), link
