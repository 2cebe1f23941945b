"""Write ``docs/contracts``: ``python -m tests.documents.contracts`` (part of ``make reference``).

Guarantee: the AsyncAPI document and the JSON Schemas are functions of the code and of the golden files, which
are copied into the package first, because ``freshet schema`` shows them as examples wherever it is installed.
``tests/unit/streams/contract/test_document.py`` fails where a file is not what the code says.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from freshet.models.events.events import json_schema
from freshet.models.events.json_schemas import event_name
from freshet.streams.contract.document import contract
from freshet.streams.kafka.topics import TOPICS
from freshet.streams.settings import Settings
from tests.repository import ROOT

FOLDER = ROOT / "docs" / "contracts"
RELEASED = FOLDER / "v1" / "asyncapi.json"
"""The contract of the last release, which `freshet schema --against` compares with."""
GOLDEN = ROOT / "tests" / "golden" / "v1"
EXAMPLES = ROOT / "models" / "events" / "examples"


def default_settings() -> Settings:
    """The settings' defaults, whatever the environment says."""
    return Settings.model_construct()


def contract_files() -> dict[Path, str]:
    """The text that each generated file must have."""
    files: dict[Path, Any] = {FOLDER / "asyncapi.json": contract(default_settings())}
    for topic in TOPICS:
        files[FOLDER / "schemas" / f"{event_name(topic.event)}.json"] = json_schema(topic.event)
    return {
        path: json.dumps(document, indent=2, ensure_ascii=False) + "\n" for path, document in files.items()
    }


def copy_examples() -> list[Path]:
    """Copy the golden files into the package; returns those that changed."""
    changed = []
    for golden in sorted(GOLDEN.glob("*.json")):
        copy = EXAMPLES / golden.name
        if not copy.exists() or copy.read_bytes() != golden.read_bytes():
            copy.write_bytes(golden.read_bytes())
            changed.append(copy)
    return changed


def write_contracts() -> list[Path]:
    """Write every file; returns those that changed."""
    changed = copy_examples()
    for path, text in contract_files().items():
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")
            changed.append(path)
    return changed


if __name__ == "__main__":
    for written in write_contracts():
        print(written.relative_to(ROOT))
